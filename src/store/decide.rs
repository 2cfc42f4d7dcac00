//! Deciding: the guards judge each choice in the transaction that carries it out.
//!
//! The caps are counted here, so that two alerts decided together can not both take the last place.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;

use super::audit::{self, Entry};
use super::drill::kept_from_acting;
use super::facts::{Counts, DeviceFacts, counts, device_facts, spent_at};
use super::parts::also_of;
use super::row::{millis, to_json};
use super::transition::{Change, append, transition};
use super::{Result, Store};
use crate::config::GuardsConfig;
use crate::guards::{Ask, Effect, Facts, Verdict, judge};
use crate::model::action::tagged_comment;
use crate::model::{
    ActionId, AlertId, AlertTime, By, Event, Happening, HoldKind, Kind, Level, Machine, MachineId, MatchedField,
    Outcome, RuleId, Span, State, TenantName,
};

/// Releases and what operators ask for go before every level.
pub(super) const FIRST_RANK: i64 = 10;

/// A row of an alert's version with what the rules said of its devices.
#[derive(Debug)]
pub struct Deciding {
    /// The store's number of the alert's version.
    pub seq: i64,
    /// Which part of the version the row is; 0: the row that came first.
    pub part: i64,
    /// How many parts the version had when it was read.
    pub parts: i64,
    /// The devices that the row was not decided for when it was read.
    pub pending: Vec<MachineId>,
    /// The tenant.
    pub tenant: TenantName,
    /// Microsoft's id.
    pub alert_id: AlertId,
    /// `lastUpdateTime`.
    pub last_update: AlertTime,
    /// `status`.
    pub status: Option<String>,
    /// `lastEventTime`.
    pub last_event: Option<AlertTime>,
    /// When the alert was received.
    pub received_at: Timestamp,
    /// The devices that are decided now.
    pub pairs: Vec<DecidedPair>,
    /// The devices that wait for facts, and when the alert is due again.
    pub waiting: Vec<MachineId>,
    /// When, if there are any.
    pub due_at: Timestamp,
}

/// A device of an alert with the rules that chose it.
#[derive(Debug)]
pub struct DecidedPair {
    /// The device; of a merged record, its target.
    pub machine_id: MachineId,
    /// Its record, if there is one.
    pub machine: Option<Machine>,
    /// Whether rules could not be asked since there is no record.
    pub unasked: bool,
    /// The rules that chose it, the most urgent first.
    pub choices: Vec<Choice>,
}

/// A rule that chose a device.
#[derive(Debug)]
pub struct Choice {
    /// The rule.
    pub rule_id: RuleId,
    /// The hash of its text.
    pub rule_hash: String,
    /// Its urgency.
    pub level: Level,
    /// Whether it is in shadow.
    pub shadow: bool,
    /// Whether it asks for an approval.
    pub needs_approval: bool,
    /// Its cooldown.
    pub cooldown: Option<Span>,
    /// Its limit.
    pub limit: Option<(u32, Span)>,
    /// How long its restriction lasts.
    pub expires_after: Option<Span>,
    /// The protect rule that matched, and its reason.
    pub protected: Option<String>,
    /// The values that it matched on.
    pub matched: Vec<MatchedField>,
    /// The comment, without our tag.
    pub comment: String,
    /// What is to be said with the decision, as that the comment could not be rendered.
    pub note: Option<String>,
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The tenant.
    pub tenant: TenantName,
    /// The alert.
    pub alert_id: AlertId,
    /// The device.
    pub machine_id: MachineId,
    /// The rule.
    pub rule_id: RuleId,
    /// The outcome.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// The action that was created or joined.
    pub action_id: Option<ActionId>,
}

struct Context<'a> {
    alert: &'a Deciding,
    pair: &'a DecidedPair,
    choice: &'a Choice,
    rules_hash: &'a str,
    now: Timestamp,
    /// Whether a device of the alert may have been decided before: then there may be a decision that no longer holds.
    anew: bool,
}

