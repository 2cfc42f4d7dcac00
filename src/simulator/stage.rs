//! What tests and the demo can do to the world behind the API's back, and what they can ask about it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::model::{AlertTime, MachineActionId, MachineId, Window};

use super::assertion::{CertificateFormError, Federation, Registered};
use super::faults::{Fault, Target};
use super::ledger::{ActionSeen, Ledger};
use super::moment::after;
use super::progress::{ActionType, Cancellation, MachineAction, Requested, Status};
use super::quota::Account;
use super::records::{self, RecordError};
use super::route::Api;
use super::service::Service;
use super::token::Tokens;
use super::{Duplicates, Simulator};

/// The person that the portal's actions are by.
const ANALYST: &str = "analyst@corp.example";

/// Machines and alerts.
impl Simulator {
    /// Adds a machine, or replaces the one with that id. Keys that `record` lacks get the values of an
    /// onboarded Windows 11 workstation.
    ///
    /// # Errors
    /// When `record` is no object, its `id` no machine id, or the simulator is full.
    pub fn add_machine(&self, record: Value) -> Result<MachineId, RecordError> {
        self.with(|service, now| {
            let (id, record) = records::machine(record, now, &mut service.rng)?;
            service.world.put_machine(id.clone(), record)?;
            Ok(id)
        })
    }

    /// Sets the keys of `patch` on a machine. Says whether there is such a machine.
    pub fn set_machine(&self, id: &MachineId, patch: &Value) -> bool {
        self.with(|service, _| {
            let Some(machine) = service.world.machine_mut(id) else { return false };
            if let (Value::Object(record), Value::Object(patch)) = (&mut machine.record, patch) {
                record.extend(patch.clone());
            }
            true
        })
    }

    /// Takes a machine out of the world. Says whether it was there.
    pub fn remove_machine(&self, id: &MachineId) -> bool {
        self.with(|service, _| service.world.remove_machine(id))
    }

    /// Takes a machine off the network or back on. What is open on it waits for the time-out, or goes on.
    pub fn set_offline(&self, id: &MachineId, offline: bool) {
        self.with(|service, now| {
            let changed = service.world.machine_mut(id).is_some_and(|machine| {
                let changed = machine.offline != offline;
                machine.offline = offline;
                changed
            });
            if changed {
                service.plan_anew(id, offline, now);
            }
        });
    }

    /// Adds an alert, or a version of one, and gives its id. Keys that it lacks get values of their own, times
    /// among them; null keys stay null. It shows up at its `lastUpdateTime`, or [`super::Options::late_by`]
    /// after it if it meets [`Fault::LateAlert`].
    ///
    /// # Errors
    /// [`RecordError::Full`] when the simulator is full.
    pub fn add_alert(&self, alert: Value) -> Result<String, RecordError> {
        self.with(|service, now| {
            let late = service.faults.for_record(Fault::LateAlert, Api::Alerts, "", &mut service.rng);
            let lateness = if late { service.pace().scaled(service.options.late_by) } else { Duration::ZERO };
            add_alert(service, alert, lateness, now)
        })
    }

    /// The same, but it shows up `lateness` after its `lastUpdateTime` and not before `lateness` from now.
    ///
    /// # Errors
    /// [`RecordError::Full`] when the simulator is full.
    pub fn add_late_alert(&self, alert: Value, lateness: Duration) -> Result<String, RecordError> {
        self.with(|service, now| add_alert(service, alert, lateness, now))
    }

    /// Adds a row to the alert list exactly as it is, whatever it is.
    ///
    /// # Errors
    /// [`RecordError::Full`] when the simulator is full.
    pub fn add_raw_alert(&self, row: Value) -> Result<(), RecordError> {
        self.with(|service, now| service.world.add_alert(row, now))
    }

    /// The record of every machine.
    #[must_use]
    pub fn machines(&self) -> Vec<Value> {
        self.with(|service, _| service.world.machines().values().map(|machine| machine.record.clone()).collect())
    }

    /// The id of every machine, in order.
    #[must_use]
    pub fn machine_ids(&self) -> Vec<MachineId> {
        self.with(|service, _| service.world.machines().keys().cloned().collect())
    }

    /// The machines that are off the network.
    #[must_use]
    pub fn offline_machines(&self) -> BTreeSet<MachineId> {
        self.with(|service, _| {
            let machines = service.world.machines().iter();
            machines.filter(|(_, machine)| machine.offline).map(|(id, _)| id.clone()).collect()
        })
    }

