//! The loops: each does what the store says is due, then waits for a signal (to be fast) or a timer (to be
//! certain).
//!
//! There is no start-up path: a loop finds what a dead process left as it finds everything else. Absent:
//! SQL (see [`crate::store`]), HTTP (see [`crate::defender`] and [`crate::web`]) and the judging itself (see
//! [`crate::rules`] and [`crate::guards`]). [`crate::app`] builds a [`Work`] and runs every loop over it.

pub mod audit;
pub mod board;
pub mod cancel;
pub mod checkpoint;
pub mod decide;
pub mod drill;
pub mod explain;
pub mod fetch;
pub mod inventory;
pub mod look;
mod not_found;
pub mod notify;
pub mod poll;
pub mod protections;
pub mod recall;
pub mod retention;
pub mod rules;
pub mod send;
pub mod sign_in;
pub mod timers;
pub mod traces;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Wire};
use crate::defender::{Client, Misfit, Posted, ReadError, role_needed};
use crate::intake::unknown_values;
use crate::metrics::Metrics;
use crate::model::{ActionId, AlertId, Lane, MachineId, Moment, SourceName, TenantName};
use crate::rules::RuleSet;
use crate::store::{Accepted, Answered, CallSlot, Incoming, LaneTrouble, Store, StoreError, Subject, Took};
use board::Board;

/// Everything that the loops work with.
#[derive(Debug)]
pub struct Work {
    /// The configuration.
    pub config: Config,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How far the steady timeline is ahead of the clock's own: it goes on where the process before this one left it.
    pub ahead: SignedDuration,
    /// Each tenant's client and signals.
    pub tenants: BTreeMap<TenantName, TenantWork>,
    /// The rule set in force; only the rules loop changes it.
    pub rules: watch::Sender<Arc<RuleSet>>,
    /// What each loop and tenant is like.
    pub board: Board,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Wakes the decide loop.
    pub decide: Notify,
    /// Wakes the timers loop.
    pub timers: Notify,
    /// Asks for the rules to be read again, as SIGHUP does.
    pub reload: Notify,
    /// Asks for the files of TLS to be read again, as SIGHUP does.
    pub reload_tls: Notify,
    /// Tells those who wait for it that Microsoft answered to a cancellation.
    pub cancel_heard: Notify,
    /// What correlations remember.
    pub recall: recall::Current,
    /// Ends intake and claiming; what is on the wire is finished.
    pub stop: CancellationToken,
}

/// A tenant's client and signals.
#[derive(Debug)]
pub struct TenantWork {
    /// The client of its API.
    pub client: Client,
    /// Wakes its send loop.
    pub send: Notify,
    /// Wakes its look loop.
    pub look: Notify,
    /// Wakes its inventory loop.
    pub inventory: Notify,
    /// Wakes its fetch loop: a change notification has named an alert.
    pub fetch: Notify,
    /// Wakes its sign-in loop: a call could not sign in.
    pub sign_in: Notify,
    /// Whether it has signed in once.
    pub signed_in: watch::Sender<bool>,
    /// Whether its machine-action list was read completely by this process. Nothing is sent before.
    pub looked: AtomicBool,
    /// Whether this process has read its machine list, or tried to. No machine is asked for by itself before.
    pub inventoried: AtomicBool,
}

impl TenantWork {
    /// A tenant that has not signed in yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            send: Notify::new(),
            look: Notify::new(),
            inventory: Notify::new(),
            fetch: Notify::new(),
            sign_in: Notify::new(),
            signed_in: watch::Sender::new(false),
            looked: AtomicBool::new(false),
            inventoried: AtomicBool::new(false),
        }
    }
}

