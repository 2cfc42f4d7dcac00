//! What people do: in the portal, and as operators.

use stanch::model::{ActionId, State};
use stanch::store::ActionFilter;

use super::super::daemon::tenant;
use super::{Happening, MINUTE, SECOND, World, at, machine_id, operator};

impl World<'_> {
    pub(super) fn human_cancels(&mut self) {
        let pending: Vec<String> =
            self.microsoft.rows.iter().filter(|row| !row.status.is_final()).map(|row| row.id.clone()).collect();
        if pending.is_empty() {
            return;
        }
        let id = self.dice.of(&pending).clone();
        self.microsoft.cancel(self.now, &id);
        self.say(format!("a human cancels {id}"));
    }

    pub(super) async fn operator(&mut self) {
        let device = machine_id(self.any_device());
        let what = self.dice.between(0, 100);
        let Some(daemon) = &self.daemon else { return };
        let (store, by, now) = (&daemon.store, operator(), at(self.now));
        let open = self.open_actions().await;
        // Whatever is refused is an answer too.
        let word = match what {
            0..=34 => {
                let done = store.release_device(&tenant(), &device, &by, "seen", now).await;
                format!("an operator releases {device}: {done:?}")
            }
            35..=49 => {
                let done = store.restrict_device(&tenant(), &device, &by, "seen", &|_| None, now).await;
                format!("an operator restricts {device}: {done:?}")
            }
            50..=69 => match open.iter().find(|(_, state)| *state == State::Held) {
                Some((id, _)) => format!("an operator approves {id}: {:?}", store.approve(*id, &by, "seen", now).await),
                None => "an operator finds nothing to approve".to_owned(),
            },
            70..=92 => match open.first() {
                Some((id, _)) => format!("an operator cancels {id}: {:?}", store.cancel(*id, &by, "seen", now).await),
                None => "an operator finds nothing to cancel".to_owned(),
            },
            _ => {
                store.pause(&by, "seen", now).await.unwrap();
                let wait = self.dice.between(SECOND, MINUTE);
                self.later(wait, Happening::Resume);
                "an operator pauses".to_owned()
            }
        };
        self.say(word);
    }

    pub(super) async fn resume(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.store.resume(&operator(), "seen", at(self.now)).await.unwrap();
            self.say("an operator resumes");
        }
    }

    pub(super) async fn open_actions(&self) -> Vec<(ActionId, State)> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let page = daemon.store.actions(&ActionFilter::default(), None, 200).await.unwrap();
        page.items.into_iter().filter(|action| action.state.is_open()).map(|action| (action.id, action.state)).collect()
    }
}
