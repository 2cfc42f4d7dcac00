//! The calls. One method is one request on the wire, next to a sign-in where no token is held.
//!
//! Absent: how a request goes out (see [`super::door`]), quota (the caller takes a slot for each call before it
//! makes it), any second try of a call, and what follows from an outcome.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::auth::{AuthError, SignedIn};
use super::classify::{Asked, Outcome, Posted};
use super::door::{Door, SINGLE_LIMIT};
use super::http::Observer;
use super::page::{ListQuery, Misfit, Page, PageToken, between, out_of_time};
use super::read::{Found, ReadError, found};
use super::reading::Ask;
use super::wire;
use crate::clock::Clock;
use crate::config::{Tenant, Wire};
use crate::model::{AlertId, AlertTime, Kind, Lane, Machine, MachineAction, MachineActionId, MachineId};

/// Rows worth asking for in one page of machines or machine actions; the API gives at most 10,000.
pub const ROWS: u32 = 5_000;

/// The longest record of one alert that is read, in bytes: it has all of its evidence.
const ALERT_LIMIT: usize = 16 * 1024 * 1024;

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

/// Microsoft's APIs for one tenant: that of MDE, and Microsoft Graph for alerts.
#[derive(Debug)]
pub struct Client {
    mde: Door,
    graph: Door,
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
        let mde = Door::to_mde(tenant, request_timeout, (Arc::clone(&clock), Arc::clone(&observer)))?;
        let graph = Door::to_graph(tenant, request_timeout, (clock, observer))?;
        Ok(Self { mde, graph })
    }

    const fn door(&self, wire: Wire) -> &Door {
        match wire {
            Wire::Defender => &self.mde,
            Wire::Graph => &self.graph,
        }
    }

    /// Signs in, whatever token is held. Used at start and by `doctor`. Each of the two APIs has a token of its own.
    ///
    /// # Errors
    /// [`AuthError`] when no token can be had.
    pub async fn sign_in(&self, wire: Wire) -> Result<SignedIn, AuthError> {
        self.door(wire).tokens().sign_in().await
    }

    /// Sees to it that a good token is held, so that the next call is one request and nothing more. Worth
    /// calling before a quota slot is taken.
    ///
    /// # Errors
    /// [`AuthError`] when no token can be had.
    pub async fn ensure_token(&self, wire: Wire) -> Result<(), AuthError> {
        self.door(wire).tokens().get().await.map(drop)
    }

    /// Gives up the tokens, so that the next call of each API signs in anew: a role that was granted since is in a
    /// fresh token only. A 401 does this by itself.
    pub fn give_up_tokens(&self) {
        self.mde.tokens().give_up_any();
        self.graph.tokens().give_up_any();
    }

    /// `POST /api/machines/{id}/<path of the kind>`: at most one request, whatever comes of it. None for the device
    /// of drills.
    pub async fn post_action(&self, kind: Kind, machine: &MachineId, comment: &str) -> Posted {
        if machine.is_of_a_drill() {
            let (code, message) = ("drill".to_owned(), "the device of drills is none".to_owned());
            return Posted { outcome: Outcome::Refused { code, message }, status: None, date: None };
        }
        let spec = kind.spec();
        let path = ["api", "machines", machine.as_str(), spec.path];
        self.mde.post(spec.lane, &path, comment, Asked::Act { kind, machine }).await
    }

    /// `POST /api/machineactions/{id}/cancel`: at most one request, whatever comes of it.
    pub async fn cancel(&self, id: &MachineActionId, comment: &str) -> Posted {
        let path = ["api", "machineactions", id.as_str(), "cancel"];
        self.mde.post(Lane::Cancel, &path, comment, Asked::Cancel(id)).await
    }

    /// A page of the alerts whose last change is of the time that `ask` is about, with their evidence, as MDE or
    /// Graph shapes them. Rows that are no JSON are left out and counted.
    ///
    /// Source: the pages "List alerts" of MDE and "List alerts_v2" of Microsoft Graph, which offers no `$orderby`
    /// and needs no `$expand`.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn alerts(&self, wire: Wire, ask: Ask<'_>) -> Result<Page<Value>, ReadError> {
        let (path, time, created, with_evidence) = match wire {
            Wire::Defender => ("/api/alerts", "lastUpdateTime", "alertCreationTime", true),
            Wire::Graph => ("/v1.0/security/alerts_v2", "lastUpdateDateTime", "createdDateTime", false),
        };
        let query = ListQuery { path, filter: between(time, ask.since, ask.until), with_evidence, top: ask.top.max(1) };
        let page = self.door(wire).list(Lane::Alerts, &query, ask.page, Some).await?;
        Ok(page.held_to(|row: &Value| {
            let text = |key: &str| row.get(key).and_then(Value::as_str);
            let at = text(time).or_else(|| text(created)).and_then(|text| AlertTime::parse(text).ok());
            out_of_time(at, ask.since, ask.until).map(|why| Misfit::new(text("id").unwrap_or_default(), "", why))
        }))
    }

    /// One alert as Microsoft Graph shapes it; `None` when Graph does not know it.
    ///
    /// Source: the page "Get alert" of `microsoft.graph.security`.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn graph_alert(&self, id: &AlertId) -> Result<Option<Value>, ReadError> {
        let path = ["v1.0", "security", "alerts_v2", id.as_str()];
        let heard = self.graph.get_one(Lane::Alerts, &path, ALERT_LIMIT).await?;
        let (_, Found::Body(body)) = found(&heard)? else { return Ok(None) };
        match wire::json(body) {
            Some(alert @ Value::Object(_)) => Ok(Some(alert)),
            _ => Err(ReadError::Unreadable { message: format!("the record of alert {id} is none") }),
        }
    }

    /// A page of the machine list. A 404 is an empty list: it is what the API answers when no machine was
    /// seen of late.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn machines(&self, page: Option<&PageToken>) -> Result<Page<Map<String, Value>>, ReadError> {
        let query = ListQuery { path: "/api/machines", filter: None, with_evidence: false, top: ROWS };
        let record = |row| match row {
            Value::Object(record) => Some(record),
            _ => None,
        };
        match self.mde.list(Lane::Machines, &query, page, record).await {
            Err(ReadError::Refused { status: 404, .. }) => Ok(Page::empty()),
            other => other,
        }
    }

    /// One machine's record; `None` when the API does not know it. The record may be another machine's, as
    /// after a merge.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn machine(&self, id: &MachineId) -> Result<Option<Machine>, ReadError> {
        let path = ["api", "machines", id.as_str()];
        let heard = self.mde.get_one(Lane::Machines, &path, SINGLE_LIMIT).await?;
        let (_, Found::Body(body)) = found(&heard)? else { return Ok(None) };
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
        let query = ListQuery { path: "/api/machineactions", filter, with_evidence: false, top: ask.top.max(1) };
        let page = self.mde.list(Lane::MachineActions, &query, ask.page, |row| wire::machine_action(&row)).await?;
        Ok(page.held_to(|action| {
            let why = match Kind::from_microsoft_type(&action.kind) {
                Some(_) => out_of_time(action.created, ask.since, ask.until),
                None => Some("it is of another type than was asked for"),
            };
            // A row of another time may be ours if a clock is wrong, and one without a type; a type is Microsoft's own
            // word, and no POST of ours is of another than ours.
            let is_of_another_type = !action.kind.is_empty() && Kind::from_microsoft_type(&action.kind).is_none();
            why.map(|why| Misfit {
                may_be_ours: !is_of_another_type,
                ..Misfit::new(action.id.as_str(), &action.comment, why)
            })
        }))
    }
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
