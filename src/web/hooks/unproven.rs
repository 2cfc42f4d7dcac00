//! Room for bodies whose senders have not proven themselves yet, apart from the room of those that have.
//!
//! A signature can be judged when its body is whole, so until then anyone has to be listened to who has a header of the
//! right form. The first bytes of a body, a *beginning*, are taken in of everyone: most alerts are whole within it, so
//! their senders wait for nobody. A longer body needs a *place*. There are few for each source and for each network, with
//! few bytes. Who does not keep pace gives way to who waits. A network that has lately sent the source something with a
//! good signature does not wait for strangers, and of those that wait the last one to come is the first: a crowd waits
//! for as long as it may. Absent: bytes (see [`super::reading`]) and signatures.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::MOST_BODY_BYTES;
use crate::model::SourceName;

/// The bytes of all bodies without proof at once.
const MOST_BYTES: usize = 16 << 20;

/// How long a beginning is.
pub(super) const BEGINNING_BYTES: usize = 16 << 10;

/// Beginnings at once, which is half of the bytes.
const MOST_BEGINNINGS: usize = 512;

/// The bytes of all places.
const MOST_PLACE_BYTES: usize = MOST_BYTES - MOST_BEGINNINGS * BEGINNING_BYTES;

/// Places of one source, and their bytes: those of one body that is as long as it may be.
const PLACES_OF_SOURCE: usize = 8;
const BYTES_OF_SOURCE: usize = MOST_BODY_BYTES;

/// Places of one network at one source.
const PLACES_OF_NETWORK: usize = 4;

/// The pace that is kept: a body that is as long as it may be comes within the time that it has.
const BYTES_PER_SECOND: u32 = 512 << 10;

/// How far a body that has just got its place may be behind: of a stranger, and of one whose network is known; and how far
/// any may be ahead.
const FIRST_LEAD: Duration = Duration::from_millis(50);
const FIRST_LEAD_OF_KNOWN: Duration = Duration::from_millis(250);
const MOST_LEAD: Duration = Duration::from_millis(500);

/// How long a good signature speaks for its network, and for how many at once.
const GOOD_FOR: Duration = Duration::from_secs(3_600);
const MOST_GOOD: usize = 1_024;

/// Who waits looks again at the latest after this, and at the earliest.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The room.
#[derive(Debug, Default)]
pub(super) struct Unproven(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the next body: an older one has a smaller number.
    next: u64,
    bodies: BTreeMap<u64, Listened>,
    /// When a network has sent a source something with a good signature.
    good: HashMap<(SourceName, IpAddr), Instant>,
    /// Before that no place has fallen behind.
    look_at: Option<Instant>,
}

/// A body that is listened to.
#[derive(Debug)]
struct Listened {
    source: SourceName,
    network: Option<IpAddr>,
    /// Whether its network, or its connection, has proven itself before.
    is_known: bool,
    held: Held,
    signals: Signals,
}

/// What a body is told.
#[derive(Debug, Clone, Default)]
struct Signals {
    gives_way: CancellationToken,
    has_place: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Beginning,
    /// A beginning, and a place of so many bytes is wanted.
    Waiting {
        bytes: usize,
    },
    /// Until `due` it keeps pace though nothing comes.
    Place {
        bytes: usize,
        due: Instant,
    },
}

/// What keeps a body from a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pressure {
    Network,
    Source,
    All,
}

