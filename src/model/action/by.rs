//! Who did something, and by which door they came in.

use std::fmt;

use crate::model::ids::{RuleId, TokenId};

/// The doors that a stored `by` may name. Nobody comes in by the last two yet.
const DOORS: [&str; 4] = ["user", "token", "oidc", "slack"];

/// Who did something, as the history says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// The daemon.
    Stanch,
    /// A rule.
    Rule(RuleId),
    /// Microsoft's record says so.
    Microsoft,
    /// A person.
    User(Person),
}

impl By {
    /// A user of this machine of whom only the name is known.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self::User(Person { name: name.into(), door: Door::Socket, from: None })
    }

    /// The person, if it is one.
    #[must_use]
    pub const fn person(&self) -> Option<&Person> {
        match self {
            Self::User(person) => Some(person),
            _ => None,
        }
    }

    /// The name of the person in a stored `by`; `None` when it names no person.
    #[must_use]
    pub fn person_in(by: &str) -> Option<&str> {
        let (door, name) = by.split_once(':')?;
        DOORS.contains(&door).then_some(name)
    }
}

/// A person who changes something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person {
    /// The user's name on this machine, or the name of the API token.
    pub name: String,
    /// How they came in.
    pub door: Door,
    /// Where the request came from, as the audit keeps it: `socket`, or an address.
    pub from: Option<String>,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let door = match self.door {
            Door::Socket => "user",
            Door::Token(_) => "token",
        };
        write!(f, "{door}:{}", self.name)
    }
}

/// How a person came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// The unix socket, as a user of this machine.
    Socket,
    /// The network, with this API token; `None` when no token of the store was shown.
    Token(Option<TokenId>),
}

impl Door {
    /// The token, if it was one.
    #[must_use]
    pub const fn token(self) -> Option<TokenId> {
        match self {
            Self::Socket => None,
            Self::Token(id) => id,
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stanch => f.write_str("stanch"),
            Self::Rule(id) => write!(f, "rule:{id}"),
            Self::Microsoft => f.write_str("microsoft"),
            Self::User(person) => person.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_says_the_door_and_the_name_is_found_in_it_again() {
        let token = Person { name: "ana".to_owned(), door: Door::Token(None), from: None };
        for (by, text, person) in [
            (By::user("ana"), "user:ana", Some("ana")),
            (By::User(token), "token:ana", Some("ana")),
            (By::Rule("a:b".parse().unwrap()), "rule:a:b", None),
            (By::Stanch, "stanch", None),
            (By::Microsoft, "microsoft", None),
        ] {
            assert_eq!(by.to_string(), text);
            assert_eq!(By::person_in(text), person);
        }
        assert_eq!(By::person_in("slack:U02:x"), Some("U02:x"));
        assert_eq!(By::person_in("ana"), None);
    }
}
