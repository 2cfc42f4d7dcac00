//! API tokens, by the hash of their secret: made, revoked, and known again.
//!
//! A change and its row in the audit are one transaction. Absent: secrets, which never come here, and what a
//! role may do (see [`crate::web`]). Who is signed in to the console is in [`sessions`].

mod lineage;
mod sessions;

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

pub(super) use lineage::{Identity, not_another};

use super::audit::{self, Entry};
use super::operate::OperateError;
use super::read::Cursor;
use super::row::{millis, parsed, time, time_opt};
use super::{Result, Store};
use crate::model::access::{SecretHash, TokenState, TokenView};
use crate::model::view::Page;
use crate::model::{By, Happening, Role, TokenId, TokenName};

/// Tokens in force at once.
const MOST_IN_FORCE: i64 = 1_000;

/// The use of a token is noted at most so often.
const NOTE_USE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// Its name.
    pub name: &'a TokenName,
    /// What it may do.
    pub role: Role,
    /// The hash of its secret.
    pub hash: &'a SecretHash,
    /// From when on it does not hold.
    pub expires_at: Timestamp,
}

/// A token in force, of which somebody holds the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: TokenId,
    /// Its name.
    pub name: TokenName,
    /// What it may do.
    pub role: Role,
    /// From when on it does not hold.
    pub expires_at: Timestamp,
    /// When its use was noted last.
    last_used_at: Option<Timestamp>,
}

/// What is known of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// It is that of a token in force.
    Holds(Holder),
    /// It is that of a token that holds no more.
    Ended(TokenName, TokenState),
    /// It is none that was ever given.
    Unknown,
}

impl Store {
    /// Makes a token.
    ///
    /// # Errors
    /// [`OperateError::Refused`] when one of that name is in force, or too many are.
    pub async fn create_token(
        &self,
        new: &NewToken<'_>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<TokenView, OperateError> {
        let mut tx = self.begin().await?;
        refuse_too_many(&mut tx, now).await?;
        sqlx::query("UPDATE tokens SET retired = 1 WHERE name = ?1 AND retired = 0 AND expires_at <= ?2")
            .bind(new.name.as_str())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        let id = TokenId::generate();
        let made = sqlx::query(
            "INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at, created_by_token)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )
        .bind(id.to_string())
        .bind(new.name.as_str())
        .bind(new.role.as_str())
        .bind(new.hash.as_str())
        .bind(millis(now))
        .bind(by.to_string())
        .bind(millis(new.expires_at))
        .bind(by.person().and_then(|person| person.door.token()).map(|id| id.to_string()))
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            let why = format!("a token {} is in force: revoke it, or choose another name", new.name);
            return Err(OperateError::Refused(why));
        }
        let detail = format!("{} ({}, until {}): {why}", new.name, new.role, new.expires_at);
        let mark = audit::mark(&id.to_string(), new.hash.as_str());
        let entry = Entry { after: Some(&mark), ..Entry::new(Happening::TokenCreated, by, &detail, now) };
        audit::append(&mut tx, &entry).await?;
        let view = stored(&mut tx, id, now).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Revokes the token of that id, or the one in force of that name; who is signed in with it no longer is.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is revoked already.
    pub async fn revoke_token(
        &self,
        id_or_name: &str,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<TokenView, OperateError> {
        let mut tx = self.begin().await?;
        let id = one_token(&mut tx, id_or_name).await?;
        let before = stored(&mut tx, id, now).await?;
        if let Some(at) = before.revoked_at {
            return Err(OperateError::Refused(format!("token {} was revoked already, at {at}", before.name)));
        }
        sqlx::query("UPDATE tokens SET revoked_at = ?2, retired = 1 WHERE id = ?1")
            .bind(id.to_string())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM sessions WHERE token_id = ?1").bind(id.to_string()).execute(&mut *tx).await?;
        let detail = format!("{} ({}): {why}", before.name, before.role);
        let id_text = id.to_string();
        let entry = Entry { after: Some(&id_text), ..Entry::new(Happening::TokenRevoked, by, &detail, now) };
        audit::append(&mut tx, &entry).await?;
        let view = stored(&mut tx, id, now).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// A page of tokens, the newest first.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn tokens(&self, after: Option<&Cursor>, limit: u32, now: Timestamp) -> Result<Page<TokenView>> {
        let rows = sqlx::query(
            "SELECT * FROM tokens WHERE (?1 IS NULL OR (created_at, id) < (?1, ?2))
             ORDER BY created_at DESC, id DESC LIMIT ?3",
        )
        .bind(after.map(|cursor| cursor.key))
        .bind(after.map(|cursor| cursor.id.as_str()))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.reader)
        .await?;
        let page = rows.iter().take(limit as usize);
        let items: Vec<TokenView> = page.map(|row| view(row, now)).collect::<Result<_>>()?;
        let more = rows.len() > items.len();
        let end = items.last().filter(|_| more);
        let next_cursor = end.map(|last| Cursor { key: millis(last.created_at), id: last.id.to_string() }.to_string());
        Ok(Page { items, next_cursor })
    }

    /// What is known of the secret of that hash.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn caller_of_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Presented> {
        let row = sqlx::query("SELECT * FROM tokens WHERE hash = ?1")
            .bind(hash.as_str())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(Presented::Unknown) };
        let view = view(&row, now)?;
        Ok(match view.state {
            TokenState::InForce => Presented::Holds(holder(view)),
            ended => Presented::Ended(view.name, ended),
        })
    }

    /// Notes that a token was used, unless that was noted not long ago.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn token_was_used(&self, holder: &Holder, now: Timestamp) -> Result<()> {
        let long_ago = now - NOTE_USE_EVERY;
        if holder.last_used_at.is_some_and(|at| at > long_ago) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE tokens SET last_used_at = ?2 WHERE id = ?1")
            .bind(holder.id.to_string())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

