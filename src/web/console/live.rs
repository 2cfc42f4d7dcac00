//! Server-sent events: a page is told that something changed, and fetches itself anew. Never what changed.
//!
//! Source of the format: the HTML standard, section "Server-sent events".

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use tokio_util::io::ReaderStream;

use super::{Problem, Web};
use crate::web::access::still_holds;
use crate::web::caller::Caller;

/// Streams at once, and of one caller; a page that gets none still refreshes itself now and then.
const MOST_STREAMS: usize = 128;
const MOST_OF_CALLER: usize = 16;

/// How often a stream looks, and so how often it tells at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks without anything to tell before a sign of life: well within the silence that ends a connection.
const LOOKS_TO_A_SIGN: u32 = 15;

/// Looks before it is asked again whether the caller may still look.
const LOOKS_TO_A_CHECK: u32 = 3;

/// The streams that there are, by the name of the caller that follows them.
#[derive(Debug, Clone, Default)]
pub(in crate::web) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

impl Streams {
    /// Room for one more stream of a caller, if there is any.
    fn take(&self, caller: &str) -> Result<StreamPermit, Problem> {
        let mut streams = self.lock();
        if streams.get(caller).is_some_and(|own| *own >= MOST_OF_CALLER) {
            let detail = format!("{caller} follows {MOST_OF_CALLER} pages already: close some of them");
            return Err(Problem::unavailable(detail));
        }
        if streams.values().sum::<usize>() >= MOST_STREAMS {
            return Err(Problem::unavailable("as many pages as can be are followed already"));
        }
        let own = streams.entry(caller.to_owned()).or_default();
        *own = own.saturating_add(1);
        drop(streams);
        Ok(StreamPermit { streams: self.clone(), caller: caller.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Counts are whole whatever happened to who counted last.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one stream.
struct StreamPermit {
    streams: Streams,
    caller: String,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        if let Some(own) = streams.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                streams.remove(&self.caller);
            }
        }
    }
}

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/live", get(live))
}

async fn live(
    State(web): State<Arc<Web>>,
    caller: Caller,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let permit = web.streams.take(&caller.person.name)?;
    let told = web.work.store.last_change().await?;
    let following = Following { web, headers, extensions, told, looks: 0, _permit: permit };
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
    _permit: StreamPermit,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_looks_leaves_streams_for_others() {
        let streams = Streams::default();
        let mut of_one: Vec<StreamPermit> = (0..MOST_OF_CALLER).map(|_| streams.take("ana").unwrap()).collect();
        assert!(streams.take("ana").is_err());
        let of_another = streams.take("bo").unwrap();
        of_one.pop();
        of_one.push(streams.take("ana").unwrap());
        let crowd: Vec<StreamPermit> =
            (of_one.len() + 1..MOST_STREAMS).map(|n| streams.take(&format!("viewer-{n}")).unwrap()).collect();
        assert!(streams.take("cy").is_err(), "there is a bound over all");
        drop((of_one, of_another, crowd));
        assert!(streams.lock().is_empty());
    }
}
