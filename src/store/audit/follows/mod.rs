//! Whether the tokens and the histories of actions follow from the audit: what was changed behind the program's back.
//!
//! All of an action is read in one moment, so that what happens meanwhile is no difference. Absent: whether the rows of the audit are
//! those that were sealed (see [`crate::model::chain`]).

mod actions;
mod tokens;

pub(in crate::store) use tokens::mark;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use crate::model::Happening;
use crate::model::view::{AuditComparison, AuditFinding};
use crate::store::row::{time, timestamp};
use crate::store::{Result, Store};

/// Findings that are told one by one; of the rest there is a number.
const MOST_FINDINGS: usize = 100;

/// From when on the audit has to tell of things.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// What happened before may have no row: retention has removed it, or there was no audit yet.
    begins_at: Timestamp,
    /// Nothing of the audit was removed. Tokens came into the store after it, so each of them has its row.
    is_whole: bool,
    /// Ended actions that ended before may have been removed.
    removed_before: Timestamp,
}

impl Store {
    /// Compares the tokens and the histories of actions with the audit: all, or one of [`AuditComparison::PARTS`].
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn compare_with_audit(&self, part: Option<u8>) -> Result<AuditComparison> {
        let mut reader = self.reader.begin().await?;
        let bounds = Bounds::read(&mut reader).await?;
        let (mut found, mut actions, mut tokens) = (Found::default(), 0, 0);
        let parts = part.map_or(0..AuditComparison::PARTS, |part| part..part.saturating_add(1));
        for part in parts {
            actions += actions::compare(&mut reader, part, bounds, &mut found).await?;
            if part == 0 {
                tokens = tokens::compare(&mut reader, bounds, &mut found).await?;
            }
        }
        Ok(AuditComparison { actions, tokens, unproven: found.unproven, findings: found.findings, more: found.more })
    }
}

impl Bounds {
    async fn read(reader: &mut SqliteConnection) -> Result<Self> {
        let first = sqlx::query("SELECT seq, at FROM audit ORDER BY seq LIMIT 1").fetch_optional(&mut *reader).await?;
        let is_whole = match &first {
            Some(row) => row.try_get::<i64, _>("seq")? == 1,
            None => true,
        };
        let begins_at = match first {
            Some(row) if !is_whole => time(&row, "at")?,
            // What was known of the brake when the audit began was taken over into it with its old times.
            _ => sqlx::query_scalar(
                "SELECT at FROM audit WHERE NOT (what IN ('paused', 'resumed') AND origin IS NULL) ORDER BY seq LIMIT 1",
            )
            .fetch_optional(&mut *reader)
            .await?
            .map_or(Timestamp::MAX, timestamp),
        };
        let removed: Vec<Option<String>> = sqlx::query_scalar("SELECT after FROM audit WHERE what = ?1")
            .bind(Happening::ActionsRemoved.as_str())
            .fetch_all(reader)
            .await?;
        let removed_before = removed.iter().flatten().filter_map(|text| text.parse().ok()).max();
        Ok(Self { begins_at, is_whole, removed_before: removed_before.unwrap_or(Timestamp::MIN) })
    }
}

/// What does not follow from the audit.
#[derive(Default)]
struct Found {
    findings: Vec<AuditFinding>,
    more: u64,
    /// Things from before the audit.
    unproven: u64,
}

impl Found {
    fn add(&mut self, about: String, detail: String) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(AuditFinding { about, detail });
        } else {
            self.more += 1;
        }
    }
}
