//! Wire formats become alerts, each by one function. It never decides, and stores nothing.
//!
//! Absent: HTTP (`web` receives, `worker` polls). How the sender of a webhook proves who it is stands in
//! [`signature`].

mod mde;
pub mod signature;
mod unknown;

pub use mde::parse_mde;
pub use unknown::unknown_values;
