//! The promises: what must hold after every step, and what when all has come to rest.

use stanch::model::view::{AlertState, Restriction};
use stanch::model::{ActionId, By, Kind, MachineId, RemoteStatus, State};
use stanch::store::{ActionFilter, AlertFilter};

use super::super::microsoft::Row;
use super::{Broken, DAY, World, machine_id};

impl World<'_> {
    /// What must hold after every step.
    pub(super) fn hold(&mut self) -> Result<(), Broken> {
        let quota = &self.microsoft.quota;
        if quota.throttled > 0 && quota.is_ours_alone() {
            return self.broken("P4: a call of ours was throttled");
        }
        if let Some(kind) = quota.exceeded(self.now) {
            return self.broken(format!("P4: more calls of {kind} than a window has"));
        }
        let mut effective = self.microsoft.effective.iter();
        let twice = effective.find(|(id, times)| **times > 1 && !self.landed_late.contains(id));
        if let Some((id, times)) = twice {
            let what = format!("P3: {id} took effect {times} times");
            return self.broken(what);
        }
        Ok(())
    }

    /// What must hold when all has come to rest.
    pub(super) async fn rest(&mut self) -> Result<(), Broken> {
        self.summary.restricts = self.count(Kind::Restrict);
        self.summary.releases = self.count(Kind::Release);
        self.summary.throttled = self.microsoft.quota.throttled.into();
        self.every_alert_is_decided().await?;
        self.every_action_ended_as_it_did().await?;
        for device in 0..self.setting.devices {
            self.the_record_is_true(device).await?;
            if self.setting.perils.releases_must_succeed {
                self.what_was_released_is_free(device).await?;
            }
        }
        Ok(())
    }

    /// P1: no alert is forgotten.
    async fn every_alert_is_decided(&mut self) -> Result<(), Broken> {
        let Some(daemon) = &self.daemon else { return self.broken("the process never came back") };
        let known = daemon.store.alerts(&AlertFilter::default(), None, 1_000).await.unwrap().items;
        if known.len() as u64 != self.alerts {
            return self.broken(format!("P1: {} alerts came, and {} are known", self.alerts, known.len()));
        }
        let forgotten = known.iter().find(|alert| alert.state != AlertState::Decided || alert.decisions.is_empty());
        match forgotten {
            Some(alert) => self.broken(format!("P1: nothing was decided for {}", alert.id)),
            None => Ok(()),
        }
    }

    /// What Microsoft says of a machine action is what became of ours, unless it said so after we gave up.
    async fn every_action_ended_as_it_did(&mut self) -> Result<(), Broken> {
        let Some(daemon) = &self.daemon else { return self.broken("the process never came back") };
        let actions = daemon.store.actions(&ActionFilter::default(), None, 1_000).await.unwrap().items;
        let longest = self.followed_for();
        for action in actions {
            let Some(followed) = &action.machine_action else { continue };
            let Some(row) = self.microsoft.rows.iter().find(|row| row.id == followed.id.as_str()) else {
                return self.broken(format!("{} follows {}, which never was", action.id, followed.id));
            };
            let is_same = match row.status {
                RemoteStatus::Succeeded => action.state == State::Succeeded,
                RemoteStatus::Failed => action.state == State::Failed,
                RemoteStatus::TimeOut => action.state == State::TimedOut,
                RemoteStatus::Cancelled => action.state == State::Cancelled,
                _ => false,
            };
            let took = if row.status.is_final() { row.changed() } else { self.now } - row.created;
            if !is_same && took < longest {
                return self.broken(format!("{} is {}, and its {} {}", action.id, action.state, row.id, row.status));
            }
        }
        Ok(())
    }

    /// What stanch says of a device is what Microsoft says, and what the device is, unless nobody can say.
    async fn the_record_is_true(&mut self, device: usize) -> Result<(), Broken> {
        let Some(daemon) = &self.daemon else { return self.broken("the process never came back") };
        let views = daemon.store.device(&machine_id(device), None).await.unwrap();
        let known = views.first().is_some_and(|view| view.restriction == Restriction::Restricted);
        let listed = self.microsoft.says_restricted(device);
        if known != listed {
            return self.broken(format!("device {device}: the list says restricted {listed}, stanch says {known}"));
        }
        let real = self.microsoft.carried_out(device, self.now).is_some_and(|row| row.kind == Kind::Restrict);
        if real != known && !self.is_unclear(device) {
            return self.broken(format!("device {device}: it is restricted {real}, stanch says {known}"));
        }
        Ok(())
    }

    /// Whether what came last on a device is nothing that anybody could tell the end of.
    fn is_unclear(&self, device: usize) -> bool {
        let rows = self.microsoft.rows.iter().rev().filter(|row| row.device == device);
        rows.take_while(|row| row.status != RemoteStatus::Succeeded).any(|row| row.is_unclear())
    }

    /// P6: a restriction of ours ends with its expiry and with its release, whatever became of them on the way.
    async fn what_was_released_is_free(&mut self, device: usize) -> Result<(), Broken> {
        let Some(row) = self.microsoft.carried_out(device, self.now).filter(|row| row.kind == Kind::Restrict) else {
            return Ok(());
        };
        let Some(restrict) = row.ours else { return Ok(()) };
        if self.a_human_wants_it(device) || self.another_of_ours_wants_it(device, restrict).await {
            return Ok(());
        }
        let Some(daemon) = &self.daemon else { return self.broken("the process never came back") };
        let view = daemon.store.action(restrict).await.unwrap().unwrap();
        if view.expires_at.is_some_and(|expires_at| expires_at <= self.clock()) {
            return self.broken(format!("P6: device {device} is restricted by {restrict}, which has expired"));
        }
        let released =
            self.releases(&view.machine_id).await.into_iter().find(|(id, ..)| id.to_string() > restrict.to_string());
        match released {
            // Joined since by a rule without an end.
            Some((_, by, _)) if by == By::Stanch.to_string() && view.expires_at.is_none() => Ok(()),
            Some((_, _, state)) => {
                self.broken(format!("P6: device {device} is restricted by {restrict}, whose release is {state}"))
            }
            None => Ok(()),
        }
    }

    /// For how long a machine action is surely followed: by the clock, which may have been set.
    pub(super) fn followed_for(&self) -> i64 {
        let jumps = if self.setting.perils.clock_jumps { 2 * DAY } else { 0 };
        self.setting.tracking.give_up_after.millis() - jumps
    }

    /// Whether a human has restricted the device too since it was last released.
    fn a_human_wants_it(&self, device: usize) -> bool {
        let done =
            self.microsoft.rows.iter().filter(|row| row.device == device && row.status == RemoteStatus::Succeeded);
        let released = done.clone().filter(|row| row.kind == Kind::Release).map(Row::changed).max().unwrap_or(0);
        done.into_iter().any(|row| row.kind == Kind::Restrict && row.ours.is_none() && row.changed() > released)
    }

    /// Whether a later restrict of ours holds, that no release came after.
    async fn another_of_ours_wants_it(&self, device: usize, restrict: ActionId) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let of_device =
            ActionFilter { device: Some(machine_id(device).as_str().to_owned()), ..ActionFilter::default() };
        let page = daemon.store.actions(&of_device, None, 200).await.unwrap();
        let newest = |kind: Kind| {
            let ended = page.items.iter().filter(|action| action.kind == kind && action.state == State::Succeeded);
            ended.map(|action| action.id.to_string()).max().unwrap_or_default()
        };
        newest(Kind::Restrict) > restrict.to_string() && newest(Kind::Restrict) > newest(Kind::Release)
    }

    /// The releases of a device that were not taken back, by whom, and what became of them. Ids are in true order,
    /// whatever the daemon's clock was set to.
    async fn releases(&self, machine: &MachineId) -> Vec<(ActionId, String, State)> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let of_device = ActionFilter {
            kind: Some(Kind::Release),
            device: Some(machine.as_str().to_owned()),
            ..ActionFilter::default()
        };
        let page = daemon.store.actions(&of_device, None, 200).await.unwrap();
        let kept = page.items.into_iter().filter(|action| action.state != State::Cancelled);
        kept.map(|action| (action.id, action.history[0].by.clone(), action.state)).collect()
    }

    fn count(&self, kind: Kind) -> u64 {
        let done = self.microsoft.rows.iter().filter(|row| row.kind == kind && row.status == RemoteStatus::Succeeded);
        done.filter(|row| row.ours.is_some()).count() as u64
    }
}
