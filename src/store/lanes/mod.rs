//! Quota slots and pauses of a lane, kept so that they survive a restart.
//!
//! The windows themselves are [`crate::quota`]; here are the calls that still count, and what answers do
//! to a lane. Every time here is on the steady timeline (see [`Moment`]).

mod state;

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::row::{json, millis, time_opt};
use super::{Result, Store};
use crate::config::Limits;
use crate::model::view::QuotaView;
use crate::model::{Lane, Moment, TenantName};
use crate::quota::{self, Slot};

use state::LaneState;
pub use state::LaneTrouble;
pub(super) use state::{drawn_wait, later};

/// The wait beyond the time-out of a probe before the next: its silence is recorded first.
const PROBE_MARGIN: Duration = Duration::from_secs(5);

/// A slot that one call took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSlot {
    /// The store's number of it.
    pub id: i64,
    /// The tenant.
    pub tenant: TenantName,
    /// The lane.
    pub lane: Lane,
    /// Whether the call probes a lane that was paused.
    pub probe: bool,
    /// Whether the lane was paused by a 401 or 403: the probe is to go on a fresh token.
    pub refused: bool,
}

/// Whether a slot was to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Took {
    /// It was.
    Slot(CallSlot),
    /// It was not, and the earliest moment at which one may be, on the steady timeline.
    Wait(Timestamp),
}

/// When a call was answered, as far as its slot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Now: the slot comes free one window from now.
    Now,
    /// Not at all: it may still arrive, so the slot comes free one window after the time-out.
    Silent,
    /// It was surely never sent: the slot is free at once.
    NeverSent,
}

impl Store {
    /// Takes a slot of a lane for a call that is no action: reading, or cancelling.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn take_slot(
        &self,
        tenant: &TenantName,
        lane: Lane,
        limits: &Limits,
        now: impl Into<Moment> + Send,
    ) -> Result<Took> {
        let now = now.into().steady;
        let mut tx = self.begin().await?;
        let took = take(&mut tx, tenant, lane, limits, true, now).await?;
        tx.commit().await?;
        Ok(took)
    }

    /// Gives back the slot of such a call, and tells the lane how it went. `draw`, from 0 up to 1, spreads
    /// the pauses.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn answer_slot(
        &self,
        slot: &CallSlot,
        answered: Answered,
        trouble: &LaneTrouble,
        now: impl Into<Moment> + Send,
        draw: f64,
    ) -> Result<()> {
        let now = now.into().steady;
        let mut tx = self.begin().await?;
        answer(&mut tx, slot, answered, trouble, now, draw).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What is left of every window of every lane. Pauses are given by the clock.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn quota(
        &self,
        tenant: &TenantName,
        limits: &Limits,
        now: impl Into<Moment> + Send,
    ) -> Result<Vec<QuotaView>> {
        let moment: Moment = now.into();
        let now = moment.steady;
        let mut views = Vec::new();
        let mut reader = self.reader.acquire().await?;
        for lane in Lane::ALL {
            let state = read_state(&mut reader, tenant, lane).await?;
            let held = held_from(&mut reader, tenant, lane, limits, now).await?;
            for window in limits.windows(lane) {
                views.push(QuotaView {
                    tenant: tenant.clone(),
                    lane,
                    window: window.per.to_string(),
                    calls: window.calls,
                    remaining: quota::remaining(now, window, &held),
                    paused_until: state
                        .paused_until
                        .filter(|&until| until > now)
                        .map(|until| moment.by_the_clock(until)),
                    reason: state.reason.clone().filter(|_| state.paused_until.is_some_and(|until| until > now)),
                });
            }
        }
        Ok(views)
    }

    /// When each lane that has no slot for an operator's call now may have the next one, by the clock.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn next_slots(
        &self,
        tenant: &TenantName,
        limits: &Limits,
        now: impl Into<Moment> + Send,
    ) -> Result<Vec<(Lane, Timestamp)>> {
        let moment: Moment = now.into();
        let mut slots = Vec::new();
        let mut reader = self.reader.acquire().await?;
        for lane in Lane::ALL {
            let held = held_from(&mut reader, tenant, lane, limits, moment.steady).await?;
            if let Slot::At(at) = quota::slot(moment.steady, limits.windows(lane), 0, &held) {
                slots.push((lane, moment.by_the_clock(at)));
            }
        }
        Ok(slots)
    }
}

/// Takes a slot inside a transaction. `operator`: the reserve may be used.
pub(super) async fn take(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    lane: Lane,
    limits: &Limits,
    operator: bool,
    now: Timestamp,
) -> Result<Took> {
    let mut state = read_state(tx, tenant, lane).await?;
    let blocked = [state.paused_until, state.probe_until].into_iter().flatten().filter(|&until| until > now).max();
    if let Some(until) = blocked {
        return Ok(Took::Wait(until));
    }
    let held = held_from(tx, tenant, lane, limits, now).await?;
    let reserve = if operator || lane != Lane::Restrict { 0 } else { limits.reserve_percent };
    if let Slot::At(at) = quota::slot(now, limits.windows(lane), reserve, &held) {
        return Ok(Took::Wait(at));
    }
    let silent_until = later(now, limits.request_timeout.duration());
    let id = sqlx::query("INSERT INTO calls (tenant, lane, held_from) VALUES (?1, ?2, ?3)")
        .bind(tenant.as_str())
        .bind(lane.as_str())
        .bind(millis(silent_until) + 1)
        .execute(&mut *tx)
        .await?
        .last_insert_rowid();
    let probe = state.paused_until.is_some();
    if probe {
        state.probe_until = Some(later(silent_until, PROBE_MARGIN));
        write_state(tx, tenant, lane, &state).await?;
    }
    let refused = probe && state.was_refused();
    Ok(Took::Slot(CallSlot { id, tenant: tenant.clone(), lane, probe, refused }))
}

