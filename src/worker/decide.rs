//! Deciding: for every (alert, device) pair, what the rules chose and what the guards say of it.
//!
//! The facts are gathered first, then judged and carried out in one transaction of the store. Absent: I/O
//! with Microsoft; a machine that is not known is asked for by the inventory loop, and the alert waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::crash_point::crash_point;
use crate::model::drill::DRILL_RULE;
use crate::model::{AlertTime, Level, Machine, MachineId, Outcome, RuleId, TenantName};
use crate::rules::{Event, Hit, RuleSet};
use crate::store::{Choice, DecidedPair, Deciding, Made, Store, StoreError, Undecided};

use super::recall::{self, Recall};
use super::{TenantWork, Work, chain, since};

/// Alerts that are read at once, and decided in one transaction while nobody else wants to write.
const BATCH: u32 = 200;
/// Alerts decided in one transaction while others want to write: a webhook's sender waits for no more than that.
const FEW: usize = 10;
/// Devices and choices decided in one transaction, so that an alert which names thousands of devices keeps nobody
/// else from writing. All choices of one device are decided together.
const MOST_AT_ONCE: usize = 1_000;
/// The longest wait between two looks at an alert that waits for facts.
const LONGEST: Duration = Duration::from_secs(60);

/// How long an alert that can not be decided is put back.
const PUT_BACK: SignedDuration = SignedDuration::from_secs(60);

/// What is kept from one batch to the next.
struct Kept {
    /// What correlations remember.
    remembered: Option<Arc<Recall>>,
    /// How many alerts go into one transaction, and how many writes had waited when that was set.
    together: usize,
    waited: u64,
}

impl Kept {
    const fn new() -> Self {
        Self { remembered: None, together: FEW, waited: 0 }
    }

    /// How many alerts the next transaction takes: few as soon as another write had to wait, more and more while none
    /// has to.
    fn together(&mut self, store: &Store) -> usize {
        let waited = store.writes_that_waited();
        self.together = if waited == self.waited { (self.together * 2).min(BATCH as usize) } else { FEW };
        self.waited = waited;
        self.together
    }
}

/// Decides until the stop.
pub async fn run(work: &Work) {
    let mut kept = Kept::new();
    loop {
        let (decided, next) = match batch(work, &mut kept, BATCH).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(error = chain(&error), "alerts can not be decided together, which is tried again");
                work.board.failed("decide", work.now(), chain(&error));
                if !work.pause(Duration::from_secs(1)).await {
                    return;
                }
                if !error.is_of_the_whole_store() {
                    one_by_one(work, &mut kept).await;
                }
                continue;
            }
        };
        if work.stop.is_cancelled() {
            return;
        }
        if decided > 0 {
            work.board.ran("decide", work.now(), format!("{decided} alerts"));
            continue;
        }
        if !work.wait(&work.decide, next).await {
            return;
        }
    }
}

/// One alert that can not be decided is not in the way of the next: it is put back, and said. It is not where the
/// store fails as a whole: it shall be decided as soon as that is over.
async fn one_by_one(work: &Work, kept: &mut Kept) {
    for _ in 0..BATCH {
        let Err(error) = batch(work, kept, 1).await else { continue };
        if error.is_of_the_whole_store() {
            return;
        }
        let Ok(first) = work.store.undecided(work.now(), 1).await else { return };
        let Some(alert) = first.first() else { return };
        tracing::error!(tenant = %alert.tenant, alert_id = %alert.alert_id, error = chain(&error), "an alert can not be decided, and is tried again later");
        if work.store.put_back(alert.seq, work.now() + PUT_BACK).await.is_err() {
            return;
        }
    }
}

/// Looks at the alerts that are due, at most `limit`; gives how many there were, and when the next is due.
async fn batch(work: &Work, kept: &mut Kept, limit: u32) -> Result<(usize, Option<Timestamp>), StoreError> {
    let now = work.now();
    let rules = work.rule_set();
    if rules.is_empty() {
        // Nobody has said what these alerts come to: they are decided once there are rules.
        work.board.ran("decide", now, "no rule is loaded: alerts wait");
        return Ok((0, None));
    }
    let alerts = work.store.undecided(now, limit).await?;
    if alerts.is_empty() {
        return Ok((0, work.store.next_undecided().await?));
    }
    let recall = recall::for_decide(work, &rules, kept.remembered.as_ref()).await?;
    kept.remembered = Some(Arc::clone(&recall));
    let asking = Asking { work, rules: &rules, recall: &recall };
    let mut deciding = Vec::with_capacity(alerts.len());
    let mut wanted = Vec::new();
    let mut room = MOST_AT_ONCE;
    for alert in &alerts {
        if room == 0 {
            break;
        }
        deciding.push(gather(&asking, alert, &mut wanted, &mut room, now).await?);
    }
    let wanted = unknown(work, wanted);
    work.store.request_machines(&wanted, now).await?;
    for (name, _) in &wanted {
        crash_point("decide.machines_requested");
        if let Some(tenant) = work.tenants.get(name) {
            tenant.inventory.notify_one();
        }
    }
    let mut rest = deciding.as_slice();
    while !rest.is_empty() {
        let (first, later) = rest.split_at(whole_alerts(rest, kept.together(&work.store)));
        let made = work.store.decide(first, rules.hash(), &work.config.guards, now).await?;
        tell(work, &made, now);
        rest = later;
    }
    recall.tell_overflow();
    Ok((deciding.len(), None))
}

