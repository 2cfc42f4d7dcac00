//! One POST to a channel, and what came of it. Absent: any second try, and what the answer means (see [`super::verdict`]).

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use super::Body;
use super::verdict::{MOST_BODY_BYTES, Verdict, verdict};
use crate::config::{Channel, ChannelKind};
use crate::model::retry_after::{http_date, wait};

/// How long a connection may take to be made, and the whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no way to a channel.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be made")]
pub struct PostError(#[source] reqwest::Error);

/// What came of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The receiver has it.
    Delivered,
    /// The receiver can not take this message, and may well take another.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The receiver can take nothing now.
    Failed {
        /// Why, in words without the address.
        why: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
}

/// A way to one channel.
pub struct Post {
    client: reqwest::Client,
    url: SecretString,
    kind: ChannelKind,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl Post {
    /// A way to `channel`. Redirects are not followed: they could lead a message to anybody.
    ///
    /// # Errors
    /// [`PostError`] when TLS can not be set up.
    pub fn new(channel: &Channel) -> Result<Self, PostError> {
        Self::within(channel, TIMEOUT)
    }

    /// The same with another time that a POST may take.
    ///
    /// # Errors
    /// [`PostError`] when TLS can not be set up.
    pub fn within(channel: &Channel, timeout: Duration) -> Result<Self, PostError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("stanch/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout);
        if channel.is_of_this_machine {
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build().map_err(PostError)?, url: channel.url.clone(), kind: channel.kind.clone() })
    }

    /// Posts once. `now`: by the clock, for a `Retry-After` that is a date.
    pub async fn send(&self, body: Body, now: Timestamp) -> Sent {
        let mut request = self.client.post(self.url.expose_secret()).header(CONTENT_TYPE, "application/json");
        if let Some(signature) = body.signature {
            request = request.header("X-Stanch-Signature", signature);
        }
        match request.body(body.bytes).send().await {
            Ok(answer) => meaning(&self.kind, answer, now).await,
            Err(error) => Sent::Failed { why: said(error), after: None },
        }
    }
}

/// What an answer means, with what its body says. A body that breaks off says nothing that could be relied on.
async fn meaning(kind: &ChannelKind, mut answer: reqwest::Response, now: Timestamp) -> Sent {
    let after = retry_after(&answer, now);
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < MOST_BODY_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend(chunk.iter().take(MOST_BODY_BYTES - body.len())),
            Ok(None) => break,
            Err(error) => return Sent::Failed { why: said(error), after },
        }
    }
    match verdict(kind, status, &String::from_utf8_lossy(&body)) {
        Verdict::Delivered => Sent::Delivered,
        Verdict::Refused(status) => Sent::Refused { status },
        Verdict::Failed(why) => Sent::Failed { why, after },
    }
}

fn retry_after(answer: &reqwest::Response, now: Timestamp) -> Option<Duration> {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let answered_at = header(DATE).and_then(http_date).unwrap_or(now);
    header(RETRY_AFTER).and_then(|text| wait(text, answered_at))
}

/// An error and its causes on one line, without the address.
fn said(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}
