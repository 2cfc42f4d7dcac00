//! What each key of a rule does. A test holds that these are the keys that the loader knows.

use serde_json::{Value, json};

use super::{Key, described, detection, duration, flag, mapping, text, texts, words};
use crate::model::{Level, Outcome};
use crate::rules::Status;
use crate::rules::keys::NO_MATCH;

const fn key(name: &'static str, about: &'static str, shape: fn() -> Value) -> Key {
    Key { name, about, shape }
}

/// The keys of a rule.
pub(super) const RULE: &[Key] = &[
    key("title", "What the rule does, in a few words. Without an id it names the rule.", text),
    key("id", "A name that stays when the title changes, by custom a UUID; no two rules share one.", text),
    key("name", "A short name by which correlations refer to the rule.", text),
    key("related", "Rules that this one stems from or replaces.", related),
    key("taxonomy", "Which names of fields the rule uses. Not looked at.", text),
    key("status", "How ripe the rule is. All but 'stable', which is the default, run in shadow.", status),
    key("description", "What the rule looks for and why. For people.", text),
    key("license", "The licence of the rule, as an SPDX identifier. For people.", text),
    key("author", "Who wrote the rule. For people.", text),
    key("references", "Pages that the rule is based on. For people.", texts),
    key("date", "The day on which the rule was written, as 2026-11-23. For people.", text),
    key("modified", "The day on which the rule was last changed. For people.", text),
    key("logsource", "What the rule was written for, in Sigma's words. Not looked at: rules see alerts.", logsource),
    key(
        "detection",
        "Which alerts, and on which devices: named selections and a condition over them.",
        detection::of_rule,
    ),
    key("fields", "Fields that help in judging a hit. For people.", texts),
    key("falsepositives", "What else can look like this. For people.", texts),
    key(
        "level",
        "How urgent its actions are in the queue, 'medium' if absent; they are judged in this order, too.",
        level,
    ),
    key("tags", "Labels, as attack.t1486. For people.", texts),
    key("regression_tests_path", "Where SigmaHQ keeps tests of the rule. Not looked at.", text),
    key("simulation", "How SigmaHQ lets the rule be tried. Not looked at.", anything),
    key("scope", "Which devices the rule is meant for, in Sigma's words. Not looked at.", texts),
    key("sigma-version", "The version of Sigma: 3 lets brackets select members of lists, as evidence[any].", version),
    key("response", "What is done with the device when the rule matches.", response),
    key("tests", "Alerts with what the rule must make of them, for 'stanch test'.", tests),
];

/// The keys of a response.
pub(super) const RESPONSE: &[Key] = &[
    key("action", "'restrict' lets only software signed by Microsoft run; 'protect' forbids every action.", action),
    key(
        "comment",
        "The comment at Microsoft, a template over alert, machine, rule and stanch. Of 'protect': the reason.",
        text,
    ),
    key("mode", "'shadow' only records what would have been done; 'enforce' is the default.", mode),
    key("approval", "'required' holds each action until someone approves it; 'none' is the default.", approval),
    key("expires_after", "How long a restriction lasts. Absent: until a human releases it.", duration),
    key(
        "cooldown",
        "How long the rule leaves a device alone after a release; 12h after a human's if absent.",
        duration,
    ),
    key("limit", "The most devices in a stretch of time; what is beyond is held for a human.", limit),
    key("tenants", "The tenants that the rule is for. Absent: all.", tenants),
    key("until", "The rule's last day in UTC, as 2027-03-31. Absent: for ever.", day),
    key("match_all", "true: the condition is meant to match every alert.", flag),
];

/// The keys of a response's `limit`.
pub(super) const LIMIT: &[Key] = &[
    key("devices", "How many distinct devices.", at_least_one),
    key("per", "In how long a stretch of time.", duration),
];

