//! Signing in as an application, once for all callers.
//!
//! What is asked, by each way to prove who we are, is in `request`; the answer's forms are in `answer`, the
//! errors in `error`. Absent: the storing of tokens on disk.

mod answer;
mod assertion;
mod claims;
mod error;
mod request;
mod roles;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

pub use error::{AuthError, AuthErrorKind};
pub use roles::role_needed;

use super::client::ClientError;
use super::http::{Http, Observer};
use crate::clock::Clock;
use crate::config::{Tenant, Wire};
use crate::model::Lane;
use request::Requests;
use roles::OneOf;

/// What a sign-in found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The application's roles; `None` when the token is opaque, so that nobody can tell.
    pub roles: Option<Vec<String>>,
}

impl SignedIn {
    /// The roles that are needed and not there, each as `A` or `A or B`. None are missed in an opaque token.
    ///
    /// Source: the permissions section of each page of the MDE API and of Microsoft Graph; reading machine actions
    /// is not implied by being allowed to restrict.
    #[must_use]
    pub fn missing_roles(&self, needs: Needs) -> Vec<&'static str> {
        let Some(roles) = &self.roles else { return Vec::new() };
        let missing = needs.roles().iter().filter(|one_of| !roles::suffice(roles, **one_of));
        missing.map(|(_, words)| *words).collect()
    }
}

/// What an application is to be allowed in one of the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Restricting and following it, in MDE.
    Acting,
    /// That, and reading the alerts of MDE.
    ActingAndAlerts,
    /// Reading the alerts of Microsoft Graph.
    GraphAlerts,
}

impl Needs {
    const fn roles(self) -> &'static [OneOf] {
        match self {
            Self::Acting => &[roles::RESTRICT, roles::MACHINES],
            Self::ActingAndAlerts => &[roles::RESTRICT, roles::MACHINES, roles::ALERTS],
            Self::GraphAlerts => &[roles::GRAPH],
        }
    }
}

/// A token in use.
#[derive(Debug)]
pub(super) struct Token {
    /// `Bearer <token>`, marked sensitive.
    pub(super) header: HeaderValue,
    /// The token itself, to be kept out of messages.
    pub(super) value: SecretString,
    /// Greater in each token than in the one before.
    pub(super) generation: u64,
    issued_at_ms: i64,
    refresh_at_ms: i64,
    expires_at_ms: i64,
}

/// The last fifth of a token's life is time enough to get another.
const REFRESH_AFTER_FIFTHS: i64 = 4;
/// How long a caller that has a good token is kept waiting for a better one.
const EARLY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nobody tries again to get a better token while there is a good one.
const EARLY_REST_MS: i64 = 30_000;
/// A token that is younger shows the roles that the application has now.
const FRESH_MS: u64 = 60_000;
/// How often a sign-in that failed in passing is tried again within one call.
const RETRIES: usize = 2;
/// The longest answer of the login service that is read, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// The tokens of one application in one tenant for one API.
#[derive(Debug)]
pub(super) struct Tokens {
    http: Http,
    requests: Requests,
    timeout: Duration,
    held: Mutex<Option<Arc<Token>>>,
    flight: tokio::sync::Mutex<Flight>,
    failures: AtomicU64,
}

/// What the one who signs in leaves to those who waited.
#[derive(Debug, Default)]
struct Flight {
    generation: u64,
    failed: Option<AuthError>,
    early_failed_at_ms: Option<i64>,
}

impl Tokens {
    /// The tokens of `tenant`'s application for the API of `scope`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] when the login service's address can not be used or TLS can not be set up.
    pub(super) fn new(
        tenant: &Tenant,
        scope: &str,
        timeout: Duration,
        (clock, observer): (Arc<dyn Clock>, Observer),
    ) -> Result<Self, ClientError> {
        let requests = Requests::new(tenant, scope).ok_or_else(|| ClientError::Address(tenant.login_url.clone()))?;
        Ok(Self {
            http: Http::new(&tenant.login_url, timeout, clock, observer)?,
            requests,
            timeout,
            held: Mutex::new(None),
            flight: tokio::sync::Mutex::new(Flight::default()),
            failures: AtomicU64::new(0),
        })
    }

    /// A token that is good by our clock; signs in when there is none.
    pub(super) async fn get(&self) -> Result<Arc<Token>, AuthError> {
        match self.held() {
            Some(token) if !self.wants_renewal(&token) => Ok(token),
            Some(token) => Ok(self.renewed_early(token).await),
            None => self.signed_in_once().await,
        }
    }

    /// Signs in, whatever is held, and tells what the token allows.
    pub(super) async fn sign_in(&self) -> Result<SignedIn, AuthError> {
        let mut flight = self.flight.lock().await;
        let token = self.attempts(&mut flight).await?;
        Ok(SignedIn { roles: claims::roles(token.value.expose_secret()) })
    }

    /// Whether a fresh token shows that the application lacks the role for a lane, after a 403 on `used`. An opaque
    /// token shows nothing.
    pub(super) async fn lack_role(&self, used: &Token, wire: Wire, lane: Lane) -> bool {
        let token = self.fresh(used.generation).await;
        let token = token.as_deref().unwrap_or(used);
        let held = claims::roles(token.value.expose_secret());
        held.is_some_and(|held| !roles::suffice(&held, roles::of(wire, lane)))
    }

