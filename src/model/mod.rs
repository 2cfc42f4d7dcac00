//! The words of the house: ids, times, alerts, machines, decisions, actions and their states.
//!
//! Absent: I/O, async, the time now, and anything of ours from another room. See `ARCHITECTURE.md`
//! for who uses which word.

pub mod access;
pub mod action;
pub mod alert;
pub mod audit;
pub mod chain;
pub mod decision;
pub mod drill;
pub mod explanation;
pub mod field_map;
pub mod ids;
pub mod lane;
pub mod machine;
pub mod machine_action;
pub mod moment;
pub mod notice;
pub mod protection;
pub mod replay;
pub mod retry_after;
pub mod sanitise;
pub mod schema;
pub mod time;
pub mod users;
pub mod view;
pub mod vocabulary;

pub use access::{Role, SecretHash};
pub use action::{By, Door, Event, Family, HoldKind, Kind, Level, Person, State};
pub use alert::Alert;
pub use audit::Happening;
pub use decision::{Decision, MatchedField, Outcome};
pub use ids::{
    ActionId, AlertId, ChannelName, MachineActionId, MachineId, RuleId, SourceName, TenantName, TokenId, TokenName,
};
pub use lane::{Lane, Window};
pub use machine::Machine;
pub use machine_action::{MachineAction, RemoteStatus};
pub use moment::Moment;
pub use time::{AlertTime, Span};
