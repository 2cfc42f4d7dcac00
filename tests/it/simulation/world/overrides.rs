//! P7: what a human undid, stanch does not do again by itself.

use std::collections::HashMap;

use stanch::model::action::tag_of;
use stanch::model::{ActionId, Kind, RemoteStatus};

use super::{HOUR, World};

/// How long rules leave a device alone: the cooldown of a rule that names none.
const COOLDOWN: i64 = 12 * HOUR;

/// A human undid a restriction of a device.
struct Override {
    device: usize,
    at: i64,
    /// What the daemon's clock said when it was noticed: a cooldown goes by the clock.
    by_the_clock: i64,
    /// The machine action that shows it; none when an operator did it through stanch.
    shown_by: Option<String>,
    noticed: bool,
    /// The clock has said since that the cooldown was over, if only for a while.
    over: bool,
}

#[derive(Default)]
pub struct Overrides {
    all: Vec<Override>,
    /// What an operator asked for or approved, and when.
    blessed: HashMap<ActionId, i64>,
}

impl Overrides {
    /// An operator asked for a restrict, or approved it.
    pub(super) fn bless(&mut self, action: ActionId, now: i64) {
        self.blessed.insert(action, now);
    }

    /// An operator undid something through stanch, which knows it at once.
    pub(super) fn told(&mut self, device: usize, now: i64, by_the_clock: i64) {
        self.all.push(Override { device, at: now, by_the_clock, shown_by: None, noticed: true, over: false });
    }

    /// A human did something in the portal, which a machine action will show.
    pub(super) fn happened(&mut self, device: usize, now: i64, shown_by: &str) {
        let shown_by = Some(shown_by.to_owned());
        self.all.push(Override { device, at: now, by_the_clock: now, shown_by, noticed: false, over: false });
    }

    /// The clock says this now, and may be set to something else.
    pub(super) fn clock_says(&mut self, by_the_clock: i64) {
        for one in &mut self.all {
            one.over |= one.noticed && by_the_clock >= one.by_the_clock + COOLDOWN;
        }
    }

    /// What a restrict must not be sent for.
    fn against(&self, action: ActionId, device: usize, by_the_clock: i64) -> Option<&Override> {
        let blessed = self.blessed.get(&action).copied();
        self.all.iter().find(|one| {
            let in_force =
                one.noticed && !one.over && one.device == device && by_the_clock < one.by_the_clock + COOLDOWN;
            in_force && blessed.is_none_or(|blessed| blessed < one.at)
        })
    }
}

impl World<'_> {
    /// What a human did must be known once the list that shows it was read whole.
    pub(super) fn notice(&mut self, read_at: i64) {
        for one in self.overrides.all.iter_mut().filter(|one| !one.noticed) {
            let Some(row) = self.microsoft.rows.iter().find(|row| Some(&row.id) == one.shown_by.as_ref()) else {
                continue;
            };
            // Where ours came after and took effect, Microsoft's record names ours, and nobody could tell.
            let is_theirs = row.status == RemoteStatus::Cancelled && tag_of(&row.cancel_comment).is_none();
            let shows = row.kind == Kind::Release || is_theirs;
            one.noticed = shows && row.changed() <= read_at;
            one.by_the_clock = self.now + self.ahead;
        }
    }

    pub(super) fn fights_nobody(&self, action: ActionId, device: usize, kind: Kind) -> Result<(), String> {
        if kind == Kind::Release {
            return Ok(());
        }
        match self.overrides.against(action, device, self.now + self.ahead) {
            None => Ok(()),
            Some(one) => {
                let how = one.shown_by.as_ref().map_or("through stanch".to_owned(), |row| format!("by {row}"));
                let ago = (self.now - one.at) / 1_000;
                Err(format!("P7: {action} restricts device {device}, which a human released {how} {ago} s ago"))
            }
        }
    }
}
