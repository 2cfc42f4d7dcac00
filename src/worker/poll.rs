//! Polling a list of alerts, MDE's or Microsoft Graph's, into the inbox.
//!
//! Never decides. What is new begins an overlap before the watermark; now and then a sweep looks further back,
//! for alerts that show up late, in the time that is left before the next poll. What fails is tried again at
//! the next `every`, where it broke. Absent: parsing (see [`crate::intake`]), and how a list is divided that
//! has more rows than the API pages (see [`Reading`]).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::config::{PollSource, Start, Wire};
use crate::crash_point::crash_point;
use crate::defender::{ReadError, Reading};
use crate::intake::{parse_graph, parse_mde};
use crate::model::{AlertTime, Lane, Moment, TenantName};
use crate::store::{Incoming, Reached, Subject};

use super::{RunError, TenantWork, Work, chain, since};

/// Alerts asked for in one page. MDE gives at most 10,000, but rows carry their evidence. How many Graph gives at
/// most no page of Microsoft's says: 100 is what its own example asks for.
const fn page_of(wire: Wire) -> u32 {
    match wire {
        Wire::Defender => 1_000,
        Wire::Graph => 100,
    }
}

/// What is being read of a source. It is kept when it breaks, so that no run begins the same again.
#[derive(Default)]
struct Passes {
    /// What is new.
    fresh: Option<Pass>,
    /// The sweep: what is older than that.
    older: Option<Pass>,
    /// When the last sweep was begun, on the steady timeline.
    swept: Option<Timestamp>,
}

struct Pass {
    list: Reading,
    /// Where the watermark is, if this pass moves it.
    watermark: Option<AlertTime>,
    /// The newest version seen.
    newest: AlertTime,
    /// Microsoft's clock at the first answer.
    limit: Option<AlertTime>,
}

impl Pass {
    /// Where the watermark goes with the rows read last: to the newest version seen, but never past what was
    /// not read yet nor past Microsoft's clock. `None` while it stays.
    fn reached(&self) -> Option<Reached> {
        let watermark = self.watermark?;
        let unread = self.list.unread_from();
        let reached = [self.limit, unread].into_iter().flatten().fold(self.newest, Ord::min);
        let whole = unread.is_none();
        (whole || reached > watermark).then_some(Reached { watermark: reached, whole })
    }
}

/// One source polled for one tenant.
pub struct Poll<'a> {
    work: &'a Work,
    source: &'a PollSource,
    name: &'a TenantName,
    tenant: &'a TenantWork,
}

impl<'a> Poll<'a> {
    /// A source and a tenant that it polls.
    #[must_use]
    pub const fn new(work: &'a Work, source: &'a PollSource, name: &'a TenantName, tenant: &'a TenantWork) -> Self {
        Self { work, source, name, tenant }
    }

    /// Polls until the stop.
    pub async fn run(&self) {
        // The floor is the moment of the very first start, not of the first login that works.
        let Some(floor) = self.floor().await else { return };
        if !self.work.signed_in(self.tenant).await {
            return;
        }
        let mut passes = Passes::default();
        loop {
            let began = self.work.moment();
            match self.turn(floor, &mut passes, began).await {
                Ok(new) => {
                    if self.work.board.polled(self.name, &self.source.name, Ok(began.wall)) {
                        tracing::info!(tenant = %self.name, source = %self.source.name, "the source is polled");
                    }
                    self.work.stands(self.subject(), Ok(())).await;
                    self.work.board.ran(self.loop_name(), self.work.now(), format!("{new} new versions of alerts"));
                }
                Err(RunError::Stopping) => return,
                Err(error) => {
                    // A tenant that can not sign in says so itself.
                    let is_the_tenants = matches!(error, RunError::Read(ReadError::Auth(_)));
                    let error = chain(&error);
                    if !is_the_tenants {
                        self.work.stands(self.subject(), Err(&error)).await;
                    }
                    if self.work.board.polled(self.name, &self.source.name, Err(error.clone())) {
                        tracing::warn!(tenant = %self.name, source = %self.source.name, error, "the source can not be polled");
                    }
                    self.work.board.failed(self.loop_name(), self.work.now(), error);
                }
            }
            let rest = self.source.every.duration().saturating_sub(since(began.steady, self.work.steady()));
            if !self.work.pause(rest.max(Duration::from_millis(10))).await {
                return;
            }
        }
    }

