//! Server-sent events: a page is told that something changed, and fetches itself anew. Never what changed.
//!
//! Source of the format: the HTML standard, section "Server-sent events".

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::io::ReaderStream;

use super::{Problem, Web};
use crate::web::access::still_holds;
use crate::web::caller::Caller;

/// Streams at once; a page that gets none still refreshes itself now and then.
const MOST_STREAMS: usize = 128;

/// How often a stream looks, and so how often it tells at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks without anything to tell before a sign of life: well within the silence that ends a connection.
const LOOKS_TO_A_SIGN: u32 = 15;

/// Looks before it is asked again whether the caller may still look.
const LOOKS_TO_A_CHECK: u32 = 3;

/// The places for streams.
#[derive(Debug, Clone)]
pub(in crate::web) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/live", get(live))
}

async fn live(
    State(web): State<Arc<Web>>,
    _: Caller,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let full = |_| Problem::unavailable("as many pages as can be are followed already");
    let place = Arc::clone(&web.streams.0).try_acquire_owned().map_err(full)?;
    let told = web.work.store.last_change().await?;
    let following = Following { web, headers, extensions, told, looks: 0, _place: place };
    // A browser that loses the stream comes back after this many milliseconds.
    let begin = format!("retry: 3000\nevent: hello\ndata: {told}\n\n");
    let stream = ReaderStream::new(Stream { left: begin.into_bytes(), next: Some(Box::pin(following.next())) });
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response())
}

/// One page that is followed.
struct Following {
    web: Arc<Web>,
    /// What the caller was let in with.
    headers: HeaderMap,
    extensions: Extensions,
    told: i64,
    looks: u32,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// What to tell next; `None` at the end.
    async fn next(mut self) -> Option<(Self, String)> {
        loop {
            tokio::select! {
                () = self.web.work.stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.looks = self.looks.wrapping_add(1);
            let check = self.looks.is_multiple_of(LOOKS_TO_A_CHECK);
            if check && !still_holds(&self.web, &self.headers, &self.extensions).await {
                return None;
            }
            // A store that can not be read now tells nothing; the pages say so themselves.
            let last = self.web.work.store.last_change().await.unwrap_or(self.told);
            if last != self.told {
                self.told = last;
                let event = format!("event: changed\nid: {last}\ndata: {last}\n\n");
                return Some((self, event));
            }
            if self.looks.is_multiple_of(LOOKS_TO_A_SIGN) {
                return Some((self, format!("event: hello\ndata: {last}\n\n")));
            }
        }
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Following, String)>> + Send>>;

/// What is told, as bytes to read.
struct Stream {
    left: Vec<u8>,
    next: Option<Next>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            let Some(next) = self.next.as_mut() else {
                return Poll::Ready(Ok(()));
            };
            match ready!(next.as_mut().poll(context)) {
                Some((following, text)) => {
                    self.left = text.into_bytes();
                    self.next = Some(Box::pin(following.next()));
                }
                None => self.next = None,
            }
        }
        let fits = self.left.len().min(buffer.remaining());
        let rest = self.left.split_off(fits);
        buffer.put_slice(&self.left);
        self.left = rest;
        Poll::Ready(Ok(()))
    }
}
