//! One HTTP request and all that can come of it, as a value. Absent: what any of it means (see
//! [`super::classify()`]) and any second try.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::message::{redacted, shown};
use crate::clock::Clock;
use crate::model::AlertTime;
use crate::model::retry_after::{self, http_date};

/// One request that was made or tried, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The lane's name, or `token`.
    pub lane: &'static str,
    /// The HTTP status; `None` when no answer came.
    pub status: Option<u16>,
}

/// Who is told of each call.
pub type Observer = Arc<dyn Fn(Call) + Send + Sync>;

/// All that can come of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchange {
    /// An answer came.
    Answered(Answer),
    /// Nothing was sent: DNS, connect or TLS failed.
    NotSent {
        /// Why, in words.
        message: String,
    },
    /// Something may have been sent, and no answer came.
    Unanswered {
        /// Why, in words.
        message: String,
    },
}

/// An answer, as far as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The header `Date`: the service's clock.
    pub date: Option<Timestamp>,
    /// When the answer came, by our clock.
    pub received_at: Timestamp,
    /// The body.
    pub body: Result<Vec<u8>, BodyError>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke or the time was over before its end.
    #[error("the answer broke off: {0}")]
    Cut(String),
    /// It is longer than we read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
    },
}

impl Answer {
    /// The header `Date` at 100 ns.
    pub(super) fn date(&self) -> Option<AlertTime> {
        self.date.map(AlertTime::from_timestamp)
    }

    /// What `Retry-After` asks for. A date is taken against the answer's own `Date`, if it has one.
    pub(super) fn wait(&self) -> Option<Duration> {
        retry_after::wait(self.retry_after.as_deref()?, self.date.unwrap_or(self.received_at))
    }
}

/// A way to one host.
pub(super) struct Http {
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    observer: Observer,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// A way to the host of `origin`. Redirects are not followed and nothing is sent twice; the system's
    /// proxy is used, but never for an address that only this machine can mean.
    pub(super) fn new(
        origin: &Url,
        timeout: Duration,
        clock: Arc<dyn Clock>,
        observer: Observer,
    ) -> reqwest::Result<Self> {
        // Shorter than the whole, so that a connection that can not be made is told from a slow answer.
        let connect_timeout = (timeout / 2).min(Duration::from_secs(10));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("stanch/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(connect_timeout)
            .timeout(timeout);
        if is_of_this_machine(origin) {
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build()?, clock, observer })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn post(&self, url: Url) -> reqwest::RequestBuilder {
        self.client.post(url)
    }

    /// Sends `request` once and reads at most `limit` bytes of the answer. No text that comes of it holds
    /// `secret`.
    pub(super) async fn exchange(
        &self,
        lane: &'static str,
        request: reqwest::RequestBuilder,
        limit: usize,
        secret: &SecretString,
    ) -> Exchange {
        let exchange = match request.send().await {
            Ok(response) => Exchange::Answered(self.read(response, limit, secret).await),
            Err(error) => unanswered(error, secret),
        };
        let status = match &exchange {
            Exchange::Answered(answer) => Some(answer.status),
            Exchange::NotSent { .. } | Exchange::Unanswered { .. } => None,
        };
        (self.observer)(Call { lane, status });
        exchange
    }

    async fn read(&self, response: reqwest::Response, limit: usize, secret: &SecretString) -> Answer {
        let received_at = self.now();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let retry_after = header(RETRY_AFTER);
        let date = header(DATE).and_then(|text| http_date(&text));
        let status = response.status().as_u16();
        let mut body = read_body(response, limit).await;
        // Error pages may repeat the request; lists of rows are never quoted in a message.
        if status != 200
            && let Ok(bytes) = &mut body
            && contains(bytes, secret.expose_secret().as_bytes())
        {
            *bytes = redacted(&String::from_utf8_lossy(bytes), secret.expose_secret()).into_bytes();
        }
        Answer { status, retry_after, date, received_at, body }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

/// Whether the host of `url` means something else on each machine: itself, or what is on its own link, as
/// the identity endpoint in Azure.
fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost"),
        None => false,
    }
}

async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyError::TooLarge { limit }),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(BodyError::Cut(chain(error))),
        }
    }
}

/// Only what fails before a connection stands is surely not sent.
fn unanswered(error: reqwest::Error, secret: &SecretString) -> Exchange {
    let surely_not_sent = error.is_connect() || error.is_builder();
    let message = redacted(&chain(error), secret.expose_secret());
    if surely_not_sent { Exchange::NotSent { message } } else { Exchange::Unanswered { message } }
}

/// An error and its causes on one line.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    shown(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_taken_by_the_services_clock() {
        let answer = Answer {
            status: 429,
            retry_after: Some("Tue, 24 Nov 2026 05:00:30 GMT".to_owned()),
            date: Some("2026-11-24T05:00:00Z".parse().unwrap()),
            received_at: "2026-11-24T09:00:00Z".parse().unwrap(),
            body: Ok(Vec::new()),
        };
        assert_eq!(answer.wait(), Some(Duration::from_secs(30)));
    }

    #[test]
    fn without_a_date_ours_is_taken() {
        let answer = Answer {
            status: 429,
            retry_after: Some("Tue, 24 Nov 2026 05:00:30 GMT".to_owned()),
            date: None,
            received_at: "2026-11-24T05:00:10Z".parse().unwrap(),
            body: Ok(Vec::new()),
        };
        assert_eq!(answer.wait(), Some(Duration::from_secs(20)));
    }

    #[test]
    fn what_no_proxy_can_reach_is_told_by_address_and_name() {
        for url in [
            "http://169.254.169.254",
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:8080",
            "http://localhost",
        ] {
            assert!(is_of_this_machine(&url.parse().unwrap()), "{url}");
        }
        for url in ["https://login.microsoftonline.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(!is_of_this_machine(&url.parse().unwrap()), "{url}");
        }
    }
}
