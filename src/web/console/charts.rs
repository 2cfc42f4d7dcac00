//! Charts that the server draws: alerts and actions over time, and the time from alert to restriction.
//!
//! A chart is made of rectangles in a drawing that is stretched to the width there is, with its words beside it as
//! text, and its numbers in a table below: it needs no script, and nobody has to see it to know what it says. Colours
//! are the style sheet's. Absent: SQL ([`crate::store::Stretches`]).

mod draw;
#[cfg(test)]
mod tests;

use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;

use super::layout::span;
use crate::store::{StoreError, Stretch, Stretches, SubmitTimes};
use crate::web::Web;
use draw::{Chart, Column, Mark, Scale};

/// How far back charts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reach {
    /// Minute by minute.
    Hour,
    /// By quarters of an hour.
    #[default]
    Day,
    /// By two hours.
    Week,
}

impl Reach {
    /// Each, the shortest first.
    pub(super) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// The word for it in an address.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Hour => "the last hour",
            Self::Day => "the last 24 hours",
            Self::Week => "the last 7 days",
        }
    }

    fn stretches(self, now: Timestamp) -> Stretches {
        let (minutes, count) = match self {
            Self::Hour => (1, 60),
            Self::Day => (15, 96),
            Self::Week => (120, 84),
        };
        Stretches::until(now, Duration::from_mins(minutes), count)
    }

    /// A time of the day, or a day where times of the day would say little.
    fn label(self, at: Timestamp) -> String {
        let form = if self == Self::Week { "%b %-d" } else { "%H:%M" };
        at.strftime(form).to_string()
    }

    /// The same in a table.
    fn row_label(self, at: Timestamp) -> String {
        let form = if self == Self::Hour { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        at.strftime(form).to_string()
    }
}

/// The charts of one reach. A template shows it by its name alone.
#[derive(Debug, Template)]
#[template(path = "charts.html")]
pub(super) struct Overview {
    reaches: Vec<(Reach, bool)>,
    charts: [Chart; 3],
}

impl HtmlSafe for Overview {}

/// Draws everything.
pub(super) async fn overview(web: &Web, reach: Reach) -> Result<Overview, StoreError> {
    let work = &web.work;
    let stretches = reach.stretches(work.now());
    let volume = work.store.volume(&stretches).await?;
    let times = work.store.alert_to_submit(&stretches).await?;
    Ok(Overview {
        reaches: Reach::ALL.map(|one| (one, one == reach)).into(),
        charts: [alerts(reach, &volume), actions(reach, &volume), took(reach, &stretches, &times)],
    })
}

fn alerts(reach: Reach, volume: &[Stretch]) -> Chart {
    let scale = Scale::count(volume.iter().map(|one| one.alerts).max().unwrap_or(0));
    let total = volume.iter().map(|one| one.alerts).fold(0, u64::saturating_add);
    let column = |one: &Stretch| Column {
        label: reach.label(one.begins),
        row_label: reach.row_label(one.begins),
        values: vec![one.alerts.to_string()],
        is_empty: one.alerts == 0,
        marks: vec![Mark { from: 0, to: one.alerts, class: "mark-alerts" }],
    };
    let mut chart = Chart::new("alerts-over-time", "Alerts", scale.top_count(), vec![("mark-alerts", "Alerts")]);
    chart.summary = format!("{} in {}", counted(total, "alert"), reach.words());
    chart.draw(&scale, volume.iter().map(column).collect());
    chart
}

fn actions(reach: Reach, volume: &[Stretch]) -> Chart {
    let scale = Scale::count(volume.iter().map(|one| one.restricts + one.releases).max().unwrap_or(0));
    let (restricts, releases) = volume.iter().fold((0, 0), |sum, one| (sum.0 + one.restricts, sum.1 + one.releases));
    let column = |one: &Stretch| Column {
        label: reach.label(one.begins),
        row_label: reach.row_label(one.begins),
        values: vec![one.restricts.to_string(), one.releases.to_string()],
        is_empty: one.restricts + one.releases == 0,
        marks: vec![
            Mark { from: 0, to: one.restricts, class: "mark-restricts" },
            Mark { from: one.restricts, to: one.restricts + one.releases, class: "mark-releases" },
        ],
    };
    let legend = vec![("mark-restricts", "Restricts"), ("mark-releases", "Releases")];
    let mut chart = Chart::new("actions-over-time", "Actions", scale.top_count(), legend);
    chart.summary =
        format!("{} and {} in {}", counted(restricts, "restrict"), counted(releases, "release"), reach.words());
    chart.draw(&scale, volume.iter().map(column).collect());
    chart
}

fn took(reach: Reach, stretches: &Stretches, times: &[SubmitTimes]) -> Chart {
    let longest = times.iter().map(|one| one.most).max().unwrap_or_default();
    let scale = Scale::time(longest);
    let column = |begins: Timestamp| {
        let one = times.iter().find(|one| one.begins == begins);
        let (half, most) = one.map_or((0, 0), |one| (milliseconds(one.half), milliseconds(one.most)));
        let values = one.map(|one| vec![short_time(one.half), short_time(one.most), one.count.to_string()]);
        Column {
            label: reach.label(begins),
            row_label: reach.row_label(begins),
            is_empty: one.is_none(),
            values: values.unwrap_or_default(),
            marks: vec![
                Mark { from: 0, to: half, class: "mark-half" },
                Mark { from: half, to: most, class: "mark-most" },
            ],
        }
    };
    let legend = vec![("mark-half", "Half of them within"), ("mark-most", "95 of 100 within")];
    let mut chart =
        Chart::new("alert-to-restriction", "From alert to restriction", short_time(scale.top_time()), legend);
    chart.more_heads = vec!["Restrictions"];
    let restrictions: u64 = times.iter().map(|one| one.count).sum();
    chart.summary = match restrictions {
        0 => format!("no restriction was sent in {}", reach.words()),
        _ => format!(
            "{} in {}: 95 of 100 within {} even in the slowest stretch",
            counted(restrictions, "restriction"),
            reach.words(),
            short_time(longest)
        ),
    };
    chart.draw(&scale, stretches.each().map(column).collect());
    chart
}

fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A time to some two digits, as `0.24 s`.
fn short_time(took: Duration) -> String {
    match took.as_secs() {
        0 => format!("{:.2} s", took.as_secs_f64()),
        1..=9 => format!("{:.1} s", took.as_secs_f64()),
        _ => span(took),
    }
}
