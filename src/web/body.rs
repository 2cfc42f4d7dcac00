//! Reading a request's body within a bound on its length and on the time that it takes.
//!
//! Absent: what stands in it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use super::place::Place;
use super::problem::Problem;

/// How much of a body that nobody wants is taken in before the refusal, and for how long. A sender that is
/// answered while it still sends sees a broken connection and never reads why.
const MOST_DRAINED_BYTES: usize = 16 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Bodies of strangers of which so much is taken in at once.
const MOST_DRAINS: usize = 32;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than the bound.
    TooLong,
    /// It broke off.
    Broken,
    /// It did not end in time.
    Late,
}

/// The length that the sender announces, if it does.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body, of at most `most` bytes and within `timeout`. What comes after them is left unread.
pub(super) async fn read(body: &mut Body, most: usize, timeout: Duration) -> Result<Vec<u8>, Unread> {
    let whole = async {
        let mut bytes = Vec::new();
        while let Some(piece) = next(body).await {
            let piece = piece.map_err(|_| Unread::Broken)?;
            if piece.len() > most - bytes.len() {
                return Err(Unread::TooLong);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(timeout, whole).await.unwrap_or(Err(Unread::Late))
}

/// Room for what is taken in of bodies that nobody wants.
#[derive(Debug)]
pub(super) struct Drains(Semaphore);

impl Default for Drains {
    fn default() -> Self {
        Self(Semaphore::new(MOST_DRAINS))
    }
}

impl Drains {
    /// Takes in what is left of a body whose request is refused, within bounds. Not from a sender that waits
    /// to be asked for it, nor from one that was too slow already. Of strangers, only a few at once are given that much.
    pub(super) async fn drain(&self, head: &Parts, mut body: Body, problem: &Problem) {
        if head.headers.contains_key(EXPECT) || problem.status() == StatusCode::REQUEST_TIMEOUT {
            return;
        }
        let is_known = head.extensions.get::<Arc<Place>>().is_some_and(|place| place.is_proven());
        let room = self.0.try_acquire();
        if room.is_err() && !is_known {
            return;
        }
        let rest = async {
            let mut left = MOST_DRAINED_BYTES;
            while let Some(Ok(piece)) = next(&mut body).await {
                match left.checked_sub(piece.len()) {
                    Some(less) => left = less,
                    None => break,
                }
            }
        };
        // The refusal goes out in any case.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
    }
}

/// The next piece; `None` at the end. Trailers are no pieces.
pub(super) async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        if body.is_end_stream() {
            return None;
        }
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => return Some(Ok(data)),
            Ok(Err(_trailers)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}
