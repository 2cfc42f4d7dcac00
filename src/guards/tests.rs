//! Each guard through one helper, and the order between them.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::Outcome;

fn now() -> Timestamp {
    "2026-11-24T03:00:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn machine(extra: Value) -> Machine {
    let mut record = json!({"id": "1e5bc9d7e413ddd7902c2932e418702b84d0cc07", "osPlatform": "Windows11"});
    record.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Machine::from_record(record.as_object().unwrap().clone()).unwrap()
}

fn config() -> GuardsConfig {
    crate::config::default_guards().unwrap()
}

/// A rule's choice that passes every guard, to be spoilt by each test.
struct Case {
    rule_id: RuleId,
    ask: fn(&mut Ask<'_>),
    machine: Option<Machine>,
    config: GuardsConfig,
}

impl Default for Case {
    fn default() -> Self {
        Self { rule_id: RuleId::new("rule").unwrap(), ask: |_| (), machine: Some(machine(json!({}))), config: config() }
    }
}

impl Case {
    fn judge(&self, spoil: impl FnOnce(&mut Facts<'_>)) -> Verdict {
        let mut ask = plain_ask(&self.rule_id);
        (self.ask)(&mut ask);
        let mut facts = plain_facts(self.machine.as_ref());
        spoil(&mut facts);
        judge(&ask, &facts, &self.config, now())
    }
}

fn span(text: &str) -> &'static Span {
    Box::leak(Box::new(text.parse().unwrap()))
}

fn plain_ask(rule_id: &RuleId) -> Ask<'_> {
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

fn plain_facts(machine: Option<&Machine>) -> Facts<'_> {
    let hour_ago = AlertTime::from_timestamp(ago(1));
    Facts { fleet: Some(1_000), ..Facts::of_nothing_done(machine, hour_ago, Some("New"), Some(hour_ago)) }
}

fn restrict(state: State) -> Option<OpenRestrict> {
    Some(OpenRestrict { id: ActionId::generate(), state })
}

#[track_caller]
fn check(verdict: &Verdict, outcome: Outcome, reason_starts: &str) {
    assert_eq!(verdict.outcome, outcome, "{verdict:?}");
    assert!(verdict.reason.starts_with(reason_starts), "{verdict:?}");
}

#[test]
fn a_choice_that_no_guard_minds_is_acted_on() {
    let verdict = Case::default().judge(|_| ());
    assert_eq!((verdict.outcome, verdict.effect), (Outcome::Acted, Effect::Queue));
}

#[test]
fn protection_speaks_before_everything_else() {
    let case = Case {
        ask: |ask| ask.protected = Some("protected by rule X".into()),
        machine: Some(machine(json!({"osPlatform": "Ubuntu"}))),
        ..Case::default()
    };
    check(&case.judge(|facts| facts.alert_status = Some("Resolved")), Outcome::Protected, "protected by rule X");
}

#[test]
fn what_the_api_does_not_support_is_suppressed() {
    for record in [json!({"osPlatform": "Ubuntu"}), json!({"onboardingStatus": "CanBeOnboarded"})] {
        let case = Case { machine: Some(machine(record)), ..Case::default() };
        check(&case.judge(|_| ()), Outcome::Suppressed, "ineligible:");
    }
}

#[test]
fn an_old_or_resolved_alert_is_stale() {
    let case = Case::default();
    check(&case.judge(|facts| facts.alert_status = Some("Resolved")), Outcome::Suppressed, "stale:");
    let old = AlertTime::from_timestamp(ago(25));
    check(&case.judge(|facts| facts.alert_last_update = old), Outcome::Suppressed, "stale:");
}

#[test]
fn shadow_changes_no_action() {
    let case = Case { ask: |ask| ask.shadow = true, ..Case::default() };
    let verdict = case.judge(|facts| facts.open_restrict = restrict(State::Queued));
    assert_eq!((verdict.outcome, verdict.effect), (Outcome::Shadowed, Effect::None));
    let case = Case { config: GuardsConfig { mode: Mode::Shadow, ..config() }, ..Case::default() };
    check(&case.judge(|_| ()), Outcome::Shadowed, "shadow: guards.mode");
}

#[test]
fn an_open_restrict_is_joined_unless_it_is_held() {
    let case = Case::default();
    for state in [State::Queued, State::Sending, State::Uncertain, State::Submitted] {
        check(&case.judge(|facts| facts.open_restrict = restrict(state)), Outcome::Coalesced, "open:");
    }
    let held = restrict(State::Held);
    let verdict = case.judge(|facts| facts.open_restrict = held);
    assert_eq!((verdict.outcome, verdict.effect), (Outcome::Acted, Effect::Promote(held.unwrap().id)));
}

