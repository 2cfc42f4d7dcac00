//! What `replay` asks a daemon for: the alerts as they came, what was done, and machine records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decision::Outcome;
use super::ids::{AlertId, MachineId, RuleId, SourceName, TenantName};
use super::schema::Time;
use super::time::AlertTime;

/// One stored version of one alert. `B` is the alert as MDE shapes it: text on the way out, a value on the
/// way in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastAlert<B> {
    /// Microsoft's id.
    pub id: AlertId,
    /// The tenant.
    pub tenant: TenantName,
    /// The source that it came from.
    pub source: SourceName,
    /// When Microsoft last changed it; of a version without a time of its own, when it was stored.
    pub last_update: AlertTime,
    /// When it was stored.
    #[schema(value_type = Time)]
    pub received_at: Timestamp,
    /// The devices that it names.
    pub machine_ids: Vec<MachineId>,
    /// Why it is no usable alert; null for one that is.
    pub malformed: Option<String>,
    /// Whether it is decided for all of its devices.
    pub decided: bool,
    /// What was decided on this version.
    pub decisions: Vec<PastDecision>,
    /// The alert.
    pub body: B,
}

/// What a rule said of one device, then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastDecision {
    /// The device; of a record that was merged, its target.
    pub machine_id: MachineId,
    /// The rule.
    pub rule_id: RuleId,
    /// The outcome.
    pub outcome: Outcome,
}

/// Machine records of one tenant. `R` is a record as Microsoft sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineRecords<R> {
    /// The records that there are of the machines asked for, and of those that they were merged into.
    pub items: Vec<R>,
    /// The onboarded, unmerged machines of the tenant; null before its first complete inventory.
    pub fleet: Option<u64>,
}
