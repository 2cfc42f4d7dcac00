//! Microsoft's APIs as a client: sign-in, calls, wire types, and what an answer means.
//!
//! One method is one HTTP request, so that the caller can take one quota slot for each; nothing here is
//! tried again but the sign-in. Absent: rules, the queue, the store and the quota. [`classify()`] is the
//! table from answers to outcomes, [`Client`] the calls; what is done with an outcome is in `worker`.

mod auth;
mod classify;
mod client;
mod door;
mod http;
mod message;
mod page;
mod read;
mod reading;
mod rows;
#[cfg(test)]
mod testing;
mod wire;

pub use auth::{AuthError, AuthErrorKind, Needs, SignedIn, role_needed};
pub use classify::{Asked, Outcome, Posted, classify};
pub use client::{Client, ClientError, ROWS};
pub use http::{Answer, BodyError, Call, Exchange, Observer};
pub use page::{Misfit, Page, PageToken};
pub use read::ReadError;
pub use reading::{Ask, Reading};
