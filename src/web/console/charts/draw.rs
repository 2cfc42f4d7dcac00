//! From numbers to rectangles.

use std::time::Duration;

/// The drawing's width and height in units of its own.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;
/// How much of a column stays free.
const GAP: f64 = 0.2;
/// What is not nothing is at least so high.
const LEAST: f64 = 1.5;

/// What the top of a chart of times may be, in milliseconds; longer ones end at full days.
const TIMES: [u64; 17] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
    3_600_000, 21_600_000, 86_400_000,
];

/// What is at the top of a chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    top: u64,
}

impl Scale {
    /// A top that is 1, 2 or 5 with zeros and at least `most`.
    pub(super) fn count(most: u64) -> Self {
        let mut step = 1_u64;
        loop {
            for top in [1, 2, 5].map(|digit| step.saturating_mul(digit)) {
                if top >= most || top == u64::MAX {
                    return Self { top };
                }
            }
            step = step.saturating_mul(10);
        }
    }

    /// A top that people say of times.
    pub(super) fn time(most: Duration) -> Self {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let day = 86_400_000;
        let top = TIMES.into_iter().find(|top| *top >= most);
        Self { top: top.unwrap_or_else(|| most.div_ceil(day).saturating_mul(day)) }
    }

    pub(super) fn top_count(self) -> String {
        self.top.to_string()
    }

    pub(super) fn top_time(self) -> Duration {
        Duration::from_millis(self.top)
    }

    /// A value's height in the drawing.
    fn height(self, value: u64) -> f64 {
        HEIGHT * (value as f64 / self.top as f64)
    }
}

/// A part of a column.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) class: &'static str,
}

/// One stretch of time.
#[derive(Debug)]
pub(super) struct Column {
    /// When, below the chart and in the table.
    pub(super) label: String,
    pub(super) row_label: String,
    /// One for each head of the table.
    pub(super) values: Vec<String>,
    pub(super) is_empty: bool,
    pub(super) marks: Vec<Mark>,
}

/// A rectangle, as its attributes.
#[derive(Debug)]
pub(super) struct Rectangle {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) class: &'static str,
}

/// A column that says its numbers when it is pointed at.
#[derive(Debug)]
pub(super) struct Hint {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) text: String,
}

/// A chart, ready to be written down.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// All that it says, in words.
    pub(super) summary: String,
    /// What its top means.
    pub(super) top: String,
    /// Times below it, from left to right.
    pub(super) labels: Vec<String>,
    /// The class of each sort of rectangle, and what it stands for.
    pub(super) legend: Vec<(&'static str, &'static str)>,
    /// Heads of the table after those of the legend.
    pub(super) more_heads: Vec<&'static str>,
    pub(super) rectangles: Vec<Rectangle>,
    pub(super) hints: Vec<Hint>,
    /// What the table says: of each stretch that is not empty.
    pub(super) rows: Vec<(String, Vec<String>)>,
}

impl Chart {
    pub(super) fn new(
        id: &'static str,
        title: &'static str,
        top: String,
        legend: Vec<(&'static str, &'static str)>,
    ) -> Self {
        Self {
            id,
            title,
            summary: String::new(),
            top,
            labels: Vec::new(),
            legend,
            more_heads: Vec::new(),
            rectangles: Vec::new(),
            hints: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Fills the chart with columns from left to right.
    pub(super) fn draw(&mut self, scale: &Scale, columns: Vec<Column>) {
        self.labels = labels(&columns);
        let count = u32::try_from(columns.len().max(1)).unwrap_or(u32::MAX);
        let width = WIDTH / f64::from(count);
        for (place, column) in (0_u32..).zip(columns) {
            let x = width * f64::from(place);
            if column.is_empty {
                continue;
            }
            for mark in column.marks.iter().filter(|mark| mark.to > mark.from) {
                self.rectangles.push(rectangle(scale, mark, x, width));
            }
            let said = self.heads().zip(&column.values).map(|(head, value)| format!("{head}: {value}"));
            let text = format!("{}. {}", column.row_label, said.collect::<Vec<_>>().join(", "));
            self.hints.push(Hint { x: units(x), width: units(width), text });
            self.rows.push((column.row_label, column.values));
        }
    }

    /// The heads of the table but its first.
    pub(super) fn heads(&self) -> impl Iterator<Item = &'static str> {
        self.legend.iter().map(|(_, name)| *name).chain(self.more_heads.iter().copied())
    }
}

/// The first, the middle and the last.
fn labels(columns: &[Column]) -> Vec<String> {
    let places = [0, columns.len() / 2, columns.len().saturating_sub(1)];
    let mut labels: Vec<String> =
        places.iter().filter_map(|place| columns.get(*place)).map(|column| column.label.clone()).collect();
    labels.dedup();
    labels
}

fn rectangle(scale: &Scale, mark: &Mark, x: f64, width: f64) -> Rectangle {
    let bottom = HEIGHT - scale.height(mark.from);
    let height = scale.height(mark.to - mark.from).max(LEAST).min(bottom);
    Rectangle {
        x: units(x + width * GAP / 2.0),
        y: units(bottom - height),
        width: units(width * (1.0 - GAP)),
        height: units(height),
        class: mark.class,
    }
}

fn units(value: f64) -> String {
    format!("{value:.2}")
}
