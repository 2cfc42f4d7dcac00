//! Where alerts and machine records come from: read ahead on a thread of its own, a batch at a time.
//!
//! Absent: what is made of them.

use std::collections::HashSet;
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::faults::Faults;
use super::file::AlertFile;
use crate::cli::arguments::Query;
use crate::cli::block_on;
use crate::cli::client::Client;
use crate::model::replay::{MachineRecords, PastAlert};
use crate::model::view::Page;
use crate::model::{MachineId, TenantName};

/// The rows of a file that are read at once.
const BATCH: usize = 1_000;

/// The machines that the daemon is asked for at once: what the API takes.
const MACHINES_AT_ONCE: usize = 300;

/// Alerts of one tenant or of all, and who is asked about their machines.
pub(super) struct Feed {
    pub alerts: Alerts,
    /// The daemon that is asked for machine records.
    pub records_of: Option<Client>,
}

/// Where alerts come from.
pub(super) enum Alerts {
    /// A daemon's store.
    Stored { daemon: Client, since: Timestamp, tenant: Option<TenantName>, now: Timestamp },
    /// A file.
    File(AlertFile),
}

/// Some alerts, with what is known of their machines.
pub(super) struct Batch {
    pub alerts: Vec<PastAlert<Map<String, Value>>>,
    /// Records that no batch had before.
    pub records: Vec<(TenantName, MachineRecords<Box<RawValue>>)>,
    pub faults: Faults,
    /// What is to be known beside, in words.
    pub note: Option<String>,
    /// The share of all alerts up to here, from 0 to 1.
    pub done: f64,
}

/// Who takes the batches, and the error after which there are no more.
pub(super) type Taker = SyncSender<anyhow::Result<Batch>>;

impl Feed {
    /// Hands all batches to `taker`, unless that goes away.
    pub(super) fn pour(mut self, taker: &Taker) {
        let poured = block_on(&mut tokio::runtime::Builder::new_current_thread(), self.pour_all(taker));
        if let Err(error) = poured {
            // Who has gone away has no need to know.
            let _ = taker.send(Err(error));
        }
    }

    async fn pour_all(&mut self, taker: &Taker) -> anyhow::Result<()> {
        let mut asked = Asked { daemon: self.records_of.take(), machines: HashSet::new() };
        match &self.alerts {
            Alerts::Stored { daemon, since, tenant, now } => {
                let (tenant, since, now) = (tenant.as_ref(), *since, *now);
                let mut pages = Pages { daemon, tenant, since, now, first: None, cursor: None };
                while let Some((alerts, done)) = pages.next().await? {
                    // Without the records of its own alerts a daemon that answers would mislead.
                    let records = asked.about(&alerts).await?;
                    if taker.send(Ok(Batch::new(alerts, records, done))).is_err() {
                        break;
                    }
                }
            }
            Alerts::File(file) => {
                let mut faults = Faults::default();
                let order = file.order(&mut faults)?;
                let mut from = 0;
                while from < order.len() || faults.count > 0 {
                    let to = from.saturating_add(BATCH).min(order.len());
                    let alerts = file.alerts(&order, from..to, &mut faults)?;
                    let (records, note) = asked.about_if_it_answers(&alerts).await;
                    let done = share(to as f64, order.len() as f64);
                    let batch =
                        Batch { faults: std::mem::take(&mut faults), note, ..Batch::new(alerts, records, done) };
                    if taker.send(Ok(batch)).is_err() {
                        break;
                    }
                    from = to;
                }
            }
        }
        Ok(())
    }
}

impl Batch {
    fn new(
        alerts: Vec<PastAlert<Map<String, Value>>>,
        records: Vec<(TenantName, MachineRecords<Box<RawValue>>)>,
        done: f64,
    ) -> Self {
        Self { alerts, records, faults: Faults::default(), note: None, done }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 1.0 }
}

/// The pages of a daemon's alerts.
struct Pages<'a> {
    daemon: &'a Client,
    tenant: Option<&'a TenantName>,
    since: Timestamp,
    now: Timestamp,
    /// When the first alert came.
    first: Option<Timestamp>,
    cursor: Option<String>,
}

impl Pages<'_> {
    async fn next(&mut self) -> anyhow::Result<Option<(Vec<PastAlert<Map<String, Value>>>, f64)>> {
        let mut query: Query = vec![("since", self.since.to_string())];
        query.extend(self.tenant.map(|tenant| ("tenant", tenant.to_string())));
        query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        let answer = self.daemon.get(&["api", "v1", "replay", "alerts"], &query).await?;
        let mut page: Page<PastAlert<Map<String, Value>>> = answer.read()?;
        // What comes while this runs is not of the period.
        page.items.retain(|alert| alert.received_at <= self.now);
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else {
            return Ok(None);
        };
        let begun = *self.first.get_or_insert(first.received_at);
        self.cursor = page.next_cursor;
        let seconds = |to: Timestamp| to.duration_since(begun).as_secs_f64();
        let done = share(seconds(last.received_at), seconds(self.now));
        Ok(Some((page.items, done)))
    }
}

/// The daemon that is asked for machine records, and what it was asked for.
struct Asked {
    daemon: Option<Client>,
    machines: HashSet<(TenantName, MachineId)>,
}

impl Asked {
    async fn about(
        &mut self,
        alerts: &[PastAlert<Map<String, Value>>],
    ) -> anyhow::Result<Vec<(TenantName, MachineRecords<Box<RawValue>>)>> {
        let Some(daemon) = &self.daemon else { return Ok(Vec::new()) };
        let mut wanted: Vec<(TenantName, Vec<MachineId>)> = Vec::new();
        for alert in alerts {
            for machine in &alert.machine_ids {
                if !self.machines.insert((alert.tenant.clone(), machine.clone())) {
                    continue;
                }
                match wanted.iter_mut().find(|(tenant, _)| *tenant == alert.tenant) {
                    Some((_, machines)) => machines.push(machine.clone()),
                    None => wanted.push((alert.tenant.clone(), vec![machine.clone()])),
                }
            }
        }
        let mut records = Vec::new();
        for (tenant, machines) in wanted {
            for machines in machines.chunks(MACHINES_AT_ONCE) {
                let ids: Vec<&str> = machines.iter().map(MachineId::as_str).collect();
                let query = vec![("tenant", tenant.to_string()), ("ids", ids.join(","))];
                let answer = daemon.get(&["api", "v1", "replay", "machines"], &query).await?;
                records.push((tenant.clone(), answer.read()?));
            }
        }
        Ok(records)
    }

    /// The same of a daemon that need not be there: then it is not asked again, and why is told.
    async fn about_if_it_answers(
        &mut self,
        alerts: &[PastAlert<Map<String, Value>>],
    ) -> (Vec<(TenantName, MachineRecords<Box<RawValue>>)>, Option<String>) {
        match self.about(alerts).await {
            Ok(records) => (records, None),
            Err(error) => {
                self.daemon = None;
                (Vec::new(), Some(format!("the daemon could not be asked for machine records: {error}")))
            }
        }
    }
}
