//! The chain of the audit: how a row is sealed to the one before, and whether rows that were read hold.
//!
//! `docs/reference/audit.md` gives the same to whoever wants to verify with another program. Absent: reading the
//! rows (see [`crate::store`] and [`crate::cli`]).

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::Happening;
use super::ids::hex;
use super::view::AuditView;

/// What the first row is chained to.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is hashed of a row: its JSON object without `hash`, with sorted keys and no blanks.
///
/// # Errors
/// When the row is no JSON object, which none is.
pub fn canonical(row: &AuditView) -> serde_json::Result<String> {
    let row = serde_json::from_value::<BTreeMap<String, Value>>(serde_json::to_value(row)?)?;
    let body: BTreeMap<_, _> = row.into_iter().filter(|(key, _)| key != "hash").collect();
    serde_json::to_string(&body)
}

/// The hash of a row that follows one of the hash `previous`.
///
/// # Errors
/// As [`canonical`].
pub fn sealed(previous: &str, row: &AuditView) -> serde_json::Result<String> {
    let text = format!("{previous}{}", canonical(row)?);
    Ok(hex(digest(&SHA256, text.as_bytes()).as_ref()))
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not follow the one before by its number.
    OutOfOrder,
    /// It is not there.
    Missing,
    /// It, or its hash, is not what was sealed.
    Changed,
    /// It has no hash, though a later one has, or though there was time.
    Unsealed,
}

impl Fault {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out_of_order",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Unsealed => "unsealed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "its number is not 1 more than that of the row before: it was moved or inserted",
            Self::Missing => "it is not there: it was removed, and no checkpoint says so",
            Self::Changed => "it is not what was sealed: it was changed, inserted or exchanged, or its hash was",
            Self::Unsealed => "it has no hash, though there was time to seal it: its hash was removed, or nobody seals",
        })
    }
}

/// The first row that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {seq} does not hold: {fault}")]
pub struct Broken {
    /// Its number.
    pub seq: i64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What the first row that was read is chained to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: it is the first that there was.
    Beginning,
    /// The last row that was removed, as a checkpoint says.
    Checkpoint,
    /// A row that was not read: its own hash is taken as it is.
    Unread,
}

impl Origin {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::Checkpoint => "checkpoint",
            Self::Unread => "unread",
        }
    }
}

/// A chain as it is read, row after row.
#[derive(Debug, Default)]
pub struct Chain {
    /// The first row, if it is not the first that there was.
    first: Option<AuditView>,
    /// Its number.
    first_seq: Option<i64>,
    /// What a checkpoint says of the row before it.
    checkpoint: Option<String>,
    /// The number and the hash of the last sealed row.
    last: Option<(i64, String)>,
    rows: u64,
    /// The rows behind it that are not sealed: the first and the last.
    unsealed: Option<(i64, i64)>,
}

impl Chain {
    /// Takes the next row.
    ///
    /// # Errors
    /// [`Broken`], the first time that a row does not hold.
    pub fn push(&mut self, row: &AuditView) -> Result<(), Broken> {
        let before = self.unsealed.map(|(_, last)| last).or(self.last_sealed());
        if let Some(before) = before
            && row.seq != before.saturating_add(1)
        {
            let is_gap = row.seq > before;
            return Err(if is_gap {
                broken(before.saturating_add(1), Fault::Missing)
            } else {
                broken(row.seq, Fault::OutOfOrder)
            });
        }
        let Some(hash) = &row.hash else {
            self.unsealed = Some((self.unsealed.map_or(row.seq, |(first, _)| first), row.seq));
            return Ok(());
        };
        if let Some((first, _)) = self.unsealed {
            return Err(broken(first, Fault::Unsealed));
        }
        match &self.last {
            Some((_, previous)) => holds(previous, row)?,
            None if row.seq == 1 => holds(BEGINNING, row)?,
            None => self.first = Some(row.clone()),
        }
        self.first_seq.get_or_insert(row.seq);
        if let (Some(first), Some(removed)) = (&self.first, removed(row))
            && removed.0 == first.seq.saturating_sub(1)
        {
            self.checkpoint = Some(removed.1.to_owned());
        }
        self.last = Some((row.seq, hash.clone()));
        self.rows += 1;
        Ok(())
    }

    /// The number of the last sealed row.
    #[must_use]
    pub fn last_sealed(&self) -> Option<i64> {
        self.last.as_ref().map(|(seq, _)| *seq)
    }

