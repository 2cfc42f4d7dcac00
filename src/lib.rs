//! stanch turns Microsoft Defender for Endpoint alerts into restricted devices.
//!
//! An alert walks one way through the house, and each room knows the rooms before it only by their
//! types:
//!
//! ```text
//! intake ──▶ inbox ──▶ decide ──▶ queue ──▶ send ──▶ track ──▶ release
//! (sources)  (store)   (rules +    (store)  (worker)  (worker)  (worker)
//!                      guards)
//! ```
//!
//! Start with [`model`] for the words, then [`store`] for what is kept and [`worker`] for what is done.
//! `ARCHITECTURE.md` walks an alert through all of it.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash_point;
pub mod defender;
pub mod diagnostics;
pub mod guards;
pub mod intake;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod quota;
pub mod rehearsal;
pub mod rules;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod traces;
pub mod web;
pub mod worker;