/// The keys of a test.
pub(super) const TEST: &[Key] = &[
    key("name", "What the test shows, in words.", text),
    key("alert", "The alert: only the fields that matter.", alert),
    key("machine", "The device's record: only the fields that matter. Absent: there is none.", machine),
    key("alerts", "Instead of 'alert': several alerts in time.", alerts),
    key("expect", "The outcome, or 'none' when the rule must not match. Of several alerts: of the last.", outcome),
    key("reason", "Words that the reason of the outcome must contain.", text),
    key("now", "When the first alert arrives, as 2026-11-24T03:00:00Z. Absent: a time that never changes.", text),
    key("tenant", "Whose alert it is. Absent: the first tenant that the rule speaks for.", text),
    key("source", "The source of the alert. Absent: defender.", text),
    key("restricted", "Who restricts the first device already.", restricted),
    key("released", "How long before the first alert a human released the first device.", duration),
    key("fleet", "The onboarded devices of the tenant. Absent: a fleet without end.", at_least_zero),
];

/// The keys of one of several alerts of a test.
pub(super) const TEST_ALERT: &[Key] = &[
    key("after", "How long after the alert before it.", duration),
    key("alert", "The alert: only the fields that matter.", alert),
    key("machine", "The device's record. Absent: that of the test.", machine),
    key("device", "A name that tells the devices of one test apart.", text),
    key("expect", "The outcome of this alert, or 'none'.", outcome),
    key("reason", "Words that the reason of the outcome must contain.", text),
];

/// The keys of a document that have the given names, in the order of [`RULE`].
pub(super) fn of_rule(but: &[&str]) -> Vec<&'static Key> {
    RULE.iter().filter(|key| !but.contains(&key.name)).collect()
}

fn anything() -> Value {
    json!({})
}

fn related() -> Value {
    let kinds = words(&["derived", "obsolete", "merged", "renamed", "similar"]);
    let member = json!({
        "type": "object",
        "properties": {
            "id": described("The other rule's id.", text()),
            "type": described("What this rule is to the other one.", kinds),
        },
        "required": ["id", "type"],
    });
    json!({ "type": "array", "items": member })
}

fn status() -> Value {
    let mut schema = words(&Status::ALL.map(Status::as_str));
    default(&mut schema, "stable");
    schema
}

fn level() -> Value {
    let mut schema = words(&Level::ALL.map(Level::as_str));
    default(&mut schema, Level::default().as_str());
    schema
}

fn mode() -> Value {
    let mut schema = words(&["enforce", "shadow"]);
    default(&mut schema, "enforce");
    schema
}

fn approval() -> Value {
    let mut schema = words(&["none", "required"]);
    default(&mut schema, "none");
    schema
}

fn default(schema: &mut Value, word: &str) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("default".to_owned(), word.into());
    }
}

fn action() -> Value {
    words(&["restrict", "protect"])
}

fn logsource() -> Value {
    json!({ "type": "object" })
}

fn version() -> Value {
    json!({ "type": ["integer", "string"] })
}

fn at_least_one() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}

fn day() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
}

fn tenants() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

fn limit() -> Value {
    mapping(&LIMIT.iter().collect::<Vec<_>>(), &["devices", "per"])
}

fn response() -> Value {
    mapping(&RESPONSE.iter().collect::<Vec<_>>(), &["action"])
}

fn tests() -> Value {
    json!({ "type": "array", "items": mapping(&TEST.iter().collect::<Vec<_>>(), &["name"]) })
}

fn alerts() -> Value {
    let alert = mapping(&TEST_ALERT.iter().collect::<Vec<_>>(), &["alert"]);
    json!({ "type": "array", "items": alert, "minItems": 1 })
}

fn restricted() -> Value {
    words(&["human", "stanch"])
}

fn at_least_zero() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn alert() -> Value {
    json!({ "$ref": "#/$defs/alert" })
}

fn machine() -> Value {
    json!({ "anyOf": [{ "$ref": "#/$defs/machine" }, { "type": "null" }] })
}

fn outcome() -> Value {
    let outcomes: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).chain([NO_MATCH]).collect();
    words(&outcomes)
}
