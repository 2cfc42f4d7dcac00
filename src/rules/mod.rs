//! Rules: Sigma rules with a `response`, from their files to what they say of an alert on a device.
//!
//! ```text
//! read ──▶ document ──▶ load (header, detection, always, response) ──▶ RuleSet ──▶ evaluate
//!                         └── matching ────────────────────────────────┘  Memory ──┘
//! ```
//!
//! Reading is the only I/O; all else is a pure function of the bytes, the event and the day, so that
//! `check` and the daemon can never disagree. Loading is all or nothing, since half a set could lack its
//! protections. Absent: guards, modes of the daemon, the time now. Only [`load`], [`matching`],
//! [`evaluate`], [`correlation`] and [`trace`] name the Sigma library. Next: `guards`, which judges what
//! [`RuleSet::evaluate`] says.

mod correlation;
mod digest;
mod document;
mod evaluate;
mod event;
mod inline_test;
mod load;
mod matching;
mod path;
mod protections;
mod read;
mod report;
mod response;
mod rule;
mod template;
mod trace;

/// What the loader knows by name: for `stanch schema`, which describes each.
pub mod keys {
    pub use super::inline_test::{KEYS as TEST, NO_MATCH, STEP_KEYS as TEST_ALERT};
    pub use super::load::correlation::KEYS as CORRELATION;
    pub use super::load::detection::{MODIFIERS, QUANTIFIERS};
    pub use super::load::header::{KEYS as DOCUMENT, Kind};
    pub use super::response::{KEYS as RESPONSE, LIMIT_KEYS as LIMIT};
}

pub use correlation::Memory;
pub use evaluate::{Evaluation, Hit, Protection, RuleSet};
pub use event::Event;
pub use inline_test::{Expectation, InlineTest, NO_MATCH, RestrictedBy, TestStep};
pub use load::{Judged, LoadContext, Loaded};
pub use read::RuleFile;
pub use response::{DeviceLimit, Response, ResponseAction};
pub use rule::{Rule, Status};
pub use template::Template;
pub use trace::RuleTrace;

#[cfg(test)]
mod tests;
