//! Correlations: what they count, and what they do not.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{TODAY, load, tenant};
use crate::model::{RuleId, SourceName};
use crate::rules::{Event, Hit, Memory, RuleSet};

/// Two rules without a response, `ransom` and `login`, and that correlation of theirs.
pub(super) fn over_two_rules(correlation: &str) -> String {
    format!(
        "title: Ransom\nname: ransom\ndetection: {{ s: {{ category: Ransomware }}, condition: s }}\n---\n\
         title: Login\nname: login\ndetection: {{ s: {{ category: Login }}, condition: s }}\n---\n\
         title: Several\nid: several\nlevel: critical\ncorrelation:\n{correlation}\nresponse: {{ action: restrict }}\n"
    )
}

const THREE_IN_AN_HOUR: &str =
    "  type: event_count\n  rules: [ransom, login]\n  group-by: [machineId]\n  timespan: 1h\n  condition: { gte: 3 }";

/// An alert at so many minutes past ten, on the n-th device.
fn alert(id: &str, category: &str, device: u32, minute: i64) -> Value {
    let at = "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute);
    json!({
        "id": id, "category": category, "machineId": format!("{device:040x}"),
        "lastEventTime": at.to_string(), "lastUpdateTime": at.to_string(),
    })
}

/// A street of alerts, one after the other, under one set.
struct Street {
    set: RuleSet,
    memory: Memory,
    machine: Option<Value>,
    tenant: &'static str,
}

impl Street {
    fn new(text: &str) -> Self {
        let set = load(text).unwrap_or_else(|problems| panic!("{problems}\n{text}")).set;
        Self { memory: set.memory(), set, machine: None, tenant: "contoso" }
    }

    fn over(correlation: &str) -> Self {
        Self::new(&over_two_rules(correlation))
    }

    fn with<T>(&mut self, alert: &Value, ask: impl FnOnce(&RuleSet, &mut Memory, &Event<'_>) -> T) -> T {
        let (tenant, source) = (tenant(self.tenant), SourceName::new("defender").unwrap());
        let machine = self.machine.as_ref().map(|machine| machine.as_object().unwrap());
        let received = "2026-11-23T12:00:00Z".parse().unwrap();
        let event = Event::new(alert.as_object().unwrap(), machine, &tenant, &source, received);
        ask(&self.set, &mut self.memory, &event)
    }

    /// Takes an alert in and asks about it, as the daemon does.
    fn comes(&mut self, alert: &Value) -> Vec<Hit> {
        self.with(alert, |set, memory, event| {
            set.remember(memory, event);
            set.evaluate(event, memory, TODAY).hits
        })
    }

    /// Which of these alerts are chosen, one after the other.
    fn chosen<'a>(&mut self, alerts: &'a [Value]) -> Vec<&'a str> {
        alerts.iter().filter(|alert| !self.comes(alert).is_empty()).map(|alert| alert["id"].as_str().unwrap()).collect()
    }
}

fn matched(hit: &Hit) -> Vec<String> {
    hit.matched.iter().map(|matched| format!("{} = {}", matched.field, matched.value)).collect()
}

#[test]
fn the_third_alert_on_one_device_within_the_hour_is_chosen_and_says_what_was_counted() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    assert!(street.comes(&alert("a", "Ransomware", 1, 0)).is_empty());
    assert!(street.comes(&alert("b", "Login", 1, 20)).is_empty());
    assert!(street.comes(&alert("elsewhere", "Login", 2, 30)).is_empty());
    assert!(street.comes(&alert("other", "Phishing", 1, 30)).is_empty());
    let hits = street.comes(&alert("c", "Ransomware", 1, 60));
    assert_eq!(hits[0].rule.id.as_str(), "several");
    assert_eq!(
        matched(&hits[0]),
        [
            r#"correlation = "event_count""#,
            "correlation.count = 3",
            r#"correlation.alerts = ["a","b","c"]"#,
            r#"machineId = "0000000000000000000000000000000000000001""#,
            r#"category = "Ransomware""#,
        ]
    );
    // By then the first is an hour and a minute old.
    assert_eq!(street.chosen(&[alert("d", "Login", 1, 121)]), [""; 0]);
}

#[test]
fn an_alert_counts_once_and_a_newer_version_takes_its_place() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    for _ in 0..5 {
        assert!(street.comes(&alert("a", "Ransomware", 1, 0)).is_empty());
    }
    assert!(street.comes(&alert("a", "Ransomware", 1, 1)).is_empty());
    assert!(street.comes(&alert("b", "Ransomware", 1, 2)).is_empty());
    // The newer version of the first is of no rule any more, so the third is the second.
    assert!(street.comes(&alert("a", "Phishing", 1, 3)).is_empty());
    assert!(street.comes(&alert("c", "Ransomware", 1, 4)).is_empty());
    // An older version that comes late replaces nothing.
    assert_eq!(street.memory.len(), 2);
    street.with(&alert("b", "Ransomware", 1, -600), |set, memory, event| set.remember(memory, event));
    assert_eq!(street.chosen(&[alert("d", "Login", 1, 62)]), ["d"]);
}