async fn refuse_too_many(tx: &mut SqliteConnection, now: Timestamp) -> Result<(), OperateError> {
    let in_force: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE retired = 0 AND expires_at > ?1")
        .bind(millis(now))
        .fetch_one(tx)
        .await?;
    if in_force < MOST_IN_FORCE {
        return Ok(());
    }
    Err(OperateError::Refused(format!("{MOST_IN_FORCE} tokens are in force: revoke those that nobody needs")))
}

/// The token of that id, or of that name: the one in force if there is one, else the newest.
async fn one_token(tx: &mut SqliteConnection, id_or_name: &str) -> Result<TokenId, OperateError> {
    let row = sqlx::query(
        "SELECT id FROM tokens WHERE id = ?1 OR name = ?1 ORDER BY retired, created_at DESC, id DESC LIMIT 1",
    )
    .bind(id_or_name)
    .fetch_optional(tx)
    .await?;
    let row = row.ok_or_else(|| OperateError::NotFound(format!("there is no token {id_or_name}")))?;
    Ok(parsed(&row, "id")?)
}

async fn stored(tx: &mut SqliteConnection, id: TokenId, now: Timestamp) -> Result<TokenView> {
    let row = sqlx::query("SELECT * FROM tokens WHERE id = ?1").bind(id.to_string()).fetch_one(tx).await?;
    view(&row, now)
}

fn view(row: &SqliteRow, now: Timestamp) -> Result<TokenView> {
    let (expires_at, revoked_at) = (time(row, "expires_at")?, time_opt(row, "revoked_at")?);
    let state = match revoked_at {
        Some(_) => TokenState::Revoked,
        None if expires_at <= now => TokenState::Expired,
        None => TokenState::InForce,
    };
    Ok(TokenView {
        id: parsed(row, "id")?,
        name: parsed(row, "name")?,
        role: parsed(row, "role")?,
        state,
        created_at: time(row, "created_at")?,
        created_by: row.try_get("created_by")?,
        expires_at,
        revoked_at,
        last_used_at: time_opt(row, "last_used_at")?,
    })
}

fn holder(view: TokenView) -> Holder {
    let TokenView { id, name, role, expires_at, last_used_at, .. } = view;
    Holder { id, name, role, expires_at, last_used_at }
}
