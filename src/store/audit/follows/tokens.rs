//! Each token against the rows that say that it was made and revoked.
//!
//! Since schema 14 these rows name the token by its id, and the making also a fingerprint of what is kept of its secret.
//! Older ones name it in their words: `ana (operator, until 2027-01-01T00:00:00Z): why`.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Bounds, Found};
use crate::model::Happening;
use crate::model::ids::hex;
use crate::store::Result;
use crate::store::row::{millis, time, time_opt};

/// What the audit keeps of a token beside its words: its id and a fingerprint.
pub(in crate::store) fn mark(id: &str, hash: &str) -> String {
    format!("{id} {}", fingerprint(hash))
}

/// Nothing can be signed in with it, nor can what is kept be found from it.
fn fingerprint(hash: &str) -> String {
    hex(digest(&SHA256, hash.as_bytes()).as_ref())
}

#[derive(Debug)]
struct Token {
    id: String,
    name: String,
    role: String,
    hash: String,
    created_at: Timestamp,
    created_by: String,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

/// A row that tells of a token.
#[derive(Debug)]
struct Told {
    seq: i64,
    at: Timestamp,
    by: String,
    /// The token's id and its fingerprint; of older rows neither.
    id: Option<String>,
    fingerprint: Option<String>,
    name: String,
    role: String,
    until: Option<Timestamp>,
}

/// Compares all, and gives how many tokens there are.
pub(super) async fn compare(reader: &mut SqliteConnection, bounds: Bounds, found: &mut Found) -> Result<u64> {
    let rows = sqlx::query("SELECT * FROM tokens ORDER BY created_at, id").fetch_all(&mut *reader).await?;
    let tokens = rows.iter().map(token).collect::<Result<Vec<_>>>()?;
    let made = told(reader, Happening::TokenCreated).await?;
    let revoked = told(reader, Happening::TokenRevoked).await?;
    let made =
        matched(&made, &tokens, |told, token| told.name == token.name && millis(told.at) == millis(token.created_at));
    // An older row tells of the newest token of that name that there was.
    let revoked = matched(&revoked, &tokens, |told, token| {
        told.name == token.name
            && token.created_at <= told.at
            && !tokens.iter().any(|other| {
                other.name == token.name && other.created_at > token.created_at && other.created_at <= told.at
            })
    });
    for row in &made.without {
        found.add(
            format!("token {}", row.name),
            format!("row {} of the audit says that it was made, but there is none", row.seq),
        );
    }
    for row in &revoked.without {
        found.add(
            format!("token {}", row.name),
            format!("row {} of the audit says that it was revoked, but there is none", row.seq),
        );
    }
    for token in &tokens {
        let rows = (made.of.get(token.id.as_str()).copied(), revoked.of.get(token.id.as_str()).copied());
        if rows.0.is_none() && may_lack_its_row(token, bounds) {
            found.unproven += 1;
        }
        if let Some(fault) = fault(token, rows, bounds) {
            found.add(format!("token {}", token.name), fault);
        }
    }
    Ok(tokens.len() as u64)
}

/// The rows of tokens that there are, by their ids, and those of no token.
struct Matched<'a> {
    of: BTreeMap<&'a str, &'a Told>,
    without: Vec<&'a Told>,
}

fn matched<'a>(rows: &'a [Told], tokens: &'a [Token], is_of: impl Fn(&Told, &Token) -> bool) -> Matched<'a> {
    let mut matched = Matched { of: BTreeMap::new(), without: Vec::new() };
    for row in rows {
        let token = tokens.iter().find(|token| match &row.id {
            Some(id) => *id == token.id,
            None => is_of(row, token),
        });
        match token {
            Some(token) => {
                matched.of.insert(token.id.as_str(), row);
            }
            None => matched.without.push(row),
        }
    }
    matched
}

