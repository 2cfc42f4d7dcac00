//! A fire drill: a made-up alert walks the street of every alert, and everything that a real one would need is looked
//! at, so that silence is known to be health.
//!
//! The alert is on a device that there is not, which the guards, the store, the gate and the client each refuse by
//! themselves. What the drill stored is removed at its end; the audit keeps how it ended. Absent: Microsoft's API,
//! which the loops ask all the time: the drill looks at how that went.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Work, chain, since};
use crate::config::Mode;
use crate::intake::parse_mde;
use crate::model::drill::{DRILL_ALERT, DRILL_CATEGORY, DRILL_MACHINE, DRILL_RULE, DRILL_SOURCE, DrillStep, DrillView};
use crate::model::view::{AlertState, AlertView};
use crate::model::{ActionId, AlertId, By, Happening, Outcome, SourceName, TenantName};
use crate::store::{ActionFilter, Entry, Incoming, StoreError};

/// How long a drill may take unless somebody says otherwise.
pub const WITHIN: Duration = Duration::from_secs(30);
/// A store that has not taken a write for so long takes none.
const PROBE: Duration = Duration::from_secs(4);
/// How often the alert is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A loop is late after so many of its own waits, and this long.
const WAITS: u32 = 3;
const LATE: Duration = Duration::from_secs(60);
/// The audit is sealed within moments; this long is a sealer that does not work.
const UNSEALED: Duration = Duration::from_secs(60);
/// What a drill left that did not come to its end is removed after so long.
const ABANDONED: SignedDuration = SignedDuration::from_hours(1);

/// What a step found; a fault with what to do about it.
type Found = Result<Well, Fault>;

struct Well {
    detail: String,
    /// What a human should know or do though the step is well.
    mend: Option<&'static str>,
}

struct Fault {
    detail: String,
    mend: &'static str,
}

const SEE_LOG: &str = "the daemon's log says why";
const SEE_DOCTOR: &str = "run stanch doctor, which says what is wrong with the tenant";

fn well(detail: impl Into<String>) -> Found {
    Ok(Well { detail: detail.into(), mend: None })
}

fn fault(detail: impl Into<String>, mend: &'static str) -> Found {
    Err(Fault { detail: detail.into(), mend })
}

impl Fault {
    fn of_the_store(error: &StoreError) -> Self {
        Self { detail: chain(error), mend: SEE_LOG }
    }
}

/// Holds a drill in these tenants, which takes no longer than `within` and a few moments. The audit gets one row of it,
/// `by` whom it was asked for.
pub async fn run(work: &Work, tenants: &[TenantName], within: Duration, by: &By) -> DrillView {
    let began = work.steady();
    let mut drill = Drill { work, began, within, steps: Vec::new() };
    let writable = drill.step("store", None, store(work)).await;
    drill.step("rules", None, rules(work)).await;
    drill.step("brake", None, brake(work)).await;
    drill.step("audit", None, audit(work)).await;
    drill.step("loops", None, async { loops(work) }).await;
    for tenant in tenants {
        drill.step("sign_in", Some(tenant), async { signed_in(work, tenant) }).await;
        drill
            .step("inventory", Some(tenant), async { in_time(work, &format!("inventory {tenant}"), inventory(work)) })
            .await;
        drill.step("look", Some(tenant), async { in_time(work, &format!("look {tenant}"), look(work)) }).await;
        drill.step("send", Some(tenant), async { in_time(work, &format!("send {tenant}"), super::LONGEST_WAIT) }).await;
        drill.polls(tenant).await;
    }
    for tenant in tenants {
        drill.walk(tenant, writable).await;
    }
    drill.conclude(tenants, by).await
}

struct Drill<'a> {
    work: &'a Work,
    began: Timestamp,
    within: Duration,
    steps: Vec<DrillStep>,
}

