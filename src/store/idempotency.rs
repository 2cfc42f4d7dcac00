//! Changes that are asked for with a key: each is reserved before it is carried out, and its answer kept after.
//!
//! What is reserved and has no answer is under way or broke off; which of the two, only the process knows that
//! carries it out. Absent: HTTP, and what is changed (see `src/web/api/idempotent.rs`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{Executor, Row as _, Sqlite};

use super::row::{millis, time};
use super::{Result, Store};

/// How long a key is known.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The most keys of one caller: beyond them the oldest are forgotten.
const MOST_KEYS: i64 = 1_000;

/// The longest answer that is kept, in bytes: beyond it only the status is.
const MOST_ANSWER_BYTES: usize = 256 << 10;

/// A change that somebody asks for with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Who asks, and as what.
    pub caller: String,
    /// The caller's word for it.
    pub key: String,
    /// The method and the path with its query.
    pub request: String,
    /// The SHA-256 of the body, in hex.
    pub body_hash: String,
}

/// An answer to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content_type: String,
    /// The body; `None`: it is not kept.
    pub body: Option<String>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: if it was to be reserved, it is now.
    New,
    /// It was for this request, which was answered so.
    Answered(KeptAnswer),
    /// It was for this request, since then, and there is no answer.
    Unanswered(Timestamp),
    /// It was for another request.
    Other {
        /// The method and the path of that one.
        request: String,
    },
}

impl Store {
    /// What is known of a key; a new one is reserved for this request.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn reserve(&self, keyed: &Keyed, now: Timestamp) -> Result<Known> {
        let mut tx = self.begin().await?;
        let known = look(&mut *tx, keyed, now).await?;
        if known == Known::New {
            sqlx::query(
                "DELETE FROM idempotency WHERE caller = ?1 AND (key = ?2 OR at <= (
                     SELECT at FROM idempotency WHERE caller = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?3))",
            )
            .bind(&keyed.caller)
            .bind(&keyed.key)
            .bind(MOST_KEYS - 1)
            .execute(&mut *tx)
            .await?;
            sqlx::query("INSERT INTO idempotency (caller, key, request, body_hash, at) VALUES (?1, ?2, ?3, ?4, ?5)")
                .bind(&keyed.caller)
                .bind(&keyed.key)
                .bind(&keyed.request)
                .bind(&keyed.body_hash)
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(known)
    }

    /// What is known of a key. Nothing is reserved.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn known_key(&self, keyed: &Keyed, now: Timestamp) -> Result<Known> {
        look(&self.reader, keyed, now).await
    }

    /// Keeps the answer to a change that was reserved: its body as well, if there is one here and it is not too long.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn keep_answer(&self, keyed: &Keyed, status: u16, content_type: &str, body: Option<&str>) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE idempotency SET status = ?3, content_type = ?4, body = ?5 WHERE caller = ?1 AND key = ?2")
            .bind(&keyed.caller)
            .bind(&keyed.key)
            .bind(status)
            .bind(content_type)
            .bind(body.filter(|body| body.len() <= MOST_ANSWER_BYTES))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Forgets a key that was reserved: its change may be asked for again.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_key(&self, keyed: &Keyed) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM idempotency WHERE caller = ?1 AND key = ?2")
            .bind(&keyed.caller)
            .bind(&keyed.key)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Forgets every key that is too old to be known.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_old_keys(&self, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM idempotency WHERE at < ?1").bind(known_since(now)).execute(&mut *tx).await?;
        tx.commit().await
    }
}

fn known_since(now: Timestamp) -> i64 {
    let kept = SignedDuration::try_from(KEPT).unwrap_or_default();
    now.checked_sub(kept).map_or(i64::MIN, millis)
}

