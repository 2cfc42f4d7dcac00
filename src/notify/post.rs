//! One POST to a channel, and what came of it. Absent: any second try, and what the answer's body says: it may repeat the
//! address, which is a secret, so it is not read.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use super::Body;
use crate::config::Channel;
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
        Ok(Self { client: builder.build().map_err(PostError)?, url: channel.url.clone() })
    }

    /// Posts once. `now`: by the clock, for a `Retry-After` that is a date.
    pub async fn send(&self, body: Body, now: Timestamp) -> Sent {
        let mut request = self.client.post(self.url.expose_secret()).header(CONTENT_TYPE, "application/json");
        if let Some(signature) = body.signature {
            request = request.header("X-Stanch-Signature", signature);
        }
        match request.body(body.bytes).send().await {
            Ok(answer) => meaning(&answer, now),
            Err(error) => Sent::Failed { why: said(error), after: None },
        }
    }
}

fn meaning(answer: &reqwest::Response, now: Timestamp) -> Sent {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    match answer.status().as_u16() {
        200..=299 => Sent::Delivered,
        // It says so of this body: malformed, too large, of the wrong kind, not to be processed.
        status @ (400 | 413 | 415 | 422) => Sent::Refused { status },
        status => {
            let answered_at = header(DATE).and_then(http_date).unwrap_or(now);
            let after = header(RETRY_AFTER).and_then(|text| wait(text, answered_at));
            Sent::Failed { why: format!("it answers {status}"), after }
        }
    }
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
