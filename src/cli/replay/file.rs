//! Alerts from a file, in the order in which Microsoft changed them.
//!
//! The file is read twice: once for the order, and then row by row in that order. So its size costs a few
//! bytes a row. What can not be read twice, as a pipe, is kept whole, up to a bound. Absent: how a file holds
//! its rows ([`super::rows`]).

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::faults::{Faults, not_json};
use super::rows::{MOST_ROW_BYTES, Rows};
use crate::intake::parse_mde;
use crate::model::replay::PastAlert;
use crate::model::{AlertTime, SourceName, TenantName};

/// The most bytes of what can not be read twice.
const MOST_PIPED_BYTES: u64 = 1 << 30;

/// The most rows of a file.
const MOST_ROWS: usize = 5_000_000;

/// The source that rules see: where alerts of this shape come from.
const SOURCE: &str = "defender";

/// Alerts in a file.
pub(super) struct AlertFile {
    name: String,
    bytes: Bytes,
    tenant: TenantName,
    now: Timestamp,
}

enum Bytes {
    File(File),
    Piped(Vec<u8>),
}

/// A row of the file. Ordered by its time, then by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ticks: i64,
    number: u64,
    offset: u64,
    length: usize,
}

/// The rows of a file in their order, with the word for their numbers.
pub(super) struct Order {
    unit: &'static str,
    places: Vec<Place>,
}

/// The times that order alerts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stamps<'a> {
    #[serde(borrow)]
    last_update_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    alert_creation_time: Option<Cow<'a, str>>,
}

impl AlertFile {
    /// The alerts in a file, or in `piped` for the name `-`. `now` is the time of those that have none.
    ///
    /// # Errors
    /// When it can not be read, or is a pipe with more than 1 GiB.
    pub(super) fn open(path: &Path, piped: &mut dyn Read, tenant: TenantName, now: Timestamp) -> anyhow::Result<Self> {
        let (name, bytes) = if path.as_os_str() == "-" {
            ("<stdin>".to_owned(), whole(piped).context("<stdin>")?)
        } else {
            let name = path.display().to_string();
            let mut file = File::open(path).with_context(|| format!("can not read {name}"))?;
            let is_file = file.metadata().with_context(|| format!("can not read {name}"))?.is_file();
            let bytes = if is_file { Bytes::File(file) } else { whole(&mut file).with_context(|| name.clone())? };
            (name, bytes)
        };
        Ok(Self { name, bytes, tenant, now })
    }

    /// Reads the file once, for the order of its rows.
    ///
    /// # Errors
    /// When it can not be read, is no JSON, or has too many rows.
    pub(super) fn order(&self, faults: &mut Faults) -> anyhow::Result<Order> {
        let from: &mut dyn Read = match &self.bytes {
            Bytes::File(file) => &mut { file },
            Bytes::Piped(bytes) => &mut bytes.as_slice(),
        };
        let mut rows = Rows::new(from).with_context(|| self.name.clone())?;
        let unit = rows.unit();
        let (mut places, mut bytes) = (Vec::new(), Vec::new());
        // What has no time of its own came with what stands before it.
        let mut latest: Option<AlertTime> = None;
        while let Some(row) = rows.next(&mut bytes).with_context(|| format!("can not read {}", self.name))? {
            if row.is_too_long() {
                faults
                    .add(|| format!("{}: {unit} {}: longer than {} MiB", self.name, row.number, MOST_ROW_BYTES >> 20));
                continue;
            }
            if places.len() >= MOST_ROWS {
                bail!("{} has more than {MOST_ROWS} rows: split it", self.name);
            }
            latest = stamp(&bytes).or(latest);
            places.push(Place {
                ticks: latest.unwrap_or_else(|| AlertTime::from_timestamp(self.now)).ticks(),
                number: row.number,
                offset: row.offset,
                length: bytes.len(),
            });
        }
        if let Some(fault) = rows.fault() {
            faults.add(|| format!("{}: {fault}", self.name));
        }
        places.sort_unstable();
        Ok(Order { unit, places })
    }

