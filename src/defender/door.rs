//! The way to one of Microsoft's APIs: its origin, and the token that it takes.
//!
//! Absent: what is asked for (see [`super::Client`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::auth::{Token, Tokens};
use super::classify::{Asked, Outcome, Posted, classify, is_unexplained};
use super::client::ClientError;
use super::http::{Exchange, Http, Observer};
use super::page::{Api, Links, ListQuery, Page, PageToken};
use super::read::{Found, ReadError, found};
use crate::clock::Clock;
use crate::config::{Tenant, Wire};
use crate::model::Lane;

/// The longest list answer that is read, in bytes.
const LIST_LIMIT: usize = 64 * 1024 * 1024;
/// The longest answer about one thing that is read, in bytes.
pub(super) const SINGLE_LIMIT: usize = 1024 * 1024;

/// Without it Graph writes `unknownFutureValue` in place of each member that a list of words got after its first
/// release, and no rule on that word would match.
///
/// Source: "Handling future members in evolvable enumerations" in Microsoft Graph's best practices.
const ALL_MEMBERS: &str = "include-unknown-enum-members";

/// The way to one API for one tenant.
#[derive(Debug)]
pub(super) struct Door {
    api: Api,
    http: Http,
    tokens: Tokens,
    /// The header `Prefer` of each request.
    prefer: Option<&'static str>,
    /// What it is the way to: each has roles of its own.
    wire: Wire,
    refused: Mutex<HashMap<Lane, u64>>,
}

/// What came of one request, and what the tokens know of it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) exchange: Exchange,
    /// Of a 401: the token before this one was refused in this lane as well.
    pub(super) again: bool,
    /// Of a 403 that does not say why: a fresh token shows that the application lacks the role for the lane.
    pub(super) lacks_role: bool,
}

/// The clock, and who is told of every request.
type Around = (Arc<dyn Clock>, Observer);

impl Door {
    /// The way to the MDE API.
    ///
    /// # Errors
    /// [`ClientError`] when an address can not be used or TLS can not be set up.
    pub(super) fn to_mde(tenant: &Tenant, timeout: Duration, around: Around) -> Result<Self, ClientError> {
        let origin = origin(&tenant.api_url)?;
        let api = Api { origin, links: Links::OfOwnHostOrMde };
        Self::new((Wire::Defender, api), &tenant.scope, tenant, timeout, around)
    }

    /// The way to Microsoft Graph, whose links to next pages name the host that was asked, or that of the cloud
    /// where a proxy stands before it.
    ///
    /// # Errors
    /// [`ClientError`] when an address can not be used or TLS can not be set up.
    pub(super) fn to_graph(tenant: &Tenant, timeout: Duration, around: Around) -> Result<Self, ClientError> {
        let origin = origin(&tenant.graph_url)?;
        let scope = format!("{}/.default", tenant.graph_host);
        let api = Api { origin, links: Links::OfOwnHostOr(tenant.graph_host) };
        let door = Self::new((Wire::Graph, api), &scope, tenant, timeout, around)?;
        Ok(Self { prefer: Some(ALL_MEMBERS), ..door })
    }

    fn new(
        (wire, api): (Wire, Api),
        scope: &str,
        tenant: &Tenant,
        timeout: Duration,
        (clock, observer): Around,
    ) -> Result<Self, ClientError> {
        let tokens = Tokens::new(tenant, scope, timeout, (Arc::clone(&clock), Arc::clone(&observer)))?;
        let http = Http::new(&api.origin, timeout, clock, observer)?;
        Ok(Self { api, http, tokens, prefer: None, wire, refused: Mutex::default() })
    }