async fn look<'c>(store: impl Executor<'c, Database = Sqlite>, keyed: &Keyed, now: Timestamp) -> Result<Known> {
    let row = sqlx::query(
        "SELECT request, body_hash, at, status, content_type, body FROM idempotency
         WHERE caller = ?1 AND key = ?2 AND at >= ?3",
    )
    .bind(&keyed.caller)
    .bind(&keyed.key)
    .bind(known_since(now))
    .fetch_optional(store)
    .await?;
    let Some(row) = row else { return Ok(Known::New) };
    let (request, body_hash): (String, String) = (row.try_get("request")?, row.try_get("body_hash")?);
    if (&request, &body_hash) != (&keyed.request, &keyed.body_hash) {
        return Ok(Known::Other { request });
    }
    let Some(status) = row.try_get::<Option<u16>, _>("status")? else {
        return Ok(Known::Unanswered(time(&row, "at")?));
    };
    let content_type = row.try_get::<Option<String>, _>("content_type")?.unwrap_or_default();
    Ok(Known::Answered(KeptAnswer { status, content_type, body: row.try_get("body")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(key: &str) -> Keyed {
        let (request, body_hash) = ("POST /pause".to_owned(), "a".to_owned());
        Keyed { caller: "ana/admin".to_owned(), key: key.to_owned(), request, body_hash }
    }

    async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Store::open(&folder.path().join("stanch.db")).await.unwrap(), folder)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + seconds).unwrap()
    }

    #[tokio::test]
    async fn a_key_is_reserved_once_answered_once_and_known_for_a_day() {
        let (store, _folder) = store().await;
        assert_eq!(store.known_key(&keyed("k"), at(0)).await.unwrap(), Known::New);
        assert_eq!(store.reserve(&keyed("k"), at(0)).await.unwrap(), Known::New);
        assert_eq!(store.reserve(&keyed("k"), at(1)).await.unwrap(), Known::Unanswered(at(0)));
        store.keep_answer(&keyed("k"), 200, "application/json", Some("{}")).await.unwrap();
        let answer =
            KeptAnswer { status: 200, content_type: "application/json".to_owned(), body: Some("{}".to_owned()) };
        assert_eq!(store.reserve(&keyed("k"), at(2)).await.unwrap(), Known::Answered(answer.clone()));
        let other = Keyed { body_hash: "b".to_owned(), ..keyed("k") };
        let request = "POST /pause".to_owned();
        assert_eq!(store.reserve(&other, at(2)).await.unwrap(), Known::Other { request });
        let another = Keyed { caller: "ben/admin".to_owned(), ..keyed("k") };
        assert_eq!(store.reserve(&another, at(2)).await.unwrap(), Known::New, "each caller has keys of its own");

        let day = 24 * 3600;
        assert_eq!(store.known_key(&keyed("k"), at(day)).await.unwrap(), Known::Answered(answer));
        assert_eq!(store.reserve(&keyed("k"), at(day + 1)).await.unwrap(), Known::New);
        store.forget_key(&keyed("k")).await.unwrap();
        assert_eq!(store.known_key(&keyed("k"), at(day + 1)).await.unwrap(), Known::New);
    }

    #[tokio::test]
    async fn old_keys_are_forgotten_and_of_a_caller_only_the_newest_are_kept() {
        let (store, _folder) = store().await;
        for n in 0..=MOST_KEYS {
            store.reserve(&keyed(&n.to_string()), at(n)).await.unwrap();
        }
        let (first, second) = (keyed("0"), keyed("1"));
        assert_eq!(store.known_key(&first, at(2_000)).await.unwrap(), Known::New);
        assert_eq!(store.known_key(&second, at(2_000)).await.unwrap(), Known::Unanswered(at(1)));
        store.forget_old_keys(at(24 * 3600 + 2)).await.unwrap();
        assert_eq!(store.known_key(&second, at(0)).await.unwrap(), Known::New);
        assert_ne!(store.known_key(&keyed("2"), at(0)).await.unwrap(), Known::New);
    }

    #[tokio::test]
    async fn of_an_answer_that_is_too_long_the_status_is_kept() {
        let (store, _folder) = store().await;
        store.reserve(&keyed("k"), at(0)).await.unwrap();
        store.keep_answer(&keyed("k"), 200, "text/plain", Some(&"x".repeat(MOST_ANSWER_BYTES + 1))).await.unwrap();
        let known = store.reserve(&keyed("k"), at(1)).await.unwrap();
        let content_type = "text/plain".to_owned();
        assert_eq!(known, Known::Answered(KeptAnswer { status: 200, content_type, body: None }));
    }
}
