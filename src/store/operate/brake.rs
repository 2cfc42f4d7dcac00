//! The brake.

use jiff::Timestamp;
use sqlx::Row;

use crate::model::view::PauseView;
use crate::model::{By, Happening};
use crate::store::audit::{self, Entry};
use crate::store::row::{millis, time};
use crate::store::{Result, Store};

impl Store {
    /// Puts the brake on. A brake that is on keeps its time and takes the new reason.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn pause(&self, by: &By, why: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO brake (id, since, by, why) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET by = ?2, why = ?3",
        )
        .bind(millis(now))
        .bind(by.to_string())
        .bind(why)
        .execute(&mut *tx)
        .await?;
        audit::append(&mut tx, &Entry::new(Happening::Paused, by, why, now)).await?;
        tx.commit().await
    }

    /// Takes the brake off.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn resume(&self, by: &By, why: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM brake").execute(&mut *tx).await?;
        audit::append(&mut tx, &Entry::new(Happening::Resumed, by, why, now)).await?;
        tx.commit().await
    }

    /// The brake, if it is on.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn brake(&self) -> Result<Option<PauseView>> {
        let row = sqlx::query("SELECT since, by, why FROM brake").fetch_optional(&self.reader).await?;
        row.map(|row| Ok(PauseView { since: time(&row, "since")?, by: row.try_get("by")?, why: row.try_get("why")? }))
            .transpose()
    }
}
