//! Watching the demo: one line that is written anew on a terminal, a line now and then elsewhere.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::cli::output::Screen;
use crate::model::State;
use crate::simulator::Simulator;
use crate::store::{ActionFilter, StoreError};
use crate::worker::Work;

/// How often the line on a terminal is written anew.
const LIVE: Duration = Duration::from_millis(150);
/// How often a line is written elsewhere.
const PLAIN: Duration = Duration::from_secs(2);
/// Cells of the bar.
const BAR: usize = 24;

/// The demo as it is watched.
pub(super) struct Watch<'a> {
    work: &'a Work,
    simulator: &'a Simulator,
    quiet: bool,
    begun: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sight {
    undecided: u64,
    total: usize,
    waiting: usize,
    on_the_wire: usize,
    submitted: usize,
    done: usize,
    /// Open ones of devices that are switched off: Microsoft waits for them.
    offline: usize,
}

impl<'a> Watch<'a> {
    pub(super) fn new(work: &'a Work, simulator: &'a Simulator, quiet: bool) -> Self {
        Self { work, simulator, quiet, begun: Instant::now() }
    }

    /// How long it took so far.
    pub(super) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Watches until nothing is left to do, or for as long as `longest`; false in that case.
    pub(super) async fn until_contained(&mut self, screen: &mut Screen<'_>, longest: Duration) -> anyhow::Result<bool> {
        let live = screen.is_terminal() && !self.quiet;
        let mut printed: Option<Instant> = None;
        loop {
            let sight = self.look().await?;
            let contained = self.is_over(&sight);
            let over = contained || self.took() >= longest;
            let due = printed.is_none_or(|at| at.elapsed() >= if live { LIVE } else { PLAIN });
            if !self.quiet && (due || over) {
                self.print(screen, &sight, live).await?;
                printed = Some(Instant::now());
            }
            if over {
                if live {
                    writeln!(screen)?;
                }
                return Ok(contained);
            }
            tokio::time::sleep(LIVE).await;
        }
    }

    async fn look(&self) -> Result<Sight, StoreError> {
        let offline = self.simulator.offline_machines();
        let actions = self.work.store.actions(&ActionFilter::default(), None, 10_000).await?.items;
        let mut sight =
            Sight { undecided: self.work.store.undecided_count().await?, total: actions.len(), ..Sight::default() };
        for action in &actions {
            let counter = match action.state {
                State::Held | State::Queued => &mut sight.waiting,
                State::Sending | State::Uncertain => &mut sight.on_the_wire,
                State::Submitted if offline.contains(&action.machine_id) => &mut sight.offline,
                State::Submitted => &mut sight.submitted,
                _ => &mut sight.done,
            };
            *counter += 1;
        }
        Ok(sight)
    }

    /// All alerts are out and decided, and nothing is open but what waits for a device to be switched on.
    fn is_over(&self, sight: &Sight) -> bool {
        let now = crate::model::AlertTime::from_timestamp(self.work.now());
        let settle = Duration::from_secs(1);
        let out = self.simulator.all_alerts_shown_at().is_none_or(|at| at < now.saturating_sub(settle));
        out && sight.undecided == 0 && sight.total > 0 && sight.done + sight.offline == sight.total
    }

    async fn print(&self, screen: &mut Screen<'_>, sight: &Sight, live: bool) -> anyhow::Result<()> {
        let tenant = self.work.tenants.keys().next();
        let quota = match tenant {
            Some(tenant) => self.work.store.quota(tenant, &self.work.config.limits, self.work.moment()).await?,
            None => Vec::new(),
        };
        let restrict = quota.iter().find(|window| window.lane == crate::model::Lane::Restrict);
        let left = restrict.map_or(String::new(), |window| {
            format!("  quota {:>2}/{} in {}", window.remaining, window.calls, window.window)
        });
        let seconds = self.took().as_secs();
        let bar = if live { format!("{} ", bar(sight.done + sight.offline, sight.total)) } else { String::new() };
        let line = format!(
            "{:02}:{:02} {bar}restricted {:>3} of {:>3}  queued {:>3}  sending {:>2}  pending {:>3}{left}",
            seconds / 60,
            seconds % 60,
            sight.done,
            sight.total,
            sight.waiting,
            sight.on_the_wire,
            sight.submitted + sight.offline,
        );
        if live {
            write!(screen, "\r\u{1b}[K{line}")?;
        } else {
            writeln!(screen, "{line}")?;
        }
        screen.flush()?;
        Ok(())
    }
}

fn bar(done: usize, total: usize) -> String {
    let filled = (done * BAR).checked_div(total).unwrap_or(0).min(BAR);
    format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled))
}
