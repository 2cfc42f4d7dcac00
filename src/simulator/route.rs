//! From method and path to the operation that a call asks for.

use serde::{Serialize, Serializer};

use super::answer::Refusal;
use super::progress::ActionType;

/// What Microsoft counts calls by: each API has a quota of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// The token endpoints of the login host and of a machine, which have no quota here.
    Token,
    /// `GET /api/alerts` and one alert.
    Alerts,
    /// `GET /v1.0/security/alerts_v2` of Microsoft Graph and one alert.
    GraphAlerts,
    /// `GET /api/machines` and one machine.
    Machines,
    /// `GET /api/machineactions` and one machine action.
    MachineActions,
    /// `POST /api/machines/{id}/restrictCodeExecution`.
    Restrict,
    /// `POST /api/machines/{id}/unrestrictCodeExecution`.
    Release,
    /// `POST /api/machineactions/{id}/cancel`.
    Cancel,
    /// Anything else: it is answered 405 or 501.
    Unknown,
}

impl Api {
    /// Every API that has a quota.
    pub const COUNTED: [Self; 7] = [
        Self::Restrict,
        Self::Release,
        Self::Cancel,
        Self::Alerts,
        Self::GraphAlerts,
        Self::Machines,
        Self::MachineActions,
    ];

    /// The name in the ledger and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Alerts => "alerts",
            Self::GraphAlerts => "graph_alerts",
            Self::Machines => "machines",
            Self::MachineActions => "machine_actions",
            Self::Restrict => "restrict",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Unknown => "unknown",
        }
    }

    /// The application roles of which a token needs one.
    pub(super) const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Alerts => &["Alert.Read.All", "Alert.ReadWrite.All"],
            Self::GraphAlerts => &["SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All"],
            Self::Machines | Self::MachineActions => &["Machine.Read.All", "Machine.ReadWrite.All"],
            Self::Restrict | Self::Release => &["Machine.RestrictExecution"],
            Self::Cancel => &[
                "Machine.CollectForensics",
                "Machine.Isolate",
                "Machine.RestrictExecution",
                "Machine.Scan",
                "Machine.Offboard",
                "Machine.StopAndQuarantine",
                "Machine.LiveResponse",
            ],
            Self::Token | Self::Unknown => &[],
        }
    }
}

impl Serialize for Api {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a call asks for; ids are as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// Of the second version of the endpoint, or of the first, which old clients ask.
    Token {
        tenant: String,
        v1: bool,
    },
    MachineToken,
    ListAlerts,
    ListGraphAlerts,
    GetGraphAlert(String),
    GetAlert(String),
    ListMachines,
    GetMachine(String),
    ListMachineActions,
    GetMachineAction(String),
    Act {
        machine: String,
        action: ActionType,
    },
    Cancel(String),
}

impl Operation {
    pub(super) const fn api(&self) -> Api {
        match self {
            Self::Token { .. } | Self::MachineToken => Api::Token,
            Self::ListAlerts | Self::GetAlert(_) => Api::Alerts,
            Self::ListGraphAlerts | Self::GetGraphAlert(_) => Api::GraphAlerts,
            Self::ListMachines | Self::GetMachine(_) => Api::Machines,
            Self::ListMachineActions | Self::GetMachineAction(_) => Api::MachineActions,
            Self::Act { action: ActionType::Restrict, .. } => Api::Restrict,
            Self::Act { action: ActionType::Release, .. } => Api::Release,
            Self::Cancel(_) => Api::Cancel,
        }
    }
}

/// The operation behind `method` and `path`.
///
/// # Errors
/// 501 for a path that the simulator does not know, 405 for a method that the path does not take.
pub(super) fn route(method: &str, path: &str) -> Result<Operation, Refusal> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let (operation, wanted) = match segments.as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => (Operation::Token { tenant: (*tenant).to_owned(), v1: false }, "POST"),
        [tenant, "oauth2", "token"] => (Operation::Token { tenant: (*tenant).to_owned(), v1: true }, "POST"),
        ["metadata", "identity", "oauth2", "token"] => (Operation::MachineToken, "GET"),
        ["v1.0", "security", "alerts_v2"] => (Operation::ListGraphAlerts, "GET"),
        ["v1.0", "security", "alerts_v2", id] if !id.is_empty() => (Operation::GetGraphAlert((*id).to_owned()), "GET"),
        ["api", "v1.0", rest @ ..] | ["api", rest @ ..] => resource(rest).ok_or_else(|| not_simulated(method, path))?,
        _ => return Err(not_simulated(method, path)),
    };
    if method == "PATCH" {
        return Err(not_simulated(method, path));
    }
    if method != wanted {
        let message = format!("The requested resource does not support http method '{method}'.");
        return Err(Refusal::new(405, "MethodNotAllowed", message));
    }
    Ok(operation)
}