/// How many of these go together when there should be so many: the rows of one alert stay together.
fn whole_alerts(deciding: &[Deciding], wanted: usize) -> usize {
    let seq = |place: usize| deciding.get(place).map(|alert| alert.seq);
    let mut count = wanted.clamp(1, deciding.len().max(1));
    while count < deciding.len() && seq(count) == seq(count - 1) {
        count += 1;
    }
    count.min(deciding.len())
}

/// Of the machines that alerts wait for, those that are to be asked for by themselves: before this process
/// has read the whole list, all will come with it.
fn unknown(work: &Work, wanted: Vec<(TenantName, MachineId)>) -> Vec<(TenantName, MachineId)> {
    let mut unknown = Vec::new();
    for (name, machine) in wanted {
        let inventoried = |tenant: &TenantWork| tenant.inventoried.load(Ordering::Acquire);
        if work.tenants.get(&name).is_some_and(inventoried) {
            unknown.push((name, machine));
        }
    }
    unknown
}

/// What a batch asks its rules with.
struct Asking<'a> {
    work: &'a Work,
    rules: &'a RuleSet,
    recall: &'a Recall,
}

/// What the rules say of each device of an alert that there are facts about, as far as there is `room`; the rest is
/// due at once. `wanted` gets the machines that the inventory knows too little of.
async fn gather(
    asking: &Asking<'_>,
    alert: &Undecided,
    wanted: &mut Vec<(TenantName, MachineId)>,
    room: &mut usize,
    now: Timestamp,
) -> Result<Deciding, StoreError> {
    let Asking { work, rules, .. } = asking;
    let waited = since(alert.since, now);
    let overdue = waited >= work.config.guards.machine_timeout.duration();
    let ready = overdue || (work.has_looked(&alert.tenant) && work.store.inventory_at(&alert.tenant).await?.is_some());
    let mut deciding = Deciding {
        seq: alert.seq,
        part: alert.part,
        parts: alert.parts,
        pending: alert.pending.clone(),
        tenant: alert.tenant.clone(),
        alert_id: alert.alert_id.clone(),
        last_update: alert.last_update,
        status: text(&alert.body, "status"),
        last_event: text(&alert.body, "lastEventTime").and_then(|time| AlertTime::parse(&time).ok()),
        received_at: alert.received_at,
        pairs: Vec::new(),
        waiting: Vec::new(),
        due_at: next_look(alert, now, work.config.guards.machine_timeout.duration()),
    };
    for machine in &alert.pending {
        if *room == 0 {
            deciding.waiting.push(machine.clone());
            deciding.due_at = now;
            continue;
        }
        if machine.is_of_a_drill() && ready {
            deciding.pairs.push(drill_pair(asking, alert, machine));
            *room = room.saturating_sub(2);
            continue;
        }
        if machine.is_of_a_drill() {
            deciding.waiting.push(machine.clone());
            continue;
        }
        let max_age = work.config.inventory.max_age.duration();
        let known = work.store.machine_knowledge(&alert.tenant, machine, max_age, now).await?;
        let usable = known.machine.is_some() && known.fresh;
        if !usable {
            wanted.push((alert.tenant.clone(), known.machine_id.clone()));
        }
        if !ready || (!usable && !overdue) {
            deciding.waiting.push(known.machine_id);
            continue;
        }
        if deciding.pairs.iter().any(|pair| pair.machine_id == known.machine_id) {
            continue;
        }
        let unasked = known.machine.is_none() && rules.reads_machine(work.today(), &alert.tenant);
        if unasked {
            tracing::warn!(tenant = %alert.tenant, alert_id = %alert.alert_id, machine_id = %known.machine_id, "no machine record came in time, so rules that read machine.* could not be asked");
        }
        let pair = DecidedPair { unasked, ..pair(asking, alert, known.machine_id, known.machine) };
        *room = room.saturating_sub(1 + pair.choices.len());
        deciding.pairs.push(pair);
    }
    Ok(deciding)
}

