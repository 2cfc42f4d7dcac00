//! The figures that people ask for, each beside what it is held against. Run it with `cargo bench --bench figures`; with
//! `TENTH=1` in the environment a tenth is measured, and `FIGURES=rows,intake` chooses.
//!
//! It fails when a promise is broken: a 429 of our own making, a call that came twice or not at all, a drain in
//! virtual time that is too slow. What depends on the machine is only printed, and marked when it is missed.

// What the measurements need they may insist on, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

mod drain;
mod intake;
mod latency;
mod process;
mod rows;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod work;

use std::process::ExitCode;

/// What was printed, and whether a promise was broken.
#[derive(Default)]
pub struct Figures {
    broken: bool,
}

impl Figures {
    fn print(figure: &str, measured: &str, against: &str, note: &str) {
        println!("{figure:<62} {measured:>14}   {against:<12}{note}");
    }

    /// What is at most `most` on a machine that is fast enough.
    pub fn at_most(&mut self, figure: &str, measured: f64, most: f64, unit: Unit) {
        let note = if measured > most { "MISSED" } else { "" };
        Self::print(figure, &unit.show(measured), &format!("≤ {}", unit.show(most)), note);
    }

    /// What is at least `least` on a machine that is fast enough.
    pub fn at_least(&mut self, figure: &str, measured: f64, least: f64, unit: Unit) {
        let note = if measured < least { "MISSED" } else { "" };
        Self::print(figure, &unit.show(measured), &format!("≥ {}", unit.show(least)), note);
    }

    /// What is at most `most` on any machine.
    pub fn promise(&mut self, figure: &str, measured: f64, most: f64, unit: Unit) {
        self.broken |= measured > most;
        let note = if measured > most { "BROKEN" } else { "" };
        Self::print(figure, &unit.show(measured), &format!("≤ {}", unit.show(most)), note);
    }

    /// What is told for comparison.
    pub fn tell(&mut self, figure: &str, measured: f64, unit: Unit) {
        Self::print(figure, &unit.show(measured), "", "");
    }
}

/// How a number is shown.
#[derive(Clone, Copy)]
pub enum Unit {
    Count,
    Ratio,
    Millis,
    MiB,
    PerSecond,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{value:.4}"),
            Self::Millis => format!("{value:.2} ms"),
            Self::MiB => format!("{value:.1} MiB"),
            Self::PerSecond => format!("{value:.0} /s"),
        }
    }
}

/// Of so many measurements, the one that `percent` of them do not exceed.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = (values.len() - 1) as f64;
    values[(last * percent / 100.0).round() as usize]
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut figures = Figures::default();
    Figures::print("figure", "measured", "held against", "");
    let chosen = std::env::var("FIGURES").unwrap_or_default();
    let wanted = |name: &str| chosen.is_empty() || chosen.split(',').any(|one| one == name);
    runtime.block_on(async {
        if wanted("process") {
            process::ready(&mut figures).await;
            process::idle(&mut figures).await;
        }
        if wanted("drain") {
            drain::in_virtual_time(&mut figures).await;
            drain::over_loopback(&mut figures).await;
        }
        if wanted("latency") {
            latency::alert_to_post(&mut figures).await;
        }
        if wanted("intake") {
            intake::through_the_store(&mut figures).await;
            intake::through_the_webhook(&mut figures).await;
            intake::behind_a_backlog(&mut figures).await;
        }
        if wanted("rows") {
            rows::a_million(&mut figures).await;
        }
    });
    if figures.broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