    /// Every row of the alert list, repeats and older versions among them, whether it shows up yet or not.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.with(|service, _| service.world.alerts().cloned().collect())
    }

    /// When the last alert shows up; `None` without alerts.
    #[must_use]
    pub fn all_alerts_shown_at(&self) -> Option<AlertTime> {
        self.with(|service, _| service.world.all_shown_at())
    }
}

fn add_alert(service: &mut Service, alert: Value, lateness: Duration, now: AlertTime) -> Result<String, RecordError> {
    let record = records::alert(alert, now, &mut service.rng);
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let id = text("id").unwrap_or_default().to_owned();
    let updated = text("lastUpdateTime").and_then(|text| AlertTime::parse(text).ok());
    let shown = if lateness.is_zero() { now } else { after(updated.map_or(now, |at| at.max(now)), lateness) };
    service.world.add_alert(record, shown)?;
    Ok(id)
}

/// Machine actions.
impl Simulator {
    /// An analyst restricts a machine in the portal. The action has `status` at once; `Pending` and
    /// `InProgress` mean that it goes on as any other.
    pub fn human_restrict(&self, machine: &MachineId, status: Status) -> MachineActionId {
        self.human(machine, ActionType::Restrict, status)
    }

    /// An analyst releases a machine in the portal, likewise.
    pub fn human_release(&self, machine: &MachineId, status: Status) -> MachineActionId {
        self.human(machine, ActionType::Release, status)
    }

    fn human(&self, machine: &MachineId, action: ActionType, status: Status) -> MachineActionId {
        self.with(|service, now| {
            let (comment, by) = ("Decided by the analyst on duty".to_owned(), ANALYST.to_owned());
            let lag = service.options.list_lag;
            let id = service.make(machine, action, comment, by, Requested::Portal, lag, now);
            if status.is_final()
                && let Some(row) = service.actions.get_mut(id.as_str())
            {
                row.end(status, now);
            }
            id
        })
    }

    /// An analyst cancels a machine action in the portal. Says whether it was open.
    pub fn human_cancel(&self, id: &MachineActionId) -> bool {
        self.with(|service, now| {
            let Some(row) = service.actions.get_mut(id.as_str()) else { return false };
            if row.status(now).is_final() {
                return false;
            }
            row.end(Status::Cancelled, now);
            let comment = "Cancelled in the portal".to_owned();
            row.cancellation = Some(Cancellation { by: ANALYST.to_owned(), comment, at: now });
            true
        })
    }

    /// Ends a machine action with a final status, whatever was planned and whether progress is held or not.
    /// Says whether there is such an action.
    pub fn finish(&self, id: &MachineActionId, status: Status) -> bool {
        self.with(|service, now| {
            let row = service.actions.get_mut(id.as_str());
            row.map(|row| row.end(status, now)).is_some()
        })
    }

    /// Ends every open machine action of a machine, and gives their ids.
    pub fn finish_all(&self, machine: &MachineId, status: Status) -> Vec<MachineActionId> {
        self.with(|service, now| {
            let open = service.actions.of(machine).filter(|row| !row.status(now).is_final());
            let ids: Vec<_> = open.map(|row| row.id.clone()).collect();
            for id in &ids {
                if let Some(row) = service.actions.get_mut(id.as_str()) {
                    row.end(status, now);
                }
            }
            ids
        })
    }

    /// Lets the device carry a machine action out although its status says otherwise (after a time-out or a
    /// cancellation). Says whether there is such an action.
    pub fn carry_out(&self, id: &MachineActionId) -> bool {
        self.with(|service, now| {
            let row = service.actions.get_mut(id.as_str());
            row.map(|row| row.carried_out = Some(now)).is_some()
        })
    }

    /// While held, every open machine action stays as it is until it is finished by hand.
    pub fn hold_progress(&self, hold: bool) {
        self.with(|service, now| service.actions.hold(hold, now));
    }

    /// Adds a row to the machine-action list exactly as it is, whatever it is.
    pub fn add_raw_machine_action(&self, row: Value) {
        self.with(|service, _| service.actions.add_raw(row));
    }

    /// The record of a machine action, whether it can be read yet or not.
    #[must_use]
    pub fn machine_action(&self, id: &MachineActionId) -> Option<Value> {
        self.with(|service, now| service.actions.get(id.as_str()).map(|row| row.record(now)))
    }

