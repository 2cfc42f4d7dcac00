//! Wire formats become alerts, each by one function. It never decides, and stores nothing.
//!
//! Absent: HTTP (`web` receives, `worker` polls). How the sender of a webhook proves who it is stands in
//! [`signature`].

mod graph;
mod hunting;
mod map;
mod mde;
mod note;
mod notification;
pub mod signature;
mod unknown;

pub use graph::parse_graph;
pub use hunting::{is_hunting, parse_hunting};
pub use map::{near, parse_map};
pub use mde::parse_mde;
pub use note::{Form, note};
pub use notification::{Notification, Says, parse_notifications};
pub use unknown::unknown_values;