#[test]
fn a_second_rule_that_would_be_held_too_joins_what_is_held() {
    let case = Case { ask: |ask| ask.needs_approval = true, ..Case::default() };
    let held = restrict(State::Held);
    let verdict = case.judge(|facts| facts.open_restrict = held);
    assert_eq!(verdict.outcome, Outcome::Coalesced);
    assert_eq!(verdict.effect, Effect::Join { action: Some(held.unwrap().id) });
}

#[test]
fn a_restriction_by_anyone_is_joined() {
    let case = Case::default();
    let verdict = case.judge(|facts| facts.in_force = Some(InForce { action_id: None, done: true }));
    assert_eq!((verdict.outcome, verdict.effect), (Outcome::Coalesced, Effect::Join { action: None }));
}

#[test]
fn only_an_expiry_release_that_is_unsent_gives_way() {
    let case = Case::default();
    let id = ActionId::generate();
    let judge = |state, by_expiry| {
        case.judge(|facts| {
            facts.in_force = Some(InForce { action_id: None, done: true });
            facts.open_release = Some(OpenRelease { id, state, by_expiry, asked_at: Timestamp::UNIX_EPOCH });
        })
    };
    assert!(matches!(judge(State::Queued, true).effect, Effect::KeepRestricted { release, .. } if release == id));
    assert_eq!(judge(State::Submitted, true).outcome, Outcome::Acted);
    assert_eq!(judge(State::Queued, false).outcome, Outcome::Acted);
}

#[test]
fn a_human_override_holds_for_12_hours_or_for_the_rules_cooldown() {
    let released = |hours| Some((ago(hours), "a human released the device".to_owned()));
    let plain = Case::default();
    check(&plain.judge(|facts| facts.override_at = released(11)), Outcome::Held, "human_override: ");
    check(&plain.judge(|facts| facts.override_at = released(12)), Outcome::Acted, "");
    let short = Case { ask: |ask| ask.cooldown = Some(span("1h")), ..Case::default() };
    check(&short.judge(|facts| facts.override_at = released(2)), Outcome::Acted, "");
    check(&short.judge(|facts| facts.expired_at = Some(ago(0))), Outcome::Held, "cooldown: ");
    check(&plain.judge(|facts| facts.expired_at = Some(ago(0))), Outcome::Acted, "");
}

#[test]
fn an_expiry_release_that_was_sent_counts_for_a_cooldown_that_the_rule_gives() {
    let sent = |facts: &mut Facts<'_>| {
        facts.open_release = Some(OpenRelease {
            id: ActionId::generate(),
            state: State::Submitted,
            by_expiry: true,
            asked_at: Timestamp::UNIX_EPOCH,
        });
    };
    check(&Case::default().judge(sent), Outcome::Acted, "");
    let given = Case { ask: |ask| ask.cooldown = Some(span("1h")), ..Case::default() };
    check(&given.judge(sent), Outcome::Held, "cooldown: ");
    let none = Case { ask: |ask| ask.cooldown = Some(span("0s")), ..Case::default() };
    check(&none.judge(sent), Outcome::Acted, "");
}

#[test]
fn the_first_guard_in_the_order_of_the_contract_decides() {
    type Spoil = fn(&mut Case, &mut Ask<'_>, &mut Facts<'_>);
    let order: [(&str, Spoil); 14] = [
        ("protected by", |_, ask, _| ask.protected = Some("protected by the rule X".to_owned())),
        ("ineligible: ", |case, _, _| case.machine = Some(machine(json!({"osPlatform": "Ubuntu"})))),
        ("stale: ", |_, _, facts| facts.alert_status = Some("Resolved")),
        ("shadow: ", |_, ask, _| ask.shadow = true),
        ("open: ", |_, _, facts| facts.in_force = Some(InForce { action_id: None, done: true })),
        ("human_override: ", |_, _, facts| facts.override_at = Some((ago(1), "a human released the device".into()))),
        ("cooldown: ", |_, ask, facts| {
            ask.cooldown = Some(span("2h"));
            facts.expired_at = Some(ago(1));
        }),
        ("spent: ", |_, _, facts| facts.spent_at = Some(ago(0))),
        // A part of the second guard, which holds only what would otherwise be done.
        ("platform_unknown: ", |case, _, _| case.machine = Some(machine(json!({"osPlatform": "Windows12"})))),
        ("machine_unknown: ", |case, _, _| case.machine = None),
        ("rule_limit: ", |_, ask, facts| {
            ask.limit = Some((1, span("1h")));
            facts.rule_devices = 1;
        }),
        ("blast_radius: ", |_, _, facts| facts.blast_devices = 50),
        ("fleet_percent: ", |_, _, facts| facts.restricted_devices = 50),
        ("approval: ", |_, ask, _| ask.needs_approval = true),
    ];
    for (place, (begins, _)) in order.iter().enumerate() {
        // This guard and all that come after it have something to say.
        let mut case = Case::default();
        let rule_id = case.rule_id.clone();
        let (mut ask, mut facts) = (plain_ask(&rule_id), plain_facts(None));
        for (_, spoil) in order[place..].iter().rev() {
            spoil(&mut case, &mut ask, &mut facts);
        }
        facts.machine = case.machine.as_ref();
        let verdict = judge(&ask, &facts, &case.config, now());
        assert!(verdict.reason.starts_with(begins), "{begins}: {verdict:?}");
    }
}

