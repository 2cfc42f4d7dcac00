//! What every guard says of a choice, even after the first that speaks: for people who ask why.
//!
//! Absent: what a guard looks for, which [`super::judge`] and this take from the same table.

use jiff::Timestamp;

use super::{
    Ask, DEFAULT_COOLDOWN_SECONDS, Effect, Facts, GUARDS, OpenRestrict, Verdict, act, fleet_share, why_platform_unknown,
};
use crate::config::GuardsConfig;
use crate::model::{ActionId, State};

/// Everything that the guards have to say of one choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    /// Each guard, in its order.
    pub words: Vec<Word>,
    /// What becomes of the choice: just what [`super::judge`] says.
    pub verdict: Verdict,
}

/// What one guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The guard's name.
    pub guard: &'static str,
    /// Its verdict; `None`: it lets the choice pass.
    pub verdict: Option<Verdict>,
    /// Why, in words, also why it lets it pass.
    pub reason: String,
}

/// Asks every guard.
///
/// A guard after `open` is asked as though there were nothing open, if `open` spoke: it would not have been
/// asked at all otherwise.
#[must_use]
pub fn hear(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig, now: Timestamp) -> Hearing {
    let mut facts = facts.clone();
    let mut words = Vec::with_capacity(GUARDS.len());
    let mut first = None;
    for (name, guard) in GUARDS {
        let verdict = guard(ask, &facts, config, now);
        if first.is_none() {
            first.clone_from(&verdict);
        }
        let reason = match &verdict {
            Some(verdict) => verdict.reason.clone(),
            None => why_it_passes(name, ask, &facts, config),
        };
        if name == "open" && verdict.is_some() {
            facts = Facts { open_restrict: None, open_release: None, in_force: None, ..facts };
        }
        words.push(Word { guard: name, verdict, reason });
    }
    Hearing { words, verdict: first.unwrap_or_else(|| act(&facts)) }
}

/// The facts as the next rule on the same device finds them, once this verdict was carried out.
pub fn carry_over(facts: &mut Facts<'_>, verdict: &Verdict) {
    match verdict.effect {
        Effect::None | Effect::Join { .. } => {}
        Effect::Queue => facts.open_restrict = Some(OpenRestrict { id: ActionId::generate(), state: State::Queued }),
        Effect::Promote(id) => facts.open_restrict = Some(OpenRestrict { id, state: State::Queued }),
        Effect::Hold(_) => facts.open_restrict = Some(OpenRestrict { id: ActionId::generate(), state: State::Held }),
        Effect::KeepRestricted { .. } => facts.open_release = None,
    }
}

fn why_it_passes(guard: &str, ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig) -> String {
    match guard {
        "protected" => "no protect rule matches the device".to_owned(),
        "ineligible" => why_eligible(facts),
        "stale" => {
            format!("last updated {}, within {} (guards.max_alert_age)", facts.alert_last_update, config.max_alert_age)
        }
        "shadow" => "neither the rule nor guards.mode is in shadow".to_owned(),
        "open" => why_nothing_is_open(facts),
        "override" => why_no_cooldown(ask, facts),
        "spent" => why_not_spent(facts),
        "machine" => "there is a machine record".to_owned(),
        "limits" => counted(ask, facts, config),
        "approval" => "the rule asks for none".to_owned(),
        _ => "it lets it pass".to_owned(),
    }
}

fn why_eligible(facts: &Facts<'_>) -> String {
    let Some(machine) = facts.machine else {
        return "there is no machine record that would tell".to_owned();
    };
    match (why_platform_unknown(machine), machine.os_platform()) {
        (Some(words), _) => format!("{words}, and a later guard keeps it from acting"),
        (None, Some(platform)) => format!("the restrict API supports {platform}"),
        (None, None) => "there is no machine record that would tell".to_owned(),
    }
}

fn why_nothing_is_open(facts: &Facts<'_>) -> String {
    match (facts.open_restrict, facts.open_release, facts.in_force) {
        (Some(restrict), _, _) => format!("the restrict of this device is only {}", restrict.state),
        (None, Some(release), _) => format!("a release of this device is {}, which shields nothing", release.state),
        (None, None, _) => "the device is not restricted, and nothing is under way".to_owned(),
    }
}

