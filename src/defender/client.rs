//! The calls. One method is one request on the wire, next to a sign-in where no token is held.
//!
//! Absent: quota (the caller takes a slot for each call before it makes it), any second try of a call, and
//! what follows from an outcome.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use url::Url;

use super::auth::{AuthError, SignedIn, Token, Tokens};
use super::classify::{Asked, Outcome, Posted, classify};
use super::http::{Exchange, Http, Observer};
use super::page::{ListQuery, Page, PageToken, between};
use super::read::{Found, ReadError, found};
use super::reading::Ask;
use super::wire;
use crate::clock::Clock;
use crate::config::Tenant;
use crate::model::{AlertTime, Kind, Lane, Machine, MachineAction, MachineActionId, MachineId};

/// The longest list answer that is read, in bytes.
const LIST_LIMIT: usize = 64 * 1024 * 1024;
/// The longest answer about one thing that is read, in bytes.
const SINGLE_LIMIT: usize = 1024 * 1024;
/// Rows worth asking for in one page of machines or machine actions; the API gives at most 10,000.
pub const ROWS: u32 = 5_000;

/// Why there is no client for a tenant.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address that nothing can be appended to.
    #[error("{0} is no address of a server: write one as https://host")]
    Address(Url),
    /// TLS could not be set up, as when the machine has no certificate authorities.
    #[error("HTTPS can not be set up: check that this machine's certificate authorities are installed")]
    Http(#[from] reqwest::Error),
}

/// Microsoft's API for one tenant.
#[derive(Debug)]
pub struct Client {
    origin: Url,
    http: Http,
    tokens: Tokens,
    refused: Mutex<HashMap<Lane, u64>>,
}

impl Client {
    /// A client of `tenant`'s API. Nothing is sent yet. `observer` is told of every request, the sign-ins
    /// among them.
    ///
    /// # Errors
    /// [`ClientError`] when an address can not be used or TLS can not be set up.
    pub fn new(
        tenant: &Tenant,
        request_timeout: Duration,
        clock: Arc<dyn Clock>,
        observer: Observer,
    ) -> Result<Self, ClientError> {
        let origin = below(&tenant.api_url, &[]).ok_or_else(|| ClientError::Address(tenant.api_url.clone()))?;
        let tokens = Tokens::new(tenant, request_timeout, Arc::clone(&clock), Arc::clone(&observer))?;
        let http = Http::new(&origin, request_timeout, clock, observer)?;
        Ok(Self { origin, http, tokens, refused: Mutex::default() })
    }

    /// Signs in, whatever token is held. Used at start and by `doctor`.
    ///
    /// # Errors
    /// [`AuthError`] when no token can be had.
    pub async fn sign_in(&self) -> Result<SignedIn, AuthError> {
        self.tokens.sign_in().await
    }

    /// Sees to it that a good token is held, so that the next call is one request and nothing more. Worth
    /// calling before a quota slot is taken.
    ///
    /// # Errors
    /// [`AuthError`] when no token can be had.
    pub async fn ensure_token(&self) -> Result<(), AuthError> {
        self.tokens.get().await.map(drop)
    }

    /// Gives up the token, so that the next call signs in anew: a role that was granted since is in a fresh
    /// token only. A 401 does this by itself.
    pub fn give_up_token(&self) {
        self.tokens.give_up_any();
    }

    /// `POST /api/machines/{id}/<path of the kind>`: at most one request, whatever comes of it.
    pub async fn post_action(&self, kind: Kind, machine: &MachineId, comment: &str) -> Posted {
        let spec = kind.spec();
        let path = ["api", "machines", machine.as_str(), spec.path];
        self.post(spec.lane, &path, comment, Asked::Act { kind, machine }).await
    }

    /// `POST /api/machineactions/{id}/cancel`: at most one request, whatever comes of it.
    pub async fn cancel(&self, id: &MachineActionId, comment: &str) -> Posted {
        let path = ["api", "machineactions", id.as_str(), "cancel"];
        self.post(Lane::Cancel, &path, comment, Asked::Cancel(id)).await
    }