#[test]
fn a_windows_that_nobody_knows_yet_is_held_and_not_dropped() {
    let unknown = || Case { machine: Some(machine(json!({"osPlatform": "Windows12"}))), ..Case::default() };
    let verdict = unknown().judge(|_| ());
    check(&verdict, Outcome::Held, "platform_unknown: ");
    assert_eq!(verdict.effect, Effect::Hold(HoldKind::PlatformUnknown));
    assert!(verdict.reason.contains("Windows12"), "{}", verdict.reason);
    let protected = Case { ask: |ask| ask.protected = Some("protected by rule X".into()), ..unknown() };
    check(&protected.judge(|_| ()), Outcome::Protected, "protected by rule X");
    // It joins what is held already, and asks nobody about what would not be done anyway.
    check(
        &unknown().judge(|facts| facts.open_restrict = restrict(State::Held)),
        Outcome::Coalesced,
        "a restrict of this",
    );
    check(&unknown().judge(|facts| facts.open_restrict = restrict(State::Queued)), Outcome::Coalesced, "open: ");
    check(&unknown().judge(|facts| facts.alert_status = Some("Resolved")), Outcome::Suppressed, "stale: ");
    check(&unknown().judge(|facts| facts.spent_at = Some(ago(0))), Outcome::Suppressed, "spent: ");
    let shadow = Case { ask: |ask| ask.shadow = true, ..unknown() };
    check(&shadow.judge(|_| ()), Outcome::Shadowed, "shadow: ");
}

#[test]
fn a_multi_session_desktop_is_acted_on() {
    for name in ["Windows10WVD", "Windows11WVD", "windows 11"] {
        let case = Case { machine: Some(machine(json!({"osPlatform": name}))), ..Case::default() };
        check(&case.judge(|_| ()), Outcome::Acted, "");
    }
}

#[test]
fn a_resolved_alert_is_stale_in_any_case() {
    for status in ["Resolved", "resolved", "RESOLVED", " resolved "] {
        check(&Case::default().judge(|facts| facts.alert_status = Some(status)), Outcome::Suppressed, "stale:");
    }
    check(&Case::default().judge(|facts| facts.alert_status = Some("InProgress")), Outcome::Acted, "");
}

#[test]
fn an_alert_is_spent_until_it_tells_of_something_later() {
    let case = Case::default();
    check(&case.judge(|facts| facts.spent_at = Some(ago(0))), Outcome::Suppressed, "spent:");
    check(&case.judge(|facts| facts.spent_at = Some(ago(2))), Outcome::Acted, "");
    let verdict = case.judge(|facts| {
        facts.spent_at = Some(ago(2));
        facts.alert_last_event = None;
    });
    check(&verdict, Outcome::Suppressed, "spent:");
}

#[test]
fn without_a_machine_record_it_is_held() {
    let case = Case { machine: None, ..Case::default() };
    check(&case.judge(|_| ()), Outcome::Held, "machine_unknown: ");
}

#[test]
fn beyond_a_cap_it_is_held_and_not_dropped() {
    let case = Case { ask: |ask| ask.limit = Some((10, span("1h"))), ..Case::default() };
    check(&case.judge(|facts| facts.rule_devices = 9), Outcome::Acted, "");
    check(&case.judge(|facts| facts.rule_devices = 10), Outcome::Held, "rule_limit: ");
    check(&case.judge(|facts| facts.blast_devices = 50), Outcome::Held, "blast_radius: ");
    check(&case.judge(|facts| facts.restricted_devices = 49), Outcome::Acted, "");
    check(&case.judge(|facts| facts.restricted_devices = 50), Outcome::Held, "fleet_percent: ");
}

#[test]
fn a_small_fleet_may_have_five_restricted_and_an_unknown_fleet_none() {
    let case = Case::default();
    let with = |fleet, restricted| {
        case.judge(|facts| {
            facts.fleet = fleet;
            facts.restricted_devices = restricted;
        })
    };
    check(&with(Some(10), 4), Outcome::Acted, "");
    check(&with(Some(10), 5), Outcome::Held, "fleet_percent: ");
    check(&with(None, 0), Outcome::Held, "fleet_percent: ");
    let off = Case { config: GuardsConfig { fleet_percent: 100, ..config() }, ..Case::default() };
    check(&off.judge(|facts| facts.fleet = None), Outcome::Acted, "");
}