    /// The alerts of some rows. Each came when Microsoft last changed it.
    ///
    /// # Errors
    /// When the file can not be read any more.
    pub(super) fn alerts(
        &self,
        order: &Order,
        rows: std::ops::Range<usize>,
        faults: &mut Faults,
    ) -> anyhow::Result<Vec<PastAlert<Map<String, Value>>>> {
        let source = SourceName::new(SOURCE)?;
        let (mut alerts, mut bytes) = (Vec::new(), Vec::new());
        for place in order.places.get(rows).unwrap_or_default() {
            self.bytes.read(*place, &mut bytes).with_context(|| format!("can not read {} again", self.name))?;
            let row = serde_json::from_slice(&bytes).map_err(|error| not_json(&error));
            let alert = row.and_then(|row| parse_mde(row).map_err(|malformed| malformed.reason));
            match alert {
                Ok(alert) => {
                    let time = AlertTime::from_ticks(place.ticks);
                    alerts.push(PastAlert {
                        id: alert.id,
                        tenant: self.tenant.clone(),
                        source: source.clone(),
                        last_update: alert.last_update.unwrap_or(time),
                        received_at: time.timestamp(),
                        machine_ids: alert.machine_ids,
                        malformed: None,
                        decided: true,
                        decisions: Vec::new(),
                        body: alert.body,
                    });
                }
                Err(reason) => faults.add(|| format!("{}: {} {}: {reason}", self.name, order.unit, place.number)),
            }
        }
        Ok(alerts)
    }
}

impl Order {
    /// How many rows there are.
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }
}

impl Bytes {
    fn read(&self, place: Place, into: &mut Vec<u8>) -> std::io::Result<()> {
        into.clear();
        match self {
            Self::File(file) => {
                into.resize(place.length, 0);
                file.read_exact_at(into, place.offset)
            }
            Self::Piped(bytes) => {
                let from = usize::try_from(place.offset).unwrap_or(usize::MAX);
                into.extend_from_slice(bytes.get(from..from.saturating_add(place.length)).unwrap_or_default());
                Ok(())
            }
        }
    }
}

fn whole(from: &mut dyn Read) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    from.take(MOST_PIPED_BYTES + 1).read_to_end(&mut bytes).context("can not be read")?;
    if bytes.len() as u64 > MOST_PIPED_BYTES {
        bail!("more than {} GiB can not be piped in: give a file", MOST_PIPED_BYTES >> 30);
    }
    Ok(Bytes::Piped(bytes))
}

fn stamp(row: &[u8]) -> Option<AlertTime> {
    let stamps: Stamps<'_> = serde_json::from_slice(row).ok()?;
    let stamps = [stamps.last_update_time, stamps.alert_creation_time];
    stamps.into_iter().flatten().find_map(|time| AlertTime::parse(&time).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, Faults) {
        let now: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
        let tenant = TenantName::new("contoso").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts");
        std::fs::write(&path, text).unwrap();
        let read = |path: &Path| {
            let file = AlertFile::open(path, &mut text.as_bytes(), tenant.clone(), now).unwrap();
            let mut faults = Faults::default();
            let order = file.order(&mut faults).unwrap();
            let alerts = file.alerts(&order, 0..order.len(), &mut faults).unwrap();
            faults.named.iter_mut().for_each(|name| *name = name.replace(&file.name, "FILE"));
            let times = alerts.iter().map(|alert| (alert.id.to_string(), alert.received_at.to_string()));
            (times.collect::<Vec<_>>(), faults)
        };
        let (of_file, piped) = (read(&path), read(Path::new("-")));
        assert_eq!(of_file, piped);
        of_file
    }

    #[test]
    fn versions_come_in_the_order_of_their_times() {
        let (alerts, faults) = read(
            r#"[{"id": "b", "lastUpdateTime": "2026-11-24T05:00:02.5Z"}, {"id": "c", "alertCreationTime": "2026-11-24T05:00:03"},
                {"id": "d"}, {"id": "a", "lastUpdateTime": "2026-11-24T05:00:01Z"}]"#,
        );
        let expected = [("a", "1"), ("b", "2.5"), ("c", "3"), ("d", "3")];
        let expected = expected.map(|(id, second)| (id.to_owned(), format!("2026-11-24T05:00:0{second}Z")));
        assert_eq!((alerts, faults), (expected.to_vec(), Faults::default()));
        assert_eq!(read(r#"{"id": "a"}"#).0[0].1, "2026-11-24T06:00:00Z", "without any time it is now");
    }

    #[test]
    fn what_is_no_alert_is_counted_and_named_and_stops_nothing() {
        let text = "{\"id\": \"a\"}\n{\"id\": \n[]\n{\"id\": \"b\", \"machineId\": \"pc-1\"}\n{\"id\": \"c\"}\n";
        let (alerts, faults) = read(text);
        assert_eq!(alerts.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(faults.count, 3);
        insta::assert_snapshot!(faults.named.join("\n"), @r#"
        FILE: line 2: not JSON: EOF while parsing a value, at character 7
        FILE: line 3: an alert is a JSON object, not an array
        FILE: line 4: machineId: machine id "pc-1" is not 40 hex digits
        "#);
    }

    #[test]
    fn many_faults_are_counted_and_the_first_ones_named() {
        let (_, faults) = read(&"nonsense\n".repeat(50).replacen("nonsense", "{}", 1));
        assert_eq!((faults.count, faults.named.len()), (50, 10));
    }
}
