//! One version of one alert, in the shape that every source is normalised to.

use serde_json::{Map, Value};

use super::ids::{AlertId, MachineId};
use super::time::AlertTime;

/// The most devices of one version of an alert: each is decided by itself, and asked for by itself if it is not known.
pub const MOST_DEVICES: usize = 1_000;

/// One version of one MDE alert, as a source yields it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Microsoft's id.
    pub id: AlertId,
    /// When Microsoft last changed it; with the id, this names the version. `None` when the alert has
    /// neither `lastUpdateTime` nor `alertCreationTime`: then the first receipt of that id and body is.
    pub last_update: Option<AlertTime>,
    /// The devices that it names, each once, in the order of the alert.
    pub machine_ids: Vec<MachineId>,
    /// The alert as Microsoft's MDE API shapes it.
    pub body: Map<String, Value>,
}

impl Alert {
    /// The id that the product which raised the alert gives it (`providerAlertId`), when that is another one: of an
    /// alert that Microsoft Graph shows, MDE's.
    #[must_use]
    pub fn other_id(&self) -> Option<AlertId> {
        let other = AlertId::new(self.body.get("providerAlertId")?.as_str()?).ok()?;
        (other != self.id).then_some(other)
    }
}

/// A row of a source that is no [`Alert`], and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed {
    /// The id, when the row has one that can be used.
    pub id: Option<AlertId>,
    /// What is wrong with which field, in words.
    pub reason: String,
    /// The row, when it is an object.
    pub body: Map<String, Value>,
}