#[test]
fn what_comes_late_counts_where_it_belongs() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    let late = [alert("c", "Login", 1, 50), alert("b", "Login", 1, 100), alert("a", "Ransomware", 1, 75)];
    assert_eq!(street.chosen(&late), ["a"]);
}

#[test]
fn an_event_is_counted_whether_it_is_remembered_or_not() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    street.chosen(&[alert("a", "Ransomware", 1, 0), alert("b", "Login", 1, 1)]);
    let holds = street.with(&alert("c", "Login", 1, 2), |set, memory, event| {
        set.matches(&RuleId::new("several").unwrap(), event, memory)
    });
    assert!(holds);
    assert_eq!(street.memory.len(), 2);
    let without = street.with(&alert("c", "Login", 1, 2), |set, _, event| {
        set.matches(&RuleId::new("several").unwrap(), event, &set.memory())
    });
    assert!(!without);
}

#[test]
fn tenants_never_mix_and_an_absent_group_is_no_group() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    street.chosen(&[alert("a", "Login", 1, 0), alert("b", "Login", 1, 1)]);
    street.tenant = "fabrikam";
    assert_eq!(street.chosen(&[alert("c", "Login", 1, 2)]), [""; 0]);

    let mut street = Street::over(&THREE_IN_AN_HOUR.replace("machineId", "machine.rbacGroupName"));
    let alerts = ["a", "b", "c"].map(|id| alert(id, "Login", 1, 0));
    assert_eq!(street.chosen(&alerts), [""; 0]);
    assert!(street.memory.is_empty());
    street.machine = Some(json!({"id": format!("{:040x}", 1), "rbacGroupName": "tills"}));
    assert_eq!(street.chosen(&alerts), ["c"]);
    assert!(street.set.rules()[0].reads_machine);
}

#[test]
fn distinct_values_are_counted_wherever_they_stand() {
    let mut street = Street::over(
        "  type: value_count\n  rules: login\n  group-by: stanch.tenant\n  timespan: 10m\n  condition: { field: evidence.accountName, gt: 2 }",
    );
    let with = |id: &str, accounts: Value| {
        let mut alert = alert(id, "Login", 1, 0);
        alert["evidence"] = accounts;
        alert
    };
    let alerts = [
        with("a", json!([{"accountName": "ann"}])),
        with("b", json!([{"accountName": "ann"}, {"accountName": "bob"}])),
        with("c", json!([{"accountName": null}, {}])),
        with("d", json!([])),
        with("e", json!([{"accountName": "eve"}])),
        with("f", json!([])),
    ];
    // What has no value is not counted, and is chosen for no other's sake.
    assert_eq!(street.chosen(&alerts), ["e"]);
}

#[test]
fn several_fields_are_counted_together() {
    let mut street = Street::over(
        "  type: value_count\n  rules: [login]\n  timespan: 10m\n  condition: { field: [user, severity], gte: 3 }",
    );
    let with = |id: &str, user: &str, severity: &str| {
        let mut alert = alert(id, "Login", 1, 0);
        (alert["user"], alert["severity"]) = (user.into(), severity.into());
        alert
    };
    let alerts = [with("a", "x", "Low"), with("b", "x", "High"), with("c", "x", "Low"), with("d", "y", "Low")];
    assert_eq!(street.chosen(&alerts), ["d"]);
}

#[test]
fn temporal_wants_each_rule_in_any_order_and_ordered_in_turn() {
    let temporal =
        |kind: &str| format!("  type: {kind}\n  rules: [ransom, login]\n  group-by: machineId\n  timespan: 5m");
    let back = [alert("a", "Login", 1, 0), alert("b", "Login", 1, 3), alert("c", "Ransomware", 1, 4)];
    assert_eq!(Street::over(&temporal("temporal")).chosen(&back), ["c"]);
    assert_eq!(Street::over(&temporal("temporal_ordered")).chosen(&back), [""; 0]);
    let forth = [alert("a", "Ransomware", 1, 0), alert("b", "Login", 1, 5), alert("c", "Login", 1, 6)];
    assert_eq!(Street::over(&temporal("temporal_ordered")).chosen(&forth), ["b"]);

    let either = format!("{}\n  condition: login and not ransom", temporal("temporal"));
    assert_eq!(Street::over(&either).chosen(&[alert("a", "Ransomware", 1, 0), alert("b", "Login", 1, 9)]), ["b"]);
    let some = format!("{}\n  condition: all of *", temporal("temporal"));
    assert_eq!(Street::over(&some).chosen(&back[2..]), [""; 0]);
}

