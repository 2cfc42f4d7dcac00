//! Messages to people, one loop for each channel: follows the audit, gathers what the channel asked for, and posts what
//! is due, one message after the other.
//!
//! A message is told to the store before and after, and never lost: it is sent again until the receiver has it, or for a
//! day. One whose receiver had it just when the process died is sent twice. Absent: which rows are told and in which
//! words (see [`crate::notify`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Work, chain};
use crate::config::Channel;
use crate::metrics::Metrics;
use crate::model::notice::{Notice, Outbreak};
use crate::model::{Moment, RuleId};
use crate::notify::post::{Post, Sent};
use crate::notify::{GIVE_UP_AFTER, MIN_DISTANCE, body, notice_of, wait_after};
use crate::store::{Store, StoreError};

/// How often the audit is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Parts of the audit that are read before anything is posted again.
const MOST_PARTS: usize = 20;
/// So many rows that nobody is told of may be read again after a restart.
const REREAD: i64 = 1_000;

/// Tells a channel what it asked for, until the stop.
pub async fn run(work: &Work, channel: &Channel, post: &Post) {
    let mut teller = Teller::new(&work.store, channel, post, Arc::clone(&work.metrics));
    let name = format!("notify {}", channel.name);
    loop {
        let title = |rule: &RuleId| work.rule_set().rule(rule).map(|rule| rule.title.clone());
        let said = match teller.turn(title, || work.moment()).await {
            Ok(0) => "nothing to tell".to_owned(),
            Ok(owed) => format!("{owed} to tell"),
            Err(error) => {
                tracing::error!(channel = %channel.name, error = chain(&error), "the outbox can not be used, which is tried again");
                chain(&error)
            }
        };
        work.board.ran(name.as_str(), work.now(), said);
        if !work.pause(EVERY).await {
            return;
        }
    }
}

/// One channel's reader of the audit and sender of messages.
#[derive(Debug)]
pub struct Teller<'a> {
    store: &'a Store,
    channel: &'a Channel,
    post: &'a Post,
    metrics: Arc<Metrics>,
    /// How far the audit is read, and how far the store knows that it is.
    read: Option<(i64, i64)>,
    owed: i64,
    /// Nothing is posted before, on the steady timeline.
    not_before: Timestamp,
    /// Posts in a row that the receiver could not take.
    failures: u32,
    /// What came of a post that the store could not be told yet: nothing is posted before it knows.
    unrecorded: Option<(Outbreak, Sent)>,
}

impl<'a> Teller<'a> {
    /// Of a channel that the store knows already (see `Store::open_channels`).
    #[must_use]
    pub const fn new(store: &'a Store, channel: &'a Channel, post: &'a Post, metrics: Arc<Metrics>) -> Self {
        let not_before = Timestamp::MIN;
        Self { store, channel, post, metrics, read: None, owed: 0, not_before, failures: 0, unrecorded: None }
    }

    /// Reads on in the audit and posts at most one message. Gives how many are owed still.
    ///
    /// # Errors
    /// [`StoreError`]; then the next turn does it.
    pub async fn turn(
        &mut self,
        rule_title: impl Fn(&RuleId) -> Option<String>,
        now: impl Fn() -> Moment,
    ) -> Result<i64, StoreError> {
        let gathered = self.gather(now().steady).await?;
        let told = self.tell(rule_title, now).await?;
        if gathered || told {
            self.owed = self.store.undelivered(&self.channel.name).await?;
            self.metrics.notices_undelivered(&self.channel.name, self.owed);
        }
        Ok(self.owed)
    }

    /// Reads on in the audit. True when something is to be told, and at first.
    async fn gather(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let mut is_news = self.read.is_none();
        for _ in 0..MOST_PARTS {
            let (read, kept) = match self.read {
                Some(read) => read,
                None => {
                    let kept = self.store.read_by(&self.channel.name).await?;
                    (kept, kept)
                }
            };
            let (happened, upto) = self.store.happened_after(read).await?;
            if upto == read {
                self.read = Some((read, kept));
                break;
            }
            let asked_for = |notice: &Notice| self.channel.on.contains(&notice.case.word());
            let notices: Vec<Notice> = happened.into_iter().filter_map(notice_of).filter(asked_for).collect();
            // Each write waits for the disk, so that what nobody is told of is passed in large steps.
            if notices.is_empty() && upto - kept < REREAD {
                self.read = Some((upto, kept));
                continue;
            }
            self.store.gather(&self.channel.name, upto, &notices, now).await?;
            self.read = Some((upto, upto));
            is_news |= !notices.is_empty();
        }
        Ok(is_news)
    }

    /// Posts the message that is due, if there is one and the receiver may be asked. True when one was posted.
    async fn tell(
        &mut self,
        rule_title: impl Fn(&RuleId) -> Option<String>,
        now: impl Fn() -> Moment,
    ) -> Result<bool, StoreError> {
        let begun = now();
        if let Some((outbreak, sent)) = self.unrecorded.clone() {
            self.record(&outbreak, sent, begun.steady).await?;
            self.unrecorded = None;
            return Ok(true);
        }
        if begun.steady < self.not_before {
            return Ok(false);
        }
        let Some(outbreak) = self.store.outbreak_due(&self.channel.name, begun.steady).await? else {
            return Ok(false);
        };
        let title = outbreak.rule_id.as_ref().and_then(rule_title);
        let sent = self.post.send(body(self.channel, &outbreak, title.as_deref(), begun.wall), begun.wall).await;
        self.unrecorded = Some((outbreak.clone(), sent.clone()));
        self.record(&outbreak, sent, now().steady).await?;
        self.unrecorded = None;
        Ok(true)
    }

    async fn record(&mut self, outbreak: &Outbreak, sent: Sent, now: Timestamp) -> Result<(), StoreError> {
        self.not_before = now.checked_add(MIN_DISTANCE).unwrap_or(Timestamp::MAX);
        let (why, next) = match sent {
            Sent::Delivered => {
                if self.failures > 0 {
                    tracing::info!(channel = %self.channel.name, host = self.channel.host, "messages can be delivered again");
                }
                self.failures = 0;
                self.store.was_told(outbreak, now).await?;
                self.metrics.notice(&self.channel.name, "delivered");
                return Ok(());
            }
            // The fault of this message: others may go at once.
            Sent::Refused { status } => {
                (format!("it answers {status}"), wait_after(outbreak.tries.saturating_add(1), None, now))
            }
            Sent::Failed { why, after } => {
                self.failures = self.failures.saturating_add(1);
                self.not_before = wait_after(self.failures, after, now);
                (why, self.not_before)
            }
        };
        self.failed(outbreak, &why, next, now).await
    }

    async fn failed(&self, outbreak: &Outbreak, why: &str, next: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let (channel, host, about) = (&self.channel.name, self.channel.host.as_str(), outbreak.case.as_str());
        let tries = outbreak.tries.saturating_add(1);
        if now.duration_since(outbreak.owed_since) >= GIVE_UP_AFTER {
            tracing::error!(
                %channel, host, about, tries, untold = outbreak.fresh, why, "a message could not be delivered for a day and is given up"
            );
            self.metrics.notice(channel, "given_up");
            return self.store.was_not_told(outbreak, None).await;
        }
        tracing::warn!(%channel, host, about, tries, why, "a message can not be delivered, which is tried again");
        self.metrics.notice(channel, "failed");
        self.store.was_not_told(outbreak, Some(next)).await
    }
}