impl Store {
    /// Judges what the rules chose and carries it out: decisions, actions and the alerts' state are one
    /// transaction. An alert that was decided or put back since `now`, at which it was read, is left alone.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is done.
    pub async fn decide(
        &self,
        alerts: &[Deciding],
        rules_hash: &str,
        config: &GuardsConfig,
        now: Timestamp,
    ) -> Result<Vec<Made>> {
        let mut tx = self.begin().await?;
        let mut made = Vec::new();
        // The rows of one alert stand together, and may name one device as that and as what was merged into it.
        let (mut last, mut done) = (None, HashSet::new());
        for alert in alerts {
            let first = last.replace(alert.seq) != Some(alert.seq);
            if first {
                done.clear();
            }
            let Some(anew) = mark(&mut tx, alert, first, now).await? else { continue };
            for pair in &alert.pairs {
                if done.contains(&pair.machine_id) {
                    continue;
                }
                // Where no rule chose it, another row that names it may have more to say.
                if !pair.choices.is_empty() {
                    done.insert(&pair.machine_id);
                }
                let first = made.len();
                for choice in &pair.choices {
                    let context = Context { alert, pair, choice, rules_hash, now, anew };
                    made.push(decide_one(&mut tx, &context, config).await?);
                }
                let made = made.get(first..).unwrap_or_default();
                tell_unknown(&mut tx, alert, pair, made, now).await?;
            }
        }
        tx.commit().await?;
        Ok(made)
    }
}

/// Says so where there is no machine record, and that kept a rule from being asked or an action from going.
async fn tell_unknown(
    tx: &mut SqliteConnection,
    alert: &Deciding,
    pair: &DecidedPair,
    made: &[Made],
    now: Timestamp,
) -> Result<()> {
    let unknown = HoldKind::MachineUnknown.as_str();
    let held = made.iter().find(|made| made.outcome == Outcome::Held && made.reason.starts_with(unknown));
    let detail = match held {
        Some(held) => held.reason.as_str(),
        None if pair.unasked => "no machine record came in time, so rules that read machine.* could not be asked",
        None => return Ok(()),
    };
    let entry = Entry {
        tenant: Some(&alert.tenant),
        machine_id: Some(&pair.machine_id),
        alert_id: Some(&alert.alert_id),
        rule_id: held.map(|made| &made.rule_id),
        action_id: held.and_then(|made| made.action_id),
        ..Entry::new(Happening::MachineUnknown, &By::Stanch, detail, now)
    };
    audit::append(tx, &entry).await
}

/// Moves the alert on, and gives whether a device of it may have been decided before; `None` when it was decided or put
/// back since it was read at `now`. A device that was added since then stays, and is due at once. `first`: no other row
/// of the alert was moved on in this transaction.
async fn mark(tx: &mut SqliteConnection, alert: &Deciding, first: bool, now: Timestamp) -> Result<Option<bool>> {
    let due_at = if alert.waiting.is_empty() && alert.parts > 0 { now } else { alert.due_at };
    let anew = sqlx::query_scalar(
        "UPDATE alerts SET pending = left_over.pending,
             state = CASE WHEN left_over.pending = '[]' THEN 'decided' ELSE 'waiting' END,
             due_at = CASE WHEN parts <> ?9 THEN ?5 WHEN ?10 THEN ?4 ELSE MIN(due_at, ?4) END,
             tries = tries + ?10
         FROM (SELECT json_group_array(value) AS pending FROM (
             SELECT value FROM json_each(?3)
             UNION ALL
             SELECT named.value FROM alerts o, json_each(o.pending) named WHERE o.seq = ?1
             AND named.value NOT IN (SELECT value FROM json_each(?2))
             AND named.value NOT IN (SELECT value FROM json_each(?3))
         )) left_over
         WHERE seq = ?1 AND state <> 'decided' AND (again_at IS NULL OR again_at < ?5)
         AND tenant = ?6 AND alert_id = ?7 AND last_update_ticks = ?8
         RETURNING again_at IS NOT NULL OR parts > 0 OR tries > 1",
    )
    .bind(alert.seq)
    .bind(to_json(&alert.pending)?)
    .bind(to_json(&alert.waiting)?)
    .bind(millis(due_at))
    .bind(millis(now))
    // The number of a row that was removed is given again.
    .bind(alert.tenant.as_str())
    .bind(alert.alert_id.as_str())
    .bind(alert.last_update.ticks())
    .bind(alert.parts)
    .bind(first)
    .fetch_optional(&mut *tx)
    .await?;
    if anew.is_some() {
        also_of(tx, alert.seq, alert.part, &alert.waiting).await?;
    }
    Ok(anew)
}