fn why_no_cooldown(ask: &Ask<'_>, facts: &Facts<'_>) -> String {
    let cooldown = match ask.cooldown {
        Some(cooldown) => format!("the rule's cooldown of {cooldown}"),
        None => format!("the cooldown of {}h", DEFAULT_COOLDOWN_SECONDS / 3_600),
    };
    match &facts.override_at {
        Some((at, what)) => format!("{what} at {at:.0}, before {cooldown}"),
        None => format!("nobody undid a restriction of the device within {cooldown}"),
    }
}

fn why_not_spent(facts: &Facts<'_>) -> String {
    match facts.spent_at {
        Some(ended) => format!("this alert restricted the device until {ended:.0}, and tells of something later"),
        None => "no restriction that this alert asked for has ended".to_owned(),
    }
}

/// `other devices restricted: 0 of 10 by this rule within 1h, 3 of 50 in all within 1h, 12 of 250 at once`
fn counted(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig) -> String {
    let mut counts = Vec::new();
    if let Some((most, per)) = ask.limit {
        counts.push(format!("{} of {most} by this rule within {per}", facts.rule_devices));
    }
    let (blast, most, per) = (facts.blast_devices, config.blast_devices, &config.blast_per);
    counts.push(format!("{blast} of {most} in all within {per}"));
    // A fleet without end is one that nobody counted.
    if let Some(fleet) = facts.fleet.filter(|fleet| config.fleet_percent < 100 && *fleet < u64::MAX) {
        counts.push(format!("{} of {} at once", facts.restricted_devices, fleet_share(fleet, config)));
    }
    format!("other devices restricted: {}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{OpenRelease, judge};
    use super::*;
    use crate::config::Mode;
    use crate::model::{AlertTime, Level, Machine, RuleId, Span};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn config(shadow: bool) -> GuardsConfig {
        let config = crate::config::default_guards().unwrap();
        GuardsConfig { mode: if shadow { Mode::Shadow } else { Mode::Enforce }, ..config }
    }

    fn machine(platform: &str) -> Machine {
        let record = json!({"id": "1e5bc9d7e413ddd7902c2932e418702b84d0cc07", "osPlatform": platform});
        Machine::from_record(record.as_object().unwrap().clone()).unwrap()
    }

    fn hours_ago(hours: i64) -> Timestamp {
        NOW - SignedDuration::from_hours(hours)
    }

    /// A choice that passes every guard.
    fn passing(machine: Option<&Machine>) -> Facts<'_> {
        let hour_ago = AlertTime::from_timestamp(hours_ago(1));
        Facts { fleet: Some(1_000), ..Facts::of_nothing_done(machine, hour_ago, Some("New"), Some(hour_ago)) }
    }

    fn ask(rule_id: &RuleId) -> Ask<'_> {
        Ask {
            rule_id,
            level: Level::High,
            shadow: false,
            needs_approval: false,
            cooldown: None,
            limit: None,
            protected: None,
        }
    }

    fn heard(facts: &Facts<'_>) -> Hearing {
        hear(&ask(&RuleId::new("rule").unwrap()), facts, &config(false), NOW)
    }

    fn spoke(hearing: &Hearing) -> Vec<&'static str> {
        hearing.words.iter().filter(|word| word.verdict.is_some()).map(|word| word.guard).collect()
    }

    #[test]
    fn a_choice_that_passes_is_told_why_by_every_guard() {
        let windows = machine("Windows11");
        let hearing = heard(&passing(Some(&windows)));
        assert_eq!(spoke(&hearing), [""; 0]);
        let told: Vec<String> = hearing.words.iter().map(|word| format!("{}: {}", word.guard, word.reason)).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        protected: no protect rule matches the device
        ineligible: the restrict API supports Windows11
        stale: last updated 1969-12-31T23:00:00Z, within 24h (guards.max_alert_age)
        shadow: neither the rule nor guards.mode is in shadow
        open: the device is not restricted, and nothing is under way
        override: nobody undid a restriction of the device within the cooldown of 12h
        spent: no restriction that this alert asked for has ended
        machine: there is a machine record
        limits: other devices restricted: 0 of 50 in all within 1h, 0 of 50 at once
        approval: the rule asks for none
        ");
    }

    #[test]
    fn the_guards_after_the_first_that_speaks_are_heard_too() {
        let ubuntu = machine("Ubuntu");
        let facts = Facts { alert_status: Some("Resolved"), blast_devices: 50, ..passing(Some(&ubuntu)) };
        assert_eq!(spoke(&heard(&facts)), ["ineligible", "stale", "limits"]);
    }

    #[test]
    fn what_is_open_is_not_held_against_the_guards_after_it() {
        let open = OpenRestrict { id: ActionId::generate(), state: State::Submitted };
        let facts = Facts { open_restrict: Some(open), blast_devices: 50, ..passing(None) };
        let hearing = heard(&facts);
        assert_eq!(spoke(&hearing), ["open", "machine", "limits"]);
        assert!(hearing.words.iter().all(|word| !word.reason.contains("already held")), "{hearing:#?}");
    }

    #[test]
    fn the_next_rule_finds_what_the_one_before_it_did() {
        let windows = machine("Windows11");
        let mut facts = passing(Some(&windows));
        let first = heard(&facts).verdict;
        carry_over(&mut facts, &first);
        assert_eq!(spoke(&heard(&facts)), ["open"]);
    }

    proptest! {
        #[test]
        fn the_first_that_does_not_pass_is_what_the_judge_says(
            flags in proptest::array::uniform8(any::<bool>()),
            platform in proptest::option::of(prop_oneof!["Windows11", "Ubuntu", "Windows12"]),
            state in proptest::option::of(0..5usize),
            release in proptest::option::of((any::<bool>(), any::<bool>())),
            hours in proptest::array::uniform4(proptest::option::of(0..30i64)),
            counts in proptest::array::uniform3(0..60u64),
            fleet in proptest::option::of(0..2_000u64),
        ) {
            let [protected, shadow, mode, approval, resolved, limited, in_force, cooled] = flags;
            let machine = platform.as_deref().map(machine);
            let (rule_id, span) = (RuleId::new("rule").unwrap(), Span::seconds(3_600));
            let ask = Ask {
                shadow,
                needs_approval: approval,
                cooldown: cooled.then_some(&span),
                limit: limited.then_some((10, &span)),
                protected: protected.then(|| "protected by a rule".to_owned()),
                ..ask(&rule_id)
            };
            let states = [State::Held, State::Queued, State::Sending, State::Uncertain, State::Submitted];
            let id = ActionId::generate();
            let facts = Facts {
                alert_status: resolved.then_some("Resolved"),
                alert_last_update: AlertTime::from_timestamp(hours_ago(hours[0].unwrap_or(0))),
                open_restrict: state.map(|state| OpenRestrict { id, state: states[state] }),
                open_release: release.map(|(sent, by_expiry)| {
                    let state = if sent { State::Submitted } else { State::Queued };
                    OpenRelease { id, state, by_expiry, asked_at: Timestamp::UNIX_EPOCH }
                }),
                in_force: in_force.then_some(super::super::InForce { action_id: Some(id), done: true }),
                override_at: hours[1].map(|hours| (hours_ago(hours), "a human released it".to_owned())),
                expired_at: hours[2].map(hours_ago),
                spent_at: hours[3].map(hours_ago),
                rule_devices: counts[0],
                blast_devices: counts[1],
                restricted_devices: counts[2],
                fleet,
                ..passing(machine.as_ref())
            };
            let judged = judge(&ask, &facts, &config(mode), NOW);
            let hearing = hear(&ask, &facts, &config(mode), NOW);
            prop_assert_eq!(&hearing.verdict, &judged);
            prop_assert_eq!(protected, judged.outcome == crate::model::Outcome::Protected, "{:?}", judged);
            let first = hearing.words.iter().find_map(|word| word.verdict.clone());
            match first {
                Some(first) => prop_assert_eq!(first, judged),
                None => prop_assert_eq!(judged.outcome, crate::model::Outcome::Acted),
            }
            let names: Vec<&str> = hearing.words.iter().map(|word| word.guard).collect();
            prop_assert_eq!(names, GUARDS.map(|(name, _)| name));
        }
    }
}