impl Drill<'_> {
    /// Takes a step and writes down what it found; whether it is well.
    async fn step(&mut self, name: &str, tenant: Option<&TenantName>, look: impl Future<Output = Found>) -> bool {
        let began = self.work.steady();
        let found = look.await;
        let ok = found.is_ok();
        let (detail, mend) = match found {
            Ok(well) => (well.detail, well.mend),
            Err(fault) => (fault.detail, Some(fault.mend)),
        };
        self.steps.push(DrillStep {
            name: name.to_owned(),
            tenant: tenant.cloned(),
            ok,
            took_ms: millis(since(began, self.work.steady())),
            detail,
            mend: mend.map(str::to_owned),
        });
        ok
    }

    /// Looks at how each source that polls a tenant fares.
    async fn polls(&mut self, tenant: &TenantName) {
        let work = self.work;
        for source in work.config.polls().filter(|source| source.tenants.contains(tenant)) {
            let look = async {
                if let Some(error) = work.board.source_error(tenant, &source.name) {
                    return fault(format!("source {}: {error}", source.name), SEE_DOCTOR);
                }
                in_time(work, &format!("poll {} {tenant}", source.name), source.every.duration())
            };
            self.step("poll", Some(tenant), look).await;
        }
    }

    /// Sends the alert down the street and removes it at the end.
    async fn walk(&mut self, tenant: &TenantName, writable: bool) {
        let work = self.work;
        if !writable {
            let untried = async { fault("not tried, as the store takes no writes", SEE_LOG) };
            self.step("accepted", Some(tenant), untried).await;
            return;
        }
        let Ok(id) = AlertId::new(format!("{DRILL_ALERT}{}", ActionId::generate())) else { return };
        if !self.step("accepted", Some(tenant), accepted(work, tenant, &id)).await {
            return;
        }
        let left = self.within.saturating_sub(since(self.began, work.steady()));
        self.step("decided", Some(tenant), decided(work, tenant, &id, left)).await;
        self.step("no_action", Some(tenant), no_action(work, tenant)).await;
        self.step("removed", Some(tenant), removed(work, tenant, &id)).await;
    }

    /// Writes into the audit how it ended.
    async fn conclude(mut self, tenants: &[TenantName], by: &By) -> DrillView {
        let failed: Vec<String> = self.steps.iter().filter(|step| !step.ok).map(named).collect();
        let (after, detail) = match failed.as_slice() {
            [] => ("passed", format!("{} steps are well", self.steps.len())),
            failed => ("failed", failed.join("; ")),
        };
        let entry = Entry {
            after: Some(after),
            tenant: if let [only] = tenants { Some(only) } else { None },
            ..Entry::new(Happening::Drill, by, &detail, self.work.now())
        };
        let noted = written(self.work.store.note(&entry)).await;
        self.step("noted", None, async { noted.and_then(|()| well(format!("the audit has that it {after}"))) }).await;
        let passed = self.steps.iter().all(|step| step.ok);
        if passed {
            tracing::info!(%by, "a fire drill has passed");
        } else {
            tracing::warn!(%by, detail, "a fire drill has failed");
        }
        DrillView { passed, took_ms: millis(since(self.began, self.work.steady())), steps: self.steps }
    }
}

