//! The doors of TCP: who asks, by an API token or by a session of the console, and the signing in and out.
//!
//! [`api_door`] is for `/api/v1` and [`console_door`] for pages; both put a [`Caller`](super::caller::Caller) into
//! each request or answer it themselves. Guesses are limited ([`failures`]), and a form has to prove that it is of
//! its session ([`check_csrf`]). Absent: what a role may do, which each handler says.

mod cookie;
mod csrf;
mod door;
mod failures;
mod secret;
mod sign_in;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, StatusCode};

use super::problem::Problem;
use super::remote::Remote;

pub(super) use csrf::check_csrf;
pub(super) use door::{api_door, console_door, still_holds};
pub(super) use failures::Failures;
pub(super) use secret::Secret;
pub(super) use sign_in::router;

impl Remote {
    /// That of a request, which the server has put there.
    fn of(extensions: &Extensions) -> Result<Self, Problem> {
        let remote = extensions.get::<ConnectInfo<Self>>().map(|ConnectInfo(remote)| *remote);
        remote.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "it is not known where this comes from"))
    }

    fn ip(self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}
