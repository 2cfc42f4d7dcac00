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
    fn new(alert: &AlertId, rule: &RuleId, expires_after: Option<&Span>) -> Self {
        Self {
            id: ActionId::generate(),
            alerts: HashSet::from([(alert.clone(), rule.clone())]),
            expires_after: expires_after.map(Span::duration),
            expires_at: None,
        }
    }

    /// Lasts as long as the longest that joined asks for: a rule without an expiry clears it.
    fn lasts(&mut self, expires_after: Option<&Span>) {
        let longest = self.expires_after.zip(expires_after.map(Span::duration));
        self.expires_after = longest.map(|(a, b)| a.max(b));
    }
}

/// What is known of a device.
#[derive(Debug, Default)]
pub(super) struct Device {
    held: Option<Action>,
    held_until: Option<Timestamp>,
    /// What restricts it; `queued` until its alert is decided.
    ours: Option<Action>,
    queued: bool,
    by_human: bool,
    human_joined: HashSet<AlertId>,
    overridden_at: Option<Timestamp>,
    expired_at: Option<Timestamp>,
    /// When the latest restriction ended in which an alert had a part.
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
        let open = queued.or_else(|| self.held.as_ref().map(|action| (action, State::Held)));
        open.map(|(action, state)| OpenRestrict { id: action.id, state })
    }

    pub(super) fn in_force(&self) -> Option<InForce> {
        if self.queued {
            return None;
        }
        let ours = self.ours.as_ref().map(|action| InForce { action_id: Some(action.id), done: true });
        ours.or_else(|| self.by_human.then_some(InForce { action_id: None, done: true }))
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

    pub(super) fn spent_at(&self, alert: &AlertId) -> Option<Timestamp> {
        self.spent.get(alert).copied()
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.ours.as_ref().and_then(|action| action.expires_at)
    }

    /// Whether it was not restricted before.
    pub(super) const fn restrict_by_human(&mut self) -> bool {
        let news = !self.counts_as_restricted();
        self.by_human = true;
        news
    }

    /// Whether it was not restricted before.
    pub(super) fn restrict_by_stanch(&mut self) -> bool {
        let news = !self.counts_as_restricted();
        self.ours =
            Some(Action { id: ActionId::generate(), alerts: HashSet::new(), expires_after: None, expires_at: None });
        news
    }

    pub(super) fn hold(&mut self, alert: &AlertId, rule: &RuleId, expires_after: Option<&Span>) {
        self.held = Some(Action::new(alert, rule, expires_after));
    }

    pub(super) const fn held_until(&mut self, until: Timestamp) {
        self.held_until = Some(until);
    }

    /// A new restrict, or the one that was held, under this rule.
    pub(super) fn queue(&mut self, alert: &AlertId, rule: &RuleId, expires_after: Option<&Span>, now: Timestamp) {
        let mut action = match self.held.take() {
            Some(mut held) => {
                held.lasts(expires_after);
                held.alerts.insert((alert.clone(), rule.clone()));
                held
            }
            None => Action::new(alert, rule, expires_after),
        };
        action.expires_at = action.expires_after.map(|after| later(now, after));
        self.held_until = None;
        self.ours = Some(action);
        self.queued = true;
    }

    /// What was queued is sent, and done.
    pub(super) const fn send(&mut self) {
        self.queued = false;
    }

    pub(super) fn join(&mut self, alert: &AlertId, rule: &RuleId, expires_after: Option<&Span>, now: Timestamp) {
        let is_queued = self.queued;
        let Some(action) = self.ours.as_mut().or(self.held.as_mut()) else {
            if self.by_human {
                self.human_joined.insert(alert.clone());
            }
            return;
        };
        // An alert that counted before under that rule extends nothing.
        if !action.alerts.insert((alert.clone(), rule.clone())) {
            return;
        }
        action.lasts(expires_after);
        let asked = expires_after.map(|after| later(now, after.duration()));
        action.expires_at = match action.expires_at.zip(asked) {
            Some((a, b)) => Some(a.max(b)),
            None if is_queued => action.expires_after.map(|after| later(now, after)),
            None => None,
        };
    }

    /// Ends what is due by then; whether the device is restricted no longer.
    pub(super) fn pass(&mut self, at: Timestamp) -> bool {
        if self.held_until.is_some_and(|until| until <= at) {
            self.held = None;
            self.held_until = None;
        }
        self.expires_at().is_some_and(|expires_at| expires_at <= at) && self.release(at, true)
    }

    /// Ends the restriction; whether there was one. A human's release is an override.
    pub(super) fn release(&mut self, at: Timestamp, by_expiry: bool) -> bool {
        let was = self.counts_as_restricted();
        let ours = self.ours.take().into_iter().flat_map(|action| action.alerts).map(|(alert, _)| alert);
        for alert in ours.chain(self.human_joined.drain()) {
            self.spent.insert(alert, at);
        }
        self.by_human = false;
        if by_expiry {
            self.expired_at = Some(at);
        } else {
            self.overridden_at = Some(at);
        }
        was
    }
}
