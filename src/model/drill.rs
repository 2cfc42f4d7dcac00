//! A fire drill: a made-up alert on a device that there is not, and what became of it on its way.
//!
//! The device is a constant that guards, store and sender each know and each refuse. Absent: the drill itself
//! (see `worker::drill`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{MachineId, TenantName};

/// The device of every drill. The ids of real devices are hashes; that one is this is as likely as any other, and
/// then it can not be restricted by stanch.
pub const DRILL_MACHINE: &str = "d4111d4111d4111d4111d4111d4111d4111d4111";
/// What the id of every alert of a drill begins with.
pub const DRILL_ALERT: &str = "stanch-drill-";
/// The source that alerts of drills come from.
pub const DRILL_SOURCE: &str = "drill";
/// What decides about the device of a drill, in place of every rule.
pub const DRILL_RULE: &str = "stanch-drill";
/// The category of an alert of a drill, which no alert of Microsoft's has.
pub const DRILL_CATEGORY: &str = "StanchDrill";

impl MachineId {
    /// Whether this is the device of drills, on which nobody acts.
    #[must_use]
    pub fn is_of_a_drill(&self) -> bool {
        self.as_str() == DRILL_MACHINE
    }
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrillView {
    /// Whether every step is well.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The steps, in their order.
    pub steps: Vec<DrillStep>,
}

/// One step of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrillStep {
    /// What was looked at, or done.
    pub name: String,
    /// In which tenant; null for what all share.
    pub tenant: Option<TenantName>,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What was found.
    pub detail: String,
    /// What to do, when something is to be done. A step that is well has one where a human should know of it, as
    /// of a brake that is on.
    pub mend: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_drill_is_an_id_like_any_other() {
        assert!(MachineId::new(DRILL_MACHINE).unwrap().is_of_a_drill());
        assert!(MachineId::new(&DRILL_MACHINE.to_uppercase()).unwrap().is_of_a_drill());
        assert!(!MachineId::numbered(0).is_of_a_drill());
    }
}
