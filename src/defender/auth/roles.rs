//! The application roles that the calls need.
//!
//! Source: the permissions section of each page of the MDE API and of Microsoft Graph; reading machine actions is not
//! implied by being allowed to restrict.

use crate::config::Wire;
use crate::model::Lane;

/// Roles of which one is enough, and how they are named.
pub(super) type OneOf = (&'static [&'static str], &'static str);

pub(super) const RESTRICT: OneOf = (&["Machine.RestrictExecution"], "Machine.RestrictExecution");
pub(super) const MACHINES: OneOf =
    (&["Machine.Read.All", "Machine.ReadWrite.All"], "Machine.Read.All or Machine.ReadWrite.All");
pub(super) const ALERTS: OneOf = (&["Alert.Read.All", "Alert.ReadWrite.All"], "Alert.Read.All or Alert.ReadWrite.All");
pub(super) const GRAPH: OneOf = (
    &["SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All"],
    "SecurityAlert.Read.All or SecurityAlert.ReadWrite.All",
);
/// Any of these lets an application cancel; the one that people are told of is the one that restricting needs anyway.
const CANCEL: OneOf = (
    &[
        "Machine.RestrictExecution",
        "Machine.CollectForensics",
        "Machine.Isolate",
        "Machine.Scan",
        "Machine.Offboard",
        "Machine.StopAndQuarantine",
        "Machine.LiveResponse",
    ],
    "Machine.RestrictExecution",
);

/// What the calls of a lane need.
pub(super) const fn of(wire: Wire, lane: Lane) -> OneOf {
    match (wire, lane) {
        (_, Lane::Restrict | Lane::Release) => RESTRICT,
        (_, Lane::Cancel) => CANCEL,
        (_, Lane::Machines | Lane::MachineActions) => MACHINES,
        (Wire::Defender, Lane::Alerts) => ALERTS,
        (Wire::Graph, Lane::Alerts) => GRAPH,
    }
}

/// Whether one of the roles is held.
pub(super) fn suffice(held: &[String], (any, _): OneOf) -> bool {
    any.iter().any(|one| held.iter().any(|role| role == one))
}

/// The role that the calls of a lane need, as people are told of it.
#[must_use]
pub const fn role_needed(wire: Wire, lane: Lane) -> &'static str {
    of(wire, lane).1
}
