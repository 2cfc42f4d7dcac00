//! `doctor`: whether a daemon with this config would work, before the first alert comes.
//!
//! What is on this machine (`local`), then each tenant, one after the other (`tenant`); every line is
//! printed when it is known (`report`). It only looks: nothing is written to the store, and the few calls
//! that it makes of each tenant, one for each list and one at the other endpoint (`endpoint`), take no slot of
//! the quota kept there, so that it runs with or without a daemon beside it. Absent: any repair.

mod clock;
mod endpoint;
mod local;
mod report;
mod tenant;

use self::clock::Skew;
use super::arguments::Global;
use super::check::readable;
use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{block_on, screen};
use crate::clock::Clock;
use crate::config::{self, Config};
use report::Report;

/// Exit 0 when all is well, 1 with a finding; a config that can not be read leaves nothing to look at: 2.
pub(super) fn run(global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let file = global.config_file();
    readable(file)?;
    let loaded = config::load(file, &(around.variables)());
    let clock = around.clock;
    let mut report = Report::new(screen(around.out, around.out_terminal), global.json);
    let config = local::config(file, loaded, &mut report)?;
    if let Some(config) = config {
        block_on(&mut tokio::runtime::Builder::new_current_thread(), examine(&config, clock, &mut report))?;
    }
    report.finish()
}

async fn examine(config: &Config, clock: &dyn Clock, report: &mut Report<'_>) -> anyhow::Result<()> {
    local::rules(config, clock.now(), report)?;
    local::store(config, report).await?;
    let mut skew = Skew::new(clock);
    for tenant in &config.tenants {
        tenant::examine(tenant, config, &mut skew, report).await?;
    }
    skew.conclude(report)?;
    Ok(())
}
