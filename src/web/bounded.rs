//! A listener with a bound on its connections and on how long each may be of no use.
//!
//! Without the first, connections are memory without end; without the second, silent ones would keep the
//! places for ever, and slow ones too. Absent: HTTP, and which connection gives way (see [`super::place`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::place::{Limits, Party, Place, Places};

/// What holds for each listener. The silence is longer than any request may take.
const LIMITS: Limits = Limits {
    most: 512,
    share: 128,
    silence: Duration::from_secs(75),
    begun: Duration::from_secs(10),
    body: Duration::from_secs(30),
    grace: Duration::from_secs(1),
};

/// Tells who a connection is counted with.
type PartyOf<L> = fn(&<L as Listener>::Io, &<L as Listener>::Addr) -> Party;

/// Accepts a bounded number of connections at once.
pub(super) struct Bounded<L: Listener> {
    listener: L,
    party_of: PartyOf<L>,
    places: Places,
}

impl<L: Listener> Bounded<L> {
    pub(super) fn new(listener: L, party_of: PartyOf<L>) -> Self {
        Self::within(listener, party_of, LIMITS)
    }

    fn within(listener: L, party_of: PartyOf<L>, limits: Limits) -> Self {
        Self { listener, party_of, places: Places::new(limits) }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        let place = self.places.take((self.party_of)(&io, &address)).await;
        (Connection::new(io, place), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has been of no use for too long, or has to give way to another.
pub(super) struct Connection<I> {
    io: I,
    place: Arc<Place>,
    alarm: Pin<Box<Sleep>>,
    given_away: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<I> Connection<I> {
    fn new(io: I, place: Arc<Place>) -> Self {
        let alarm = Box::pin(tokio::time::sleep_until(place.deadline()));
        let given_away = Box::pin(place.given_away());
        Self { io, place, alarm, given_away }
    }

    /// The connection itself.
    pub(super) const fn inner(&self) -> &I {
        &self.io
    }

    /// Its place.
    pub(super) const fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// While nothing moves: says when it has to end.
    fn has_to_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.given_away.as_mut().poll(context).is_ready() {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        loop {
            let deadline = self.place.deadline();
            if self.alarm.deadline() != deadline {
                self.alarm.as_mut().reset(deadline);
            }
            ready!(self.alarm.as_mut().poll(context));
            if self.place.deadline() == deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Passes on what came of writing.
    fn wrote<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.place.sent();
            return poll;
        }
        self.has_to_end(context).map(Err)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_read(context, buffer);
        if poll.is_ready() {
            this.place.received();
            // What always has something to say would never be asked whether it has to end.
            return match this.has_to_end(context) {
                Poll::Ready(error) => Poll::Ready(Err(error)),
                Poll::Pending => poll,
            };
        }
        this.has_to_end(context).map(Err)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write(context, bytes);
        this.wrote(poll, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.wrote(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::Instant;

    const SILENCE: Duration = Duration::from_millis(300);

    /// One place, whose connection is left alone for as long as that.
    fn bounded(folder: &tempfile::TempDir, grace: Duration) -> Bounded<UnixListener> {
        let limits = Limits { most: 1, share: 1, silence: SILENCE, begun: 2 * SILENCE, body: 3 * SILENCE, grace };
        Bounded::within(UnixListener::bind(folder.path().join("s")).unwrap(), |_, _| Party::User(None), limits)
    }

    #[tokio::test]
    async fn a_connection_ends_when_nothing_came_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = bounded(&folder, SILENCE);
        let _client = UnixStream::connect(folder.path().join("s")).await.unwrap();
        let begun = Instant::now();
        let (mut connection, _) = Listener::accept(&mut listener).await;
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SILENCE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn who_never_ends_what_was_begun_is_cut_off_however_much_comes() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = bounded(&folder, SILENCE);
        let mut client = UnixStream::connect(folder.path().join("s")).await.unwrap();
        let (mut connection, _) = Listener::accept(&mut listener).await;
        let begun = Instant::now();
        let error = loop {
            client.write_all(b"x").await.unwrap();
            match connection.read_u8().await {
                Ok(byte) => assert_eq!(byte, b'x'),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= 2 * SILENCE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn who_is_answered_may_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = bounded(&folder, SILENCE);
        let mut client = UnixStream::connect(folder.path().join("s")).await.unwrap();
        let (mut connection, _) = Listener::accept(&mut listener).await;
        let begun = Instant::now();
        while begun.elapsed() < 3 * SILENCE {
            client.write_all(b"x").await.unwrap();
            connection.read_u8().await.unwrap();
            connection.write_all(b"y").await.unwrap();
            client.read_u8().await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_asks_for_nothing_gives_way_to_who_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut listener = bounded(&folder, Duration::ZERO);
        let _clients = (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
        let (mut first, _) = Listener::accept(&mut listener).await;
        let cut = async move { first.read_u8().await.unwrap_err().kind() };
        let (kind, _second) = tokio::join!(cut, Listener::accept(&mut listener));
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_comes_beyond_the_bound_waits_for_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut listener = bounded(&folder, Duration::from_secs(60));
        let _clients = (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
        let (first, _) = Listener::accept(&mut listener).await;
        let mut second = Box::pin(Listener::accept(&mut listener));
        let waits = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        drop(first);
        second.await;
    }
}
