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

/// How Graph names MDE in `serviceSource`.
const MDE: &str = "microsoftDefenderForEndpoint";

/// Whether an id looks like those of MDE, as `da637472900382838869_1364969609`; the part after the line may be negative.
fn is_of_mde(id: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = id.strip_prefix("da").and_then(|rest| rest.split_once('_'));
    parts.is_some_and(|(first, last)| digits(first) && digits(last.strip_prefix('-').unwrap_or(last)))
}

impl Alert {
    /// The id that MDE gives an alert which Microsoft Graph shows (`providerAlertId`), when that is another one. The ids
    /// of other products are theirs alone: one of them may be the id of any other alert here.
    #[must_use]
    pub fn other_id(&self) -> Option<AlertId> {
        let text = |key: &str| self.body.get(key).and_then(Value::as_str);
        let other = text("providerAlertId")?;
        let is_of_mde = text("serviceSource").is_some_and(|name| name.eq_ignore_ascii_case(MDE)) || is_of_mde(other);
        let other = AlertId::new(other).ok()?;
        (is_of_mde && other != self.id).then_some(other)
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
