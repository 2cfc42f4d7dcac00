//! P4: while a lane is paused nothing is sent, and then one call probes it.
//!
//! What the daemon may do follows from the answers that it was given, so it is told here from those alone.

use std::collections::HashMap;

use stanch::model::Kind;
use stanch::store::LaneTrouble;

use super::SECOND;
use super::wire::TIME_OUT;

/// The least that is waited when a 429 does not say how long.
const SHORTEST: i64 = 15 * SECOND;
/// The least that is waited after a probe without an answer.
const SHORTEST_SILENT: i64 = 5 * SECOND;

#[derive(Default)]
pub struct Pauses(HashMap<Kind, Pause>);

struct Pause {
    /// Nothing may be sent before.
    until: i64,
    probe: Option<Probe>,
}

struct Probe {
    flight: u64,
    sent: i64,
}

impl Pauses {
    /// A call is sent; what it should not have been.
    pub(super) fn sent(&mut self, kind: Kind, flight: u64, now: i64) -> Result<(), String> {
        let Some(pause) = self.0.get_mut(&kind) else { return Ok(()) };
        if now < pause.until {
            return Err(format!("P4: a {kind} is sent {} ms before its lane's pause ends", pause.until - now));
        }
        if pause.probe.as_ref().is_some_and(|probe| now < probe.sent + TIME_OUT) {
            return Err(format!("P4: a second {kind} probes a paused lane"));
        }
        pause.probe = Some(Probe { flight, sent: now });
        Ok(())
    }

    /// The daemon hears what came of a call.
    pub(super) fn heard(&mut self, kind: Kind, flight: u64, trouble: &LaneTrouble, now: i64) {
        let is_probe =
            self.0.get(&kind).and_then(|pause| pause.probe.as_ref()).is_some_and(|probe| probe.flight == flight);
        match trouble {
            LaneTrouble::Throttled(after) => {
                let wait = after.map_or(SHORTEST, |after| i64::try_from(after.as_millis()).unwrap());
                let running = self.0.get(&kind).map(|pause| pause.until).filter(|&until| until > now && !is_probe);
                let until = running.map_or(now + wait, |running| running.max(now + wait));
                self.0.insert(kind, Pause { until, probe: None });
            }
            _ if !is_probe => {}
            LaneTrouble::None => {
                self.0.remove(&kind);
            }
            LaneTrouble::NeverSent => {
                self.0.insert(kind, Pause { until: now, probe: None });
            }
            _ => {
                self.0.insert(kind, Pause { until: now + SHORTEST_SILENT, probe: None });
            }
        }
    }

    /// The process ends: nobody hears of its probes, which may still arrive until they time out.
    pub(super) fn crash(&mut self) {
        for pause in self.0.values_mut() {
            if let Some(probe) = pause.probe.take() {
                pause.until = pause.until.max(probe.sent + TIME_OUT);
            }
        }
    }
}
