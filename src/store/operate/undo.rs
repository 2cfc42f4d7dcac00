//! Cancelling, and trying again.

use jiff::Timestamp;

use super::devices::{already, release};
use super::{OperateError, stored};
use crate::model::{ActionId, By, Event, Happening, Kind, State};
use crate::store::Store;
use crate::store::apply::{keep_restricted, overridden_now};
use crate::store::cancel::ask_anew;
use crate::store::facts::device_facts;
use crate::store::release::NewAction;
use crate::store::row::{millis, parsed_opt};

impl Store {
    /// Cancels an action: at once when it was not sent, else Microsoft is asked to. Of a restrict, a human
    /// override of its device.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] in every other state.
    pub async fn cancel(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        match action.state {
            State::Held | State::Queued => {
                action.change(&mut tx, Event::Unwanted, by, why, now).await?;
            }
            State::Submitted => {
                sqlx::query(
                    "UPDATE actions SET cancel_asked_by = ?2, cancel_why = ?3, cancel_due_at = ?4 WHERE id = ?1",
                )
                .bind(id.to_string())
                .bind(by.to_string())
                .bind(why)
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
                ask_anew(&mut tx, id).await?;
                action.asked(&mut tx, Happening::CancelAsked, by, why, now).await?;
            }
            State::Sending | State::Uncertain => {
                return Err(action.refuse("cancelled now", "it is on the wire; try again when it is submitted"));
            }
            state => return Err(action.refuse("cancelled", &format!("it is {state} already"))),
        }
        match action.kind {
            Kind::Restrict => {
                overridden_now(&mut tx, &action.undone(by, "an operator cancelled a restrict"), now).await?;
            }
            Kind::Release => keep_restricted(&mut tx, id, by, why, now).await?,
        }
        Ok(tx.commit().await?)
    }

    /// Queues a new action like a final one, and gives its id.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is open, or when the device has one
    /// open or is restricted already.
    pub async fn retry(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<ActionId, OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        if action.state.is_open() {
            return Err(action.refuse("tried again", &format!("it is {}, and still under way", action.state)));
        }
        if action.kind == Kind::Release {
            let new = release(&mut tx, &action.tenant, &action.machine_id, by, why, now).await?;
            sqlx::query("UPDATE actions SET retry_of = ?2 WHERE id = ?1 AND kind = 'release'")
                .bind(new.to_string())
                .bind(id.to_string())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(new);
        }
        // Else whoever asked for it would need nobody's approval the second time.
        if action.ended_unapproved(&mut tx).await?
            && let Some(why) = action.asked_by_same(&mut tx, by).await?
        {
            let why = format!("{why} and nobody approved it, so somebody else must try it again");
            return Err(action.refuse("tried again", &why));
        }
        let device = device_facts(&mut tx, &action.tenant, &action.machine_id).await?;
        if let Some(reason) = already(&device, action.kind) {
            return Err(action.refuse("tried again", &reason));
        }
        let undoes: Option<ActionId> = parsed_opt(
            &sqlx::query("SELECT undoes FROM actions WHERE id = ?1").bind(id.to_string()).fetch_one(&mut *tx).await?,
            "undoes",
        )?;
        let now = device.not_before_the_release(now);
        let new = NewAction {
            tenant: &action.tenant,
            machine_id: &action.machine_id,
            kind: action.kind,
            level: action.level,
            by,
            by_operator: true,
            by_expiry: false,
            why,
            undoes,
            retry_of: Some(id),
            state: State::Queued,
        };
        let id = new.insert(&mut tx, now).await?;
        // It lasts as long as the one that it tries again was to.
        sqlx::query(
            "UPDATE actions SET expires_after = (SELECT expires_after FROM actions WHERE id = ?2) WHERE id = ?1",
        )
        .bind(id.to_string())
        .bind(action.id.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }
}
