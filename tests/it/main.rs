//! Everything that is tested with its real parts: the store's file, the simulator over loopback, the
//! daemon as a whole, and the real binary.

// Tests say what they expect by failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(missing_docs, unreachable_pub)]

mod access;
mod anew;
mod answers;
mod attack;
mod audit;
mod backup;
mod browser;
mod caps;
mod clocks;
mod commands;
mod configuration;
mod corners;
mod correlations;
mod crash;
#[cfg(debug_assertions)] // a release build has no crash points
mod crash_points;
mod drill;
mod explain;
mod fields;
mod file_modes;
mod fleet;
mod graph;
mod guards;
mod house;
mod identity;
mod indexes;
mod log_lines;
mod long_nights;
mod misfits;
mod moving;
mod notify;
mod order;
mod poll;
mod protections;
mod reconcile;
mod refusals;
mod rehearsal;
mod release;
mod reload;
mod replay;
mod retention;
mod rules;
mod seeds;
mod simulation;
mod storm;
mod strangers;
mod street;
mod stress;
mod support;
mod tenants;
mod tls;
mod traces;
mod upgrade;
mod windows;
