//! What a drill leaves is removed, and what it asks of the audit.

use jiff::Timestamp;
use sqlx::Row;

use super::row::{millis, time_opt};
use super::{Result, Store};
use crate::guards::{Effect, Verdict};
use crate::model::drill::{DRILL_ALERT, DRILL_SOURCE};
use crate::model::{AlertId, MachineId, Outcome, TenantName};

/// How far the sealing of the audit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Whether rows are sealed at all.
    pub begun: bool,
    /// When the oldest row happened that is not sealed yet.
    pub behind_since: Option<Timestamp>,
}

/// A verdict on a device of a drill, whatever the guards said: it is never carried out.
pub(super) fn kept_from_acting(machine: &MachineId, verdict: Verdict) -> Verdict {
    if !machine.is_of_a_drill() || verdict.effect == Effect::None {
        return verdict;
    }
    let reason = format!("drill: the store carries out nothing on the device of a drill ({})", verdict.reason);
    Verdict { outcome: Outcome::Protected, reason, effect: Effect::None }
}

impl Store {
    /// Removes the alert of a drill with what was decided of it, and those of the tenant that drills before `abandoned`
    /// left behind. The audit keeps that there was a drill.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing is removed.
    pub async fn remove_drill(&self, tenant: &TenantName, alert: &AlertId, abandoned: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        let gone: Vec<i64> = sqlx::query_scalar(
            "SELECT seq FROM alerts WHERE tenant = ?6 AND alert_id >= ?1 AND alert_id < ?2 AND source = ?3
             AND (alert_id = ?4 OR received_at < ?5)",
        )
        .bind(DRILL_ALERT)
        .bind(format!("{}.", DRILL_ALERT.trim_end_matches('-')))
        .bind(DRILL_SOURCE)
        .bind(alert.as_str())
        .bind(millis(abandoned))
        .bind(tenant.as_str())
        .fetch_all(&mut *tx)
        .await?;
        for seq in gone {
            sqlx::query("DELETE FROM decisions WHERE alert_seq = ?1").bind(seq).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM alerts WHERE seq = ?1").bind(seq).execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    /// How far the sealing of the audit has come.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn audit_sealed(&self) -> Result<Sealed> {
        let row = sqlx::query(
            "SELECT COALESCE((SELECT hash IS NOT NULL FROM audit ORDER BY seq LIMIT 1), 0) AS begun,
                    (SELECT MIN(at) FROM audit WHERE hash IS NULL) AS behind_since",
        )
        .fetch_one(&self.reader)
        .await?;
        Ok(Sealed { begun: row.try_get("begun")?, behind_since: time_opt(&row, "behind_since")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ActionId, HoldKind, drill::DRILL_MACHINE};

    #[test]
    fn whatever_the_guards_say_nothing_is_carried_out_on_the_device_of_a_drill() {
        let drill = MachineId::new(DRILL_MACHINE).unwrap();
        let acting = [
            Effect::Queue,
            Effect::Promote(ActionId::generate()),
            Effect::Hold(HoldKind::Approval),
            Effect::Join { action: None },
        ];
        for effect in acting {
            let verdict = Verdict { outcome: Outcome::Acted, reason: "every guard passed".to_owned(), effect };
            let kept = kept_from_acting(&drill, verdict.clone());
            assert_eq!((kept.outcome, &kept.effect), (Outcome::Protected, &Effect::None));
            assert!(kept.reason.starts_with("drill: ") && kept.reason.contains("every guard passed"), "{kept:?}");
            assert_eq!(kept_from_acting(&MachineId::numbered(1), verdict.clone()), verdict);
        }
    }
}