    const fn subject(&self) -> Subject<'a> {
        Subject::Source(self.name, &self.source.name)
    }

    fn loop_name(&self) -> String {
        format!("poll {} {}", self.source.name, self.name)
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
                Ok((_, floor)) => {
                    crash_point("poll.floor_stored");
                    return Some(floor);
                }
                Err(error) => {
                    tracing::error!(tenant = %self.name, source = %self.source.name, error = chain(&error), "the source has no place to begin");
                    if !self.work.pause(Duration::from_secs(1)).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Reads what is new to the end, and of a sweep that is due as much as there is time for; gives how many
    /// versions were new.
    async fn turn(&self, floor: AlertTime, passes: &mut Passes, began: Moment) -> Result<u64, RunError> {
        let now = AlertTime::from_timestamp(began.wall);
        let (watermark, _) = self.work.store.source_position(self.name, &self.source.name, floor).await?;
        let from = watermark.saturating_sub(self.source.overlap.duration()).max(floor);
        if passes.fresh.is_none() {
            let list = Reading::new(Some(from), None, page_of(self.source.wire), now);
            passes.fresh = Some(Pass { list, watermark: Some(watermark), newest: watermark, limit: None });
        }
        let new = self.go_on(&mut passes.fresh, None).await?;
        let back = now.saturating_sub(self.source.sweep_back.duration()).max(floor);
        let due = passes.swept.is_none_or(|at| since(at, began.steady) >= self.source.sweep_every.duration());
        if due && passes.older.is_none() && back < from {
            let list = Reading::new(Some(back), Some(from), page_of(self.source.wire), now);
            passes.older = Some(Pass { list, watermark: None, newest: back, limit: None });
            passes.swept = Some(began.steady);
        }
        Ok(new + self.go_on(&mut passes.older, Some(began.steady)).await?)
    }

    /// Reads on to the end, or for as long as a turn takes that began at `turn` of the steady timeline; gives how
    /// many versions were new. What is not at its end is kept.
    async fn go_on(&self, kept: &mut Option<Pass>, turn: Option<Timestamp>) -> Result<u64, RunError> {
        let Some(mut pass) = kept.take() else { return Ok(0) };
        let mut new = 0;
        loop {
            match self.page(&mut pass).await {
                Ok(Some(more)) => new += more,
                Ok(None) => {
                    if let Err(error) = pass.list.end() {
                        tracing::error!(tenant = %self.name, source = %self.source.name, error = chain(&error), "alerts of one time can not all be read, so the watermark stays before it");
                        return Err(error.into());
                    }
                    return Ok(new);
                }
                Err(error) => {
                    // Elsewhere it is not known what is stored, or going on would be no use.
                    let goes_on = match &error {
                        RunError::Read(error) => !matches!(error, ReadError::TooManyPages { .. }),
                        RunError::InboxFull(_) => true,
                        RunError::Store(_) | RunError::Stopping => false,
                    };
                    *kept = goes_on.then_some(pass);
                    return Err(error);
                }
            }
            if turn.is_some_and(|began| since(began, self.work.steady()) >= self.source.every.duration()) {
                *kept = Some(pass);
                return Ok(new);
            }
        }
    }

    /// Reads and stores one page, and moves the watermark as far as all is read; gives how many versions were
    /// new, or `None` when there is nothing more to read.
    async fn page(&self, pass: &mut Pass) -> Result<Option<u64>, RunError> {
        let Some(ask) = pass.list.ask() else { return Ok(None) };
        let undecided = self.work.store.undecided_count().await?;
        if undecided >= self.work.config.server.inbox {
            return Err(RunError::InboxFull(undecided));
        }
        self.tenant.client.ensure_token(self.source.wire).await.map_err(|error| {
            self.tenant.sign_in.notify_one();
            ReadError::Auth(error)
        })?;
        let slot = self.work.slot(self.name, self.tenant, Lane::Alerts).await?.ok_or(RunError::Stopping)?;
        crash_point("poll.slot_taken");
        let asked_at = AlertTime::from_timestamp(self.work.now());
        let result = self.tenant.client.alerts(self.source.wire, ask).await;
        crash_point("poll.page_read");
        match self.source.wire {
            Wire::Defender => self.work.answer(&slot, &result).await?,
            Wire::Graph => self.work.answer_of_graph(&slot, &result).await?,
        }
        crash_point("poll.slot_answered");
        let Some(page) = pass.list.answered(result)? else { return Ok(Some(0)) };
        self.work.misfits(self.name, Lane::Alerts, &page.misfits);
        // Without Microsoft's clock, ours as it was before the question.
        pass.limit.get_or_insert(page.date.unwrap_or(asked_at));
        let rows = self.rows(page.rows, page.unreadable);
        pass.newest = rows
            .iter()
            .filter_map(|row| match row {
                Incoming::Alert(alert) => alert.last_update,
                Incoming::Malformed(..) => None,
            })
            .fold(pass.newest, Ord::max);
        let reached = pass.reached();
        let accepted = self.work.store.accept(self.name, &self.source.name, &rows, reached, self.work.now()).await?;
        crash_point("poll.page_stored");
        pass.watermark = reached.map_or(pass.watermark, |reached| Some(reached.watermark));
        self.work.count_received(self.name, &self.source.name, &rows, &accepted);
        if accepted.has_work() {
            self.work.decide.notify_one();
        }
        Ok(Some(accepted.new))
    }

    fn rows(&self, rows: Vec<Value>, unreadable: usize) -> Vec<Incoming> {
        let mut nameless = unreadable as u64;
        let mut incoming = Vec::with_capacity(rows.len());
        let parse = match self.source.wire {
            Wire::Defender => parse_mde,
            Wire::Graph => parse_graph,
        };
        for row in rows {
            match parse(row) {
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
