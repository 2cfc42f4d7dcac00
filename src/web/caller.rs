//! Who asks, and what that caller may do.
//!
//! The doors put a [`Caller`] into each request: the unix socket by the peer's user ([`super::peer`]), TCP by a
//! token or by the console's session ([`super::access`]). A handler names the role that it needs by the
//! extractor that it takes.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::model::{By, Person, Role};

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) person: Person,
    pub(super) role: Role,
    /// Of one who is signed in to the console: what each form has to bring back, so that no other site can send it.
    pub(super) csrf: Option<String>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("person", &self.person).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Caller {
    /// The caller as one who changes something, if the role is enough for that.
    fn as_at_least(&self, needed: Role) -> Result<By, Problem> {
        if self.role >= needed {
            return Ok(By::User(self.person.clone()));
        }
        let detail = format!("this needs the role {needed}, and {} is {}", self.person.name, self.role);
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unknown = || Problem::new(StatusCode::FORBIDDEN, "it is not known who asks, so nothing is changed");
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}

/// A person who may approve, reject, cancel, release, retry, and put the brake on.
pub(super) struct Operator(pub(super) By);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, state).await?.as_at_least(Role::Operator).map(Self)
    }
}

/// A person who may restrict by hand, take the brake off, and manage tokens.
pub(super) struct Admin(pub(super) By);

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, state).await?.as_at_least(Role::Admin).map(Self)
    }
}