#[test]
fn the_device_of_a_drill_is_protected_whatever_a_rule_says() {
    let windows = machine(json!({}));
    let rule_id = RuleId::new("match-everything").unwrap();
    let facts = Facts { drill: true, ..plain_facts(Some(&windows)) };
    check(&judge(&plain_ask(&rule_id), &facts, &config(), now()), Outcome::Protected, "drill: ");
}

#[test]
fn the_gate_fails_closed() {
    let windows = machine(json!({}));
    let pass = GateFacts {
        drill: false,
        machine: Some(&windows),
        protected: None,
        want: Some(Want::Yes),
        all_resolved: false,
        override_at: None,
        decided_at: ago(1),
        restricted: false,
    };
    assert_eq!(gate(&pass, &config()), GateVerdict::Pass);

    let ubuntu = machine(json!({"osPlatform": "Ubuntu"}));
    let cancelled = [
        GateFacts { drill: true, ..pass.clone() },
        GateFacts { drill: true, want: None, ..pass.clone() },
        GateFacts { protected: Some("protected".into()), ..pass.clone() },
        GateFacts { machine: Some(&ubuntu), ..pass.clone() },
        GateFacts { want: Some(Want::No("the rule is gone".into())), ..pass.clone() },
        GateFacts { all_resolved: true, ..pass.clone() },
        GateFacts { restricted: true, ..pass.clone() },
        // What is no longer wanted is stopped, whatever else is not known of the device.
        GateFacts { machine: None, want: Some(Want::No("the rule is gone".into())), ..pass.clone() },
    ];
    for facts in cancelled {
        assert!(matches!(gate(&facts, &config()), GateVerdict::Cancel(_)), "{facts:?}");
    }
    let new_windows = machine(json!({"osPlatform": "Windows12"}));
    let held = [
        (GateFacts { machine: None, ..pass.clone() }, HoldKind::MachineUnknown),
        (GateFacts { machine: Some(&new_windows), ..pass.clone() }, HoldKind::PlatformUnknown),
        (
            GateFacts { override_at: Some((ago(0), "a human released it".into())), ..pass.clone() },
            HoldKind::HumanOverride,
        ),
    ];
    for (facts, kind) in held {
        assert!(matches!(gate(&facts, &config()), GateVerdict::Hold(held, _) if held == kind), "{facts:?}");
    }
    let shadow = GuardsConfig { mode: Mode::Shadow, ..config() };
    assert!(matches!(gate(&pass, &shadow), GateVerdict::Cancel(_)));
    let on_a_new_windows = GateFacts { machine: Some(&new_windows), want: None, ..pass.clone() };
    assert_eq!(gate(&on_a_new_windows, &config()), GateVerdict::Pass, "a human has approved it");
    let asked_by_a_human = GateFacts { want: None, all_resolved: true, ..pass };
    assert_eq!(gate(&asked_by_a_human, &shadow), GateVerdict::Pass, "mode and alerts do not bind a human");
}

proptest! {
    /// Whatever else holds: a protected device is not sent, nor one without a record, nor anything in shadow that no
    /// human asked for. What passes is wanted by a rule or by a human.
    #[test]
    fn nothing_passes_the_gate_that_must_not(
        [protected, all_resolved, restricted, shadow] in any::<[bool; 4]>(),
        record in prop::option::of(prop_oneof!["Windows11", "Ubuntu", "Windows12"]),
        want in prop::option::of(any::<bool>()),
        overridden in prop::option::of(0..3i64),
    ) {
        let known = record.as_deref().map(|platform| machine(json!({"osPlatform": platform})));
        let facts = GateFacts {
            drill: false,
            machine: known.as_ref(),
            protected: protected.then(|| "protected by rule X".to_owned()),
            want: want.map(|yes| if yes { Want::Yes } else { Want::No("the rule is gone".to_owned()) }),
            all_resolved,
            override_at: overridden.map(|hours| (ago(hours), "a human released it".to_owned())),
            decided_at: ago(1),
            restricted,
        };
        let config = GuardsConfig { mode: if shadow { Mode::Shadow } else { Mode::Enforce }, ..config() };
        let verdict = gate(&facts, &config);
        if protected {
            prop_assert_eq!(&verdict, &GateVerdict::Cancel("protected by rule X".to_owned()));
        }
        if verdict == GateVerdict::Pass {
            prop_assert!(known.as_ref().is_some_and(|machine| why_ineligible(machine).is_none()));
            prop_assert!(record.as_deref() != Some("Windows12") || want.is_none());
            prop_assert!(!restricted && overridden != Some(0));
            prop_assert!(want.is_none() || (want == Some(true) && !shadow && !all_resolved));
        }
    }
}
