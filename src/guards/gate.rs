//! The gate: the last look before a restrict goes to the API. It fails closed.

use jiff::Timestamp;

use super::{DRILL, why_ineligible, why_platform_unknown};
use crate::config::{GuardsConfig, Mode};
use crate::model::{HoldKind, Machine};

/// Everything that the gate looks at.
#[derive(Debug, Clone)]
pub struct GateFacts<'a> {
    /// Whether the device is the one of drills, which is none.
    pub drill: bool,
    /// The machine record.
    pub machine: Option<&'a Machine>,
    /// The protect rule that matches the device now, and its reason.
    pub protected: Option<String>,
    /// Whether the rules still want it; `None` for what a human asked for or approved.
    pub want: Option<Want>,
    /// Whether the newest version of every attached alert is `Resolved`.
    pub all_resolved: bool,
    /// When a human last undid a restriction of the device, and how.
    pub override_at: Option<(Timestamp, String)>,
    /// When the action was decided, asked for or approved.
    pub decided_at: Timestamp,
    /// Whether the device is restricted already, by Microsoft's list.
    pub restricted: bool,
}

/// Whether the rules still want an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// They do.
    Yes,
    /// They do not, and why.
    No(String),
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateVerdict {
    /// Send it.
    Pass,
    /// It waits for a human.
    Hold(HoldKind, String),
    /// It is not sent.
    Cancel(String),
}

/// Whether a restrict that is about to be sent may be.
#[must_use]
pub fn gate(facts: &GateFacts<'_>, config: &GuardsConfig) -> GateVerdict {
    if facts.drill {
        return GateVerdict::Cancel(DRILL.to_owned());
    }
    if let Some(reason) = &facts.protected {
        return GateVerdict::Cancel(reason.clone());
    }
    if let Some(reason) = facts.machine.and_then(why_ineligible) {
        return GateVerdict::Cancel(reason);
    }
    if facts.restricted {
        return GateVerdict::Cancel("the device is restricted already".to_owned());
    }
    if let Some(want) = &facts.want {
        if let Want::No(reason) = want {
            return GateVerdict::Cancel(reason.clone());
        }
        if config.mode == Mode::Shadow {
            return GateVerdict::Cancel("guards.mode is shadow".to_owned());
        }
        if facts.all_resolved {
            return GateVerdict::Cancel("every alert that asked for it is Resolved".to_owned());
        }
    }
    let Some(machine) = facts.machine else {
        return GateVerdict::Hold(HoldKind::MachineUnknown, "there is no machine record".to_owned());
    };
    // A human who asked for it or approved it has answered the question.
    if facts.want.is_some()
        && let Some(words) = why_platform_unknown(machine)
    {
        return GateVerdict::Hold(HoldKind::PlatformUnknown, words);
    }
    match &facts.override_at {
        Some((at, what)) if *at > facts.decided_at => {
            GateVerdict::Hold(HoldKind::HumanOverride, format!("{what} at {at:.0}, after this was decided"))
        }
        _ => GateVerdict::Pass,
    }
}