impl Unproven {
    /// Begins to listen to a body. If there are too many beginnings, the oldest of a stranger gives way.
    pub(super) fn listen(&self, source: &SourceName, network: Option<IpAddr>, is_known: bool) -> Listening<'_> {
        let mut state = self.state();
        let number = state.listen(source, network, is_known, Instant::now());
        let signals = state.bodies.get(&number).map(|body| body.signals.clone()).unwrap_or_default();
        drop(state);
        Listening { room: self, number, signals }
    }

    /// A network has sent a source something with a good signature.
    pub(super) fn is_good(&self, source: &SourceName, network: IpAddr) {
        self.state().note_good(source, network, Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at each moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn listen(&mut self, source: &SourceName, network: Option<IpAddr>, is_known: bool, now: Instant) -> u64 {
        let is_known = is_known || network.is_some_and(|network| self.is_good(source, network, now));
        self.make_room_for_a_beginning();
        let number = self.next;
        self.next = number.wrapping_add(1);
        let (source, held, signals) = (source.clone(), Held::Beginning, Signals::default());
        self.bodies.insert(number, Listened { source, network, is_known, held, signals });
        number
    }

    /// A place of so many bytes is wanted from now on. Says when to look again.
    fn want(&mut self, number: u64, bytes: usize, now: Instant) -> Result<Instant, GivesWay> {
        self.bodies.get_mut(&number).ok_or(GivesWay)?.held = Held::Waiting { bytes };
        Ok(self.give_places(now))
    }

    /// So many bytes have come.
    fn came(&mut self, number: u64, bytes: usize, now: Instant) {
        if let Some(Listened { held: Held::Place { due, .. }, .. }) = self.bodies.get_mut(&number) {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let gained = Duration::from_secs(1).saturating_mul(bytes) / BYTES_PER_SECOND;
            *due = (*due + gained).min(now + MOST_LEAD);
        }
    }

    /// The body is listened to no more.
    fn leave(&mut self, number: u64, now: Instant) {
        let held = self.bodies.remove(&number).map(|body| body.held);
        if matches!(held, Some(Held::Place { .. })) {
            self.give_places(now);
        }
    }

    fn is_good(&self, source: &SourceName, network: IpAddr, now: Instant) -> bool {
        let since = self.good.get(&(source.clone(), network));
        since.is_some_and(|since| now.duration_since(*since) < GOOD_FOR)
    }

    fn note_good(&mut self, source: &SourceName, network: IpAddr, now: Instant) {
        let key = (source.clone(), network);
        if self.good.len() >= MOST_GOOD && !self.good.contains_key(&key) {
            let oldest = self.good.iter().min_by_key(|(_, since)| **since).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.good.remove(&oldest));
        }
        self.good.insert(key, now);
    }

    fn make_room_for_a_beginning(&mut self) {
        let beginnings = || self.bodies.iter().filter(|(_, body)| !matches!(body.held, Held::Place { .. }));
        if beginnings().count() < MOST_BEGINNINGS {
            return;
        }
        let first = beginnings().min_by_key(|(number, body)| (body.is_known, **number)).map(|(number, _)| *number);
        first.into_iter().for_each(|number| self.give_way(number));
    }

    /// From now on nothing is held for it.
    fn give_way(&mut self, number: u64) {
        if let Some(body) = self.bodies.remove(&number) {
            body.signals.gives_way.cancel();
        }
    }

    /// Gives places to those that wait, as far as there are any or can be made so. Says when to look again.
    fn give_places(&mut self, now: Instant) -> Instant {
        let mut waiting: Vec<(Reverse<bool>, Reverse<u64>)> = self
            .bodies
            .iter()
            .filter(|(_, body)| matches!(body.held, Held::Waiting { .. }))
            .map(|(number, body)| (Reverse(body.is_known), Reverse(*number)))
            .collect();
        waiting.sort_unstable();
        let (mut full_networks, mut full_sources) = (HashSet::new(), HashSet::new());
        for (_, Reverse(number)) in waiting {
            let Some(body) = self.bodies.get(&number) else { continue };
            let (source, network) = (body.source.clone(), body.network);
            if full_sources.contains(&source) || full_networks.contains(&(source.clone(), network)) {
                continue;
            }
            match self.give_place(number, now) {
                None => {}
                Some(Pressure::Network) => drop(full_networks.insert((source, network))),
                Some(Pressure::Source) => drop(full_sources.insert(source)),
                Some(Pressure::All) => break,
            }
        }
        let first = self.places().map(|(_, _, _, due)| due).min();
        let look_at = first.map_or(now + LOOK_EVERY, |due| due.clamp(now + LOOK_AGAIN, now + LOOK_EVERY));
        self.look_at = Some(look_at);
        look_at
    }

    /// Gives one a place, or says what keeps it from one. Nobody gives way for nothing.
    fn give_place(&mut self, number: u64, now: Instant) -> Option<Pressure> {
        let me = self.bodies.get(&number)?;
        let Held::Waiting { bytes } = me.held else { return None };
        let mut give_way = Vec::new();
        while let Some(pressure) = self.pressure(me, bytes, &give_way) {
            let weighs = self.places().filter(|(number, body, ..)| {
                !give_way.contains(number)
                    && match pressure {
                        Pressure::Network => body.source == me.source && body.network == me.network,
                        Pressure::Source => body.source == me.source,
                        Pressure::All => true,
                    }
            });
            let may_be_asked = weighs.filter(|(_, body, _, due)| (me.is_known && !body.is_known) || *due < now);
            match may_be_asked.min_by_key(|(_, body, _, due)| (body.is_known, *due)) {
                Some((number, ..)) => give_way.push(number),
                None => return Some(pressure),
            }
        }
        give_way.into_iter().for_each(|number| self.give_way(number));
        if let Some(me) = self.bodies.get_mut(&number) {
            let lead = if me.is_known { FIRST_LEAD_OF_KNOWN } else { FIRST_LEAD };
            me.held = Held::Place { bytes, due: now + lead };
            me.signals.has_place.notify_one();
        }
        None
    }

    /// What a place of so many bytes would be too much for, once some have given way.
    fn pressure(&self, me: &Listened, bytes: usize, without: &[u64]) -> Option<Pressure> {
        let places = || self.places().filter(|(number, ..)| !without.contains(number));
        let of_source = || places().filter(|(_, body, ..)| body.source == me.source);
        let of_network = of_source().filter(|(_, body, ..)| me.network.is_some() && body.network == me.network);
        if of_network.count() >= PLACES_OF_NETWORK {
            return Some(Pressure::Network);
        }
        let taken: usize = of_source().map(|(_, _, bytes, _)| bytes).sum();
        if of_source().count() >= PLACES_OF_SOURCE || taken.saturating_add(bytes) > BYTES_OF_SOURCE {
            return Some(Pressure::Source);
        }
        let taken: usize = places().map(|(_, _, bytes, _)| bytes).sum();
        (taken.saturating_add(bytes) > MOST_PLACE_BYTES).then_some(Pressure::All)
    }

    /// The number, the body, the bytes and the time of each that has a place.
    fn places(&self) -> impl Iterator<Item = (u64, &Listened, usize, Instant)> {
        self.bodies.iter().filter_map(|(number, body)| match body.held {
            Held::Place { bytes, due } => Some((*number, body, bytes, due)),
            _ => None,
        })
    }
}

