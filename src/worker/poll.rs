//! Polling MDE's alert list into the inbox.
//!
//! Never decides. A pass begins an overlap before the watermark; now and then a sweep looks further back,
//! for alerts that show up late. A pass that fails moves no watermark and is tried again at the next
//! `every`. Absent: parsing (see [`crate::intake`]).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::config::{DefenderSource, Start};
use crate::crash_point::crash_point;
use crate::defender::ReadError;
use crate::intake::parse_mde;
use crate::model::{AlertTime, Lane, TenantName};
use crate::store::Incoming;

use super::{RunError, TenantWork, Work, chain, since};

/// Alerts asked for in one page. The API gives at most 10,000, but rows carry their evidence.
const PAGE: u32 = 1_000;
/// Pages are made no smaller than this when an answer is too large.
const SMALLEST_PAGE: u32 = 10;

/// One source polled for one tenant.
pub struct Poll<'a> {
    work: &'a Work,
    source: &'a DefenderSource,
    name: &'a TenantName,
    tenant: &'a TenantWork,
}

impl<'a> Poll<'a> {
    /// A source and a tenant that it polls.
    #[must_use]
    pub const fn new(work: &'a Work, source: &'a DefenderSource, name: &'a TenantName, tenant: &'a TenantWork) -> Self {
        Self { work, source, name, tenant }
    }

    /// Polls until the stop.
    pub async fn run(&self) {
        // The floor is the moment of the very first start, not of the first login that works.
        let Some(floor) = self.floor().await else { return };
        crash_point("poll.floor_stored");
        if !self.work.signed_in(self.tenant).await {
            return;
        }
        let mut swept: Option<Timestamp> = None;
        loop {
            let began = self.work.moment();
            let sweep = swept.is_none_or(|at| since(at, began.steady) >= self.source.sweep_every.duration());
            match self.pass(floor, sweep).await {
                Ok(new) => {
                    if sweep {
                        swept = Some(began.steady);
                    }
                    if self.work.board.polled(self.name, &self.source.name, Ok(began.wall)) {
                        tracing::info!(tenant = %self.name, source = %self.source.name, "the source is polled");
                    }
                    self.said(format!("{new} new versions of alerts"));
                }
                Err(RunError::Stopping) => return,
                Err(error) => {
                    let error = chain(&error);
                    if self.work.board.polled(self.name, &self.source.name, Err(error.clone())) {
                        tracing::warn!(tenant = %self.name, source = %self.source.name, error, "the source can not be polled");
                    }
                    self.said(error);
                }
            }
            let rest = self.source.every.duration().saturating_sub(since(began.steady, self.work.steady()));
            if !self.work.pause(rest.max(Duration::from_millis(10))).await {
                return;
            }
        }
    }

    fn said(&self, what: String) {
        self.work.board.ran(format!("poll {} {}", self.source.name, self.name), self.work.now(), what);
    }

    /// The floor, stored at the very first start.
    async fn floor(&self) -> Option<AlertTime> {
        let now = AlertTime::from_timestamp(self.work.now());
        let start = match &self.source.start {
            Start::Now => now.floor_to_second(),
            Start::Back(back) => now.saturating_sub(back.duration()),
        };
        loop {
            match self.work.store.source_position(self.name, &self.source.name, start).await {
                Ok((_, floor)) => return Some(floor),
                Err(error) => {
                    tracing::error!(tenant = %self.name, source = %self.source.name, error = chain(&error), "the source has no place to begin");
                    if !self.work.pause(Duration::from_secs(1)).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn pass(&self, floor: AlertTime, sweep: bool) -> Result<u64, RunError> {
        let undecided = self.work.store.undecided_count().await?;
        if undecided >= self.work.config.server.inbox {
            return Err(RunError::InboxFull(undecided));
        }
        let (watermark, _) = self.work.store.source_position(self.name, &self.source.name, floor).await?;
        let mut since = watermark.saturating_sub(self.source.overlap.duration());
        if sweep {
            let back = AlertTime::from_timestamp(self.work.now()).saturating_sub(self.source.sweep_back.duration());
            since = since.min(back);
        }
        let since = since.max(floor);
        let mut page = PAGE;
        loop {
            match self.pages(since, watermark, page).await {
                Err(RunError::Read(ReadError::TooLarge { .. })) if page > SMALLEST_PAGE => page /= 2,
                result => return result,
            }
        }
    }

    /// Reads and stores every page from `since` on. The watermark moves with the last one: to the newest
    /// version seen, and never past Microsoft's clock as it was at the first answer.
    async fn pages(&self, since: AlertTime, watermark: AlertTime, size: u32) -> Result<u64, RunError> {
        let mut next = None;
        let mut newest = watermark;
        let mut limit: Option<AlertTime> = None;
        let mut new = 0;
        loop {
            self.tenant.client.ensure_token().await.map_err(|error| {
                self.tenant.sign_in.notify_one();
                ReadError::Auth(error)
            })?;
            let slot = self.work.slot(self.name, self.tenant, Lane::Alerts).await?.ok_or(RunError::Stopping)?;
            crash_point("poll.slot_taken");
            let asked_at = AlertTime::from_timestamp(self.work.now());
            let result = self.tenant.client.alerts(since, next.as_ref(), size).await;
            crash_point("poll.page_read");
            self.work.answer(&slot, &result).await?;
            crash_point("poll.slot_answered");
            let page = result?;
            // Without Microsoft's clock, ours as it was before the question.
            let limit = *limit.get_or_insert(page.date.unwrap_or(asked_at));
            let rows = self.rows(page.rows, page.unreadable);
            newest = rows
                .iter()
                .filter_map(|row| match row {
                    Incoming::Alert(alert) => alert.last_update,
                    Incoming::Malformed(..) => None,
                })
                .fold(newest, Ord::max);
            let last = page.next.is_none();
            let moved = last.then(|| newest.min(limit));
            let accepted = self.work.store.accept(self.name, &self.source.name, &rows, moved, self.work.now()).await?;
            crash_point("poll.page_stored");
            self.work.count_received(self.name, &self.source.name, &rows, &accepted);
            new += accepted.new;
            if accepted.new > 0 {
                self.work.decide.notify_one();
            }
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(new),
            }
        }
    }

    fn rows(&self, rows: Vec<Value>, unreadable: usize) -> Vec<Incoming> {
        let mut nameless = unreadable as u64;
        let mut incoming = Vec::with_capacity(rows.len());
        for row in rows {
            match parse_mde(row) {
                Ok(alert) => incoming.push(Incoming::Alert(alert)),
                Err(malformed) => match malformed.id.clone() {
                    Some(id) => incoming.push(Incoming::Malformed(id, malformed)),
                    None => {
                        nameless += 1;
                        tracing::warn!(tenant = %self.name, source = %self.source.name, reason = malformed.reason, "a row of the source is no alert and has no id");
                    }
                },
            }
        }
        self.work.metrics.received(self.name, &self.source.name, 0, nameless);
        incoming
    }
}