    /// The records of every machine action of a machine, oldest first.
    #[must_use]
    pub fn machine_actions(&self, machine: &MachineId) -> Vec<Value> {
        self.with(|service, now| service.actions.of(machine).map(|row| row.record(now)).collect())
    }
}

/// The service itself.
impl Simulator {
    /// Sets the probability of a fault, from 0 to 1.
    pub fn set_fault(&self, fault: Fault, probability: f64) {
        self.with(|service, _| service.faults.set(fault, probability));
    }

    /// Orders a fault for the next call that fits, and for that one only. Orders queue up.
    ///
    /// [`Fault::ListLag`] and [`Fault::CancelTooLate`] befall the next call that makes or cancels an action,
    /// and [`Fault::LateAlert`], with [`Api::Alerts`], the next alert that is added.
    pub fn next_fault(&self, target: impl Into<Target>, fault: Fault) {
        let target = target.into();
        self.with(|service, _| service.faults.order(target, fault));
    }

    /// Lets every call that fits meet a fault, or none any more: a device whose group is closed to the application,
    /// for example. One that was ordered goes first.
    pub fn standing_fault(&self, target: impl Into<Target>, fault: Option<Fault>) {
        let target = target.into();
        self.with(|service, _| service.faults.stand(target, fault));
    }

    /// Sets the quota of one API.
    pub fn set_quota(&self, api: Api, windows: Vec<Window>) {
        self.with(|service, _| service.quota.set(api, windows));
    }

    /// Sets how many rows a query may skip.
    pub fn set_most_skipped(&self, rows: usize) {
        self.with(|service, _| service.options.most_skipped = rows);
    }

    /// Sets how long each call takes.
    pub fn set_latency(&self, latency: Duration) {
        self.with(|service, _| service.options.latency = latency);
    }

    /// Sets how long new machine actions cannot be read.
    pub fn set_list_lag(&self, lag: Duration) {
        self.with(|service, _| service.options.list_lag = lag);
    }

    /// Sets what a duplicate is answered with.
    pub fn set_duplicates(&self, duplicates: Duplicates) {
        self.with(|service, _| service.options.duplicates = duplicates);
    }

    /// From now on only clients that were accepted get tokens, this one with this secret. Without a call of
    /// this or one of the next two, any client and any proof that are not empty do.
    pub fn accept_client(&self, client: &str, secret: &str) {
        self.with(|service, _| service.login.accept(client, secret));
    }

    /// The same with an assertion that is signed with the key of this certificate, beside what it was
    /// accepted with before.
    ///
    /// # Errors
    /// [`CertificateFormError`] when it is no X.509 certificate in DER form.
    pub fn accept_certificate(&self, client: &str, der: &[u8]) -> Result<(), CertificateFormError> {
        let registered = Registered::new(der)?;
        self.with(|service, _| service.login.accept_certificate(client, registered));
        Ok(())
    }

    /// The same with a token of another identity provider.
    pub fn accept_federation(&self, client: &str, federation: Federation) {
        self.with(|service, _| service.login.accept_federation(client, federation));
    }

    /// Gives the machine that asks `/metadata/identity/oauth2/token` a managed identity, beside those that it
    /// has. Without a call of this it has none.
    pub fn assign_identity(&self, tenant: &str, client: &str) {
        let account = Account { tenant: tenant.to_owned(), client: client.to_owned() };
        self.with(|service, _| service.login.assign(account));
    }

    /// Sets how tokens are issued from now on.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.with(|service, _| service.options.tokens = tokens);
    }

    /// Makes every token that is out invalid.
    pub fn revoke_tokens(&self) {
        self.with(|service, _| service.login.revoke_all());
    }

    /// The ledger as it stands now.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.with(|service, now| ledger(service, now))
    }
}

fn ledger(service: &Service, now: AlertTime) -> Ledger {
    let seen = |row: &MachineAction| ActionSeen {
        id: row.id.clone(),
        action: row.action,
        machine_id: row.machine_id.clone(),
        status: row.status(now),
        requested: row.requested,
        comment: row.comment.clone(),
        created: row.created,
        may_reach: row.may_reach(now),
    };
    Ledger {
        calls: service.book.calls().cloned().collect(),
        dropped: service.book.dropped(),
        actions: service.actions.rows().iter().map(seen).collect(),
        restricted: service.actions.restricted(now),
    }
}