/// A body that is listened to, until it is whole or gives way.
#[derive(Debug)]
pub(super) struct Listening<'u> {
    room: &'u Unproven,
    number: u64,
    signals: Signals,
}

/// The body has to give way to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivesWay;

impl Listening<'_> {
    /// Ends once the body has to give way.
    pub(super) async fn gives_way(&self) {
        self.signals.gives_way.cancelled().await;
    }

    /// A place for so many bytes, as soon as there is one.
    pub(super) async fn place(&self, bytes: usize) -> Result<(), GivesWay> {
        let mut look_at = self.room.state().want(self.number, bytes, Instant::now())?;
        loop {
            if self.has_place()? {
                return Ok(());
            }
            tokio::select! {
                () = self.gives_way() => return Err(GivesWay),
                () = self.signals.has_place.notified() => {}
                () = tokio::time::sleep_until(look_at) => look_at = self.look(),
            }
        }
    }

    /// So many bytes have come.
    pub(super) fn came(&self, bytes: usize) {
        self.room.state().came(self.number, bytes, Instant::now());
    }

    fn has_place(&self) -> Result<bool, GivesWay> {
        let state = self.room.state();
        let me = state.bodies.get(&self.number).ok_or(GivesWay)?;
        Ok(matches!(me.held, Held::Place { .. }))
    }

    /// Looks whether somebody has fallen behind, unless another has just done so.
    fn look(&self) -> Instant {
        let (mut state, now) = (self.room.state(), Instant::now());
        match state.look_at.filter(|at| *at > now) {
            Some(_) => now + LOOK_EVERY,
            None => state.give_places(now),
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.room.state().leave(self.number, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = MOST_BODY_BYTES;
    const MS: Duration = Duration::from_millis(1);

    fn source(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    /// The room at a time of the test's own.
    struct Scene {
        state: State,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { state: State::default(), now: Instant::now() }
        }

        /// A stranger's body for the source `a`.
        fn stranger(&mut self, last: u8) -> u64 {
            self.state.listen(&source("a"), address(last), false, self.now)
        }

        /// Whether it gets a place at once.
        fn at_once(&mut self, number: u64, bytes: usize) -> bool {
            self.state.want(number, bytes, self.now).is_ok() && self.has_place(number)
        }

        fn has_place(&self, number: u64) -> bool {
            self.state.bodies.get(&number).is_some_and(|body| matches!(body.held, Held::Place { .. }))
        }

        fn is_there(&self, number: u64) -> bool {
            self.state.bodies.contains_key(&number)
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.state.give_places(self.now);
        }
    }

    #[test]
    fn whoever_does_not_keep_pace_gives_way_to_the_last_who_comes() {
        let mut scene = Scene::new();
        let (slow, early, late) = (scene.stranger(1), scene.stranger(2), scene.stranger(3));
        assert!(scene.at_once(slow, LARGE));
        assert!(!scene.at_once(early, LARGE) && !scene.at_once(late, LARGE), "one large body at a time");
        scene.pass(FIRST_LEAD);
        assert!(scene.is_there(slow), "it is not behind yet");
        scene.pass(MS);
        assert!(!scene.is_there(slow) && scene.has_place(late), "it has sent nothing");
        for _ in 0..100 {
            scene.state.came(late, 8 << 10, scene.now);
            scene.pass(10 * MS);
        }
        assert!(scene.has_place(late) && !scene.has_place(early), "whoever keeps pace gives way to no stranger");
        scene.pass(MOST_LEAD + MS);
        assert!(!scene.is_there(late) && scene.has_place(early), "what came fast once is not good for ever");
    }

    #[test]
    fn a_network_that_has_proven_itself_does_not_wait_for_strangers() {
        let mut scene = Scene::new();
        let strangers: Vec<u64> = (0..8).map(|n| scene.stranger(n)).collect();
        assert!(strangers.iter().all(|number| scene.at_once(*number, LARGE / 8)));
        let other = scene.stranger(100);
        assert!(!scene.at_once(other, 1));
        scene.state.note_good(&source("a"), address(101).unwrap(), scene.now);
        let known = scene.stranger(101);
        assert!(scene.at_once(known, LARGE));
        assert!(!strangers.iter().any(|number| scene.is_there(*number)), "it needs all of the bytes");
        assert!(scene.is_there(other), "nobody gives way for nothing");
        assert!(!scene.state.is_good(&source("b"), address(101).unwrap(), scene.now), "at its own source");
        assert!(!scene.state.is_good(&source("a"), address(101).unwrap(), scene.now + GOOD_FOR), "not for ever");
    }

    #[test]
    fn neither_a_network_nor_a_source_has_all_the_places() {
        let mut scene = Scene::new();
        let of_one: Vec<u64> = (0..6).map(|_| scene.stranger(1)).collect();
        let taken = of_one.iter().filter(|number| scene.at_once(**number, 1)).count();
        assert_eq!(taken, PLACES_OF_NETWORK);
        let of_another = scene.stranger(2);
        assert!(scene.at_once(of_another, 1), "another network has its own");
        let of_another_source = scene.state.listen(&source("b"), address(1), false, scene.now);
        assert!(scene.at_once(of_another_source, LARGE), "another source has its own");
        let bytes: usize = scene.state.places().map(|(_, _, bytes, _)| bytes).sum();
        assert!(bytes <= MOST_PLACE_BYTES, "{bytes}");
    }

    #[test]
    fn the_oldest_beginning_of_a_stranger_gives_way_when_there_are_too_many() {
        let mut scene = Scene::new();
        let known = scene.state.listen(&source("a"), address(1), true, scene.now);
        let crowd: Vec<u64> = (0..MOST_BEGINNINGS).map(|n| scene.stranger(n as u8)).collect();
        assert!(scene.is_there(known) && !scene.is_there(crowd[0]) && scene.is_there(crowd[1]));
        assert_eq!(scene.state.bodies.len(), MOST_BEGINNINGS);
        assert_eq!(scene.state.want(crowd[0], 1, scene.now), Err(GivesWay));
    }

    #[test]
    fn the_good_networks_that_are_remembered_are_bounded() {
        let mut scene = Scene::new();
        for n in 0..=MOST_GOOD as u32 {
            scene.now += MS;
            scene.state.note_good(&source("a"), IpAddr::V4(n.into()), scene.now);
        }
        let is_good = |n: u32| scene.state.is_good(&source("a"), IpAddr::V4(n.into()), scene.now);
        assert_eq!(scene.state.good.len(), MOST_GOOD);
        assert!(!is_good(0) && is_good(1) && is_good(MOST_GOOD as u32));
    }

    #[tokio::test]
    async fn a_place_that_is_left_goes_to_who_waits() {
        let room = Unproven::default();
        let listen = |last| room.listen(&source("a"), address(last), false);
        let first = listen(1);
        first.place(LARGE).await.unwrap();
        let second = listen(2);
        let (placed, ()) = tokio::join!(second.place(LARGE), async { drop(first) });
        assert_eq!(placed, Ok(()));
        // It sends nothing, and somebody waits.
        let third = listen(3);
        assert_eq!(third.place(LARGE).await, Ok(()));
        second.gives_way().await;
        drop((second, third));
        assert!(room.state().bodies.is_empty());
    }
}
