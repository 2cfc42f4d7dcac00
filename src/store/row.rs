//! Readings of columns into the words of [`crate::model`].

use std::str::FromStr;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Result, StoreError};
use crate::model::{ActionId, Kind, Level, Outcome, State};

/// A time as the store keeps it: milliseconds since 1970, cut downwards.
pub(super) fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A time that the store kept.
pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// The column as an id or a name of ours.
pub(super) fn parsed<T>(row: &SqliteRow, column: &'static str) -> Result<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error| StoreError::Corrupt(format!("a column {column}: {error}")))
}

/// The same for a column that may be null.
pub(super) fn parsed_opt<T>(row: &SqliteRow, column: &'static str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse).transpose().map_err(|error| StoreError::Corrupt(format!("a column {column}: {error}")))
}

/// The column as a time.
pub(super) fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp> {
    Ok(timestamp(row.try_get(column)?))
}

/// The same for a column that may be null.
pub(super) fn time_opt(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(timestamp))
}

/// The column as JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a column {column}: {error}")))
}

/// JSON as the store keeps it.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("a value that is no JSON: {error}")))
}

fn named<T>(row: &SqliteRow, column: &'static str, from_name: fn(&str) -> Option<T>) -> Result<T> {
    let text: &str = row.try_get(column)?;
    from_name(text).ok_or_else(|| StoreError::Corrupt(format!("a column {column}: {text:?}")))
}

/// The column `state`.
pub(super) fn state(row: &SqliteRow) -> Result<State> {
    named(row, "state", State::from_name)
}

/// The column `kind`.
pub(super) fn kind(row: &SqliteRow) -> Result<Kind> {
    named(row, "kind", Kind::from_name)
}

/// The column `outcome`.
pub(super) fn outcome(row: &SqliteRow) -> Result<Outcome> {
    named(row, "outcome", Outcome::from_name)
}

/// The column `level`.
pub(super) fn level(row: &SqliteRow) -> Result<Level> {
    let rank: i64 = row.try_get("level")?;
    Level::from_rank(rank).ok_or_else(|| StoreError::Corrupt(format!("a level {rank}")))
}

/// The column `id` of an action.
pub(super) fn action_id(row: &SqliteRow) -> Result<ActionId> {
    parsed(row, "id")
}
