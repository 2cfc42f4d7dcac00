//! Rows that can not be used: counted, the first of them named, and passed over.

/// The most that are named.
const MOST_NAMED: usize = 10;

/// Rows that can not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// How many there are.
    pub count: u64,
    /// Which the first ones are, and why.
    pub named: Vec<String>,
}

impl Faults {
    pub(super) fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(name());
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = MOST_NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.into_iter().take(room));
    }
}

/// Why a row is no JSON, without the line, which is always its first.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    format!("not JSON: {}, at character {}", error.to_string().replace(&place, ""), error.column())
}