#[test]
fn an_alias_names_another_field_in_each_rule() {
    let mut street = Street::over(
        "  type: temporal\n  rules: [ransom, login]\n  group-by: [user]\n  timespan: 5m\n  aliases:\n    user: { ransom: relatedUser.userName, login: account }",
    );
    let (mut ransom, mut login) = (alert("a", "Ransomware", 1, 0), alert("b", "Login", 2, 1));
    ransom["relatedUser"] = json!({"userName": "ann"});
    login["account"] = "ann".into();
    assert_eq!(street.chosen(&[ransom, login]), ["b"]);
}

#[test]
fn a_correlation_may_count_another() {
    let inner = "title: Twice\nname: twice\ncorrelation: { type: event_count, rules: [ransom], group-by: [machineId], timespan: 10m, condition: { gte: 2 } }\n---\n";
    let outer = over_two_rules("  type: temporal\n  rules: [twice, login]\n  group-by: [machineId]\n  timespan: 1h");
    let mut street = Street::new(&format!("{inner}{outer}"));
    let alerts = [
        alert("a", "Ransomware", 1, 0),
        alert("b", "Login", 1, 1),
        alert("c", "Ransomware", 1, 20),
        alert("d", "Ransomware", 1, 25),
    ];
    assert_eq!(street.chosen(&alerts), ["d"]);
}

#[test]
fn a_base_with_a_response_acts_by_itself_too_and_the_most_urgent_speaks_first() {
    let text = over_two_rules(
        "  type: event_count\n  rules: Ransom\n  timespan: 1h\n  group-by: machineId\n  condition: { gte: 2 }",
    );
    let text =
        text.replacen("condition: s }\n---", "condition: s }\nresponse: { action: restrict }\ntests: []\n---", 1);
    let loaded = load(&text).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "login is idle: {:?}", loaded.warnings);
    let mut street = Street { memory: loaded.set.memory(), set: loaded.set, machine: None, tenant: "contoso" };
    let ids = |hits: Vec<Hit>| hits.iter().map(|hit| hit.rule.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(street.comes(&alert("a", "Ransomware", 1, 0))), ["Ransom"]);
    assert_eq!(ids(street.comes(&alert("b", "Ransomware", 1, 1))), ["several", "Ransom"]);
    assert_eq!((street.set.rules().len(), street.set.loaded()), (2, 3));
}

#[test]
fn what_is_too_old_is_forgotten_but_for_a_day_in_which_alerts_may_be_late() {
    let mut street = Street::over(THREE_IN_AN_HOUR);
    street.chosen(&[alert("a", "Login", 1, -25 * 60), alert("b", "Login", 1, 0)]);
    assert_eq!(street.memory.len(), 2);
    street.chosen(&[alert("c", "Login", 1, 1)]);
    assert_eq!(street.memory.len(), 2);
    // A clock that is years ahead makes nobody forget.
    street.chosen(&[alert("d", "Login", 1, 60 * 24 * 3_000)]);
    assert_eq!(street.memory.len(), 3);
    assert_eq!(street.set.longest_timespan(), Some(std::time::Duration::from_secs(3_600)));
}

#[test]
fn a_set_without_correlations_remembers_nothing_and_the_memory_of_another_set_counts_nothing() {
    let mut street = Street::new(&super::restrict("  s: { category: Login }\n  condition: s"));
    assert_eq!((street.set.longest_timespan(), street.set.reach()), (None, None));
    street.chosen(&[alert("a", "Login", 1, 0)]);
    assert!(street.memory.is_empty());

    let mut one = Street::over(THREE_IN_AN_HOUR);
    one.chosen(&[alert("a", "Login", 1, 0), alert("b", "Login", 1, 0)]);
    let mut two = Street::over(&THREE_IN_AN_HOUR.replace("gte: 3", "gte: 2"));
    two.memory = one.memory.clone();
    let hits = two.with(&alert("c", "Login", 1, 0), |set, memory, event| set.evaluate(event, memory, TODAY).hits.len());
    assert_eq!(hits, 0);
    assert_eq!(two.chosen(&[alert("c", "Login", 1, 0), alert("d", "Login", 1, 0)]), ["d"]);
}

#[test]
fn a_flood_is_remembered_within_bounds_and_answered_quickly() {
    let mut street = Street::over(&THREE_IN_AN_HOUR.replace("  group-by: [machineId]\n", ""));
    for index in 0..1_500 {
        let hits = street.comes(&alert(&format!("a{index}"), "Login", index, i64::from(index) / 40));
        assert_eq!(hits.is_empty(), index < 2, "{index}");
        let shown = hits.iter().flat_map(|hit| &hit.matched).find(|field| field.field == "correlation.alerts");
        assert!(shown.is_none_or(|alerts| alerts.value.as_array().unwrap().len() <= 20));
    }
    assert!(!street.memory.has_overflowed());
}
