//! The guards: whether a rule's choice becomes an action, and why or why not.
//!
//! [`judge`] takes values, the time among them, and returns a value: that is why the daemon and
//! everything that explains it can never disagree. [`hear`] asks the same guards for all that they have to
//! say. [`gate()`] is the last look before the API. Pure.
//! Absent: rules (see [`crate::rules`]), the store and the clock.

mod gate;
mod verdict;
mod words;

use jiff::Timestamp;

pub use gate::{GateFacts, GateVerdict, Want, gate};
pub use verdict::{Effect, Verdict};
pub use words::{Hearing, Word, carry_over, hear};

use crate::config::{GuardsConfig, Mode};
use crate::model::machine::Platform;
use crate::model::{ActionId, AlertTime, HoldKind, Level, Machine, RuleId, Span, State};

/// What a rule asks for, of one (alert, device) pair that it chose.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The rule.
    pub rule_id: &'a RuleId,
    /// Its urgency.
    pub level: Level,
    /// Whether the rule itself is in shadow, by `mode` or by Sigma status.
    pub shadow: bool,
    /// Whether the rule asks for an approval.
    pub needs_approval: bool,
    /// How long after an override the rule may not act again; `None` where the rule gives none.
    pub cooldown: Option<&'a Span>,
    /// How many devices the rule may restrict within which time.
    pub limit: Option<(u32, &'a Span)>,
    /// The protect rule that matched the device, and its reason.
    pub protected: Option<String>,
}

/// The restrict of a device that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRestrict {
    /// Its id.
    pub id: ActionId,
    /// Its state.
    pub state: State,
}

/// The release of a device that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRelease {
    /// Its id.
    pub id: ActionId,
    /// Its state.
    pub state: State,
    /// Whether an expiry asked for it, and not a person.
    pub by_expiry: bool,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// What restricts a device now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The action of ours that did; `None` when a human did.
    pub action_id: Option<ActionId>,
    /// Whether it is done, and not still pending at Microsoft.
    pub done: bool,
}

/// Everything that the guards look at, for one (alert, device) pair, as it stands now.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Whether the device is the one of drills, which is none.
    pub drill: bool,
    /// The machine record; `None` when none was to be had in time.
    pub machine: Option<&'a Machine>,
    /// The alert's `lastUpdateTime`.
    pub alert_last_update: AlertTime,
    /// The alert's `status`.
    pub alert_status: Option<&'a str>,
    /// The alert's `lastEventTime`.
    pub alert_last_event: Option<AlertTime>,
    /// Our open restrict of the device.
    pub open_restrict: Option<OpenRestrict>,
    /// Our open release of the device.
    pub open_release: Option<OpenRelease>,
    /// What restricts the device now, by Microsoft's list. `None` while a release that is not ours is
    /// pending there.
    pub in_force: Option<InForce>,
    /// When a human last undid a restriction of the device, and how.
    pub override_at: Option<(Timestamp, String)>,
    /// When an expiry release of the device last ended.
    pub expired_at: Option<Timestamp>,
    /// The latest end of a restriction of the device in which this alert id acted or coalesced.
    pub spent_at: Option<Timestamp>,
    /// Other devices that this rule restricted within its `limit`.
    pub rule_devices: u64,
    /// Other devices that were restricted within `blast_radius.per`.
    pub blast_devices: u64,
    /// Other devices that are restricted now, by anyone, or are about to be.
    pub restricted_devices: u64,
    /// The onboarded, unmerged devices of the tenant; `None` before the first complete inventory.
    pub fleet: Option<u64>,
}

impl<'a> Facts<'a> {
    /// Those of an alert on a device to which nothing was done, in a fleet without end where nothing is restricted.
    #[must_use]
    pub const fn of_nothing_done(
        machine: Option<&'a Machine>,
        alert_last_update: AlertTime,
        alert_status: Option<&'a str>,
        alert_last_event: Option<AlertTime>,
    ) -> Self {
        Self {
            drill: false,
            machine,
            alert_last_update,
            alert_status,
            alert_last_event,
            open_restrict: None,
            open_release: None,
            in_force: None,
            override_at: None,
            expired_at: None,
            spent_at: None,
            rule_devices: 0,
            blast_devices: 0,
            restricted_devices: 0,
            fleet: Some(u64::MAX),
        }
    }
}

/// The cooldown after a human override of a rule that gives none: 12 hours.
const DEFAULT_COOLDOWN_SECONDS: u64 = 12 * 3_600;

/// The share of a small fleet is never less than so many devices.
const LEAST_FLEET_SHARE: u64 = 5;

/// A guard: what it says of a rule's choice; `None` lets it pass.
type Guard = fn(&Ask<'_>, &Facts<'_>, &GuardsConfig, Timestamp) -> Option<Verdict>;

