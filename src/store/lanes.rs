//! Quota slots and pauses of a lane, kept so that they survive a restart.
//!
//! The windows themselves are [`crate::quota`]; here are the calls that still count, and what answers do
//! to a lane.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::row::{millis, time_opt};
use super::{Result, Store};
use crate::config::Limits;
use crate::model::view::QuotaView;
use crate::model::{Lane, MachineId, TenantName};
use crate::quota::{self, Slot};

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
    /// It was not, and the earliest moment at which one may be.
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

/// What a call's answer says of its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneTrouble {
    /// Nothing: the lane works.
    None,
    /// 429, with what `Retry-After` asks for.
    Throttled(Option<Duration>),
    /// 401.
    Unauthorized {
        /// Whether the token before this one was refused too: then no new token helps.
        again: bool,
        /// What the API says.
        message: String,
    },
    /// 403. `missing_roles` when it names missing application roles.
    Forbidden {
        /// Whether it names missing application roles.
        missing_roles: bool,
        /// The device that it was about.
        device: Option<MachineId>,
        /// What the API says.
        message: String,
    },
    /// No readable answer, or 5xx.
    Unanswered(String),
    /// It was never sent, so it says nothing of the lane.
    NeverSent,
}

/// How long a lane rests after a 401 or 403 before one call probes it.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Calls without a readable answer in a row that pause a lane.
const UNANSWERED_IN_A_ROW: i64 = 5;
/// Refusals of different devices in a row that pause a lane.
const FORBIDDEN_IN_A_ROW: i64 = 3;
/// The longest drawn pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LaneState {
    paused_until: Option<Timestamp>,
    reason: Option<String>,
    pauses: i64,
    probe_until: Option<Timestamp>,
    trouble: Option<String>,
    troubles: i64,
    trouble_device: Option<String>,
}

/// A wait drawn evenly between `least` and the smaller of `most` and `base` doubled `n` times. `draw` is
/// from 0 up to 1.
#[must_use]
pub(super) fn drawn_wait(least: Duration, base: Duration, most: Duration, n: i64, draw: f64) -> Duration {
    let doubled =
        base.saturating_mul(1u32.checked_shl(u32::try_from(n.clamp(0, 16)).unwrap_or(16)).unwrap_or(u32::MAX));
    let upper = doubled.min(most).max(least);
    least + (upper - least).mul_f64(draw.clamp(0.0, 1.0))
}

pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

impl LaneState {
    /// What an answer does to the lane. `probe`: the call was sent to see whether a paused lane works again.
    fn after(mut self, trouble: &LaneTrouble, probe: bool, now: Timestamp, draw: f64) -> Self {
        let paused = self.paused_until.is_some();
        if probe {
            self.probe_until = None;
        }
        match trouble {
            LaneTrouble::NeverSent => self,
            // An answer to a call from before the pause does not end the pause.
            LaneTrouble::None if paused && !probe => self,
            LaneTrouble::None => Self::default(),
            LaneTrouble::Throttled(after) => {
                let wait = after.unwrap_or_else(|| drawn_wait(secs(15), secs(30), LONGEST_PAUSE, self.pauses, draw));
                self.pause("429: the quota is used up, by other software too", wait, probe, now)
            }
            LaneTrouble::Unauthorized { again, message } => {
                if *again || probe {
                    return self.pause(&format!("401: {message}"), REFUSED_PAUSE, probe, now);
                }
                self
            }
            LaneTrouble::Forbidden { missing_roles, device, message } => {
                let device = device.as_ref().map(MachineId::as_str);
                if self.trouble.as_deref() != Some("forbidden") || self.trouble_device.as_deref() != device {
                    self.count("forbidden", device);
                }
                if *missing_roles || probe || self.troubles >= FORBIDDEN_IN_A_ROW {
                    return self.pause(&format!("403: {message}"), REFUSED_PAUSE, probe, now);
                }
                self
            }
            LaneTrouble::Unanswered(message) => {
                self.count("unanswered", None);
                if probe || self.troubles >= UNANSWERED_IN_A_ROW {
                    let wait = drawn_wait(secs(5), secs(10), LONGEST_PAUSE, self.pauses, draw);
                    return self.pause(&format!("no usable answer: {message}"), wait, probe, now);
                }
                self
            }
        }
    }

    fn count(&mut self, trouble: &str, device: Option<&str>) {
        if self.trouble.as_deref() == Some(trouble) {
            self.troubles += 1;
        } else {
            self.trouble = Some(trouble.to_owned());
            self.troubles = 1;
        }
        self.trouble_device = device.map(str::to_owned);
    }