    /// A page of the alerts whose last change is of the time that `ask` is about, with their evidence. Rows
    /// that are no JSON are left out and counted.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn alerts(&self, ask: Ask<'_>) -> Result<Page<Value>, ReadError> {
        let filter = between("lastUpdateTime", ask.since, ask.until);
        let query = ListQuery { name: "alerts", filter, with_evidence: true, top: ask.top.max(1) };
        self.list(Lane::Alerts, &query, ask.page, Some).await
    }

    /// A page of the machine list. A 404 is an empty list: it is what the API answers when no machine was
    /// seen of late.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn machines(&self, page: Option<&PageToken>) -> Result<Page<Map<String, Value>>, ReadError> {
        let query = ListQuery { name: "machines", filter: None, with_evidence: false, top: ROWS };
        let record = |row| match row {
            Value::Object(record) => Some(record),
            _ => None,
        };
        match self.list(Lane::Machines, &query, page, record).await {
            Err(ReadError::Refused { status: 404, .. }) => {
                Ok(Page { rows: Vec::new(), unreadable: 0, unreadable_tagged: 0, next: None, date: None })
            }
            other => other,
        }
    }

    /// One machine's record; `None` when the API does not know it. The record may be another machine's, as
    /// after a merge.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn machine(&self, id: &MachineId) -> Result<Option<Machine>, ReadError> {
        let url = self.url(&["api", "machines", id.as_str()]);
        let (exchange, again) = self.get(Lane::Machines, url, SINGLE_LIMIT).await?;
        let (_, Found::Body(body)) = found(&exchange, again)? else { return Ok(None) };
        let record = match wire::json(body) {
            Some(Value::Object(record)) => Machine::from_record(record),
            _ => None,
        };
        match record {
            Some(machine) => Ok(Some(machine)),
            None => Err(ReadError::Unreadable { message: format!("the record of machine {id} is none") }),
        }
    }

    /// A page of the machine actions of all kinds that we know, of everybody, that were created in the time
    /// that `ask` is about by Microsoft's clock. Rows without a usable id are left out and counted.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn machine_actions(&self, ask: Ask<'_>) -> Result<Page<MachineAction>, ReadError> {
        let filter = Some(action_filter(ask.since, ask.until));
        let query = ListQuery { name: "machineactions", filter, with_evidence: false, top: ask.top.max(1) };
        let mut page = self.list(Lane::MachineActions, &query, ask.page, |row| wire::machine_action(&row)).await?;
        page.rows.retain(|action| {
            let of_a_kind = Kind::from_microsoft_type(&action.kind).is_some();
            of_a_kind && action.created.zip(ask.since).is_none_or(|(created, since)| created >= since)
        });
        Ok(page)
    }

    async fn post(&self, lane: Lane, path: &[&str], comment: &str, asked: Asked<'_>) -> Posted {
        let token = match self.tokens.get().await {
            Ok(token) => token,
            Err(error) => return Posted { outcome: Outcome::NotSignedIn(error), status: None, date: None },
        };
        let request = self.http.post(self.url(path)).json(&json!({ "Comment": comment }));
        let (exchange, again) = self.send(lane, &token, request, SINGLE_LIMIT).await;
        let (status, date) = match &exchange {
            Exchange::Answered(answer) => (Some(answer.status), answer.date()),
            Exchange::NotSent { .. } | Exchange::Unanswered { .. } => (None, None),
        };
        Posted { outcome: classify(&exchange, asked, again), status, date }
    }

    async fn list<T>(
        &self,
        lane: Lane,
        query: &ListQuery,
        page: Option<&PageToken>,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Page<T>, ReadError> {
        let url = query.url(&self.origin, page)?;
        let (exchange, again) = self.get(lane, url, LIST_LIMIT).await?;
        match found(&exchange, again)? {
            (answer, Found::Body(body)) => query.page(&self.origin, page, (answer, body), read),
            (_, Found::Nothing) => Err(ReadError::Refused {
                status: 404,
                code: "http_404".to_owned(),
                message: format!("there is no list {}", query.name),
            }),
        }
    }

    async fn get(&self, lane: Lane, url: Url, limit: usize) -> Result<(Exchange, bool), ReadError> {
        let token = self.tokens.get().await?;
        Ok(self.send(lane, &token, self.http.get(url), limit).await)
    }

    /// Sends one request with `token`. Also tells whether this lane refused this token and the one before.
    async fn send(
        &self,
        lane: Lane,
        token: &Token,
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> (Exchange, bool) {
        let request = request
            .header(reqwest::header::AUTHORIZATION, token.header.clone())
            .header(reqwest::header::ACCEPT, "application/json");
        let exchange = self.http.exchange(lane.as_str(), request, limit, &token.value).await;
        let again = match &exchange {
            Exchange::Answered(answer) if answer.status == 401 => self.token_refused(lane, token.generation),
            Exchange::Answered(answer) if answer.status < 500 && answer.status != 429 => self.token_taken(lane),
            Exchange::Answered(_) | Exchange::NotSent { .. } | Exchange::Unanswered { .. } => false,
        };
        (exchange, again)
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
        below(&self.origin, path).unwrap_or_else(|| self.origin.clone())
    }
}

/// `origin` and `path`, each part of it escaped; a path prefix of `origin` is kept.
pub(super) fn below(origin: &Url, path: &[&str]) -> Option<Url> {
    let mut url = origin.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path);
    Some(url)
}

/// The OData condition for machine actions of all kinds that we know.
fn action_filter(since: Option<AlertTime>, until: Option<AlertTime>) -> String {
    let types: Vec<String> = Kind::ALL.iter().map(|kind| format!("type eq '{}'", kind.spec().microsoft_type)).collect();
    let types = format!("({})", types.join(" or "));
    match between("creationDateTimeUtc", since, until) {
        Some(range) => format!("{types} and {range}"),
        None => types,
    }
}
