//! One device, as the store would know it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::later;
use crate::config::GuardsConfig;
use crate::guards::{InForce, OpenRestrict};
use crate::model::{ActionId, AlertId, HoldKind, RuleId, Span, State};

/// A restrict.
#[derive(Debug)]
struct Action {
    id: ActionId,
    /// What joined it.
    alerts: HashSet<(AlertId, RuleId)>,
    expires_after: Option<Duration>,
    expires_at: Option<Timestamp>,
}

impl Action {
    fn new() -> Self {
        Self { id: ActionId::generate(), alerts: HashSet::new(), expires_after: None, expires_at: None }
    }

    /// Whether this alert under this rule is new to it.
    fn attach(&mut self, cause: &Cause<'_>) -> bool {
        self.alerts.insert((cause.alert.clone(), cause.rule.clone()))
    }

    /// Lasts as long as the longest that joined asks for: a rule without an expiry clears it.
    fn lasts(&mut self, expires_after: Option<&Span>) {
        let longest = self.expires_after.zip(expires_after.map(Span::duration));
        self.expires_after = longest.map(|(a, b)| a.max(b));
    }
}

/// What asks for a restriction, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause<'a> {
    pub(super) alert: &'a AlertId,
    pub(super) rule: &'a RuleId,
    pub(super) expires_after: Option<&'a Span>,
    pub(super) now: Timestamp,
}

/// What is known of a device.
#[derive(Debug, Default)]
pub(super) struct Device {
    /// A restrict that is held, and until when.
    held: Option<(Action, Timestamp)>,
    /// Our restrict that nothing has undone; `queued` until its alert is decided.
    ours: Option<Action>,
    queued: bool,
    /// A human's restriction, which lies over ours if there are both.
    by_human: bool,
    /// When an alert first joined a restriction of a human's.
    joined_human: HashMap<AlertId, Timestamp>,
    overridden_at: Option<Timestamp>,
    expired_at: Option<Timestamp>,
    released_at: Option<Timestamp>,
    /// When the latest restriction of ours ended in which an alert had a part.
    spent: HashMap<AlertId, Timestamp>,
}

/// How long a hold lasts.
pub(super) fn patience(kind: HoldKind, guards: &GuardsConfig) -> Duration {
    match kind {
        HoldKind::Approval => guards.approval_timeout.duration(),
        _ => guards.max_action_age.duration(),
    }
}

impl Device {
    pub(super) fn open_restrict(&self) -> Option<OpenRestrict> {
        let queued = self.ours.as_ref().filter(|_| self.queued).map(|action| (action, State::Queued));
        let open = queued.or_else(|| self.held.as_ref().map(|(action, _)| (action, State::Held)));
        open.map(|(action, state)| OpenRestrict { id: action.id, state })
    }

    pub(super) fn in_force(&self) -> Option<InForce> {
        if self.by_human {
            return Some(InForce { action_id: None, done: true });
        }
        let done = self.ours.as_ref().filter(|_| !self.queued);
        done.map(|action| InForce { action_id: Some(action.id), done: true })
    }

    pub(super) const fn counts_as_restricted(&self) -> bool {
        self.ours.is_some() || self.by_human
    }

    pub(super) const fn overridden_at(&self) -> Option<Timestamp> {
        self.overridden_at
    }

    pub(super) const fn expired_at(&self) -> Option<Timestamp> {
        self.expired_at
    }

    /// As the store tells it: a restriction of a human's has no action that could say when it ended, so that
    /// what joined one is spent by the latest release.
    pub(super) fn spent_at(&self, alert: &AlertId) -> Option<Timestamp> {
        let joined_at = self.joined_human.get(alert);
        let theirs = self.released_at.filter(|released_at| joined_at.is_some_and(|joined_at| joined_at < released_at));
        self.spent.get(alert).copied().max(theirs)
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.ours.as_ref().and_then(|action| action.expires_at)
    }

    pub(super) const fn restrict_by_human(&mut self) {
        self.by_human = true;
    }

    /// Without an alert, and until a human releases it.
    pub(super) fn restrict_by_stanch(&mut self) {
        self.ours.get_or_insert_with(Action::new);
    }

    pub(super) fn hold(&mut self, cause: &Cause<'_>, until: Timestamp) {
        self.held = Some((caused(cause), until));
    }

    /// A new restrict, or the one that was held, under this rule.
    pub(super) fn queue(&mut self, cause: &Cause<'_>) {
        let mut action = match self.held.take() {
            Some((mut held, _)) => {
                held.lasts(cause.expires_after);
                held.attach(cause);
                held
            }
            None => caused(cause),
        };
        action.expires_at = action.expires_after.map(|after| later(cause.now, after));
        self.ours = Some(action);
        self.queued = true;
    }

    /// What was queued is sent, and done.
    pub(super) const fn send(&mut self) {
        self.queued = false;
    }

    /// Joins that restrict of ours; `None`: what a human has restricted.
    pub(super) fn join(&mut self, cause: &Cause<'_>, id: Option<ActionId>) {
        if id.is_none() {
            self.joined_human.entry(cause.alert.clone()).or_insert(cause.now);
        }
        let held = self.held.as_mut().map(|(action, _)| action);
        let Some(action) = [self.ours.as_mut(), held].into_iter().flatten().find(|action| Some(action.id) == id) else {
            return;
        };
        // An alert that counted before under that rule extends nothing.
        if !action.attach(cause) {
            return;
        }
        action.lasts(cause.expires_after);
        let asked = cause.expires_after.map(|after| later(cause.now, after.duration()));
        action.expires_at = action.expires_at.zip(asked).map(|(a, b)| a.max(b));
    }

    /// Ends what is due by then; whether the device is restricted no longer.
    pub(super) fn pass(&mut self, at: Timestamp) -> bool {
        self.held.take_if(|(_, until)| *until <= at);
        let Some(expired) = self.ours.as_mut().filter(|ours| ours.expires_at.is_some_and(|due| due <= at)) else {
            return false;
        };
        if !self.by_human {
            return self.release(at, true);
        }
        // A device that a human has restricted since is theirs: our expiry does not undo it.
        expired.expires_at = None;
        self.spent.extend(expired.alerts.iter().map(|(alert, _)| (alert.clone(), at)));
        false
    }

    /// Ends the restriction; whether there was one. A human's release is an override.
    pub(super) fn release(&mut self, at: Timestamp, by_expiry: bool) -> bool {
        let was = self.counts_as_restricted();
        let ours = self.ours.take().into_iter().flat_map(|action| action.alerts);
        self.spent.extend(ours.map(|(alert, _)| (alert, at)));
        self.by_human = false;
        self.released_at = self.released_at.max(Some(at));
        let noted = if by_expiry { &mut self.expired_at } else { &mut self.overridden_at };
        *noted = (*noted).max(Some(at));
        was
    }
}

/// A restrict that this asks for.
fn caused(cause: &Cause<'_>) -> Action {
    let mut action = Action { expires_after: cause.expires_after.map(Span::duration), ..Action::new() };
    action.attach(cause);
    action
}