    pub(super) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// One POST with a comment.
    pub(super) async fn post(&self, lane: Lane, path: &[&str], comment: &str, asked: Asked<'_>) -> Posted {
        let token = match self.tokens.get().await {
            Ok(token) => token,
            Err(error) => return Posted { outcome: Outcome::NotSignedIn(error), status: None, date: None },
        };
        let request = self.http.post(self.url(path)).json(&json!({ "Comment": comment }));
        let heard = self.send(lane, &token, request, SINGLE_LIMIT).await;
        let (status, date) = match &heard.exchange {
            Exchange::Answered(answer) => (Some(answer.status), answer.date()),
            Exchange::NotSent { .. } | Exchange::Unanswered { .. } => (None, None),
        };
        let mut outcome = classify(&heard.exchange, asked, heard.again);
        if let Outcome::Forbidden { missing_roles, .. } = &mut outcome {
            *missing_roles |= heard.lacks_role;
        }
        Posted { outcome, status, date }
    }

    /// One page of a list.
    pub(super) async fn list<T>(
        &self,
        lane: Lane,
        query: &ListQuery,
        page: Option<&PageToken>,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Page<T>, ReadError> {
        let url = query.url(&self.api.origin, page)?;
        let heard = self.get(lane, url, LIST_LIMIT).await?;
        match found(&heard)? {
            (answer, Found::Body(body)) => query.page(&self.api, page, (answer, body), read),
            (_, Found::Nothing) => Err(ReadError::Refused {
                status: 404,
                code: "http_404".to_owned(),
                message: format!("there is no list {}", query.path),
            }),
        }
    }

    /// One record of at most `limit` bytes.
    pub(super) async fn get_one(&self, lane: Lane, path: &[&str], limit: usize) -> Result<Heard, ReadError> {
        self.get(lane, self.url(path), limit).await
    }

    async fn get(&self, lane: Lane, url: Url, limit: usize) -> Result<Heard, ReadError> {
        let token = self.tokens.get().await?;
        Ok(self.send(lane, &token, self.http.get(url), limit).await)
    }

    /// Sends one request with `token`.
    async fn send(&self, lane: Lane, token: &Token, request: reqwest::RequestBuilder, limit: usize) -> Heard {
        let mut request = request
            .header(reqwest::header::AUTHORIZATION, token.header.clone())
            .header(reqwest::header::ACCEPT, "application/json");
        if let Some(prefer) = self.prefer {
            request = request.header("Prefer", prefer);
        }
        let exchange = self.http.exchange(lane.as_str(), request, limit, &token.value).await;
        let again = match &exchange {
            Exchange::Answered(answer) if answer.status == 401 => self.token_refused(lane, token.generation),
            Exchange::Answered(answer) if answer.status < 500 && answer.status != 429 => self.token_taken(lane),
            Exchange::Answered(_) | Exchange::NotSent { .. } | Exchange::Unanswered { .. } => false,
        };
        let lacks_role = match &exchange {
            Exchange::Answered(answer) if is_unexplained(answer) => self.tokens.lack_role(token, self.wire, lane).await,
            _ => false,
        };
        Heard { exchange, again, lacks_role }
    }

    /// Calls run side by side, so that one token may be refused many times: only a refusal of a later token
    /// shows that a new one does not help.
    fn token_refused(&self, lane: Lane, generation: u64) -> bool {
        self.tokens.give_up(generation);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = refused.get(&lane).copied();
        refused.insert(lane, before.unwrap_or(generation).min(generation));
        before.is_some_and(|before| before < generation)
    }

    fn token_taken(&self, lane: Lane) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
        false
    }

    fn url(&self, path: &[&str]) -> Url {
        // The constructor has shown that something can be appended.
        below(&self.api.origin, path).unwrap_or_else(|| self.api.origin.clone())
    }
}

/// `url` as an origin that paths can be appended to.
fn origin(url: &Url) -> Result<Url, ClientError> {
    below(url, &[]).ok_or_else(|| ClientError::Address(url.clone()))
}

/// `origin` and `path`, each part of it escaped; a path prefix of `origin` is kept.
pub(super) fn below(origin: &Url, path: &[&str]) -> Option<Url> {
    let mut url = origin.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path);
    Some(url)
}