fn resource(segments: &[&str]) -> Option<(Operation, &'static str)> {
    if segments.contains(&"") {
        return None;
    }
    let found = match segments {
        ["alerts"] => (Operation::ListAlerts, "GET"),
        ["alerts", id] => (Operation::GetAlert((*id).to_owned()), "GET"),
        ["machines"] => (Operation::ListMachines, "GET"),
        ["machines", id] => (Operation::GetMachine((*id).to_owned()), "GET"),
        ["machines", id, name] => {
            let action = ActionType::ALL.into_iter().find(|action| action.path() == *name)?;
            (Operation::Act { machine: (*id).to_owned(), action }, "POST")
        }
        ["machineactions"] => (Operation::ListMachineActions, "GET"),
        ["machineactions", id] => (Operation::GetMachineAction((*id).to_owned()), "GET"),
        ["machineactions", id, "cancel"] => (Operation::Cancel((*id).to_owned()), "POST"),
        _ => return None,
    };
    Some(found)
}

/// The answer to what Microsoft may well have and the simulator has not: no client may take it for a word on a device.
fn not_simulated(method: &str, path: &str) -> Refusal {
    let shown: String = path.chars().take(200).collect();
    Refusal::new(501, "NotSimulated", format!("The simulator does not simulate {method} {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_api_has_its_operation() {
        let id = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
        let cases = [
            ("POST", "/11111111-1111-4111-8111-111111111111/oauth2/v2.0/token".to_owned(), Api::Token),
            ("POST", "/11111111-1111-4111-8111-111111111111/oauth2/token".to_owned(), Api::Token),
            ("GET", "/metadata/identity/oauth2/token".to_owned(), Api::Token),
            ("GET", "/api/alerts".to_owned(), Api::Alerts),
            ("GET", "/api/v1.0/alerts/da1_-2".to_owned(), Api::Alerts),
            ("GET", "/v1.0/security/alerts_v2".to_owned(), Api::GraphAlerts),
            ("GET", "/v1.0/security/alerts_v2/da1_-2".to_owned(), Api::GraphAlerts),
            ("GET", "/api/machines".to_owned(), Api::Machines),
            ("GET", format!("/api/machines/{id}"), Api::Machines),
            ("POST", format!("/api/machines/{id}/restrictCodeExecution"), Api::Restrict),
            ("POST", format!("/api/v1.0/machines/{id}/unrestrictCodeExecution"), Api::Release),
            ("GET", "/api/machineactions".to_owned(), Api::MachineActions),
            ("GET", "/api/machineactions/x".to_owned(), Api::MachineActions),
            ("POST", "/api/machineactions/x/cancel".to_owned(), Api::Cancel),
        ];
        for (method, path, api) in cases {
            assert_eq!(route(method, &path).unwrap().api(), api, "{path}");
            let other = if method == "GET" { "POST" } else { "GET" };
            assert_eq!(route(other, &path).unwrap_err().status, 405, "{other} {path}");
        }
    }

    #[test]
    fn what_is_not_simulated_is_named() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/api"),
            ("GET", "/api/alerts/"),
            ("GET", "/api/v2.0/alerts"),
            ("POST", "/api/machines/x/isolate"),
            ("POST", "/api/machines/x/RestrictCodeExecution"),
            ("PATCH", "/api/alerts/da1_-2"),
        ] {
            let refusal = route(method, path).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (501, "NotSimulated"), "{method} {path}");
            assert!(refusal.message.contains(&format!("{method} {path}")), "{}", refusal.message);
        }
    }
}