/// Whether the row that says how a token was made may be among those that were removed.
fn may_lack_its_row(token: &Token, bounds: Bounds) -> bool {
    !bounds.is_whole && token.created_at < bounds.begins_at
}

/// What of a token does not follow from the rows that tell of it, in words.
fn fault(token: &Token, (made, revoked): (Option<&Told>, Option<&Told>), bounds: Bounds) -> Option<String> {
    let Some(made) = made else {
        return (!may_lack_its_row(token, bounds))
            .then(|| format!("no row of the audit says that it was made ({}, by {})", token.role, token.created_by));
    };
    let seq = made.seq;
    let differs =
        |what: &str, is: &str, was: &str| Some(format!("its {what} is {is}, but row {seq} of the audit says {was}"));
    if token.name != made.name {
        return differs("name", &token.name, &made.name);
    }
    if token.role != made.role {
        return differs("role", &token.role, &made.role);
    }
    if token.created_by != made.by {
        return differs("maker", &token.created_by, &made.by);
    }
    if let Some(until) = made.until.filter(|until| millis(*until) != millis(token.expires_at)) {
        return differs("end", &token.expires_at.to_string(), &until.to_string());
    }
    if made.fingerprint.as_ref().is_some_and(|kept| *kept != fingerprint(&token.hash)) {
        return Some(format!("its secret is another than when it was made, as row {seq} of the audit says"));
    }
    match (token.revoked_at, revoked) {
        (None, Some(row)) => Some(format!("it is not revoked, but row {} of the audit says that it was", row.seq)),
        (Some(at), None) if at >= bounds.begins_at => {
            Some(format!("it was revoked at {at}, of which no row of the audit tells"))
        }
        (Some(at), Some(row)) if millis(at) != millis(row.at) => {
            Some(format!("it was revoked at {at}, but row {} of the audit says {}", row.seq, row.at))
        }
        _ => None,
    }
}

fn token(row: &SqliteRow) -> Result<Token> {
    Ok(Token {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        hash: row.try_get("hash")?,
        created_at: time(row, "created_at")?,
        created_by: row.try_get("created_by")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: time_opt(row, "revoked_at")?,
    })
}

async fn told(reader: &mut SqliteConnection, what: Happening) -> Result<Vec<Told>> {
    let rows = sqlx::query("SELECT seq, at, by, after, detail FROM audit WHERE what = ?1 ORDER BY seq")
        .bind(what.as_str())
        .fetch_all(reader)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Told> {
    let (detail, after): (&str, Option<&str>) = (row.try_get("detail")?, row.try_get("after")?);
    let (name, role, until) = words(detail);
    let mut marks = after.unwrap_or_default().split(' ').filter(|mark| !mark.is_empty()).map(str::to_owned);
    Ok(Told {
        seq: row.try_get("seq")?,
        at: time(row, "at")?,
        by: row.try_get("by")?,
        id: marks.next(),
        fingerprint: marks.next(),
        name: name.to_owned(),
        role: role.to_owned(),
        until,
    })
}

/// The name, the role and the end in `ana (operator, until 2027-01-01T00:00:00Z): why`. No name and no role has a blank or
/// a bracket in it.
fn words(detail: &str) -> (&str, &str, Option<Timestamp>) {
    let (name, rest) = detail.split_once(" (").unwrap_or((detail, ""));
    let (inside, _) = rest.split_once("): ").unwrap_or((rest, ""));
    let (role, until) = inside.split_once(", until ").unwrap_or((inside, ""));
    (name, role, until.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_row_are_read_whichever_reason_they_give() {
        let until = "2027-01-01T00:00:00.5Z";
        let read = words("ana (admin, until 2027-01-01T00:00:00.5Z): x (viewer, until never): y");
        assert_eq!(read, ("ana", "admin", Some(until.parse().unwrap())));
        assert_eq!(words("ana (operator): posted (in a chat)"), ("ana", "operator", None));
        assert_eq!(words(""), ("", "", None));
    }
}
