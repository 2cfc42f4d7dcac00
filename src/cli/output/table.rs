//! Aligned columns without borders, fitted to the terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, TableStyle};

use super::{Part, Tone};
use crate::model::sanitise::sanitised;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    title: &'static str,
    whole: bool,
}

/// A column that is never broken over lines, because people copy what it holds.
pub(in crate::cli) const fn whole(title: &'static str) -> Column {
    Column { title, whole: true }
}

/// A column that is broken over lines where the terminal is narrow.
pub(in crate::cli) const fn flowing(title: &'static str) -> Column {
    Column { title, whole: false }
}

/// Rows under the same columns. The first column is always whole, and takes the row's tone.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    header: bool,
    indent: u16,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// A table with a line of titles.
    pub(in crate::cli) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), header: true, indent: 0, rows: Vec::new() }
    }

    /// Labels and values, without titles.
    pub(in crate::cli) fn facts() -> Self {
        Self { header: false, ..Self::new(&[whole(""), flowing("")]) }
    }

    /// The same without its line of titles.
    pub(in crate::cli) fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// The same, so many spaces to the right.
    pub(in crate::cli) fn indented(mut self, spaces: u16) -> Self {
        self.indent = spaces;
        self
    }

    /// Adds a row; `tone` is that of its first cell.
    pub(in crate::cli) fn row(&mut self, tone: Tone, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| sanitised(&cell).trim().to_owned()).collect();
        self.rows.push((tone, cells));
    }

    /// Adds a label and its value.
    pub(in crate::cli) fn fact(&mut self, label: &str, value: impl Into<String>) {
        self.row(Tone::Faint, [label.to_owned(), value.into()]);
    }

    /// Whether it has no rows.
    pub(in crate::cli) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each as its parts. Without a width nothing is broken, so that a row is a line.
    pub(super) fn lines(&self, width: Option<u16>) -> Vec<Vec<Part>> {
        let mut first_cells = self.first_cells().peekable();
        let mut lines = Vec::new();
        for line in self.laid_out(width).lines() {
            let line = line.trim_end();
            let start = first_cells.next_if(|(_, cell)| cell.is_empty() || line.starts_with(cell.as_str()));
            let (tone, head) = start.unwrap_or((Tone::Plain, String::new()));
            let tail = line.strip_prefix(head.as_str()).unwrap_or(line);
            // The titles are all in one tone; of a row only the first cell has one.
            let tail_tone = if self.header && lines.is_empty() { tone } else { Tone::Plain };
            let indent = " ".repeat(usize::from(self.indent));
            lines.push(vec![
                Part { tone: Tone::Plain, text: indent },
                Part { tone, text: head },
                Part { tone: tail_tone, text: tail.to_owned() },
            ]);
        }
        lines
    }

    fn first_cells(&self) -> impl Iterator<Item = (Tone, String)> {
        let title = self.columns.first().map(|column| (Tone::Faint, column.title.to_owned()));
        let rows = self.rows.iter().map(|(tone, cells)| (*tone, cells.first().cloned().unwrap_or_default()));
        title.filter(|_| self.header).into_iter().chain(rows)
    }

    fn laid_out(&self, width: Option<u16>) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new());
        if self.header {
            table.set_header(self.columns.iter().map(|column| column.title));
        }
        for (_, cells) in &self.rows {
            table.add_row(cells);
        }
        match width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width.saturating_sub(self.indent));
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for (index, column) in self.columns.iter().enumerate() {
            let Some(laid_out) = table.column_mut(index) else { continue };
            let is_last = index + 1 == self.columns.len();
            laid_out.set_padding((0, if is_last { 0 } else { 2 }));
            if column.whole || index == 0 {
                laid_out.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::Screen;
    use super::*;

    fn printed(table: &Table, colour: bool, width: Option<u16>) -> String {
        let mut out = Vec::new();
        Screen::new(&mut out, colour, width).table(table).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn devices() -> Table {
        let mut table = Table::new(&[whole("STATE"), whole("ID"), flowing("NOTE")]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        table.row(Tone::Warn, row(["held", "0190a1b2c3d4", "held for a reason that takes many words"]));
        table.row(Tone::Bad, row(["failed", "0190", "\u{1b}[31mred\nnews"]));
        table
    }

    #[test]
    fn without_a_terminal_a_row_is_a_line() {
        insta::assert_snapshot!(printed(&devices(), false, None), @r"
        STATE   ID            NOTE
        held    0190a1b2c3d4  held for a reason that takes many words
        failed  0190          red news
        ");
    }

    #[test]
    fn on_a_narrow_terminal_ids_stay_whole() {
        insta::assert_snapshot!(printed(&devices(), false, Some(40)), @r"
        STATE   ID            NOTE
        held    0190a1b2c3d4  held for a reason
                              that takes many
                              words
        failed  0190          red news
        ");
    }

    #[test]
    fn only_the_first_cell_is_coloured() {
        let coloured = printed(&devices(), true, Some(40));
        assert!(coloured.contains("\n\u{1b}[33mheld\u{1b}[0m    0190a1b2c3d4  held for a reason\n"), "{coloured:?}");
        assert!(coloured.contains("\n\u{1b}[31mfailed\u{1b}[0m  0190"), "{coloured:?}");
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..30 {
            assert!(printed(&devices(), false, Some(width)).contains("0190a1b2c3d4"), "{width}");
        }
    }
}