/// Gives a slot back inside a transaction.
pub(super) async fn answer(
    tx: &mut SqliteConnection,
    slot: &CallSlot,
    answered: Answered,
    trouble: &LaneTrouble,
    now: Timestamp,
    draw: f64,
) -> Result<()> {
    match answered {
        // It may have left later than it was claimed: the writer was busy, or a token was fetched.
        Answered::Silent => {
            sqlx::query("UPDATE calls SET held_from = MAX(held_from, ?2) WHERE id = ?1")
                .bind(slot.id)
                .bind(millis(now) + 1)
                .execute(&mut *tx)
                .await?;
        }
        Answered::NeverSent => {
            sqlx::query("DELETE FROM calls WHERE id = ?1").bind(slot.id).execute(&mut *tx).await?;
        }
        // Cut times are early by less than a millisecond, and the server may have counted in that one.
        Answered::Now => {
            sqlx::query("UPDATE calls SET held_from = ?2 WHERE id = ?1")
                .bind(slot.id)
                .bind(millis(now) + 1)
                .execute(&mut *tx)
                .await?;
        }
    }
    let before = read_state(tx, &slot.tenant, slot.lane).await?;
    let after = before.clone().after(trouble, slot.probe, now, draw);
    if after == before {
        return Ok(());
    }
    // A 401 is about the tenant's sign-in, so every lane of it rests.
    if matches!(trouble, LaneTrouble::Unauthorized { .. }) && after.paused_until != before.paused_until {
        for lane in Lane::ALL {
            let mut state = read_state(tx, &slot.tenant, lane).await?;
            state.paused_until = state.paused_until.max(after.paused_until);
            state.reason = after.reason.clone();
            write_state(tx, &slot.tenant, lane, &state).await?;
        }
    }
    write_state(tx, &slot.tenant, slot.lane, &after).await
}

/// When each call that still counts begins to give its slot back, ascending; the others are forgotten.
async fn held_from(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    lane: Lane,
    limits: &Limits,
    now: Timestamp,
) -> Result<Vec<i64>> {
    let longest = limits.windows(lane).iter().map(|window| window.per.millis()).max().unwrap_or(0);
    // One row with all of them: a row for each costs more than the rest of a claim.
    let row = sqlx::query(
        "SELECT json_group_array(held_from) AS held FROM calls WHERE tenant = ?1 AND lane = ?2 AND held_from > ?3",
    )
    .bind(tenant.as_str())
    .bind(lane.as_str())
    .bind(millis(now).saturating_sub(longest))
    .fetch_one(tx)
    .await?;
    let mut held: Vec<i64> = json(&row, "held")?;
    held.sort_unstable();
    Ok(held)
}

impl Store {
    /// Forgets calls that count in no window any more.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_calls(&self, limits: &Limits, now: impl Into<Moment> + Send) -> Result<()> {
        let now = now.into().steady;
        let longest = Lane::ALL
            .into_iter()
            .flat_map(|lane| limits.windows(lane))
            .map(|window| window.per.millis())
            .max()
            .unwrap_or(0);
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM calls WHERE held_from < ?1")
            .bind(millis(now).saturating_sub(longest))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn read_state(tx: &mut SqliteConnection, tenant: &TenantName, lane: Lane) -> Result<LaneState> {
    let row = sqlx::query(
        "SELECT paused_until, reason, pauses, probe_until, trouble, troubles, trouble_device FROM lanes
         WHERE tenant = ?1 AND lane = ?2",
    )
    .bind(tenant.as_str())
    .bind(lane.as_str())
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else {
        return Ok(LaneState::default());
    };
    Ok(LaneState {
        paused_until: time_opt(&row, "paused_until")?,
        reason: row.try_get("reason")?,
        pauses: row.try_get("pauses")?,
        probe_until: time_opt(&row, "probe_until")?,
        trouble: row.try_get("trouble")?,
        troubles: row.try_get("troubles")?,
        trouble_device: row.try_get("trouble_device")?,
    })
}

async fn write_state(tx: &mut SqliteConnection, tenant: &TenantName, lane: Lane, state: &LaneState) -> Result<()> {
    sqlx::query(
        "INSERT INTO lanes (tenant, lane, paused_until, reason, pauses, probe_until, trouble, troubles, trouble_device)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (tenant, lane) DO UPDATE SET paused_until = ?3, reason = ?4, pauses = ?5, probe_until = ?6,
             trouble = ?7, troubles = ?8, trouble_device = ?9",
    )
    .bind(tenant.as_str())
    .bind(lane.as_str())
    .bind(state.paused_until.map(millis))
    .bind(&state.reason)
    .bind(state.pauses)
    .bind(state.probe_until.map(millis))
    .bind(&state.trouble)
    .bind(state.troubles)
    .bind(&state.trouble_device)
    .execute(tx)
    .await?;
    Ok(())
}
