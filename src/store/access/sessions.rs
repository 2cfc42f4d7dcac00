//! Who is signed in to the console, by the hash of the cookie. A session ends with its token, at once.

use jiff::Timestamp;

use super::{Holder, holder, view};
use crate::model::access::{SecretHash, TokenState};
use crate::model::{By, Happening};
use crate::store::audit::{self, Entry};
use crate::store::operate::OperateError;
use crate::store::row::millis;
use crate::store::{Result, Store};

/// Sessions of one token at once; the oldest ends when there is one more.
const MOST_OF_A_TOKEN: i64 = 50;

impl Store {
    /// Signs the holder of a token in until `expires_at`, or until the token expires.
    ///
    /// # Errors
    /// [`OperateError::Refused`] when the token does not hold any more.
    pub async fn open_session(
        &self,
        hash: &SecretHash,
        holder: &Holder,
        expires_at: Timestamp,
        by: &By,
        now: Timestamp,
    ) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at <= ?1").bind(millis(now)).execute(&mut *tx).await?;
        sqlx::query(
            "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE token_id = ?1
             ORDER BY created_at DESC LIMIT -1 OFFSET ?2)",
        )
        .bind(holder.id.to_string())
        .bind(MOST_OF_A_TOKEN - 1)
        .execute(&mut *tx)
        .await?;
        let opened = sqlx::query(
            "INSERT INTO sessions (hash, token_id, created_at, expires_at)
             SELECT ?1, id, ?3, MIN(?4, expires_at) FROM tokens
             WHERE id = ?2 AND revoked_at IS NULL AND expires_at > ?3",
        )
        .bind(hash.as_str())
        .bind(holder.id.to_string())
        .bind(millis(now))
        .bind(millis(expires_at))
        .execute(&mut *tx)
        .await?;
        if opened.rows_affected() == 0 {
            return Err(OperateError::Refused(format!("token {} does not hold any more", holder.name)));
        }
        let detail = format!("{}, until {}", holder.role, expires_at.min(holder.expires_at));
        audit::append(&mut tx, &Entry::new(Happening::SignedIn, by, &detail, now)).await?;
        Ok(tx.commit().await?)
    }

    /// Who is signed in by the cookie of that hash.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn caller_of_session(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Holder>> {
        let row = sqlx::query(
            "SELECT t.* FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.hash = ?1 AND s.expires_at > ?2",
        )
        .bind(hash.as_str())
        .bind(millis(now))
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let token = view(&row, now)?;
        Ok((token.state == TokenState::InForce).then(|| holder(token)))
    }

    /// Signs out whoever is signed in by the cookie of that hash.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn close_session(&self, hash: &SecretHash, by: &By, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM sessions WHERE hash = ?1").bind(hash.as_str()).execute(&mut *tx).await?;
        if gone.rows_affected() > 0 {
            audit::append(&mut tx, &Entry::new(Happening::SignedOut, by, "signed out", now)).await?;
        }
        tx.commit().await
    }
}