    fn pause(mut self, reason: &str, wait: Duration, probe: bool, now: Timestamp) -> Self {
        let until = later(now, wait);
        let running = self.paused_until.filter(|&until| until > now && !probe);
        // Several calls that were under way together are one reason to pause, not several.
        if running.is_none() {
            self.pauses += 1;
        }
        self.paused_until = Some(running.map_or(until, |running| running.max(until)));
        self.reason = Some(reason.chars().take(300).collect());
        self.probe_until = None;
        self
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Store {
    /// Takes a slot of a lane for a call that is no action: reading, or cancelling.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn take_slot(&self, tenant: &TenantName, lane: Lane, limits: &Limits, now: Timestamp) -> Result<Took> {
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
        now: Timestamp,
        draw: f64,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        answer(&mut tx, slot, answered, trouble, now, draw).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What is left of every window of every lane.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn quota(&self, tenant: &TenantName, limits: &Limits, now: Timestamp) -> Result<Vec<QuotaView>> {
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
                    paused_until: state.paused_until.filter(|&until| until > now),
                    reason: state.reason.clone(),
                });
            }
        }
        Ok(views)
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
        state.probe_until = Some(silent_until);
        write_state(tx, tenant, lane, &state).await?;
    }
    let refused =
        probe && state.reason.as_ref().is_some_and(|reason| reason.starts_with("401") || reason.starts_with("403"));
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
        Answered::Silent => {}
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
    Ok(sqlx::query_scalar(
        "SELECT held_from FROM calls WHERE tenant = ?1 AND lane = ?2 AND held_from > ?3 ORDER BY held_from",
    )
    .bind(tenant.as_str())
    .bind(lane.as_str())
    .bind(millis(now).saturating_sub(longest))
    .fetch_all(tx)
    .await?)
}

impl Store {
    /// Forgets calls that count in no window any more.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_calls(&self, limits: &Limits, now: Timestamp) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T03:00:00Z".parse().unwrap()
    }

    fn after(state: LaneState, trouble: LaneTrouble) -> LaneState {
        state.after(&trouble, false, now(), 0.5)
    }

    fn silent() -> LaneTrouble {
        LaneTrouble::Unanswered("timed out".into())
    }

    #[test]
    fn a_429_pauses_for_as_long_as_it_asks() {
        let state = after(LaneState::default(), LaneTrouble::Throttled(Some(secs(42))));
        assert_eq!(state.paused_until, Some(later(now(), secs(42))));
    }

    #[test]
    fn a_bare_429_pauses_longer_each_time() {
        let first = after(LaneState::default(), LaneTrouble::Throttled(None));
        assert_eq!(first.paused_until, Some(later(now(), Duration::from_millis(22_500))));
        let second = first.after(&LaneTrouble::Throttled(None), true, now(), 1.0);
        assert_eq!(second.paused_until, Some(later(now(), secs(60))));
        assert_eq!(second.pauses, 2);
    }

    #[test]
    fn only_the_probe_ends_a_pause() {
        let paused = after(LaneState::default(), LaneTrouble::Throttled(None));
        assert_eq!(after(paused.clone(), LaneTrouble::None), paused);
        assert_eq!(paused.after(&LaneTrouble::None, true, now(), 0.5), LaneState::default());
    }

    #[test]
    fn five_silent_calls_in_a_row_pause_and_an_answer_between_them_starts_anew() {
        let four = (0..4).fold(LaneState::default(), |state, _| after(state, silent()));
        assert_eq!(four.paused_until, None);
        assert!(after(four.clone(), silent()).paused_until.is_some());
        let answered = after(four, LaneTrouble::None);
        assert_eq!(after(answered, silent()).paused_until, None);
    }

    #[test]
    fn three_refused_devices_in_a_row_pause_but_one_device_thrice_does_not() {
        let refused = |digit: &str| LaneTrouble::Forbidden {
            missing_roles: false,
            device: Some(MachineId::new(&digit.repeat(40)).unwrap()),
            message: "no".into(),
        };
        let same = ["1", "1", "1"].iter().fold(LaneState::default(), |state, digit| after(state, refused(digit)));
        assert_eq!(same.paused_until, None);
        let different = ["1", "2", "3"].iter().fold(LaneState::default(), |state, digit| after(state, refused(digit)));
        assert_eq!(different.paused_until, Some(later(now(), REFUSED_PAUSE)));
    }

    #[test]
    fn a_401_is_forgiven_once() {
        let refused = |again| LaneTrouble::Unauthorized { again, message: "expired".into() };
        assert_eq!(after(LaneState::default(), refused(false)).paused_until, None);
        assert_eq!(after(LaneState::default(), refused(true)).paused_until, Some(later(now(), REFUSED_PAUSE)));
    }

    #[test]
    fn waits_are_drawn_between_their_bounds() {
        for n in 0..40 {
            for draw in [0.0, 0.5, 1.0] {
                let wait = drawn_wait(secs(5), secs(10), secs(300), n, draw);
                assert!(wait >= secs(5) && wait <= secs(300));
            }
        }
    }
}
