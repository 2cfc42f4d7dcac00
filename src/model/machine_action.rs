//! Microsoft's record of something being done to a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{MachineActionId, MachineId};
use super::time::AlertTime;

/// The status of a machine action. Source: the machineAction resource of the MDE API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteStatus {
    /// Accepted, the device has done nothing yet.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Succeeded,
    /// Ended without effect.
    Failed,
    /// Not done in time (some three days); the device may have been reached all the same.
    TimeOut,
    /// Cancelled; the device may have been reached all the same.
    Cancelled,
    /// A value that no document names, kept as it came. Not final.
    Unknown(String),
}

impl RemoteStatus {
    /// The status that Microsoft writes as `text`.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let known = [Self::Pending, Self::InProgress, Self::Succeeded, Self::Failed, Self::TimeOut, Self::Cancelled];
        let named = known.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text));
        named.unwrap_or_else(|| Self::Unknown(text.chars().take(64).collect()))
    }

    /// The status as Microsoft writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::TimeOut => "TimeOut",
            Self::Cancelled => "Cancelled",
            Self::Unknown(text) => text,
        }
    }

    /// Whether Microsoft will change it no more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::TimeOut | Self::Cancelled)
    }
}

impl fmt::Display for RemoteStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RemoteStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RemoteStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_text(&String::deserialize(deserializer)?))
    }
}

/// One machine action, as far as we read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAction {
    /// Microsoft's id.
    pub id: MachineActionId,
    /// Microsoft's type, as `RestrictCodeExecution`; other values are kept as they come.
    pub kind: String,
    /// Its status.
    pub status: RemoteStatus,
    /// The device; `None` when the record names none that is 40 hex digits.
    pub machine_id: Option<MachineId>,
    /// The comment of whoever asked for it; ours ends in our tag.
    pub comment: String,
    /// The comment of whoever cancelled it, empty where nobody did or none is given; ours ends in our tag.
    pub cancel_comment: String,
    /// When it was asked for, by Microsoft's clock.
    pub created: Option<AlertTime>,
    /// When it last changed, by Microsoft's clock.
    pub last_update: Option<AlertTime>,
    /// What Microsoft says of a failure (`errorHResult`), 0 or absent where there was none.
    pub error_hresult: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_known_in_any_case_and_a_new_one_is_kept_as_it_came() {
        for (text, status) in [
            ("Succeeded", RemoteStatus::Succeeded),
            ("succeeded", RemoteStatus::Succeeded),
            ("timeout", RemoteStatus::TimeOut),
            ("INPROGRESS", RemoteStatus::InProgress),
            ("Canceling", RemoteStatus::Unknown("Canceling".to_owned())),
        ] {
            assert_eq!(RemoteStatus::from_text(text), status);
        }
    }
}
