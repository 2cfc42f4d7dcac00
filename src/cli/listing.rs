//! Lists: page after page, as tables or as JSON Lines.

use std::num::NonZeroU64;

use anyhow::bail;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::arguments::Query;
use super::exit::Exit;
use super::output::{Column, Table, Tone, part};
use super::session::Session;
use crate::model::view::Page;

/// The most rows that are asked for at once.
const PAGE_ROWS: u64 = 500;

/// How many rows a person at a terminal sees who does not say how many.
const TERMINAL_ROWS: u64 = 100;

/// How a list of one kind of thing looks.
pub(super) struct Listing<T: 'static> {
    /// The last part of the API's path, and the plural that people read.
    pub noun: &'static str,
    /// The columns.
    pub columns: &'static [Column],
    /// The cells of one row, and the tone of the first.
    pub row: fn(&T, Timestamp) -> (Tone, Vec<String>),
}

impl<T: DeserializeOwned> Listing<T> {
    /// The rows as a table.
    pub(super) fn table<'r>(&self, rows: impl IntoIterator<Item = &'r T>, now: Timestamp) -> Table {
        let mut table = Table::new(self.columns);
        for row in rows {
            let (tone, cells) = (self.row)(row, now);
            table.row(tone, cells);
        }
        table
    }

    /// Prints all rows that match, at most `limit`.
    ///
    /// # Errors
    /// When the daemon can not be asked, or the rows can not be printed.
    pub(super) async fn print(
        &self,
        session: &mut Session<'_>,
        filters: Query,
        limit: Option<NonZeroU64>,
    ) -> anyhow::Result<Exit> {
        let mut pages = Pages { noun: self.noun, filters, left: most_rows(session, limit), cursor: None };
        let mut printed: usize = 0;
        loop {
            let page = pages.next(session).await?;
            let rows = page.items.len();
            if session.json {
                page.items.iter().try_for_each(|row| session.out.json(row.get()))?;
            } else {
                self.print_rows(session, &page.items, printed == 0)?;
            }
            printed += rows;
            if pages.is_at_the_end(&page)? {
                break;
            }
        }
        if printed == 0 && !session.json {
            session.notes.line(&[part(Tone::Faint, format_args!("no {} match", self.noun))])?;
        }
        if pages.cursor.is_some() && limit.is_none() {
            let note =
                format!("only the first {printed} {}: --limit N shows more, filters show what you want", self.noun);
            session.notes.line(&[part(Tone::Faint, note)])?;
        }
        Ok(Exit::Done)
    }

    fn print_rows(&self, session: &mut Session<'_>, rows: &[Box<RawValue>], first: bool) -> anyhow::Result<()> {
        let rows = rows.iter().map(|row| serde_json::from_str(row.get())).collect::<Result<Vec<T>, _>>()?;
        let table = self.table(&rows, session.now);
        session.out.table(&if first { table } else { table.without_header() })?;
        Ok(())
    }
}

/// A script gets all rows; a person a screenful.
fn most_rows(session: &Session<'_>, limit: Option<NonZeroU64>) -> u64 {
    match limit {
        Some(limit) => limit.get(),
        None if session.out.is_terminal() && !session.json => TERMINAL_ROWS,
        None => u64::MAX,
    }
}

/// Where we are in a list.
pub(super) struct Pages {
    /// The last part of the API's path.
    pub noun: &'static str,
    /// Which rows.
    pub filters: Query,
    /// How many more rows are wanted.
    pub left: u64,
    /// Where the page begins that is next.
    pub cursor: Option<String>,
}

impl Pages {
    /// The next page, its rows as they came.
    ///
    /// # Errors
    /// When the daemon can not be asked.
    pub(super) async fn next(&mut self, session: &Session<'_>) -> anyhow::Result<Page<Box<RawValue>>> {
        let mut query = self.filters.clone();
        query.push(("limit", self.left.min(PAGE_ROWS).to_string()));
        query.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let answer = session.client.get(&["api", "v1", self.noun], &query).await?;
        let mut page: Page<Box<RawValue>> = answer.read()?;
        page.items.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(page)
    }

    /// Moves on behind `page`, and says whether that was the last one to ask for.
    pub(super) fn is_at_the_end(&mut self, page: &Page<Box<RawValue>>) -> anyhow::Result<bool> {
        if page.next_cursor.is_some() && page.next_cursor == self.cursor {
            bail!("the daemon's list of {} does not end: the same page comes again", self.noun);
        }
        self.left = self.left.saturating_sub(page.items.len() as u64);
        self.cursor.clone_from(&page.next_cursor);
        Ok(self.left == 0 || self.cursor.is_none())
    }
}