    /// The numbers of the first and the last row behind it that are not sealed.
    #[must_use]
    pub const fn unsealed(&self) -> Option<(i64, i64)> {
        self.unsealed
    }

    /// Forgets the rows that were not sealed, so that they can be read again.
    pub const fn forget_unsealed(&mut self) {
        self.unsealed = None;
    }

    /// What the whole comes to. A `part` may begin anywhere.
    ///
    /// # Errors
    /// [`Broken`] when it does not begin where it says.
    pub fn end(self, part: bool) -> Result<Held, Broken> {
        let origin = match (&self.first, &self.checkpoint) {
            (None, _) => Origin::Beginning,
            (Some(first), Some(hash)) => {
                holds(hash, first)?;
                Origin::Checkpoint
            }
            (Some(_), None) if part => Origin::Unread,
            (Some(first), None) => return Err(broken(first.seq.saturating_sub(1), Fault::Missing)),
        };
        let unsealed = self.unsealed.map_or(0, |(first, last)| last.saturating_sub(first).unsigned_abs() + 1);
        Ok(Held { rows: self.rows, first: self.first_seq, origin, last: self.last, unsealed })
    }
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How many sealed rows hold.
    pub rows: u64,
    /// The number of the first; `None` when there is none.
    pub first: Option<i64>,
    /// What that one is chained to.
    pub origin: Origin,
    /// The number and the hash of the last: the head.
    pub last: Option<(i64, String)>,
    /// How many rows behind it are not sealed yet.
    pub unsealed: u64,
}

const fn broken(seq: i64, fault: Fault) -> Broken {
    Broken { seq, fault }
}

fn holds(previous: &str, row: &AuditView) -> Result<(), Broken> {
    let sealed = sealed(previous, row).ok();
    if sealed.is_some() && sealed == row.hash { Ok(()) } else { Err(broken(row.seq, Fault::Changed)) }
}