/// Within seconds at first, then ever more slowly, and surely when the wait for facts is over.
fn next_look(alert: &Undecided, now: Timestamp, timeout: Duration) -> Timestamp {
    let wait = Duration::from_secs(1 << alert.tries.min(6)).min(LONGEST);
    let after = |from: Timestamp, wait: Duration| {
        SignedDuration::try_from(wait).ok().and_then(|wait| from.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
    };
    after(now, wait).min(after(alert.since, timeout)).max(after(now, Duration::from_millis(1)))
}

/// A text at the top of an alert.
pub(super) fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key)?.as_str().map(str::to_owned)
}

/// What the rules say of one device.
fn pair(asking: &Asking<'_>, alert: &Undecided, machine_id: MachineId, machine: Option<Machine>) -> DecidedPair {
    let event =
        Event::new(&alert.body, machine.as_ref().map(Machine::record), &alert.tenant, &alert.source, alert.received_at);
    let evaluation = {
        let mut memory = asking.recall.write();
        asking.rules.remember(&mut memory, &event);
        asking.rules.evaluate(&event, &memory, asking.work.today())
    };
    let protected = evaluation.protected_by.map(|protection| protection.reason);
    let choices: Vec<Choice> = evaluation.hits.into_iter().map(|hit| choice(&event, hit, protected.clone())).collect();
    for choice in &choices {
        if let Some(note) = &choice.note {
            tracing::warn!(rule_id = %choice.rule_id, alert_id = event.alert_id(), note, "the rule's plain comment is used");
        }
    }
    crash_point("decide.judged");
    DecidedPair { machine_id, machine, unasked: false, choices }
}

/// The device of a drill: the rules are asked as of any other, and told in the words of the one decision that is made,
/// which is no rule's. No machine record is asked for, and no correlation remembers it.
fn drill_pair(asking: &Asking<'_>, alert: &Undecided, machine_id: &MachineId) -> DecidedPair {
    let event = Event::new(&alert.body, None, &alert.tenant, &alert.source, alert.received_at);
    let evaluation = {
        let memory = asking.recall.read();
        asking.rules.evaluate(&event, &memory, asking.work.today())
    };
    let reason = match evaluation.hits.as_slice() {
        [] => "drill: no rule chose it".to_owned(),
        [only] => format!("drill: the rule {} chose it and may do nothing to it", only.rule.id),
        [first, others @ ..] => {
            format!("drill: the rule {} and {} more chose it and may do nothing to it", first.rule.id, others.len())
        }
    };
    let choice = RuleId::new(DRILL_RULE).ok().map(|rule_id| Choice {
        rule_id,
        rule_hash: String::new(),
        level: Level::Informational,
        shadow: false,
        needs_approval: false,
        cooldown: None,
        limit: None,
        expires_after: None,
        protected: Some(reason),
        matched: Vec::new(),
        comment: String::new(),
        note: None,
    });
    DecidedPair { machine_id: machine_id.clone(), machine: None, unasked: false, choices: choice.into_iter().collect() }
}

/// What a rule that chose asks of the guards.
pub(super) fn choice(event: &Event<'_>, hit: Hit, protected: Option<String>) -> Choice {
    let rule = hit.rule;
    let (comment, note) = rule.comment_or_default(event);
    Choice {
        rule_id: rule.id.clone(),
        rule_hash: rule.hash.clone(),
        level: rule.level,
        shadow: rule.is_shadow(),
        needs_approval: rule.response.approval,
        cooldown: rule.response.cooldown.clone(),
        limit: rule.response.limit.as_ref().map(|limit| (limit.devices, limit.per.clone())),
        expires_after: rule.response.expires_after.clone(),
        protected,
        matched: hit.matched,
        comment,
        note,
    }
}

/// Says what was decided, counts it, and wakes what has something to send.
fn tell(work: &Work, made: &[Made], now: Timestamp) {
    for decision in made {
        crash_point("decide.decided");
        if decision.machine_id.is_of_a_drill() {
            continue;
        }
        work.metrics.decided(&decision.tenant, &decision.rule_id, decision.outcome, now);
        let Made { tenant, alert_id, machine_id, rule_id, outcome, reason, action_id } = decision;
        let action_id = action_id.map(|id| id.to_string()).unwrap_or_default();
        match outcome {
            Outcome::Held => {
                tracing::warn!(%tenant, %alert_id, %machine_id, %rule_id, action_id, reason, "a restrict is held for a human");
            }
            Outcome::Acted => {
                tracing::info!(%tenant, %alert_id, %machine_id, %rule_id, action_id, reason, "a restrict is queued");
                work.wake_send(tenant);
            }
            _ => {
                tracing::debug!(%tenant, %alert_id, %machine_id, %rule_id, action_id, reason, outcome = outcome.as_str(), "decided");
            }
        }
    }
}
