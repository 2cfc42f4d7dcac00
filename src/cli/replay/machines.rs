//! Machine records, from a file or from the daemon, kept as text until a device is asked about.
//!
//! Merged records are followed as the daemon follows them (see [`crate::store`]).

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::faults::{Faults, not_json};
use super::rows::{MOST_ROW_BYTES, Rows};
use crate::model::machine::Platform;
use crate::model::{Machine, MachineId, TenantName};

/// Merged records are followed so far.
const MOST_MERGES: usize = 5;

/// Machine records, by tenant and id; those of a file are of every tenant.
#[derive(Debug, Default)]
pub(super) struct Machines {
    records: HashMap<(Option<TenantName>, MachineId), Record>,
    /// The onboarded, unmerged machines of a file.
    in_file: Option<u64>,
    /// The same, as the daemon has counted them.
    fleets: HashMap<TenantName, Option<u64>>,
}

#[derive(Debug)]
enum Record {
    Text(Box<str>),
    Machine(Arc<Machine>),
}

#[derive(Deserialize)]
struct Named {
    id: MachineId,
}

impl Machines {
    /// The machine records in a file.
    ///
    /// # Errors
    /// When it can not be read, or is no JSON.
    pub(super) fn of_file(path: &Path, faults: &mut Faults) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("can not read {name}"))?;
        let mut rows = Rows::new(file).with_context(|| name.clone())?;
        let (unit, mut machines, mut fleet, mut bytes) = (rows.unit(), Self::default(), 0, Vec::new());
        while let Some(row) = rows.next(&mut bytes).with_context(|| format!("can not read {name}"))? {
            let read = if row.is_too_long() {
                Err(format!("longer than {} MiB", MOST_ROW_BYTES >> 20))
            } else {
                serde_json::from_slice(&bytes).map_err(|error| not_json(&error))
            };
            let machine = read.and_then(|record| {
                Machine::from_record(record)
                    .ok_or_else(|| "no machine record: it has no id of 40 hex digits".to_owned())
            });
            match machine {
                Ok(machine) => {
                    fleet += u64::from(machine.is_onboarded() && machine.merged_into().is_none());
                    let text = String::from_utf8_lossy(&bytes).trim().into();
                    machines.records.insert((None, machine.id().clone()), Record::Text(text));
                }
                Err(reason) => faults.add(|| format!("{name}: {unit} {}: {reason}", row.number)),
            }
        }
        if let Some(fault) = rows.fault() {
            faults.add(|| format!("{name}: {fault}"));
        }
        Ok(Self { in_file: Some(fleet), ..machines })
    }

    /// Keeps what the daemon has of a tenant.
    pub(super) fn add(&mut self, tenant: &TenantName, records: Vec<Box<RawValue>>, fleet: Option<u64>) {
        self.fleets.insert(tenant.clone(), fleet);
        for record in records {
            if let Ok(Named { id }) = serde_json::from_str(record.get()) {
                self.records.insert((Some(tenant.clone()), id), Record::Text(record.get().into()));
            }
        }
    }

    /// The onboarded, unmerged devices of a tenant, where they are counted.
    pub(super) fn fleet(&self, tenant: &TenantName) -> Option<u64> {
        self.in_file.or_else(|| self.fleets.get(tenant).copied().flatten())
    }

    /// The device that rules are asked about, of a merged record its target, and its record, when there is
    /// one that names a platform.
    pub(super) fn knowledge(&mut self, tenant: &TenantName, machine: &MachineId) -> (MachineId, Option<Arc<Machine>>) {
        let mut id = machine.clone();
        for _ in 0..=MOST_MERGES {
            let Some(machine) = self.machine(tenant, &id) else {
                return (id, None);
            };
            match machine.merged_into() {
                Some(target) => id = target,
                None => return (id, Some(machine).filter(|machine| machine.platform() != Platform::Unknown)),
            }
        }
        // A cycle is no record.
        (machine.clone(), None)
    }

    fn machine(&mut self, tenant: &TenantName, id: &MachineId) -> Option<Arc<Machine>> {
        let of_file = (None, id.clone());
        let key = if self.records.contains_key(&of_file) { of_file } else { (Some(tenant.clone()), id.clone()) };
        let record = self.records.get_mut(&key)?;
        let machine = match record {
            Record::Machine(machine) => return Some(Arc::clone(machine)),
            Record::Text(text) => Arc::new(Machine::from_record(serde_json::from_str(text).ok()?)?),
        };
        *record = Record::Machine(Arc::clone(&machine));
        Some(machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> MachineId {
        MachineId::new(&format!("{n:040x}")).unwrap()
    }

    fn of(text: &str) -> (Machines, Faults) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machines");
        std::fs::write(&path, text).unwrap();
        let mut faults = Faults::default();
        (Machines::of_file(&path, &mut faults).unwrap(), faults)
    }

    #[test]
    fn a_merged_record_is_followed_and_a_cycle_is_no_record() {
        let mut lines = String::new();
        let mut merged = |from: u8, into: u8| {
            lines += &format!(
                "{{\"id\": \"{}\", \"osPlatform\": \"Windows11\", \"mergedIntoMachineId\": \"{}\"}}\n",
                id(from),
                id(into)
            );
        };
        merged(1, 2);
        merged(2, 3);
        merged(4, 5);
        merged(5, 4);
        lines += &format!("{{\"id\": \"{}\", \"osPlatform\": \"Windows11\"}}\n{{\"id\": \"{}\"}}\n", id(3), id(6));
        let (mut machines, faults) = of(&lines);
        let tenant = TenantName::new("contoso").unwrap();
        let mut knows = |n| {
            let (found, machine) = machines.knowledge(&tenant, &id(n));
            (found, machine.is_some())
        };
        assert_eq!(knows(1), (id(3), true));
        assert_eq!(knows(4), (id(4), false));
        assert_eq!(knows(6), (id(6), false), "a record without a platform is none");
        assert_eq!(knows(7), (id(7), false));
        assert_eq!(faults, Faults::default());
        assert_eq!(machines.fleet(&tenant), Some(2), "of six records four were merged");
    }

    #[test]
    fn a_page_of_the_api_is_read_and_what_is_no_record_is_named() {
        let (machines, faults) = of(&format!(r#"{{"value": [{{"id": "{}"}}, {{"id": "pc-1"}}, 7]}}"#, id(1)));
        assert_eq!((machines.records.len(), faults.count), (1, 2));
        assert!(faults.named[0].contains("row 2"), "{faults:?}");
    }
}
