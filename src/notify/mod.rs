//! What people are told: which rows of the audit, gathered how, in which words, and one POST to a channel.
//!
//! Pure but for [`post`], which sends one request and says what came of it. Absent: where the messages wait (see
//! `src/store/notices.rs`) and the loop that sends them again (see `src/worker/notify.rs`).

mod body;
mod choose;
mod pace;
pub mod post;
mod safe;
mod slack;
mod teams;
#[cfg(test)]
mod tests;
mod verdict;
mod webhook;
mod words;

pub use body::{Body, body};
pub use choose::notice_of;
pub use pace::{GIVE_UP_AFTER, MIN_DISTANCE, wait_after};
