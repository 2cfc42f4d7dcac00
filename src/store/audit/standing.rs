//! What works and what does not, as the audit says it: a row when that changes, and none while it stays.
//!
//! What the last row says is compared with, so that neither a restart nor a row that could not be written makes
//! the audit say the same twice or forget a change. Absent: the errors themselves (see [`crate::worker`]).

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::{Entry, append};
use crate::model::{By, Happening, SourceName, TenantName};
use crate::store::{Result, Store};

/// The longest cause that is kept, in characters.
const MOST_CAUSE_CHARS: usize = 1_000;

/// What can be worked with, or can not.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A tenant.
    Tenant(&'a TenantName),
    /// A source of a tenant.
    Source(&'a TenantName, &'a SourceName),
}

impl<'a> Subject<'a> {
    const fn tenant(self) -> &'a TenantName {
        let (Self::Tenant(tenant) | Self::Source(tenant, _)) = self;
        tenant
    }

    fn source(self) -> Option<&'a str> {
        match self {
            Self::Tenant(_) => None,
            Self::Source(_, source) => Some(source.as_str()),
        }
    }

    const fn happenings(self) -> (Happening, Happening) {
        match self {
            Self::Tenant(_) => (Happening::TenantWell, Happening::TenantSick),
            Self::Source(..) => (Happening::SourceWell, Happening::SourceSick),
        }
    }
}

impl Store {
    /// Keeps in the audit that a tenant or a source does not work any more, and why, or that it works again. What
    /// has always worked is no news, nor is another reason why something still does not.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn stands(&self, subject: Subject<'_>, health: Result<(), &str>, now: Timestamp) -> Result<()> {
        let (well, sick) = subject.happenings();
        let what = if health.is_ok() { well } else { sick };
        if !is_news(&mut *self.reader.acquire().await?, subject, what).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        if !is_news(&mut tx, subject, what).await? {
            tx.rollback().await;
            return Ok(());
        }
        let cause = bounded(health.err().unwrap_or("it works again"));
        let entry = Entry {
            tenant: Some(subject.tenant()),
            after: subject.source(),
            ..Entry::new(what, &By::Stanch, &cause, now)
        };
        append(&mut tx, &entry).await?;
        tx.commit().await
    }

    /// Keeps in the audit that what is in the rule folder can not be loaded, and why, unless that is what it said
    /// last.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn rules_refused(&self, error: &str, now: Timestamp) -> Result<()> {
        let error = bounded(error);
        let mut tx = self.begin().await?;
        let loaded = newest(&mut tx, Happening::RulesLoaded, None, None).await?;
        let refused = newest(&mut tx, Happening::RulesStale, None, None).await?;
        let is_known = refused.as_ref().is_some_and(|row| row.detail == error);
        if is_known && place(refused.as_ref()) > place(loaded.as_ref()) {
            tx.rollback().await;
            return Ok(());
        }
        append(&mut tx, &Entry::new(Happening::RulesStale, &By::Stanch, &error, now)).await?;
        tx.commit().await
    }
}

/// Keeps in the audit that a rule set is in force, unless the audit says so already; whether it did not. `hash` is the
/// set's.
pub(in crate::store) async fn rules_loaded(
    tx: &mut SqliteConnection,
    hash: &str,
    rules: usize,
    now: Timestamp,
) -> Result<bool> {
    let loaded = newest(tx, Happening::RulesLoaded, None, None).await?;
    let refused = newest(tx, Happening::RulesStale, None, None).await?;
    let before = loaded.as_ref().and_then(|row| row.after.as_deref());
    if before == Some(hash) && place(loaded.as_ref()) > place(refused.as_ref()) {
        return Ok(false);
    }
    let detail = format!("{rules} rules are in force");
    let entry = Entry { before, after: Some(hash), ..Entry::new(Happening::RulesLoaded, &By::Stanch, &detail, now) };
    append(tx, &entry).await?;
    Ok(true)
}

/// Whether the audit does not say so already.
async fn is_news(at: &mut SqliteConnection, subject: Subject<'_>, what: Happening) -> Result<bool> {
    let (well, sick) = subject.happenings();
    let last_well = newest(at, well, Some(subject.tenant()), subject.source()).await?;
    let last_sick = newest(at, sick, Some(subject.tenant()), subject.source()).await?;
    let is_sick = place(last_sick.as_ref()) > place(last_well.as_ref());
    Ok(is_sick != (what == sick))
}

struct Said {
    seq: i64,
    after: Option<String>,
    detail: String,
}

fn place(said: Option<&Said>) -> Option<i64> {
    said.map(|said| said.seq)
}

/// What was said last of that kind; of a source, under its name.
async fn newest(
    at: &mut SqliteConnection,
    what: Happening,
    tenant: Option<&TenantName>,
    source: Option<&str>,
) -> Result<Option<Said>> {
    let row = sqlx::query(
        "SELECT seq, after, detail FROM audit WHERE what = ?1 AND tenant IS ?2 AND (?3 IS NULL OR after = ?3)
         AND what IN ('rules_loaded', 'rules_stale', 'tenant_sick', 'tenant_well', 'source_sick', 'source_well',
                      'checkpoint')
         ORDER BY seq DESC LIMIT 1",
    )
    .bind(what.as_str())
    .bind(tenant.map(TenantName::as_str))
    .bind(source)
    .fetch_optional(at)
    .await?;
    row.map(|row| Ok(Said { seq: row.try_get("seq")?, after: row.try_get("after")?, detail: row.try_get("detail")? }))
        .transpose()
}

fn bounded(text: &str) -> String {
    text.chars().take(MOST_CAUSE_CHARS).collect()
}
