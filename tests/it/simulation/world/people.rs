//! What people do: in the portal, and as operators.

use stanch::model::{Kind, State};
use stanch::store::ActionFilter;

use super::super::daemon::tenant;
use super::{Happening, MINUTE, SECOND, World, machine_id, number_of, operator};

impl World<'_> {
    pub(super) fn human(&mut self, device: usize, kind: Kind) {
        let Some(row) = self.microsoft.human(self.now, device, kind, &mut self.dice) else { return };
        let id = self.microsoft.rows[row].id.clone();
        self.say(format!("a human asks for {kind} of {device}: {id}"));
        if kind == Kind::Release {
            self.overrides.happened(device, self.now, &id);
        }
    }

    pub(super) fn human_cancels(&mut self) {
        let pending = self.microsoft.rows.iter().filter(|row| !row.status.is_final());
        let pending: Vec<(String, usize, bool)> =
            pending.map(|row| (row.id.clone(), row.device, row.ours.is_some() && row.kind == Kind::Restrict)).collect();
        if pending.is_empty() {
            return;
        }
        let (id, device, is_override) = self.dice.of(&pending).clone();
        self.microsoft.cancel(self.now, &id, "by hand", &mut self.dice);
        self.say(format!("a human cancels {id}"));
        if is_override {
            self.overrides.happened(device, self.now, &id);
        }
    }

    pub(super) async fn operator(&mut self) {
        let device = self.any_device();
        let what = self.dice.between(0, 100);
        let word = match what {
            0..=34 => self.operator_releases(device).await,
            35..=49 => self.operator_restricts(device).await,
            50..=69 => self.operator_approves().await,
            70..=92 => self.operator_cancels().await,
            _ => self.operator_pauses().await,
        };
        if let Some(word) = word {
            self.say(word);
        }
    }

    // Whatever is refused is an answer too.

    async fn operator_releases(&mut self, device: usize) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        let machine = machine_id(device);
        let done = daemon.store.release_device(&tenant(), &machine, &operator(), "seen", self.clock()).await;
        if done.is_ok() {
            self.overrides.told(device, self.now, self.now + self.ahead);
        }
        Some(format!("an operator releases {device}: {done:?}"))
    }

    async fn operator_restricts(&mut self, device: usize) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        let machine = machine_id(device);
        let done =
            daemon.store.restrict_device(&tenant(), &machine, &operator(), "seen", &|_| None, self.clock()).await;
        if let Ok(id) = &done {
            self.overrides.bless(*id, self.now);
        }
        Some(format!("an operator restricts {device}: {done:?}"))
    }

    async fn operator_approves(&mut self) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        let held = ActionFilter { state: Some(State::Held), ..ActionFilter::default() };
        let page = daemon.store.actions(&held, None, 1).await.unwrap();
        let id = page.items.first()?.id;
        let done = daemon.store.approve(id, &operator(), "seen", self.clock()).await;
        if done.is_ok() {
            self.overrides.bless(id, self.now);
        }
        Some(format!("an operator approves {id}: {done:?}"))
    }

    async fn operator_cancels(&mut self) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        let page = daemon.store.actions(&ActionFilter::default(), None, 10).await.unwrap();
        let open = page.items.into_iter().find(|action| action.state.is_open())?;
        let done = daemon.store.cancel(open.id, &operator(), "seen", self.clock()).await;
        if done.is_ok() && open.kind == Kind::Restrict {
            self.overrides.told(number_of(&open.machine_id), self.now, self.now + self.ahead);
        }
        Some(format!("an operator cancels {}: {done:?}", open.id))
    }

    async fn operator_pauses(&mut self) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        daemon.store.pause(&operator(), "seen", self.clock()).await.unwrap();
        let wait = self.dice.between(SECOND, MINUTE);
        self.later(wait, Happening::Resume);
        Some("an operator pauses".to_owned())
    }

    pub(super) async fn resume(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.store.resume(&operator(), "seen", self.clock()).await.unwrap();
            self.say("an operator resumes");
        }
    }
}
