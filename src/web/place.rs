//! The place that a connection takes: what it does with it, and until when it may keep it.
//!
//! A request that is whole and whose handler runs keeps its connection, since handlers have time limits of their own.
//! All else is a peer that may be slow on purpose: what it has begun must be whole soon, and when every place is taken,
//! one gives way. Those on whose connection nobody has proven who it is go first, and of them those of the party that
//! has the most: a crowd from one address does not keep others out. Absent: bytes (see [`super::bounded`]) and routes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Extensions;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What bounds the connections of one listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) most: usize,
    /// Connections of one party that are left alone for a moment when every place is taken.
    pub(super) share: usize,
    /// How long nothing may move on one.
    pub(super) silence: Duration,
    /// How long the head of a request may take.
    pub(super) begun: Duration,
    /// How long the body of a request may take.
    pub(super) body: Duration,
    /// How long a connection without a request is left alone when every place is taken.
    pub(super) grace: Duration,
}

/// Who a connection is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// A network of TCP, as [`super::remote::network`] tells it.
    Network(IpAddr),
    /// A user at the unix socket, as far as the system says who. File permissions have let it in.
    User(Option<u32>),
}

/// How often it is tried to make room while none is free.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(50);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Place>>>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, free: Arc::new(Semaphore::new(limits.most)), taken: Mutex::default() }
    }

    /// A place, as soon as one is free or can be made so.
    pub(super) async fn take(&self, party: Party) -> Arc<Place> {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break Some(permit);
            }
            self.make_room();
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(MAKE_ROOM_EVERY, free).await {
                // The semaphore is never closed.
                break permit.ok();
            }
        };
        let place = Arc::new(Place::new(self.limits, party, permit));
        let mut taken = lock(&self.taken);
        taken.retain(|place| place.strong_count() > 0);
        taken.push(Arc::downgrade(&place));
        place
    }

    /// Ends the connection that is the first to give way, if there is one that may be asked to.
    fn make_room(&self) {
        let now = Instant::now();
        let taken: Vec<Arc<Place>> = lock(&self.taken).iter().filter_map(Weak::upgrade).collect();
        let mut counts: HashMap<Party, usize> = HashMap::new();
        taken.iter().for_each(|place| *counts.entry(place.party).or_default() += 1);
        let candidates = taken.iter().filter(|place| !place.cut.is_cancelled()).filter_map(|place| {
            let standing = place.standing()?;
            let count = counts.get(&place.party).copied().unwrap_or_default();
            let is_left_alone = count <= self.limits.share && now.duration_since(standing.since) < self.limits.grace;
            let order = (standing.is_proven, Reverse(count), standing.stage, standing.since);
            (!is_left_alone).then_some((order, place))
        });
        if let Some((_, place)) = candidates.min_by_key(|(order, _)| *order) {
            place.cut.cancel();
        }
    }
}

/// How a connection stands while no handler has a whole request of it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    is_proven: bool,
    stage: Stage,
    since: Instant,
}

/// What a connection waits for, the first to give way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Its first request.
    Silent,
    /// Another request.
    Idle,
    /// The rest of a body.
    Body,
}

/// What one connection does.
#[derive(Debug)]
pub(super) struct Place {
    limits: Limits,
    party: Party,
    state: Mutex<State>,
    cut: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct State {
    /// Requests whose handlers run.
    requests: usize,
    /// Whether there was a request ever.
    has_asked: bool,
    /// Whether a request on it has proven who sends it.
    is_proven: bool,
    /// When something moved that counts: anything while a handler runs, an answer's bytes otherwise.
    moved: Instant,
    /// Since when something is coming that is not whole yet.
    begun: Option<Instant>,
    /// Since when a handler runs whose request's body is not whole yet.
    body: Option<Instant>,
}

impl Place {
    fn new(limits: Limits, party: Party, permit: Option<OwnedSemaphorePermit>) -> Self {
        let is_proven = matches!(party, Party::User(_));
        let (moved, begun, body) = (Instant::now(), None, None);
        let state = State { requests: 0, has_asked: false, is_proven, moved, begun, body };
        Self { limits, party, state: Mutex::new(state), cut: CancellationToken::new(), _permit: permit }
    }

    /// Ends once the connection has to give way.
    pub(super) fn given_away(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cut.clone().cancelled_owned()
    }

    /// Until when nothing need happen.
    pub(super) fn deadline(&self) -> Instant {
        let state = lock(&self.state);
        match (state.begun, state.body) {
            (Some(begun), _) if state.requests == 0 => begun + self.limits.begun,
            (_, Some(begun)) => (begun + self.limits.body).min(state.moved + self.limits.silence),
            _ => state.moved + self.limits.silence,
        }
    }

    /// Something has come.
    pub(super) fn received(&self) {
        let mut state = lock(&self.state);
        if state.requests == 0 {
            state.begun.get_or_insert_with(Instant::now);
        } else {
            state.moved = Instant::now();
        }
    }

    /// Something has gone out.
    pub(super) fn sent(&self) {
        let mut state = lock(&self.state);
        (state.moved, state.begun) = (Instant::now(), None);
    }

    /// A request is whole but for its body. Its connection is kept while the handler runs and has all of it.
    pub(super) fn asks(self: &Arc<Self>, request: &mut Request) -> Asking {
        let body = std::mem::take(request.body_mut());
        let is_whole = body.is_end_stream();
        *request.body_mut() = if is_whole { body } else { Body::new(Coming { body, place: Arc::clone(self) }) };
        request.extensions_mut().insert(Arc::clone(self));
        let mut state = lock(&self.state);
        state.requests = state.requests.saturating_add(1);
        (state.has_asked, state.moved, state.begun) = (true, Instant::now(), None);
        state.body = (!is_whole).then_some(state.moved);
        drop(state);
        Asking(Arc::clone(self))
    }

    /// A body is whole, or its handler wants no more of it.
    fn has_body(&self) {
        lock(&self.state).body = None;
    }

    /// Whether a request on this connection has proven who sends it.
    pub(super) fn is_proven(&self) -> bool {
        lock(&self.state).is_proven
    }

    /// How it stands; `None` while a handler runs that has a whole request.
    fn standing(&self) -> Option<Standing> {
        let state = lock(&self.state);
        let (stage, since) = match state.body {
            Some(since) => (Stage::Body, since),
            None if state.requests > 0 => return None,
            None if state.has_asked => (Stage::Idle, state.moved),
            None => (Stage::Silent, state.moved),
        };
        Some(Standing { is_proven: state.is_proven, stage, since })
    }
}

/// Notes on a request's connection, if it has one, that its sender has proven who it is.
pub(super) fn is_proven(extensions: &Extensions) {
    if let Some(place) = extensions.get::<Arc<Place>>() {
        lock(&place.state).is_proven = true;
    }
}

/// A request whose handler runs.
pub(super) struct Asking(Arc<Place>);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.requests = state.requests.saturating_sub(1);
        (state.moved, state.body) = (Instant::now(), None);
    }
}

/// A body that is not whole yet.
struct Coming {
    body: Body,
    place: Arc<Place>,
}

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.place.has_body();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.place.has_body();
    }
}

/// What is behind the lock is whole at each moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
