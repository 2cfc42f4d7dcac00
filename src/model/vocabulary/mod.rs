//! The fields that a rule can read, each with its type, what it says, and Microsoft's values for it.
//!
//! Sources: the alert and machine resources of the MDE API (`defender-endpoint/api/alerts.md`, `machine.md`
//! and `update-alert.md` in MicrosoftDocs/defender-docs), and records as tenants receive them, which differ
//! in some names and have more. Absent: any use of it. `intake` counts unknown values by it, `rules` warns
//! by it, and `stanch schema` and `docs/reference/fields.md` are made of it.

mod alert;
mod machine;

pub use alert::EVIDENCE;
pub use machine::MACHINE;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// A time as text, RFC 3339 in UTC.
    Time,
    /// A list of texts.
    Texts,
    /// A mapping with these fields.
    Fields(&'static [Field]),
    /// A list of mappings with these fields.
    List(&'static [Field]),
    /// Whatever the sender put there.
    Anything,
}

/// Which values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Any.
    Open,
    /// These, and others that nobody lists.
    Known(&'static [&'static str]),
    /// These and no others.
    Closed(&'static [&'static str]),
}

impl Values {
    /// The values that are listed.
    #[must_use]
    pub const fn listed(self) -> &'static [&'static str] {
        match self {
            Self::Open => &[],
            Self::Known(values) | Self::Closed(values) => values,
        }
    }
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, in the case in which it must be written.
    pub name: &'static str,
    /// What stands in it; null may stand in any.
    pub kind: Kind,
    /// What it says, in one sentence.
    pub about: &'static str,
    /// Its values.
    pub values: Values,
}

impl Field {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, values: Values::Open }
    }

    const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Text, about)
    }

    const fn time(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Time, about)
    }

    const fn known(self, values: &'static [&'static str]) -> Self {
        Self { values: Values::Known(values), ..self }
    }

    const fn closed(self, values: &'static [&'static str]) -> Self {
        Self { values: Values::Closed(values), ..self }
    }

    /// The fields within it; none when nothing is known of them.
    #[must_use]
    pub const fn members(&self) -> &'static [Self] {
        match self.kind {
            Kind::Fields(fields) | Kind::List(fields) => fields,
            _ => &[],
        }
    }
}

/// Everything that a rule can read at the top of an event: the fields of the alert, and what is added.
pub const EVENT: &[Field] = alert::EVENT;

/// The names of the fields that the sender of an alert fills: all but what stanch adds.
pub fn sent_fields() -> impl Iterator<Item = &'static str> {
    EVENT.iter().map(|field| field.name).filter(|name| !matches!(*name, "machine" | "stanch" | "original"))
}

/// What stanch adds of its own.
pub const STANCH: &[Field] = &[
    Field::text("tenant", "The name that the configuration gives to the alert's tenant."),
    Field::text("source", "The name of the source that the alert came from."),
    Field::time("receivedAt", "When stanch received the alert."),
];

/// What is known of a path of field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This field.
    Field(&'static Field),
    /// It leads into something that holds whatever its sender put there.
    Anything,
    /// The part with this index, from 0, is none of these fields.
    Unknown(usize, &'static [Field]),
}

/// Looks a path up from the top of an event, as `["machine", "osPlatform"]`. Case counts, as it does in rules.
#[must_use]
pub fn look_up(path: &[&str]) -> Found {
    let mut fields = EVENT;
    let mut found = Found::Unknown(0, EVENT);
    for (index, part) in path.iter().enumerate() {
        let Some(field) = fields.iter().find(|field| field.name == *part) else {
            return Found::Unknown(index, fields);
        };
        if field.kind == Kind::Anything {
            return Found::Anything;
        }
        fields = field.members();
        found = Found::Field(field);
    }
    found
}

/// Every field with its whole path, as `evidence.sha1`, each before those within it.
#[must_use]
pub fn paths() -> Vec<(String, &'static Field)> {
    let mut found = Vec::new();
    collect("", EVENT, &mut found);
    found
}

fn collect(before: &str, fields: &'static [Field], found: &mut Vec<(String, &'static Field)>) {
    for field in fields {
        let path = format!("{before}{}", field.name);
        let within = format!("{path}.");
        found.push((path, field));
        collect(&within, field.members(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_free_or_unknown_at_one_of_its_parts() {
        assert!(matches!(look_up(&["severity"]), Found::Field(field) if field.values.listed().contains(&"High")));
        assert!(matches!(look_up(&["machine", "osPlatform"]), Found::Field(field) if field.name == "osPlatform"));
        assert!(matches!(look_up(&["evidence", "sha1"]), Found::Field(_)));
        assert_eq!(look_up(&["original", "host", "id"]), Found::Anything);
        assert_eq!(look_up(&["Severity"]), Found::Unknown(0, EVENT));
        assert_eq!(look_up(&["machine", "osplatform"]), Found::Unknown(1, MACHINE));
        assert_eq!(look_up(&["title", "text"]), Found::Unknown(1, &[]));
    }

    #[test]
    fn each_field_stands_once_among_its_own_and_is_explained_in_one_sentence() {
        let mut seen = std::collections::HashSet::new();
        for (path, field) in paths() {
            assert!(seen.insert(path.clone()), "{path} stands twice");
            assert!(field.about.ends_with('.') && field.about.matches(". ").count() == 0, "{path}: {}", field.about);
            let mut values = std::collections::HashSet::new();
            assert!(field.values.listed().iter().all(|value| values.insert(value.to_lowercase())), "{path}");
        }
        assert!(seen.len() > 90, "{}", seen.len());
    }
}