async fn decide_one(tx: &mut SqliteConnection, context: &Context<'_>, config: &GuardsConfig) -> Result<Made> {
    let device = device_facts(tx, &context.alert.tenant, &context.pair.machine_id).await?;
    let context = &Context { now: device.not_before_the_release(context.now), ..*context };
    let Context { alert, pair, choice, now, .. } = context;
    let spent = spent_at(tx, &alert.tenant, &pair.machine_id, &alert.alert_id, &device).await?;
    let mut verdict = judge(&choice.ask(), &facts(alert, pair, &device, spent, Counts::none()), config, *now);
    // Counting is dear, and most choices end before the caps.
    if reaches_the_caps(&verdict, &device) {
        let counts = counts(tx, &alert.tenant, &pair.machine_id, &choice.rule_id, choice.limit(), config, *now).await?;
        verdict = judge(&choice.ask(), &facts(alert, pair, &device, spent, counts), config, *now);
    }
    let verdict = kept_from_acting(&pair.machine_id, verdict);
    let action_id = carry_out(tx, context, &device, &verdict).await?;
    let reason = match &choice.note {
        Some(note) => format!("{}; {note}", verdict.reason),
        None => verdict.reason,
    };
    if context.anew {
        supersede(tx, context).await?;
    }
    let joined = device.pending.filter(|_| verdict.outcome == Outcome::Coalesced && action_id.is_none());
    sqlx::query(
        "INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched,
                                action_id, at, joined, part)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )
    .bind(alert.seq)
    .bind(alert.tenant.as_str())
    .bind(alert.alert_id.as_str())
    .bind(pair.machine_id.as_str())
    .bind(choice.rule_id.as_str())
    .bind(&choice.rule_hash)
    .bind(verdict.outcome.as_str())
    .bind(&reason)
    .bind(to_json(&choice.matched)?)
    .bind(action_id.map(|id| id.to_string()))
    .bind(millis(*now))
    .bind(joined)
    .bind(alert.part)
    .execute(&mut *tx)
    .await?;
    let by = By::Rule(choice.rule_id.clone());
    let entry = Entry {
        tenant: Some(&alert.tenant),
        machine_id: Some(&pair.machine_id),
        alert_id: Some(&alert.alert_id),
        rule_id: Some(&choice.rule_id),
        action_id,
        after: Some(verdict.outcome.as_str()),
        ..Entry::new(Happening::Decision, &by, &reason, *now)
    };
    audit::append(tx, &entry).await?;
    Ok(Made {
        tenant: alert.tenant.clone(),
        alert_id: alert.alert_id.clone(),
        machine_id: pair.machine_id.clone(),
        rule_id: choice.rule_id.clone(),
        outcome: verdict.outcome,
        reason,
        action_id,
    })
}

/// What this rule said before of the same version and device no longer holds.
async fn supersede(tx: &mut SqliteConnection, context: &Context<'_>) -> Result<()> {
    sqlx::query(
        "UPDATE decisions SET superseded_at = ?4, superseded_why = 'it was decided anew'
         WHERE alert_seq = ?1 AND machine_id = ?2 AND rule_id = ?3 AND superseded_at = 0",
    )
    .bind(context.alert.seq)
    .bind(context.pair.machine_id.as_str())
    .bind(context.choice.rule_id.as_str())
    .bind(millis(context.now))
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether nothing spoke before the guard that counts.
fn reaches_the_caps(verdict: &Verdict, device: &DeviceFacts) -> bool {
    match verdict.effect {
        Effect::Queue | Effect::Promote(_) | Effect::Hold(HoldKind::Approval) => true,
        Effect::Join { action } => joins_held(device, action),
        Effect::None | Effect::Hold(_) | Effect::KeepRestricted { .. } => false,
    }
}

/// Whether what a choice joins waits for a human, so that the choice would wait too.
fn joins_held(device: &DeviceFacts, action: Option<ActionId>) -> bool {
    device.open_restrict.is_some_and(|restrict| restrict.state == State::Held && action == Some(restrict.id))
}

impl Choice {
    /// What the guards are asked.
    #[must_use]
    pub fn ask(&self) -> Ask<'_> {
        Ask {
            rule_id: &self.rule_id,
            level: self.level,
            shadow: self.shadow,
            needs_approval: self.needs_approval,
            cooldown: self.cooldown.as_ref(),
            limit: self.limit(),
            protected: self.protected.clone(),
        }
    }

    pub(super) fn limit(&self) -> Option<(u32, &Span)> {
        self.limit.as_ref().map(|(devices, per)| (*devices, per))
    }
}