/// A step that failed, in words.
fn named(step: &DrillStep) -> String {
    match &step.tenant {
        Some(tenant) => format!("{} of {tenant}: {}", step.name, step.detail),
        None => format!("{}: {}", step.name, step.detail),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A write that a drill does not wait for without end.
async fn written<T>(write: impl Future<Output = Result<T, StoreError>>) -> Result<T, Fault> {
    match tokio::time::timeout(PROBE, write).await {
        Ok(done) => done.map_err(|error| Fault::of_the_store(&error)),
        Err(_) => {
            let detail = format!("the store has not taken a write within {} s", PROBE.as_secs());
            Err(Fault { detail, mend: SEE_LOG })
        }
    }
}

async fn store(work: &Work) -> Found {
    written(work.store.probe_writable()).await.and_then(|()| well("takes writes"))
}

async fn rules(work: &Work) -> Found {
    if let Some(error) = work.board.rules_state().error {
        return fault(
            format!("the rule folder can not be loaded, so that older rules are in force: {error}"),
            "run stanch check, which names each place",
        );
    }
    let set = work.rule_set();
    if set.is_empty() {
        return fault("no rule is loaded, so that alerts stay undecided", "put the rule files into rules.dir");
    }
    let detail = format!("{} in force", set.loaded());
    let lost = work.store.lost_protections().await.map_err(|error| Fault::of_the_store(&error))?;
    match lost.len() {
        0 => well(detail),
        lost => Ok(Well {
            detail: format!("{detail}, but {lost} protections are lost"),
            mend: Some("put them back, or: stanch rules acknowledge --why TEXT"),
        }),
    }
}

/// A brake that a human put on is no fault of the street, but whoever reads this shall know that nothing is sent.
async fn brake(work: &Work) -> Found {
    let pause = work.store.brake().await.map_err(|error| Fault::of_the_store(&error))?;
    if let Some(pause) = pause {
        let detail = format!("PAUSED since {:.0} by {}: {}", pause.since, pause.by, pause.why);
        return Ok(Well { detail, mend: Some("nothing is sent until: stanch resume --why TEXT") });
    }
    if work.config.guards.mode == Mode::Shadow {
        let detail = "guards.mode is shadow".to_owned();
        return Ok(Well { detail, mend: Some("nothing is ever sent until guards.mode is enforce") });
    }
    well("off: what is queued is sent")
}

async fn audit(work: &Work) -> Found {
    let sealed = work.store.audit_sealed().await.map_err(|error| Fault::of_the_store(&error))?;
    match sealed.behind_since {
        Some(at) if since(at.max(work.board.started_at(work.now())), work.now()) > UNSEALED => {
            fault(format!("what happened since {at:.0} is not sealed"), SEE_LOG)
        }
        _ if sealed.begun => well("kept and sealed"),
        _ => well("kept"),
    }
}

/// The loops that all tenants share. That alerts are decided is seen by the drill's own.
fn loops(work: &Work) -> Found {
    let mut shared = vec![("timers", super::timers::EVERY), ("retention", super::retention::EVERY)];
    if work.config.rules.watch {
        shared.push(("rules", super::rules::EVERY));
    }
    let count = shared.len();
    for (name, every) in shared {
        in_time(work, name, every)?;
    }
    well(format!("{count} run in time"))
}

fn inventory(work: &Work) -> Duration {
    work.config.inventory.every.duration()
}

fn look(work: &Work) -> Duration {
    work.config.tracking.every.duration()
}

/// Whether a loop that runs `every` so often did, and could do what it is for.
fn in_time(work: &Work, name: &str, every: Duration) -> Found {
    let now = work.now();
    let late = every.saturating_mul(WAITS).saturating_add(LATE);
    let Some(run) = work.board.last_run(name) else {
        return fault(format!("{name} has not run yet"), "wait until stanch health says ready, then drill again");
    };
    let ago = since(run.at, now);
    if ago > late {
        return fault(format!("{name} ran {} s ago last", ago.as_secs()), "restart the daemon, and keep its log");
    }
    if !run.well {
        return fault(format!("{name}: {}", run.said), SEE_LOG);
    }
    well(format!("{name} ran {} s ago: {}", ago.as_secs(), run.said))
}

fn signed_in(work: &Work, tenant: &TenantName) -> Found {
    let health = work.board.tenants(work.steady()).into_iter().find(|health| health.name == *tenant);
    match health.and_then(|health| health.error) {
        None => well("signed in, with every role that is needed"),
        Some(error) => fault(error, SEE_DOCTOR),
    }
}

async fn accepted(work: &Work, tenant: &TenantName, id: &AlertId) -> Found {
    let undecided = work.store.undecided_count().await.map_err(|error| Fault::of_the_store(&error))?;
    if undecided >= work.config.server.inbox {
        return fault(
            format!("{undecided} alerts wait to be decided, and server.inbox is {}", work.config.server.inbox),
            "stanch status says which loop is behind",
        );
    }
    let now = work.now();
    let row = json!({
        "id": id, "machineId": DRILL_MACHINE, "title": "Fire drill of stanch", "category": DRILL_CATEGORY,
        "severity": "Informational", "status": "New", "detectionSource": "WindowsDefenderAtp", "evidence": [],
        "alertCreationTime": now, "firstEventTime": now, "lastEventTime": now, "lastUpdateTime": now,
    });
    let alert = parse_mde(row).map_err(|malformed| Fault { detail: malformed.reason, mend: SEE_LOG })?;
    let no_name = |_| Fault { detail: "the source has no name".to_owned(), mend: SEE_LOG };
    let source: SourceName = DRILL_SOURCE.parse().map_err(no_name)?;
    let rows = [Incoming::Alert(alert)];
    let accepted = written(work.store.accept(tenant, &source, &rows, None, now)).await?;
    work.decide.notify_one();
    match accepted.new {
        1 => well(format!("alert {id} is stored")),
        _ => fault(format!("alert {id} was not taken for new"), SEE_LOG),
    }
}

/// Waits until the alert is decided, and looks at what was decided.
async fn decided(work: &Work, tenant: &TenantName, id: &AlertId, left: Duration) -> Found {
    let began = work.steady();
    loop {
        let found = work.store.alert(id, Some(tenant)).await.map_err(|error| Fault::of_the_store(&error))?.pop();
        let state = match &found {
            Some(view) if view.state == AlertState::Decided => return verdict(view),
            Some(view) => view.state.as_str(),
            None => "gone",
        };
        if since(began, work.steady()) >= left {
            return fault(
                format!("not decided within {} s: the alert is {state}", left.as_secs()),
                "an alert waits until its tenant is signed in, looked at and inventoried: see its other steps",
            );
        }
        if !work.pause(LOOK_EVERY).await {
            return fault("the daemon is stopping", "start it, then drill again");
        }
    }
}

fn verdict(view: &AlertView) -> Found {
    match view.decisions.as_slice() {
        [one] if one.outcome == Outcome::Protected && one.rule_id.as_str() == DRILL_RULE => well(one.reason.clone()),
        [] => fault("the alert came to no decision", SEE_LOG),
        [one, ..] => fault(
            format!("rule {} made it {}: {}", one.rule_id, one.outcome.as_str(), one.reason),
            "stop the daemon and report this: a drill must never act",
        ),
    }
}

/// Nothing may stand in the queue for the device.
async fn no_action(work: &Work, tenant: &TenantName) -> Found {
    let filter = ActionFilter {
        tenant: Some(tenant.clone()),
        device: Some(DRILL_MACHINE.to_owned()),
        since: Some(work.now() - ABANDONED),
        ..ActionFilter::default()
    };
    let actions = work.store.actions(&filter, None, 1).await.map_err(|error| Fault::of_the_store(&error))?;
    match actions.items.first() {
        None => well("nothing is queued for the device of drills"),
        Some(action) => fault(
            format!("action {} on the device of drills is {}", action.id, action.state),
            "stop the daemon and report this: a drill must never act",
        ),
    }
}

async fn removed(work: &Work, tenant: &TenantName, id: &AlertId) -> Found {
    written(work.store.remove_drill(tenant, id, work.now() - ABANDONED)).await?;
    well("the alert and its decision are gone")
}
