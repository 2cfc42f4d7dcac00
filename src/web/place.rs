//! The place that a connection takes: what it does with it, and until when it may keep it.
//!
//! A request whose handler runs keeps its connection, since handlers have time limits of their own. All else is a peer
//! that may be slow on purpose: what it has begun must be whole soon, and when every place is taken, the one that has
//! asked for nothing for the longest time gives way. Absent: bytes (see [`super::bounded`]) and HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bounded::Bounded;

/// What bounds the connections of one listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) most: usize,
    /// How long nothing may move on one.
    pub(super) silence: Duration,
    /// How long the head of a request may take.
    pub(super) begun: Duration,
    /// How long a connection without a request is left alone when every place is taken.
    pub(super) grace: Duration,
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
    pub(super) async fn take(&self) -> Arc<Place> {
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
        let place = Arc::new(Place::new(self.limits, permit));
        let mut taken = lock(&self.taken);
        taken.retain(|place| place.strong_count() > 0);
        taken.push(Arc::downgrade(&place));
        place
    }

    /// Ends the connection that has had no request for the longest time; first those that never had one.
    fn make_room(&self) {
        let patience = Instant::now().checked_sub(self.limits.grace);
        let taken: Vec<Arc<Place>> = lock(&self.taken).iter().filter_map(Weak::upgrade).collect();
        let idle = taken.iter().filter_map(|place| Some((place.idle()?, place)));
        let longest = idle.filter(|((_, since), _)| patience.is_some_and(|patience| *since <= patience));
        if let Some((_, place)) = longest.min_by_key(|(idle, _)| *idle) {
            place.cut.cancel();
        }
    }
}

/// What one connection does.
#[derive(Debug)]
pub(super) struct Place {
    limits: Limits,
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
    /// When something moved that counts: anything while a handler runs, an answer's bytes otherwise.
    moved: Instant,
    /// Since when something is coming that is not whole yet.
    begun: Option<Instant>,
}

impl Place {
    fn new(limits: Limits, permit: Option<OwnedSemaphorePermit>) -> Self {
        let state = State { requests: 0, has_asked: false, moved: Instant::now(), begun: None };
        Self { limits, state: Mutex::new(state), cut: CancellationToken::new(), _permit: permit }
    }

    /// Ends once the connection has to give way.
    pub(super) fn given_away(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cut.clone().cancelled_owned()
    }

    /// Until when nothing need happen.
    pub(super) fn deadline(&self) -> Instant {
        let state = lock(&self.state);
        match state.begun {
            Some(begun) if state.requests == 0 => begun + self.limits.begun,
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

    /// A request is whole but for its body.
    fn asks(self: Arc<Self>) -> Asking {
        let mut state = lock(&self.state);
        state.requests = state.requests.saturating_add(1);
        (state.has_asked, state.moved, state.begun) = (true, Instant::now(), None);
        drop(state);
        Asking(self)
    }

    /// Whether it has ever asked, and since when it does not; `None` while a handler runs.
    fn idle(&self) -> Option<(bool, Instant)> {
        let state = lock(&self.state);
        (state.requests == 0).then_some((state.has_asked, state.moved))
    }
}

/// A request whose handler runs.
struct Asking(Arc<Place>);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.requests = state.requests.saturating_sub(1);
        state.moved = Instant::now();
    }
}

/// What is behind the lock is whole at each moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place and who has it.
#[derive(Debug, Clone)]
pub(super) struct Seat<W> {
    place: Arc<Place>,
    pub(super) who: W,
}

impl<L, W> Connected<IncomingStream<'_, Bounded<L>>> for Seat<W>
where
    L: Listener,
    W: for<'a> From<(&'a L::Io, &'a L::Addr)> + Clone + Send + Sync + 'static,
{
    fn connect_info(stream: IncomingStream<'_, Bounded<L>>) -> Self {
        let connection = stream.io();
        let who = W::from((connection.inner(), stream.remote_addr()));
        Self { place: Arc::clone(connection.place()), who }
    }
}

/// Keeps the connection while the handler runs, and tells the handler who asks.
pub(super) async fn seated<W>(ConnectInfo(seat): ConnectInfo<Seat<W>>, mut request: Request, next: Next) -> Response
where
    W: Clone + Send + Sync + 'static,
{
    let _asking = seat.place.asks();
    request.extensions_mut().insert(ConnectInfo(seat.who));
    next.run(request).await
}