    /// A token that is newer than that generation or was issued just now; `None` when none can be had.
    async fn fresh(&self, used: u64) -> Option<Arc<Token>> {
        let mut flight = self.flight.lock().await;
        let now = self.now_ms();
        let is_fresh = |token: &Arc<Token>| token.generation > used || now.abs_diff(token.issued_at_ms) < FRESH_MS;
        match self.held().filter(is_fresh) {
            Some(token) => Some(token),
            None => self.attempts(&mut flight).await.ok(),
        }
    }

    /// Gives up the token of that generation, so that the next call signs in anew.
    pub(super) fn give_up(&self, generation: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|token| token.generation == generation) {
            *held = None;
        }
    }

    /// Gives up whatever token is held.
    pub(super) fn give_up_any(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn now_ms(&self) -> i64 {
        self.http.now().as_millisecond()
    }

    fn held(&self) -> Option<Arc<Token>> {
        let now = self.now_ms();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|token| now < token.expires_at_ms).cloned()
    }

    fn wants_renewal(&self, token: &Token) -> bool {
        self.now_ms() >= token.refresh_at_ms
    }

    /// A newer token, or `old` when another caller is at it or it can not be had soon.
    async fn renewed_early(&self, old: Arc<Token>) -> Arc<Token> {
        let Ok(mut flight) = self.flight.try_lock() else { return old };
        if let Some(token) = self.held().filter(|token| !self.wants_renewal(token)) {
            return token;
        }
        let now = self.now_ms();
        if flight.early_failed_at_ms.is_some_and(|at| now.abs_diff(at) < EARLY_REST_MS.unsigned_abs()) {
            return old;
        }
        let error = match tokio::time::timeout(EARLY_TIMEOUT, self.attempt(flight.generation + 1)).await {
            Ok(Ok(token)) => return self.hold(&mut flight, token),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {EARLY_TIMEOUT:?}"),
        };
        tracing::warn!(tenant = %self.requests.tenant, error, "the token could not be renewed ahead of its end; the old one is still good");
        flight.early_failed_at_ms = Some(now);
        old
    }

    /// One sign-in for all who wait for one; they share its failure too.
    async fn signed_in_once(&self) -> Result<Arc<Token>, AuthError> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut flight = self.flight.lock().await;
        if let Some(token) = self.held() {
            return Ok(token);
        }
        if self.failures.load(Ordering::Acquire) != failures
            && let Some(error) = &flight.failed
        {
            return Err(error.clone());
        }
        self.attempts(&mut flight).await
    }

    /// Attempts with a few retries, within the time of one call.
    async fn attempts(&self, flight: &mut Flight) -> Result<Arc<Token>, AuthError> {
        let generation = flight.generation + 1;
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_times(RETRIES)
            .with_jitter();
        let tries = (|| self.attempt(generation)).retry(waits).when(AuthError::is_transient);
        let result = tokio::time::timeout(self.timeout, tries).await.unwrap_or_else(|_| {
            let message = format!("no token within {:?}", self.timeout);
            Err(AuthError::new(AuthErrorKind::Unanswered, message))
        });
        match result {
            Ok(token) => Ok(self.hold(flight, token)),
            Err(error) => {
                flight.failed = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    fn hold(&self, flight: &mut Flight, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *flight = Flight { generation: token.generation, failed: None, early_failed_at_ms: None };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
        token
    }

    /// One request for a token. Its life counts from before the request.
    async fn attempt(&self, generation: u64) -> Result<Token, AuthError> {
        let request = self.requests.next(&self.http).await?;
        let began_ms = self.now_ms();
        let exchange = self.http.exchange("token", request.builder, ANSWER_LIMIT, &request.proof).await;
        let granted = answer::granted(&exchange, request.proof.expose_secret(), self.requests.asks())?;
        self.requests.belongs_here(&granted.access_token)?;
        let header = HeaderValue::from_str(&format!("Bearer {}", granted.access_token));
        let mut header = header.map_err(|_| {
            let message = "the access_token holds characters that no header can".to_owned();
            AuthError::new(AuthErrorKind::Unreadable, message)
        })?;
        header.set_sensitive(true);
        let lifetime_ms = granted.lifetime_seconds.saturating_mul(1_000);
        Ok(Token {
            header,
            value: granted.access_token.into(),
            generation,
            issued_at_ms: began_ms,
            refresh_at_ms: began_ms.saturating_add(lifetime_ms / 5 * REFRESH_AFTER_FIFTHS),
            expires_at_ms: began_ms.saturating_add(lifetime_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_that_is_missing_is_named() {
        let signed_in = |roles: &[&str]| SignedIn { roles: Some(roles.iter().map(ToString::to_string).collect()) };
        let all = signed_in(&["Machine.RestrictExecution", "Machine.ReadWrite.All", "Alert.Read.All"]);
        assert!(all.missing_roles(Needs::ActingAndAlerts).is_empty());
        let some = signed_in(&["Machine.RestrictExecution"]);
        assert_eq!(some.missing_roles(Needs::Acting), ["Machine.Read.All or Machine.ReadWrite.All"]);
        assert_eq!(signed_in(&[]).missing_roles(Needs::ActingAndAlerts).len(), 3);
        assert!(SignedIn { roles: None }.missing_roles(Needs::ActingAndAlerts).is_empty());
        let of_graph = all.missing_roles(Needs::GraphAlerts);
        assert_eq!(of_graph, ["SecurityAlert.Read.All or SecurityAlert.ReadWrite.All"]);
        assert!(signed_in(&["SecurityAlert.Read.All"]).missing_roles(Needs::GraphAlerts).is_empty());
    }
}