/// What the guards look at.
pub(super) fn facts<'a>(
    alert: &'a Deciding,
    pair: &'a DecidedPair,
    device: &DeviceFacts,
    spent_at: Option<Timestamp>,
    counts: Counts,
) -> Facts<'a> {
    Facts {
        drill: pair.machine_id.is_of_a_drill(),
        machine: pair.machine.as_ref(),
        alert_last_update: alert.last_update,
        alert_status: alert.status.as_deref(),
        alert_last_event: alert.last_event,
        open_restrict: device.open_restrict,
        open_release: device.open_release,
        in_force: device.in_force,
        override_at: device.override_at.clone(),
        expired_at: device.expired_at,
        spent_at,
        rule_devices: counts.rule_devices,
        blast_devices: counts.blast_devices,
        restricted_devices: counts.restricted_devices,
        fleet: counts.fleet,
    }
}

/// Does to the queue what the verdict says, and gives the action that it is about.
async fn carry_out(
    tx: &mut SqliteConnection,
    context: &Context<'_>,
    device: &DeviceFacts,
    verdict: &Verdict,
) -> Result<Option<ActionId>> {
    let by = By::Rule(context.choice.rule_id.clone());
    match &verdict.effect {
        Effect::None => Ok(None),
        Effect::Queue => Ok(Some(insert(tx, context, State::Queued, None).await?)),
        Effect::Hold(_) => Ok(Some(insert(tx, context, State::Held, Some(&verdict.reason)).await?)),
        Effect::Promote(id) => {
            promote(tx, context, *id, &by).await?;
            attach(tx, context, *id, false).await?;
            Ok(Some(*id))
        }
        Effect::Join { action } => {
            if let Some(id) = action {
                join(tx, context, *id, joins_held(device, *action)).await?;
            }
            Ok(*action)
        }
        Effect::KeepRestricted { release, action } => {
            // An alert that counted before extends nothing, so the release goes on.
            if let Some(id) = action
                && is_attached(tx, context, *id).await?
            {
                return Ok(*action);
            }
            let detail = format!("alert {} extends the restriction", context.alert.alert_id);
            let change = Change {
                id: *release,
                from: State::Queued,
                event: Event::Unwanted,
                by: &by,
                detail: &detail,
                now: context.now,
            };
            transition(tx, &change).await?;
            if let Some(id) = action {
                join(tx, context, *id, false).await?;
            }
            Ok(*action)
        }
    }
}

/// A new restrict, chosen by a rule.
async fn insert(
    tx: &mut SqliteConnection,
    context: &Context<'_>,
    state: State,
    hold_reason: Option<&str>,
) -> Result<ActionId> {
    let Context { alert, pair, choice, now, .. } = context;
    let id = ActionId::generate();
    sqlx::query(
        "INSERT INTO actions (id, tenant, machine_id, kind, family, state, level, rank, by_operator, by_human,
             rule_id, rule_hash, rules_hash, comment, created_at, decided_at, queued_at, due_at, expires_after,
             hold_reason, held_at, alert_received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 0, 0, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?12, ?14, ?15, ?16, ?17)",
    )
    .bind(id.to_string())
    .bind(alert.tenant.as_str())
    .bind(pair.machine_id.as_str())
    .bind(Kind::Restrict.as_str())
    .bind(Kind::Restrict.spec().family.as_str())
    .bind(state.as_str())
    .bind(choice.level.rank())
    .bind(choice.rule_id.as_str())
    .bind(&choice.rule_hash)
    .bind(context.rules_hash)
    .bind(tagged_comment(&choice.comment, id))
    .bind(millis(*now))
    .bind((state == State::Queued).then(|| millis(*now)))
    .bind(choice.expires_after.as_ref().map(Span::millis))
    .bind(hold_reason)
    .bind((state == State::Held).then(|| millis(*now)))
    .bind(millis(alert.received_at))
    .execute(&mut *tx)
    .await?;
    let by = By::Rule(choice.rule_id.clone());
    let detail = match hold_reason {
        Some(reason) => format!("alert {}: {reason}", alert.alert_id),
        None => format!("alert {}", alert.alert_id),
    };
    append(tx, id, None, state, &by, &detail, *now).await?;
    attach(tx, context, id, state == State::Held).await?;
    Ok(id)
}

