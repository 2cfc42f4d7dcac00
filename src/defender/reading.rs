//! A list read whole: page by page, and by ranges of time where it has more rows than the API pages.
//!
//! A value that knows what is still to be read; it makes no call. Absent: HTTP (see [`super::Client`]), and
//! what is done with rows.

use super::page::{Page, PageToken};
use super::read::ReadError;
use crate::model::AlertTime;

/// The most pages of one range that are read: where there are more, reading by halves costs less than what
/// is lost when it breaks. How far `$skip` may go no page of Microsoft's says; what it refuses is split too.
const MOST_PAGES: u32 = 50;
/// Pages are made no smaller than this when an answer is too large.
const SMALLEST_PAGE: u32 = 10;
/// The most times that one list is split: a list that still has no end is not filtered by time at all.
const MOST_SPLITS: u32 = 10_000;
/// Nothing in the API is older: the halves of a range without a beginning are those of the time since then.
const OLDEST: AlertTime = AlertTime::from_ticks(946_684_800 * 10_000_000);
/// Nor can anything be newer: the last moment of the year 9998.
const NEWEST: AlertTime = AlertTime::from_ticks(253_370_764_799 * 10_000_000);

/// What one request for a page of a list asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Rows of this time and later; `None`: from the oldest on.
    pub since: Option<AlertTime>,
    /// Rows before this time; `None`: up to the newest.
    pub until: Option<AlertTime>,
    /// Where the page begins; `None`: with the first row.
    pub page: Option<&'a PageToken>,
    /// The most rows of the page, from 1 to 10,000.
    pub top: u32,
}

impl Ask<'static> {
    /// The first page of all rows of `since` and later.
    #[must_use]
    pub const fn first(since: Option<AlertTime>, top: u32) -> Self {
        Self { since, until: None, page: None, top }
    }
}

/// A range of time that is to be read. With `pages` it is read page by page; without, it must fit one page:
/// then no row can move from one page to another while they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    since: Option<AlertTime>,
    until: Option<AlertTime>,
    pages: bool,
}

/// How far the reading of a list has come.
///
/// Ranges are read from the oldest to the newest. One that does not fit is split in two, down to the API's
/// finest step, 100 ns; what was read of it before that is read again. A time that alone has more rows than
/// the API pages is left out and told at the end, when all else is read.
#[derive(Debug)]
pub struct Reading {
    /// What is to be read, the oldest last.
    left: Vec<Range>,
    /// Where the next page of the last of them begins.
    page: Option<PageToken>,
    top: u32,
    /// Microsoft's clock as it was last seen, or ours.
    now: AlertTime,
    splits: u32,
    /// The first time that was left out.
    left_out: Option<AlertTime>,
}

impl Reading {
    /// A list that is to be read from `since` up to `until`, at most `top` rows a page. `now` need not be
    /// exact.
    #[must_use]
    pub fn new(since: Option<AlertTime>, until: Option<AlertTime>, top: u32, now: AlertTime) -> Self {
        Self {
            left: vec![Range { since, until, pages: true }],
            page: None,
            top: top.max(1),
            now,
            splits: 0,
            left_out: None,
        }
    }

    /// What is to be asked for next; `None` when there is nothing more.
    #[must_use]
    pub fn ask(&self) -> Option<Ask<'_>> {
        let range = self.left.last()?;
        Some(Ask { since: range.since, until: range.until, page: self.page.as_ref(), top: self.top })
    }

    /// Takes the answer to [`Self::ask`]. Gives the page, if its rows can be used; without one the next
    /// question is another.
    ///
    /// # Errors
    /// The error that came, if asking otherwise does not help. What is still to be read is known after it
    /// too: a range that broke in the middle is split, so that what is read of it counts next time.
    pub fn answered<T>(&mut self, answer: Result<Page<T>, ReadError>) -> Result<Option<Page<T>>, ReadError> {
        let in_the_middle = self.page.is_some();
        match answer {
            Ok(page) => {
                self.now = page.date.unwrap_or(self.now);
                self.took(page.next.clone())?;
                Ok(Some(page))
            }
            Err(ReadError::TooLarge { .. }) if self.top > SMALLEST_PAGE => {
                self.top = (self.top / 2).max(SMALLEST_PAGE);
                self.page = None;
                Ok(None)
            }
            Err(ReadError::Refused { status: 400, .. }) if in_the_middle => self.split().map(|()| None),
            Err(error @ (ReadError::Unanswered { .. } | ReadError::Unreadable { .. })) if in_the_middle => {
                if self.halves().is_some() {
                    self.split()?;
                }
                self.page = None;
                Err(error)
            }
            // Rows that were changed meanwhile have left their places: the part is read from its beginning.
            Err(error) => {
                self.page = None;
                Err(error)
            }
        }
    }

    /// From when on there is something that was not read; `None` when everything was.
    #[must_use]
    pub fn unread_from(&self) -> Option<AlertTime> {
        let next = self.left.last().map(|range| range.since.unwrap_or(OLDEST));
        self.left_out.or(next)
    }

    /// Whether the list was read whole, once there is nothing more to ask.
    ///
    /// # Errors
    /// [`ReadError::TooManyAtOnce`] with the first time that was left out.
    pub const fn end(&self) -> Result<(), ReadError> {
        match self.left_out {
            Some(at) => Err(ReadError::TooManyAtOnce { at }),
            None => Ok(()),
        }
    }

    /// Steps on to `next`, or to the next range after the last page of this one.
    fn took(&mut self, next: Option<PageToken>) -> Result<(), ReadError> {
        let pages = self.left.last().is_some_and(|range| range.pages);
        match next {
            None => {
                self.left.pop();
                self.page = None;
                Ok(())
            }
            Some(next) if pages && next.number() < MOST_PAGES => {
                self.page = Some(next);
                Ok(())
            }
            Some(_) => self.split(),
        }
    }

    /// Splits the range that is being read, or leaves it out if nothing smaller can be asked for.
    fn split(&mut self) -> Result<(), ReadError> {
        let halves = self.halves();
        self.page = None;
        if halves.is_some() && self.splits >= MOST_SPLITS {
            return Err(ReadError::TooManyPages { limit: MOST_SPLITS });
        }
        let Some(range) = self.left.pop() else { return Ok(()) };
        match halves {
            Some([older, newer]) => {
                self.splits += 1;
                self.left.extend([newer, older]);
            }
            None => self.left_out = self.left_out.or(Some(range.since.unwrap_or(OLDEST))),
        }
        Ok(())
    }

    /// The halves of the range that is being read, the older first; `None` if it is one step of time. A
    /// range without an end is split at the time now.
    fn halves(&self) -> Option<[Range; 2]> {
        let range = self.left.last()?;
        let since = range.since.unwrap_or(OLDEST);
        let middle = match range.until {
            None if since < self.now => self.now,
            until => middle(since, until.unwrap_or(NEWEST))?,
        };
        Some([
            Range { since: range.since, until: Some(middle), pages: is_one_step(since, middle) },
            Range {
                since: Some(middle),
                until: range.until,
                pages: range.until.is_none_or(|until| is_one_step(middle, until)),
            },
        ])
    }
}

/// The time half way; `None` if there is none between the two.
fn middle(since: AlertTime, until: AlertTime) -> Option<AlertTime> {
    let half = until.ticks().saturating_sub(since.ticks()) / 2;
    (half > 0).then(|| AlertTime::from_ticks(since.ticks() + half))
}

fn is_one_step(since: AlertTime, until: AlertTime) -> bool {
    middle(since, until).is_none()
}

#[cfg(test)]
mod tests;
