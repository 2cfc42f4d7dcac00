//! What an approval is bound to: the action as a person saw it.
//!
//! A revision names each part by the beginning of its hash, so that what has changed since can be told by name.

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::{Row, SqliteConnection};

use crate::model::ActionId;
use crate::model::ids::hex;
use crate::store::Result;

/// The parts in their order.
const PARTS: [&str; 6] = ["level", "rule", "comment", "expiry", "hold reason", "alerts"];

/// The hex digits of a part.
const DIGITS: usize = 8;

/// The revision of an action as it stands.
pub(in crate::store) async fn revision(at: &mut SqliteConnection, id: ActionId) -> Result<String> {
    let row = sqlx::query(
        "SELECT level || '' AS level, COALESCE(rule_id || ' ' || rule_hash, '') AS rule, comment,
                COALESCE(expires_after, '') || '' AS expiry, COALESCE(hold_reason, '') AS hold_reason,
                (SELECT json_group_array(alert_id) FROM
                    (SELECT DISTINCT alert_id FROM action_alerts WHERE action_id = a.id ORDER BY alert_id)) AS alerts
         FROM actions a WHERE id = ?1",
    )
    .bind(id.to_string())
    .fetch_one(at)
    .await?;
    let mut parts = Vec::with_capacity(PARTS.len());
    for index in 0..PARTS.len() {
        let part: &str = row.try_get(index)?;
        let hash = hex(digest(&SHA256, part.as_bytes()).as_ref());
        parts.push(hash.chars().take(DIGITS).collect::<String>());
    }
    Ok(parts.join("-"))
}

/// What is another in `now` than in `seen`, in words; `None` when all is the same.
pub(super) fn changed(seen: &str, now: &str) -> Option<String> {
    if seen == now {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (seen.split('-').collect(), now.split('-').collect());
    if old.len() != PARTS.len() {
        return Some("that is no revision of an action".to_owned());
    }
    let others = PARTS.iter().zip(old.iter().zip(&new)).filter(|(_, (old, new))| old != new);
    let names: Vec<&str> = others.map(|(name, _)| *name).collect();
    Some(format!("it has changed since it was shown ({})", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let seen = "1-2-3-4-5-6";
        assert_eq!(changed(seen, seen), None);
        let words = changed(seen, "9-2-3-4-5-9").unwrap();
        assert_eq!(words, "it has changed since it was shown (level, alerts)");
        for none in ["", "1", "1-2-3-4-5-6-7"] {
            assert_eq!(changed(none, seen).as_deref(), Some("that is no revision of an action"), "{none}");
        }
    }
}
