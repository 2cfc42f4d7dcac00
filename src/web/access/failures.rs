//! Failed attempts, counted by address, so that nobody guesses for long and none fills the disk by failing.
//!
//! After some failures in a minute an address is told nothing of what it presents. When there are many
//! over all, one failure is enough for that. Who has not failed is never refused. Memory is bounded; what the audit
//! keeps of an address is its first failures and the one that shuts it out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::web::remote::network;

/// How long a failure counts.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Failures of an address within the window; then it is refused.
pub(super) const MOST_OF_AN_ADDRESS: u32 = 10;

/// Of an address the audit keeps so many of its first failures within the window.
const FIRST_KEPT: u32 = 3;

/// Failures of all addresses within the window; then one of an address is enough.
const MOST_OVER_ALL: u32 = 1_000;

/// Rows in the audit within the window, of all addresses.
const MOST_KEPT: u32 = 50;

/// Addresses that are remembered at once; the one that began to fail first is forgotten for another.
const MOST_ADDRESSES: usize = 4_096;

/// The failures of about the last minute.
#[derive(Debug, Default)]
pub(in crate::web) struct Failures(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    by_address: HashMap<IpAddr, Window>,
    all: Window,
    kept: Window,
}

/// A count that begins anew a minute after it began.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

impl Window {
    fn end(&self) -> Timestamp {
        self.since.checked_add(WINDOW).unwrap_or(Timestamp::MAX)
    }

    fn now(&self, now: Timestamp) -> u32 {
        if now < self.end() { self.count } else { 0 }
    }

    fn add(&mut self, now: Timestamp) -> u32 {
        if now >= self.end() {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

impl Failures {
    /// For how many seconds the address is refused, if it is. `now` is steady.
    pub(super) fn refuse_for(&self, address: IpAddr, now: Timestamp) -> Option<i64> {
        let counted = self.counted();
        let window = counted.by_address.get(&network(address))?;
        let most = if counted.all.now(now) >= MOST_OVER_ALL { 1 } else { MOST_OF_AN_ADDRESS };
        // Rounded up: who comes back then is let in.
        (window.now(now) >= most).then(|| (window.end().as_millisecond() - now.as_millisecond() + 999) / 1_000)
    }

    /// Counts a failure. Gives how many there are of the address, if that is to be kept in the audit.
    pub(super) fn failed(&self, address: IpAddr, now: Timestamp) -> Option<u32> {
        let mut counted = self.counted();
        counted.all.add(now);
        let network = network(address);
        if !counted.by_address.contains_key(&network) {
            counted.make_room(now);
        }
        let count = counted.by_address.entry(network).or_default().add(now);
        let tells = count <= FIRST_KEPT || count == MOST_OF_AN_ADDRESS;
        (tells && counted.kept.add(now) <= MOST_KEPT).then_some(count)
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Counts are whole whatever happened to who counted last.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn make_room(&mut self, now: Timestamp) {
        if self.by_address.len() < MOST_ADDRESSES {
            return;
        }
        self.by_address.retain(|_, window| window.now(now) > 0);
        if self.by_address.len() < MOST_ADDRESSES {
            return;
        }
        let first = self.by_address.iter().min_by_key(|(_, window)| window.since).map(|(address, _)| *address);
        if let Some(first) = first {
            self.by_address.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + seconds).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn numbered(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn an_address_is_refused_for_the_rest_of_the_minute_and_another_is_not() {
        let (failures, guesser) = (Failures::default(), address("192.0.2.7"));
        for n in 1..=MOST_OF_AN_ADDRESS {
            assert_eq!(failures.refuse_for(guesser, at(20)), None, "{n}");
            let kept = failures.failed(guesser, at(20));
            assert_eq!(kept, (n <= FIRST_KEPT || n == MOST_OF_AN_ADDRESS).then_some(n));
        }
        assert_eq!(failures.refuse_for(guesser, at(20)), Some(60));
        assert_eq!(failures.refuse_for(guesser, at(79)), Some(1));
        assert_eq!(failures.refuse_for(address("::ffff:192.0.2.7"), at(21)), Some(59), "the same one");
        assert_eq!(failures.refuse_for(address("192.0.2.8"), at(21)), None);
        assert_eq!(failures.refuse_for(guesser, at(80)), None);
        assert_eq!(failures.failed(guesser, at(80)), Some(1), "a new minute is kept again");
    }

    #[test]
    fn a_network_of_version_6_is_one_party() {
        let failures = Failures::default();
        for n in 0..MOST_OF_AN_ADDRESS {
            failures.failed(address(&format!("2001:db8:1:2::{n:x}")), at(0));
        }
        assert!(failures.refuse_for(address("2001:db8:1:2:ffff::1"), at(0)).is_some());
        assert!(failures.refuse_for(address("2001:db8:1:3::1"), at(0)).is_none());
    }

    #[test]
    fn many_addresses_are_refused_sooner_and_what_is_kept_of_them_is_bounded() {
        let failures = Failures::default();
        let kept = (0..MOST_OVER_ALL).filter(|n| failures.failed(numbered(*n), at(0)).is_some()).count();
        assert_eq!(kept, MOST_KEPT as usize);
        assert!(failures.refuse_for(numbered(3), at(1)).is_some());
        assert!(failures.refuse_for(numbered(MOST_OVER_ALL), at(1)).is_none(), "who has not failed is let in");
        assert!(failures.refuse_for(numbered(3), at(60)).is_none());
    }

    #[test]
    fn the_memory_of_addresses_is_bounded() {
        let failures = Failures::default();
        let many = u32::try_from(MOST_ADDRESSES).unwrap();
        for n in 0..many + 100 {
            failures.failed(numbered(n), at(i64::from(n / 100)));
        }
        assert_eq!(failures.counted().by_address.len(), MOST_ADDRESSES);
        failures.failed(numbered(many + 100), at(1_000));
        assert_eq!(failures.counted().by_address.len(), 1, "whose minute is over is forgotten");
    }
}
