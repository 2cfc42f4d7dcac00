//! What a query or a form holds, and where a browser goes after a form. Whatever is not understood is refused.

use std::fmt::Display;
use std::str::FromStr;

use askama::filters::Safe;
use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Redirect;
use jiff::Timestamp;
use url::form_urlencoded::{Serializer, byte_serialize, parse};

use super::Problem;
use super::layout::escaped;
use crate::model::{AlertTime, MachineId, Span};
use crate::web::access::check_csrf;
use crate::web::caller::Caller;

/// The longest reason that a person may give, in characters.
const MOST_WHY_CHARS: usize = 1_000;

/// The longest text that is looked for, in bytes. Source: RFC 1035, a domain name has at most 255.
const MOST_SOUGHT_BYTES: usize = 255;

/// Since when, as a filter offers it.
const SINCE: [(&str, &str); 6] = [
    ("", "any time"),
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
];

/// Keys of a query or a form; what comes after them is not read.
const MOST_KEYS: usize = 2_000;

/// Keys and values as they came. A value that is empty is none, for a form sends every field.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Vec<(String, String)>);

impl Asked {
    fn read(bytes: &[u8]) -> Self {
        Self(parse(bytes).take(MOST_KEYS).map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// What the query of an address asks for.
    pub(super) fn from_query(query: Option<&str>) -> Self {
        Self::read(query.unwrap_or_default().as_bytes())
    }

    /// The first value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of a key.
    pub(super) fn all<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        let named = self.0.iter().filter(move |(name, _)| name == key);
        named.map(|(_, value)| value.trim()).filter(|text| !text.is_empty())
    }

    /// A text to look for.
    pub(super) fn sought(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.get(key) {
            Some(text) if text.len() > MOST_SOUGHT_BYTES => {
                Err(Problem::bad_request(format!("{key} has at most {MOST_SOUGHT_BYTES} bytes")))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// An id, a name, a cursor: what its type makes of it.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, Problem> {
        let word = |text: &str| text.parse().map_err(|error| Problem::bad_request(format!("{key}: {error}")));
        self.get(key).map(word).transpose()
    }

    /// One of `known`, by its name.
    pub(super) fn one_of<T: Copy>(
        &self,
        key: &str,
        known: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        let names: Vec<&str> = known.iter().map(|one| name(*one)).collect();
        let found = known.iter().copied().find(|one| name(*one) == text);
        found.map(Some).ok_or_else(|| Problem::bad_request(format!("{key} is one of {}", names.join(", "))))
    }

    /// A time: RFC 3339, or how long ago, as `24h`.
    pub(super) fn since(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        if let Ok(span) = text.parse::<Span>() {
            return Ok(Some(now.checked_sub(span.duration()).unwrap_or(Timestamp::MIN)));
        }
        let time = AlertTime::parse(text).map_err(|_| {
            Problem::bad_request(format!("{key}: write how long ago, as 24h, or a time, as 2026-11-24T05:00:00Z"))
        })?;
        Ok(Some(time.timestamp()))
    }

    /// A time of RFC 3339.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        let time = |text: &str| AlertTime::parse(text).map(AlertTime::timestamp);
        let unreadable = |_| Problem::bad_request(format!("{key}: write a time, as 2026-11-24T05:00:00Z"));
        self.get(key).map(time).transpose().map_err(unreadable)
    }

    /// The devices that are looked for: by an id, or by a part of their name.
    pub(super) fn device(&self) -> Result<Option<String>, Problem> {
        let whole = |text: &str| text.contains('*') || MachineId::new(text).is_ok();
        let sought = self.sought("device")?;
        Ok(sought.map(|text| if whole(&text) { text } else { format!("*{text}*") }))
    }

    /// Whether a key has this value.
    pub(super) fn is(&self, key: &str, value: &(impl Display + ?Sized)) -> bool {
        self.get(key).is_some_and(|text| text == value.to_string())
    }

    /// The value of a key, for its field.
    pub(super) fn shown(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// Whether anything is asked for beyond a place in the list.
    pub(super) fn filters(&self) -> bool {
        self.0.iter().any(|(key, value)| !["cursor", "done"].contains(&key.as_str()) && !value.is_empty())
    }

    /// The field of a filter for since when.
    pub(super) fn since_field(&self) -> Safe<String> {
        let chosen = self.shown("since");
        let listed = SINCE.iter().any(|(value, _)| *value == chosen);
        let own = (!listed).then_some((chosen, chosen));
        let options = SINCE.iter().copied().chain(own).map(|(value, name)| {
            let selected = if value == chosen { " selected" } else { "" };
            format!("<option value=\"{}\"{selected}>{}</option>", escaped(value), escaped(name))
        });
        let options: String = options.collect();
        Safe(format!(
            "<div><label for=\"f-since\">Since</label><select id=\"f-since\" name=\"since\">{options}</select></div>"
        ))
    }

    /// The links to the first page and to the next, where there is one.
    pub(super) fn pages(&self, next_cursor: &Option<String>) -> Safe<String> {
        let first = self.get("cursor").map(|_| match self.without("cursor") {
            query if query.is_empty() => "?".to_owned(),
            query => query,
        });
        let first = first.map(|query| format!("<a href=\"{}\">First page</a>", escaped(&query))).unwrap_or_default();
        let next = next_cursor.as_ref().map(|cursor| self.with("cursor", cursor));
        let next =
            next.map(|query| format!("<a rel=\"next\" href=\"{}\">Next page</a>", escaped(&query))).unwrap_or_default();
        match first.is_empty() && next.is_empty() {
            true => Safe(String::new()),
            false => Safe(format!("<nav class=\"pages\" aria-label=\"Pages of the list\">{first}{next}</nav>")),
        }
    }

    /// The same query with one key changed, as the end of an address, `?` included.
    pub(super) fn with(&self, key: &str, value: &str) -> String {
        let rest = self.without(key);
        let joint = if rest.is_empty() { '?' } else { '&' };
        format!("{rest}{joint}{}={}", encoded(key), encoded(value))
    }

    /// The same query without one key, as the end of an address.
    pub(super) fn without(&self, key: &str) -> String {
        let pairs = self.0.iter().filter(|(name, value)| name != key && !value.is_empty());
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// Why a person changes something.
    pub(super) fn why(&self) -> Result<String, Problem> {
        let why = self.get("why").ok_or_else(|| Problem::bad_request("say why: it is kept in the history"))?;
        match why.chars().count() > MOST_WHY_CHARS {
            true => Err(Problem::bad_request(format!("why has at most {MOST_WHY_CHARS} characters"))),
            false => Ok(why.to_owned()),
        }
    }

    /// Where to go after a form: a page of ours, or `otherwise`.
    pub(super) fn then(&self, otherwise: &str) -> String {
        let ours = |path: &&str| {
            path.starts_with('/')
                && !path.starts_with("//")
                && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        self.get("then").filter(ours).unwrap_or(otherwise).to_owned()
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::from_query(parts.uri.query()))
    }
}

/// A form of one of our pages: its sender is who the page was for.
#[derive(Debug)]
pub(super) struct Posted(pub(super) Asked);

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Problem> {
        let caller: Caller = request.extract_parts().await?;
        let bytes: Bytes = request.extract().await?;
        let asked = Asked::read(&bytes);
        check_csrf(&caller, asked.get("csrf"))?;
        Ok(Self(asked))
    }
}

/// What was done, as the page after a form says it. In an address it is a word, never a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Approved,
    ApprovedSome,
    Rejected,
    Cancelled,
    Retried,
    Restricted,
    Released,
    Extended,
    Paused,
    Resumed,
    Acknowledged,
}

impl Done {
    const ALL: [Self; 11] = [
        Self::Approved,
        Self::ApprovedSome,
        Self::Rejected,
        Self::Cancelled,
        Self::Retried,
        Self::Restricted,
        Self::Released,
        Self::Extended,
        Self::Paused,
        Self::Resumed,
        Self::Acknowledged,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::ApprovedSome => "approved_some",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Retried => "retried",
            Self::Restricted => "restricted",
            Self::Released => "released",
            Self::Extended => "extended",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// What the page says.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Approved => "Approved. It is sent as soon as the guards and the quota let it.",
            Self::ApprovedSome => {
                "Approved, but for those that are still held: you asked for them, they have changed, or they have no machine record."
            }
            Self::Rejected => "Rejected. Nothing is sent for it.",
            Self::Cancelled => "Cancelled, or Microsoft is asked to cancel it.",
            Self::Retried => "Queued again, as a new action.",
            Self::Restricted => "A restriction is queued.",
            Self::Released => "Released, or a release is queued.",
            Self::Extended => "The new expiry is in force.",
            Self::Paused => "Paused: nothing is sent until somebody resumes.",
            Self::Resumed => "Resumed: what is queued is sent.",
            Self::Acknowledged => "Acknowledged: the protections that were lost are no longer missed.",
        }
    }

    /// What the query of an address says was done.
    pub(super) fn of(asked: &Asked) -> Option<Self> {
        let word = asked.get("done")?;
        Self::ALL.into_iter().find(|done| done.as_str() == word)
    }
}

/// Sends the browser to a page of ours that says what was done.
pub(super) fn see(path: &str, done: Done) -> Redirect {
    let joint = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{joint}done={}", done.as_str()))
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    // A space is `+` in a query alone.
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
