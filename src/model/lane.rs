//! The quotas that API calls draw on. Microsoft counts per API, so each API is a lane.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Span;

/// The quota, per tenant, that an API call draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// `POST /api/machines/{id}/restrictCodeExecution`
    Restrict,
    /// `POST /api/machines/{id}/unrestrictCodeExecution`
    Release,
    /// `POST /api/machineactions/{id}/cancel`
    Cancel,
    /// `GET /api/alerts`
    Alerts,
    /// `GET /api/machines` and one machine
    Machines,
    /// `GET /api/machineactions`
    MachineActions,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 6] =
        [Self::Restrict, Self::Release, Self::Cancel, Self::Alerts, Self::Machines, Self::MachineActions];

    /// The lane's name in configuration, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Alerts => "alerts",
            Self::Machines => "machines",
            Self::MachineActions => "machine_actions",
        }
    }

    /// The lane of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// At most `calls` calls in any stretch of time as long as `per`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How many calls, at least 1.
    pub calls: u32,
    /// The length of the window.
    pub per: Span,
}