/// The number and the hash of the last row that was removed, if a row says that some were.
#[must_use]
pub fn removed(row: &AuditView) -> Option<(i64, &str)> {
    if row.what != Happening::Checkpoint.as_str() {
        return None;
    }
    Some((row.before.as_deref()?.parse().ok()?, row.after.as_deref()?))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn row(seq: i64, detail: &str) -> AuditView {
        AuditView {
            seq,
            at: "2026-11-24T06:00:00.25Z".parse().unwrap(),
            what: "transition".to_owned(),
            by: "user:ana".to_owned(),
            from: Some("socket".to_owned()),
            tenant: Some("contoso".to_owned()),
            machine_id: None,
            action_id: None,
            alert_id: None,
            rule_id: None,
            before: Some("held".to_owned()),
            after: Some("queued".to_owned()),
            detail: detail.to_owned(),
            hash: None,
        }
    }

    /// Sealed rows from 1 on.
    fn chain(details: &[String]) -> Vec<AuditView> {
        let mut previous = BEGINNING.to_owned();
        let numbered = (1..).zip(details);
        let seal = |(seq, detail): (i64, &String)| {
            let mut row = row(seq, detail);
            previous = sealed(&previous, &row).unwrap();
            row.hash = Some(previous.clone());
            row
        };
        numbered.map(seal).collect()
    }

    fn verified(rows: &[AuditView], part: bool) -> Result<Held, Broken> {
        let mut chain = Chain::default();
        rows.iter().try_for_each(|row| chain.push(row))?;
        chain.end(part)
    }

    fn numbered(n: usize) -> Vec<AuditView> {
        chain(&(0..n).map(|n| format!("row {n}")).collect::<Vec<_>>())
    }

    #[test]
    fn the_canonical_form_and_the_hash_stay_what_they_were() {
        let row = row(7, "say \"so\"\n\u{7f}\u{1f} \u{e9}\u{2028}");
        let expected = concat!(
            r#"{"action_id":null,"after":"queued","alert_id":null,"at":"2026-11-24T06:00:00.25Z","before":"held","by":"user:ana","#,
            "\"detail\":\"say \\\"so\\\"\\n\u{7f}\\u001f \u{e9}\u{2028}\",",
            r#""from":"socket","machine_id":null,"rule_id":null,"seq":7,"tenant":"contoso","what":"transition"}"#,
        );
        assert_eq!(canonical(&row).unwrap(), expected);
        // The script in docs/reference/audit.md says the same of this row.
        assert_eq!(
            sealed(BEGINNING, &row).unwrap(),
            "d1ab37c665c1fb428f62e6ac31c46f1bf9f82f433a3500a0ede2ea6fd65852e4"
        );
    }

    #[test]
    fn an_empty_audit_and_one_that_is_not_sealed_yet_hold() {
        assert_eq!(verified(&[], false).unwrap().rows, 0);
        let held = verified(&[row(1, "new"), row(2, "new")], false).unwrap();
        assert_eq!((held.rows, held.unsealed, held.last), (0, 2, None));
    }

    #[test]
    fn a_chain_that_lost_its_beginning_holds_only_by_a_checkpoint_or_as_a_part() {
        let mut rows = numbered(9);
        let missing = Broken { seq: 4, fault: Fault::Missing };
        assert_eq!(verified(&rows[4..], false), Err(missing));
        assert_eq!(verified(&rows[4..], true).unwrap().origin, Origin::Unread);
        let mut checkpoint = AuditView {
            what: "checkpoint".to_owned(),
            before: Some("4".to_owned()),
            after: rows[3].hash.clone(),
            ..row(10, "4 rows were removed")
        };
        checkpoint.hash = sealed(rows[8].hash.as_ref().unwrap(), &checkpoint).ok();
        rows.push(checkpoint);
        let held = verified(&rows[4..], false).unwrap();
        assert_eq!((held.origin, held.first, held.rows), (Origin::Checkpoint, Some(5), 6));
        assert_eq!(verified(&rows[5..], false), Err(Broken { seq: 5, fault: Fault::Missing }));
        rows[4].detail.push('!');
        assert_eq!(verified(&rows[4..], false), Err(Broken { seq: 5, fault: Fault::Changed }));
    }

    #[test]
    fn a_hash_that_was_removed_is_missed() {
        let mut rows = numbered(5);
        rows[2].hash = None;
        assert_eq!(verified(&rows, false), Err(Broken { seq: 3, fault: Fault::Unsealed }));
    }

    proptest! {
        #[test]
        fn whatever_is_changed_removed_inserted_or_exchanged_is_found_at_its_row(
            details in vec("[ -~\\n\"\u{e9}]{0,12}", 3..20), place in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(), field in 0..13u8, text in "[a-z]{1,4}",
        ) {
            let rows = chain(&details);
            prop_assert_eq!(verified(&rows, false).unwrap().rows, rows.len() as u64);
            let at = place.index(rows.len());
            let seq = rows[at].seq;

            let mut changed = rows.clone();
            change(&mut changed[at], field, &text);
            prop_assert_eq!(verified(&changed, false), Err(Broken { seq, fault: Fault::Changed }));

            if at + 1 < rows.len() {
                let mut removed = rows.clone();
                removed.remove(at);
                prop_assert_eq!(verified(&removed, false), Err(Broken { seq, fault: Fault::Missing }));
            }

            let mut inserted = rows.clone();
            let forged = AuditView { hash: Some(hex(&[7; 32])), ..row(seq, &text) };
            inserted.insert(at, forged);
            inserted[at + 1..].iter_mut().for_each(|row| row.seq += 1);
            prop_assert_eq!(verified(&inserted, false), Err(Broken { seq, fault: Fault::Changed }));

            let with = other.index(rows.len());
            if with != at {
                // By their numbers, as a table or a sorted file has them.
                let mut swapped = rows.clone();
                swapped.swap(at, with);
                (swapped[at].seq, swapped[with].seq) = (rows[at].seq, rows[with].seq);
                let first = rows[at.min(with)].seq;
                prop_assert_eq!(verified(&swapped, false), Err(Broken { seq: first, fault: Fault::Changed }));
            }
        }
    }

    fn change(row: &mut AuditView, field: u8, text: &str) {
        let other = Some(format!("{text}!"));
        match field {
            0 => row.hash = Some(hex(&[7; 32])),
            1 => row.at = "2026-11-24T06:00:00.251Z".parse().unwrap(),
            2 => row.what.push_str(text),
            3 => row.by.push_str(text),
            4 => row.from = other,
            5 => row.tenant = None,
            6 => row.machine_id = other,
            7 => row.action_id = other,
            8 => row.alert_id = other,
            9 => row.rule_id = other,
            10 => row.before = None,
            11 => row.after = other,
            _ => row.detail.push_str(text),
        }
    }
}