/// The restrict that was held is queued under this rule.
async fn promote(tx: &mut SqliteConnection, context: &Context<'_>, id: ActionId, by: &By) -> Result<()> {
    let Context { alert, choice, now, .. } = context;
    let detail = format!("alert {}: this rule acts on the same device", alert.alert_id);
    let change = Change { id, from: State::Held, event: Event::Wanted, by, detail: &detail, now: *now };
    transition(tx, &change).await?;
    sqlx::query(
        "UPDATE actions SET rule_id = ?2, rule_hash = ?3, rules_hash = ?4, comment = ?5, decided_at = ?6, due_at = ?6,
             by_human = by_operator, level = MAX(level, ?7), rank = MAX(rank, ?7),
             expires_after = CASE WHEN expires_after IS NULL OR ?8 IS NULL THEN NULL ELSE MAX(expires_after, ?8) END
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(choice.rule_id.as_str())
    .bind(&choice.rule_hash)
    .bind(context.rules_hash)
    .bind(tagged_comment(&choice.comment, id))
    .bind(millis(*now))
    .bind(choice.level.rank())
    .bind(choice.expires_after.as_ref().map(Span::millis))
    .execute(tx)
    .await?;
    Ok(())
}

async fn is_attached(tx: &mut SqliteConnection, context: &Context<'_>, id: ActionId) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM action_alerts WHERE action_id = ?1 AND alert_id = ?2 AND rule_id = ?3)",
    )
    .bind(id.to_string())
    .bind(context.alert.alert_id.as_str())
    .bind(context.choice.rule_id.as_str())
    .fetch_one(tx)
    .await?)
}

/// Attaches the alert; false when this alert and rule were attached before. `held`: the rule would not have let
/// the action go.
async fn attach(tx: &mut SqliteConnection, context: &Context<'_>, id: ActionId, held: bool) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO action_alerts (action_id, alert_id, rule_id, at, held) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(context.alert.alert_id.as_str())
    .bind(context.choice.rule_id.as_str())
    .bind(millis(context.now))
    .bind(held)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if inserted == 0 && !held {
        sqlx::query("UPDATE action_alerts SET held = 0 WHERE action_id = ?1 AND alert_id = ?2 AND rule_id = ?3")
            .bind(id.to_string())
            .bind(context.alert.alert_id.as_str())
            .bind(context.choice.rule_id.as_str())
            .execute(tx)
            .await?;
    }
    Ok(inserted == 1)
}

/// The alert joins: a higher level raises the urgency, and the restriction lasts as long as the longest
/// that joined asks for, once per alert id and rule. An adopted machine action has no expiry of ours.
async fn join(tx: &mut SqliteConnection, context: &Context<'_>, id: ActionId, held: bool) -> Result<()> {
    if !attach(tx, context, id, held).await? {
        return Ok(());
    }
    let expires_after = context.choice.expires_after.as_ref();
    let expires_at = expires_after.and_then(|span| {
        let span = SignedDuration::try_from(span.duration()).ok()?;
        context.now.checked_add(span).ok().map(millis)
    });
    sqlx::query(
        "UPDATE actions SET level = MAX(level, ?2),
             rank = CASE WHEN rank >= ?5 THEN rank ELSE MAX(rank, ?2) END,
             expires_after = CASE WHEN expires_after IS NULL OR ?3 IS NULL THEN NULL ELSE MAX(expires_after, ?3) END,
             expires_at = CASE WHEN expires_at IS NULL OR ?4 IS NULL THEN NULL ELSE MAX(expires_at, ?4) END
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(context.choice.level.rank())
    .bind(expires_after.map(Span::millis))
    .bind(expires_at)
    .bind(FIRST_RANK)
    .execute(tx)
    .await?;
    Ok(())
}
