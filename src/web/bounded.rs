//! A listener with a bound on its connections and on how long one may be silent.
//!
//! Without the first, connections are memory without end; without the second, silent ones would keep the
//! places for ever. Absent: HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections of one listener at once; who comes later waits for a place.
const MOST_CONNECTIONS: usize = 512;

/// A connection on which nothing moves for so long is closed. Longer than any request may take.
const LONGEST_SILENCE: Duration = Duration::from_secs(75);

/// Accepts a bounded number of connections at once.
pub(super) struct Bounded<L> {
    listener: L,
    places: Arc<Semaphore>,
    longest_silence: Duration,
}

impl<L> Bounded<L> {
    pub(super) fn new(listener: L) -> Self {
        Self::within(listener, MOST_CONNECTIONS, LONGEST_SILENCE)
    }

    fn within(listener: L, most_connections: usize, longest_silence: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(most_connections)), longest_silence }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        let silence = Box::pin(tokio::time::sleep(self.longest_silence));
        (Connection { io, silence, longest_silence: self.longest_silence, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it is silent for too long.
pub(super) struct Connection<I> {
    io: I,
    silence: Pin<Box<Sleep>>,
    longest_silence: Duration,
    _place: Option<OwnedSemaphorePermit>,
}

impl<I> Connection<I> {
    /// The connection itself.
    pub(super) const fn inner(&self) -> &I {
        &self.io
    }

    /// Passes on what came of moving bytes, and begins the silence anew; while none moved, says when the
    /// silence has been too long.
    fn moved<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.silence.as_mut().reset(Instant::now() + self.longest_silence);
            return poll;
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_read(context, buffer);
        this.moved(poll, context)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write(context, bytes);
        this.moved(poll, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.moved(poll, context)
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

    const SILENCE: Duration = Duration::from_millis(300);

    fn bounded(folder: &tempfile::TempDir) -> Bounded<UnixListener> {
        Bounded::within(UnixListener::bind(folder.path().join("s")).unwrap(), 1, SILENCE)
    }

    #[tokio::test]
    async fn a_connection_ends_when_it_was_silent_for_long_and_not_while_it_talks() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = bounded(&folder);
        let mut client = UnixStream::connect(folder.path().join("s")).await.unwrap();
        let (mut connection, _) = Listener::accept(&mut listener).await;
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < 2 * SILENCE {
            last = Instant::now();
            client.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(last.elapsed() >= SILENCE, "{:?}", last.elapsed());
    }

    #[tokio::test]
    async fn who_comes_beyond_the_bound_waits_for_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut listener = bounded(&folder);
        let _clients = (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
        let (first, _) = Listener::accept(&mut listener).await;
        {
            let mut second = Box::pin(Listener::accept(&mut listener));
            let waits = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
            assert!(waits.await);
        }
        drop(first);
        Listener::accept(&mut listener).await;
    }
}
