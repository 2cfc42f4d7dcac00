//! What every guard says of a choice, even after the first that speaks: for people who ask why.
//!
//! Absent: what a guard looks for, which [`super::judge`] and this take from the same table.

use jiff::Timestamp;

use super::{Ask, DEFAULT_COOLDOWN_SECONDS, Effect, Facts, GUARDS, OpenRestrict, Verdict, act, fleet_share};
use crate::config::GuardsConfig;
use crate::model::{ActionId, Span, State};

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
        "ineligible" => match facts.machine.and_then(|machine| machine.os_platform()) {
            Some(platform) => format!("the restrict API supports {platform}"),
            None => "there is no machine record that would tell".to_owned(),
        },
        "stale" => {
            format!("last updated {}, within {} (guards.max_alert_age)", facts.alert_last_update, config.max_alert_age)
        }
        "shadow" => "neither the rule nor guards.mode is in shadow".to_owned(),
        "open" => why_nothing_is_open(facts),
        "override" => why_no_cooldown(ask, facts),
        "spent" => "this alert tells of something that no ended restriction answered".to_owned(),
        "machine" => "there is a machine record".to_owned(),
        "limits" => counted(ask, facts, config),
        "approval" => "the rule asks for none".to_owned(),
        _ => "it lets it pass".to_owned(),
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
    let cooldown = ask.cooldown.cloned().unwrap_or_else(|| Span::seconds(DEFAULT_COOLDOWN_SECONDS));
    match &facts.override_at {
        Some((at, what)) => format!("{what} at {at:.0}, longer ago than the cooldown of {cooldown}"),
        None => format!("nobody undid a restriction of the device within {cooldown}"),
    }
}

/// `0 of 10 devices by this rule within 1h, 3 of 50 by all within 1h, 12 of 250 at once`
fn counted(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig) -> String {
    let mut counts = Vec::new();
    if let Some((most, per)) = ask.limit {
        counts.push(format!("{} of {most} other devices by this rule within {per}", facts.rule_devices));
    }
    let (blast, most, per) = (facts.blast_devices, config.blast_devices, &config.blast_per);
    counts.push(format!("{blast} of {most} by all rules within {per}"));
    // A fleet without end is one that nobody counted.
    if let Some(fleet) = facts.fleet.filter(|fleet| config.fleet_percent < 100 && *fleet < u64::MAX) {
        counts.push(format!("{} of {} restricted at once", facts.restricted_devices, fleet_share(fleet, config)));
    }
    counts.join(", ")
}