/// The guards by name, in their order.
const GUARDS: [(&str, Guard); 10] = [
    ("protected", |ask, facts, _, _| protected(ask, facts)),
    ("ineligible", ineligible),
    ("stale", |_, facts, config, now| stale(facts, config, now)),
    ("shadow", |ask, _, config, _| shadow(ask, config)),
    ("open", |_, facts, _, _| open(facts)),
    ("override", |ask, facts, _, now| overridden(ask, facts, now)),
    ("spent", |_, facts, _, _| spent(facts)),
    ("machine", |_, facts, config, _| machine_unknown(facts, config)),
    ("limits", |ask, facts, config, _| limits(ask, facts, config)),
    ("approval", |ask, facts, _, _| approval(ask, facts)),
];

/// What becomes of a rule's choice: the first guard that speaks decides.
#[must_use]
pub fn judge(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig, now: Timestamp) -> Verdict {
    GUARDS.iter().find_map(|(_, guard)| guard(ask, facts, config, now)).unwrap_or_else(|| act(facts))
}

/// What a drill's device is protected with, whatever rules say.
const DRILL: &str = "drill: the device of drills is none, and nothing is done to it";

fn protected(ask: &Ask<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    let reason = ask.protected.clone().or_else(|| facts.drill.then(|| DRILL.to_owned()));
    reason.map(Verdict::protected)
}

/// Why the API can not restrict this machine, if it can not.
#[must_use]
pub fn why_ineligible(machine: &Machine) -> Option<String> {
    if let Platform::Unsupported(reason) = machine.platform() {
        return Some(format!("ineligible: {reason}"));
    }
    (!machine.is_onboarded()).then(|| "ineligible: the device is not onboarded to Defender for Endpoint".to_owned())
}

fn ineligible(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig, now: Timestamp) -> Option<Verdict> {
    let machine = facts.machine?;
    if let Some(reason) = why_ineligible(machine) {
        return Some(Verdict::suppressed(reason));
    }
    let words = why_platform_unknown(machine)?;
    // A hold asks a human for a word, which is not worth it where nothing would be done anyway.
    let is_idle = stale(facts, config, now)
        .or_else(|| shadow(ask, config))
        .or_else(|| open(facts))
        .or_else(|| spent(facts))
        .is_some();
    (!is_idle).then(|| hold(facts, HoldKind::PlatformUnknown, words))
}

/// Why nobody can say whether the API restricts this machine, if nobody can.
pub(crate) fn why_platform_unknown(machine: &Machine) -> Option<String> {
    match machine.platform() {
        Platform::Unrecognised(name) => Some(format!(
            "osPlatform {name:?} is neither known to be supported by the restrict API nor known to be too old"
        )),
        _ => None,
    }
}

/// Whether people are done with an alert of this `status`. Microsoft's word is `Resolved`; senders differ in case.
#[must_use]
pub fn is_resolved(status: &str) -> bool {
    status.trim().eq_ignore_ascii_case("Resolved")
}

fn stale(facts: &Facts<'_>, config: &GuardsConfig, now: Timestamp) -> Option<Verdict> {
    if facts.alert_status.is_some_and(is_resolved) {
        return Some(Verdict::suppressed("stale: the alert is Resolved"));
    }
    let oldest = AlertTime::from_timestamp(now).saturating_sub(config.max_alert_age.duration());
    (facts.alert_last_update < oldest).then(|| {
        Verdict::suppressed(format!(
            "stale: last updated {}, more than {} ago (guards.max_alert_age)",
            facts.alert_last_update, config.max_alert_age
        ))
    })
}

fn shadow(ask: &Ask<'_>, config: &GuardsConfig) -> Option<Verdict> {
    if config.mode == Mode::Shadow {
        return Some(Verdict::shadowed("shadow: guards.mode is shadow"));
    }
    ask.shadow.then(|| Verdict::shadowed("shadow: the rule runs in shadow"))
}

fn open(facts: &Facts<'_>) -> Option<Verdict> {
    if let Some(restrict) = facts.open_restrict
        && restrict.state != State::Held
    {
        return Some(Verdict::coalesced(
            format!("open: a restrict of this device is already {}", restrict.state),
            Effect::Join { action: Some(restrict.id) },
        ));
    }
    match facts.open_release {
        None => facts.in_force.map(|in_force| {
            let who = if in_force.action_id.is_some() { "stanch" } else { "a human" };
            let how = if in_force.done { "is already restricted" } else { "is already being restricted" };
            Verdict::coalesced(format!("open: the device {how} by {who}"), Effect::Join { action: in_force.action_id })
        }),
        // Of a device that is not restricted, as after a time-out, nothing could be extended.
        Some(release) if release.by_expiry && release.state == State::Queued => facts.in_force.map(|in_force| {
            Verdict::coalesced(
                "open: the restriction was about to expire and is extended",
                Effect::KeepRestricted { release: release.id, action: in_force.action_id },
            )
        }),
        Some(_) => None,
    }
}