/// However quiet it is, a loop looks again after so long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Work {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Now, on both timelines.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { wall: self.clock.now(), steady: self.steady() }
    }

    /// Now, on the timeline that no setting of the clock moves.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        self.clock.steady().checked_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// The day now, in UTC.
    #[must_use]
    pub fn today(&self) -> Date {
        TimeZone::UTC.to_datetime(self.now()).date()
    }

    /// The rule set in force.
    #[must_use]
    pub fn rule_set(&self) -> Arc<RuleSet> {
        self.rules.borrow().clone()
    }

    /// Wakes what may have something to send.
    pub fn wake_send(&self, tenant: &TenantName) {
        if let Some(tenant) = self.tenants.get(tenant) {
            tenant.send.notify_one();
        }
    }

    /// Wakes every tenant's send loop.
    pub fn wake_all_send(&self) {
        for tenant in self.tenants.values() {
            tenant.send.notify_one();
        }
    }

    /// Keeps in the audit that something stopped working, and why, or works again.
    pub(crate) async fn stands(&self, subject: Subject<'_>, health: Result<(), &str>) {
        if let Err(error) = self.store.stands(subject, health, self.now()).await {
            tracing::error!(?subject, error = chain(&error), "the audit can not say what became of this");
        }
    }

    /// Counts what a source has brought for the first time.
    pub fn count_received(&self, tenant: &TenantName, source: &SourceName, rows: &[Incoming], accepted: &Accepted) {
        self.metrics.received(tenant, source, accepted.new, accepted.new_malformed);
        for row in accepted.new_rows.iter().filter_map(|place| rows.get(*place)) {
            let Incoming::Alert(alert) = row else { continue };
            unknown_values(alert).into_iter().for_each(|field| self.metrics.unknown_value(tenant, field));
        }
        self.tell_without_device(tenant, source, rows, accepted);
        let too_many = accepted.too_many.len() as u64;
        if too_many > 0 {
            self.metrics.received(tenant, source, 0, too_many);
            tracing::warn!(%tenant, %source, rows = too_many, "rows would give an alert too many devices, and are not stored");
        }
    }

    /// Counts and tells of new alerts for which no row names a device: nothing will ever be done for them.
    fn tell_without_device(&self, tenant: &TenantName, source: &SourceName, rows: &[Incoming], accepted: &Accepted) {
        let new = accepted.new_rows.iter().filter_map(|place| rows.get(*place));
        let without: Vec<&AlertId> = new
            .filter_map(|row| match row {
                Incoming::Alert(alert) if alert.machine_ids.is_empty() => Some(&alert.id),
                _ => None,
            })
            .collect();
        if without.is_empty() {
            return;
        }
        // Of an alert that comes in several rows, another may name the devices.
        let with: HashSet<&AlertId> = rows
            .iter()
            .filter_map(|row| match row {
                Incoming::Alert(alert) if !alert.machine_ids.is_empty() => Some(&alert.id),
                _ => None,
            })
            .collect();
        let without: Vec<&AlertId> = without.into_iter().filter(|id| !with.contains(id)).collect();
        let Some(first) = without.first() else { return };
        let count = without.len() as u64;
        self.metrics.without_device(tenant, source, count);
        tracing::warn!(%tenant, %source, rows = count, alert_id = %first, "alerts name no device, so nothing is decided for them");
    }

    /// Waits for a signal, until a moment, or for the stop; false when it is time to stop.
    pub(crate) async fn wait(&self, signal: &Notify, until: Option<Timestamp>) -> bool {
        let pause = until.map_or(LONGEST_WAIT, |until| {
            Duration::try_from(until.duration_since(self.now())).unwrap_or_default().min(LONGEST_WAIT)
        });
        self.wait_for(signal, pause).await
    }

    /// Waits for a signal, for a while, or for the stop; false when it is time to stop.
    pub(crate) async fn wait_for(&self, signal: &Notify, pause: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = signal.notified() => true,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Waits for a while, or for the stop; false when it is time to stop.
    pub(crate) async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Waits until the tenant has signed in once; false when it is time to stop.
    pub(crate) async fn signed_in(&self, tenant: &TenantWork) -> bool {
        let mut signed_in = tenant.signed_in.subscribe();
        tokio::select! {
            () = self.stop.cancelled() => false,
            result = signed_in.wait_for(|signed_in| *signed_in) => result.is_ok(),
        }
    }

    /// Whether the tenant's machine-action list was read completely by this process.
    pub(crate) fn has_looked(&self, tenant: &TenantName) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.looked.load(Ordering::Acquire))
    }

    /// A slot of a lane, waited for; `None` when it is time to stop. A call that probes a lane which was
    /// refused does so on a fresh token.
    pub(crate) async fn slot(
        &self,
        name: &TenantName,
        tenant: &TenantWork,
        lane: Lane,
    ) -> Result<Option<CallSlot>, StoreError> {
        loop {
            match self.store.take_slot(name, lane, &self.config.limits, self.moment()).await? {
                Took::Slot(slot) => {
                    if slot.refused {
                        tenant.client.give_up_tokens();
                    }
                    return Ok(Some(slot));
                }
                Took::Wait(until) => {
                    let pause = Duration::try_from(until.duration_since(self.steady())).unwrap_or_default();
                    if !self.pause(pause.clamp(Duration::from_millis(5), LONGEST_WAIT)).await {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Gives back the slot of a read, by what came of it.
    pub(crate) async fn answer<T>(&self, slot: &CallSlot, result: &Result<T, ReadError>) -> Result<(), StoreError> {
        let (answered, trouble) = heard(Wire::Defender, slot.lane, result);
        self.is_astray(slot, result);
        self.hear_of_role(&slot.tenant, slot.lane, &trouble).await;
        self.store.answer_slot(slot, answered, &trouble, self.moment(), draw()).await
    }

    /// The same of Graph, whose token is another: what it refuses says nothing of the lanes that act.
    pub(crate) async fn answer_of_graph<T>(
        &self,
        slot: &CallSlot,
        result: &Result<T, ReadError>,
    ) -> Result<(), StoreError> {
        let (answered, trouble) = heard(Wire::Graph, slot.lane, result);
        self.is_astray(slot, result);
        self.hear_of_role(&slot.tenant, slot.lane, &trouble).await;
        let trouble = match trouble {
            LaneTrouble::Unauthorized { again, message } => {
                LaneTrouble::Forbidden { missing_roles: again, device: None, message }
            }
            trouble => trouble,
        };
        self.store.answer_slot(slot, answered, &trouble, self.moment(), draw()).await
    }
}

impl Work {
    /// Keeps whether the application lacks the role for a lane, and tells of it where that is news. A call that was
    /// answered otherwise says nothing of it.
    pub(crate) async fn hear_of_role(&self, name: &TenantName, lane: Lane, trouble: &LaneTrouble) {
        let missing = match trouble {
            LaneTrouble::Forbidden { missing_roles: true, message, .. } => Some(message.as_str()),
            LaneTrouble::None => None,
            _ => return,
        };
        if !self.board.role(name, lane, missing, self.steady()) {
            return;
        }
        match missing {
            Some(error) => {
                tracing::error!(tenant = %name, %lane, error, "calls of this lane wait until the role is granted: one call every 60 s tries it");
            }
            None => tracing::info!(tenant = %name, %lane, "the application has the role for this lane now"),
        }
        self.tenant_stands(name).await;
        // The token may show more of what is missing.
        if missing.is_some()
            && let Some(tenant) = self.tenants.get(name)
        {
            tenant.sign_in.notify_one();
        }
    }

    /// Keeps in the audit whether a tenant can be worked with, by all that the board knows of it.
    pub(crate) async fn tenant_stands(&self, name: &TenantName) {
        let health = self.board.health(name, self.steady());
        self.stands(Subject::Tenant(name), health.as_ref().map_err(String::as_str).copied()).await;
    }
}

impl Work {
    /// Counts a record that does not fit what was asked for or what is known, and says which.
    pub(crate) fn misfit(&self, name: &TenantName, lane: Lane, record: &str, action: Option<ActionId>, why: &str) {
        self.metrics.misfit(name, lane);
        match action {
            Some(action_id) => {
                tracing::warn!(tenant = %name, %lane, record_id = record, %action_id, reason = why, "a record does not fit and proves nothing");
            }
            None => {
                tracing::warn!(tenant = %name, %lane, record_id = record, reason = why, "a record does not fit and proves nothing");
            }
        }
    }

    /// A link that leads out of its own list is a misfit too.
    fn is_astray<T>(&self, slot: &CallSlot, result: &Result<T, ReadError>) {
        if let Err(ReadError::Astray { message }) = result {
            self.misfit(&slot.tenant, slot.lane, "@odata.nextLink", None, message);
        }
    }

    /// The same of all those on a page.
    pub(crate) fn misfits(&self, name: &TenantName, lane: Lane, misfits: &[Misfit]) {
        for misfit in misfits {
            self.misfit(name, lane, &misfit.id, misfit.tag, misfit.why);
        }
    }
}

/// A 403 that is about no one device, for its lane.
pub(crate) fn forbidden(
    wire: Wire,
    lane: Lane,
    missing_roles: bool,
    device: Option<MachineId>,
    message: &str,
) -> LaneTrouble {
    let message = match missing_roles {
        true => format!("the application lacks the role {}: {message}", role_needed(wire, lane)),
        false => message.to_owned(),
    };
    LaneTrouble::Forbidden { missing_roles, device, message }
}

/// What came of a read, for its slot and its lane.
fn heard<T>(wire: Wire, lane: Lane, result: &Result<T, ReadError>) -> (Answered, LaneTrouble) {
    let Err(error) = result else {
        return (Answered::Now, LaneTrouble::None);
    };
    let answered = if !error.was_sent() {
        Answered::NeverSent
    } else if error.was_answered() {
        Answered::Now
    } else {
        Answered::Silent
    };
    let trouble = match error {
        ReadError::Throttled { after, .. } => LaneTrouble::Throttled(*after),
        ReadError::Unauthorized { message, again } => {
            LaneTrouble::Unauthorized { again: *again, message: message.clone() }
        }
        ReadError::Forbidden { message, missing_roles } => forbidden(wire, lane, *missing_roles, None, message),
        ReadError::Refused { status: 403, .. } => LaneTrouble::Undecided,
        ReadError::Unanswered { message, .. } | ReadError::Unreadable { message } | ReadError::Astray { message } => {
            LaneTrouble::Unanswered(message.clone())
        }
        ReadError::Refused { .. } | ReadError::TooLarge { .. } => LaneTrouble::None,
        ReadError::NotSent { .. }
        | ReadError::TooManyPages { .. }
        | ReadError::TooManyAtOnce { .. }
        | ReadError::Auth(_) => LaneTrouble::NeverSent,
    };
    (answered, trouble)
}

/// When a POST was answered, as far as its slot goes.
fn answered(posted: &Posted) -> Answered {
    if !posted.was_sent() {
        Answered::NeverSent
    } else if posted.was_answered() {
        Answered::Now
    } else {
        Answered::Silent
    }
}

/// How long ago something was; nothing when the clock says that it is still to come.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// A number drawn evenly from 0 up to 1.
pub(crate) fn draw() -> f64 {
    let mut bytes = [0u8; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

/// Why a loop's run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Microsoft could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Too many alerts wait to be decided.
    #[error("{0} alerts wait to be decided (server.inbox), so no more are asked for")]
    InboxFull(u64),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

/// An error with its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}
