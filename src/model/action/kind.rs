//! The kinds of action, in one table.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::lane::Lane;

/// What is done to a device. A kind is data: everything that differs between kinds stands in
/// [`Kind::spec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// *Restrict app execution*.
    Restrict,
    /// *Remove app restriction*.
    Release,
}

/// Two kinds that undo each other, and of which one at a time may be on the wire for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Restrict and release of app execution.
    CodeExecution,
}

/// Everything that differs between kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindSpec {
    /// The kind.
    pub kind: Kind,
    /// Our name of it.
    pub name: &'static str,
    /// What it shares with its opposite.
    pub family: Family,
    /// The last part of `POST /api/machines/{id}/...`.
    pub path: &'static str,
    /// Microsoft's `type` of the machine action.
    pub microsoft_type: &'static str,
    /// The quota that the call draws on.
    pub lane: Lane,
    /// The kind that undoes it.
    pub opposite: Kind,
}

static KINDS: [KindSpec; 2] = [
    KindSpec {
        kind: Kind::Restrict,
        name: "restrict",
        family: Family::CodeExecution,
        path: "restrictCodeExecution",
        microsoft_type: "RestrictCodeExecution",
        lane: Lane::Restrict,
        opposite: Kind::Release,
    },
    KindSpec {
        kind: Kind::Release,
        name: "release",
        family: Family::CodeExecution,
        path: "unrestrictCodeExecution",
        microsoft_type: "UnrestrictCodeExecution",
        lane: Lane::Release,
        opposite: Kind::Restrict,
    },
];

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Restrict, Self::Release];

    /// Everything that differs between kinds.
    #[must_use]
    pub const fn spec(self) -> &'static KindSpec {
        match self {
            Self::Restrict => &KINDS[0],
            Self::Release => &KINDS[1],
        }
    }

    /// Our name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of Microsoft's `type`, in any case.
    #[must_use]
    pub fn from_microsoft_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.spec().microsoft_type.eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Family {
    /// The family's name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeExecution => "code_execution",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_kinds_agrees_with_itself() {
        for kind in Kind::ALL {
            let spec = kind.spec();
            assert_eq!(spec.kind, kind);
            assert_eq!(spec.opposite.spec().opposite, kind);
            assert_eq!(spec.opposite.spec().family, spec.family);
            assert_eq!(Kind::from_name(spec.name), Some(kind));
            assert_eq!(Kind::from_microsoft_type(spec.microsoft_type), Some(kind));
            assert_eq!(Kind::from_microsoft_type(&spec.microsoft_type.to_lowercase()), Some(kind));
        }
    }
}