fn overridden(ask: &Ask<'_>, facts: &Facts<'_>, now: Timestamp) -> Option<Verdict> {
    let cooldown = ask.cooldown.map_or(Span::seconds(DEFAULT_COOLDOWN_SECONDS).duration(), Span::duration);
    let within = |at: Timestamp, cooldown: std::time::Duration| {
        now.duration_since(at) < jiff::SignedDuration::try_from(cooldown).unwrap_or(jiff::SignedDuration::MAX)
    };
    if let Some((at, what)) = &facts.override_at
        && within(*at, cooldown)
    {
        let words = format!("{what} at {at:.0}, within the rule's cooldown");
        return Some(hold(facts, HoldKind::HumanOverride, words));
    }
    let given = ask.cooldown?;
    // One that was sent and has not ended yet counts from now on.
    let expiring = facts.open_release.is_some_and(|release| release.by_expiry && release.state.is_on_the_wire());
    let expired_at = if expiring { Some(now) } else { facts.expired_at };
    let expired_at = expired_at.filter(|&at| within(at, given.duration()))?;
    let words =
        format!("a restriction of the device expired at {expired_at:.0}, within the rule's cooldown of {given}");
    Some(hold(facts, HoldKind::Cooldown, words))
}

fn spent(facts: &Facts<'_>) -> Option<Verdict> {
    let ended = facts.spent_at?;
    let is_new = facts.alert_last_event.is_some_and(|event| event > AlertTime::from_timestamp(ended));
    (!is_new).then(|| {
        Verdict::suppressed(format!(
            "spent: this alert already restricted the device until {ended:.0}, and tells of nothing later"
        ))
    })
}

fn machine_unknown(facts: &Facts<'_>, config: &GuardsConfig) -> Option<Verdict> {
    if facts.machine.is_some() {
        return None;
    }
    let words = format!("no machine record within {} (guards.machine_timeout)", config.machine_timeout);
    Some(hold(facts, HoldKind::MachineUnknown, words))
}

fn limits(ask: &Ask<'_>, facts: &Facts<'_>, config: &GuardsConfig) -> Option<Verdict> {
    if let Some((devices, per)) = ask.limit
        && facts.rule_devices >= u64::from(devices)
    {
        let words = format!("the rule restricted {} devices within {per}, its limit is {devices}", facts.rule_devices);
        return Some(hold(facts, HoldKind::RuleLimit, words));
    }
    if facts.blast_devices >= u64::from(config.blast_devices) {
        let words = format!(
            "{} devices were restricted within {}, guards.blast_radius.devices is {}",
            facts.blast_devices, config.blast_per, config.blast_devices
        );
        return Some(hold(facts, HoldKind::BlastRadius, words));
    }
    fleet_percent(facts, config)
}

fn fleet_percent(facts: &Facts<'_>, config: &GuardsConfig) -> Option<Verdict> {
    if config.fleet_percent >= 100 {
        return None;
    }
    let Some(fleet) = facts.fleet else {
        return Some(hold(facts, HoldKind::FleetPercent, "the size of the fleet is not known yet".to_owned()));
    };
    let most = fleet_share(fleet, config);
    (facts.restricted_devices >= most).then(|| {
        let words = format!(
            "{} devices are restricted at once, {most} of {fleet} may be (guards.blast_radius.fleet_percent is {})",
            facts.restricted_devices, config.fleet_percent
        );
        hold(facts, HoldKind::FleetPercent, words)
    })
}

/// How many devices of such a fleet may be restricted at once.
fn fleet_share(fleet: u64, config: &GuardsConfig) -> u64 {
    (fleet.saturating_mul(u64::from(config.fleet_percent)) / 100).max(LEAST_FLEET_SHARE)
}

fn approval(ask: &Ask<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    ask.needs_approval.then(|| hold(facts, HoldKind::Approval, "the rule asks for an approval".to_owned()))
}

/// A hold joins the restrict that is held already, if there is one.
fn hold(facts: &Facts<'_>, kind: HoldKind, words: String) -> Verdict {
    match facts.open_restrict {
        Some(held) => Verdict::coalesced(
            format!(
                "a restrict of this device is already held, and this rule would be too: {}: {words}",
                kind.as_str()
            ),
            Effect::Join { action: Some(held.id) },
        ),
        None => Verdict::held(kind, words),
    }
}

fn act(facts: &Facts<'_>) -> Verdict {
    match facts.open_restrict {
        Some(held) => {
            Verdict::acted("every guard passed; the restrict that was held is queued", Effect::Promote(held.id))
        }
        None => Verdict::acted("every guard passed", Effect::Queue),
    }
}

#[cfg(test)]
mod tests;
