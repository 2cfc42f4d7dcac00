//! A list on a server that has limits of its own, read by a reader that does not know them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::super::http::Answer;
use super::super::page::{Api, Links, ListQuery, between};
use super::*;

/// A list of times, the newest first, that skips no more than so many rows.
struct Server {
    times: Vec<i64>,
    most_skipped: usize,
}

const NOW: i64 = 1_000_000_000 * 10_000_000;

fn at(ticks: i64) -> AlertTime {
    AlertTime::from_ticks(ticks)
}

impl Server {
    /// The page that is asked for: what it skips is in the address that the token makes.
    fn answer(&self, ask: Ask<'_>) -> Result<Page<i64>, ReadError> {
        let origin: Url = "https://api.example".parse().unwrap();
        let api = Api { origin, links: Links::OfOwnHostOrMde };
        let filter = between("t", ask.since, ask.until);
        let query = ListQuery { path: "/api/alerts", filter, with_evidence: false, top: ask.top };
        let url = query.url(&api.origin, ask.page)?;
        let skip = url.query_pairs().find(|(key, _)| key == "$skip").map_or(0, |(_, rows)| rows.parse().unwrap());
        if skip > self.most_skipped {
            return Err(ReadError::Refused { status: 400, code: "ODataError".into(), message: "skip".into() });
        }
        let of_the_range = |ticks: &i64| {
            ask.since.is_none_or(|at| at.ticks() <= *ticks) && ask.until.is_none_or(|at| *ticks < at.ticks())
        };
        let mut times: Vec<i64> = self.times.iter().copied().filter(of_the_range).collect();
        times.sort_by_key(|ticks| std::cmp::Reverse(*ticks));
        let rows: Vec<i64> = times.into_iter().skip(skip).take(ask.top as usize).collect();
        let answer = Answer {
            status: 200,
            retry_after: None,
            date: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Ok(Vec::new()),
        };
        let body = json!({ "value": rows }).to_string();
        query.page(&api, ask.page, (&answer, body.as_bytes()), |row| row.as_i64())
    }
}

/// Reads to the end and past every error; each `breaks`-th call has no answer. Gives the rows that came.
fn read(server: &Server, reading: &mut Reading, breaks: usize) -> Vec<i64> {
    let (mut seen, mut known) = (Vec::new(), BTreeSet::new());
    let mut calls = 0;
    while let Some(ask) = reading.ask() {
        calls += 1;
        assert!(calls < 100_000, "it has no end");
        let answer = match calls % breaks {
            0 => Err(ReadError::Unanswered { status: Some(503), message: "busy".into() }),
            _ => server.answer(ask),
        };
        if let Ok(Some(page)) = reading.answered(answer) {
            known.extend(page.rows.iter().copied());
            seen.extend(page.rows);
        }
        let unread = reading.unread_from().map_or(i64::MAX, AlertTime::ticks);
        let missing = server.times.iter().find(|ticks| **ticks < unread && !known.contains(*ticks));
        assert_eq!(missing, None, "all that is older than {unread} was read");
    }
    seen
}

fn new(since: Option<i64>, top: u32) -> Reading {
    Reading::new(since.map(at), None, top, at(NOW))
}

#[test]
fn a_list_that_the_api_pages_is_read_without_a_split() {
    let server = Server { times: (1..=95).map(|n| NOW - n).collect(), most_skipped: 1_000 };
    let mut reading = new(Some(NOW - 1_000), 10);
    assert_eq!(read(&server, &mut reading, usize::MAX).len(), 95, "each row came once");
    assert_eq!((reading.splits, reading.end()), (0, Ok(())));
}

#[test]
fn so_many_pages_that_a_break_would_cost_too_much_are_split() {
    let rows = i64::from(MOST_PAGES) * 10 + 1;
    let server = Server { times: (1..=rows).map(|n| NOW - n).collect(), most_skipped: usize::MAX };
    let mut reading = new(None, 10);
    let seen: BTreeSet<i64> = read(&server, &mut reading, usize::MAX).into_iter().collect();
    assert_eq!(seen.len(), server.times.len());
    assert!(reading.splits > 0);
}

#[test]
fn a_time_with_too_many_rows_is_left_out_and_told_and_hides_no_other() {
    let crowded = NOW - 500;
    let mut times: Vec<i64> = (1..=300).map(|n| NOW - 5 * n).collect();
    times.extend(std::iter::repeat_n(crowded, 200));
    let server = Server { times, most_skipped: 50 };
    let mut reading = new(Some(NOW - 10_000), 10);
    let seen: BTreeSet<i64> = read(&server, &mut reading, usize::MAX).into_iter().collect();
    assert_eq!(seen, server.times.iter().copied().collect(), "what can be read was");
    assert_eq!(reading.end(), Err(ReadError::TooManyAtOnce { at: at(crowded) }));
    assert_eq!(reading.unread_from(), Some(at(crowded)), "and all before it");
}

#[test]
fn rows_that_lie_ahead_of_the_clock_are_split_too() {
    let server = Server { times: (0..100).map(|n| NOW + n * 1_000).collect(), most_skipped: 20 };
    let mut reading = new(Some(NOW), 10);
    let seen: BTreeSet<i64> = read(&server, &mut reading, usize::MAX).into_iter().collect();
    assert_eq!((seen.len(), reading.end()), (100, Ok(())));
}

#[test]
fn a_server_that_heeds_no_range_is_given_up() {
    let server = Server { times: (1..=40).map(|n| NOW - n).collect(), most_skipped: 20 };
    let mut reading = new(Some(NOW - 5_000), 10);
    reading.splits = MOST_SPLITS - 500;
    let mut calls = 0;
    let error = loop {
        let Some(ask) = reading.ask() else { panic!("it believes that it has read all") };
        calls += 1;
        match reading.answered(server.answer(Ask { since: None, until: None, ..ask })) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error, ReadError::TooManyPages { limit: MOST_SPLITS });
    assert!(calls <= 10 * 500, "{calls}");
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_smaller_pages() {
    let mut reading = new(Some(NOW - 10), 25);
    let large = || Err::<Page<i64>, _>(ReadError::TooLarge { limit: 9 });
    assert_eq!(reading.answered(large()), Ok(None));
    assert_eq!(reading.ask().unwrap().top, 12);
    assert_eq!(reading.answered(large()), Ok(None));
    assert_eq!(reading.ask().unwrap().top, SMALLEST_PAGE);
    assert_eq!(reading.answered(large()), Err(ReadError::TooLarge { limit: 9 }));
}

proptest! {
    #[test]
    fn whatever_the_server_allows_and_breaks_every_row_is_read(
        times in prop::collection::btree_set(0_i64..50_000, 0..150),
        top in 1_u32..20,
        most_skipped in 0_usize..60,
        // Every second call would break each list of two pages in the middle, for ever.
        breaks in prop_oneof![Just(usize::MAX), 3_usize..9],
        bounded: bool,
    ) {
        // Else nobody can be told what comes after a full page.
        prop_assume!(most_skipped >= top as usize);
        let server = Server { times: times.iter().map(|n| NOW - 25_000 + n).collect(), most_skipped };
        let until = bounded.then(|| at(NOW + 25_000));
        let mut reading = Reading::new(Some(at(NOW - 25_000)), until, top, at(NOW));
        let seen: BTreeSet<i64> = read(&server, &mut reading, breaks).into_iter().collect();
        prop_assert_eq!(seen.len(), server.times.len());
        prop_assert_eq!(reading.end(), Ok(()));
        prop_assert_eq!(reading.unread_from(), None);
    }
}
