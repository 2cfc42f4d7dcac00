//! Typed ids: a function that takes a [`MachineId`] never gets an [`AlertId`].

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// Why a text is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not {wanted}")]
pub struct IdError {
    what: &'static str,
    text: String,
    wanted: &'static str,
}

/// The most characters of a refused text that an error repeats.
const SHOWN: usize = 80;

impl IdError {
    fn new(what: &'static str, text: &str, wanted: &'static str) -> Self {
        Self { what, text: text.chars().take(SHOWN).collect(), wanted }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $wanted:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id in `text`.
            ///
            /// # Errors
            /// [`IdError`] when `text` is not of this id's form.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(IdError::new($what, &text, $wanted)) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// A map by ids can be asked by text: both hash and compare alike.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Letters, digits, `.`, `_` and `-`, 1 to 64 of them: names that go into URLs, metrics and files.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Any text of 1 to 256 bytes.
fn is_text(text: &str) -> bool {
    (1..=256).contains(&text.len())
}

text_id!(
    /// The name that a configuration gives to one tenant.
    TenantName, "tenant name", "1 to 64 letters, digits, '.', '_' or '-'", is_name
);
text_id!(
    /// The name of a source of alerts.
    SourceName, "source name", "1 to 64 letters, digits, '.', '_' or '-'", is_name
);
text_id!(
    /// The name of a channel that messages to people go through.
    ChannelName, "channel name", "1 to 64 letters, digits, '.', '_' or '-'", is_name
);
text_id!(
    /// Microsoft's id of an alert, as `da637472900382838869_1364969609`.
    AlertId, "alert id", "a text of 1 to 256 bytes", is_text
);
text_id!(
    /// The id of a rule: Sigma's `id`, or the title of a rule that has none.
    RuleId, "rule id", "a text of 1 to 256 bytes", is_text
);
text_id!(
    /// Microsoft's id of a machine action, a GUID in every record seen.
    MachineActionId, "machine action id", "a text of 1 to 256 bytes that is not blank",
    |text| is_text(text) && !text.trim().is_empty()
);
text_id!(
    /// The name of an API token. It never reads as the id of one.
    TokenName, "token name", "1 to 64 lower-case letters, digits, '.', '_' or '-', and no UUID",
    |text| is_name(text) && !text.bytes().any(|b| b.is_ascii_uppercase()) && Uuid::try_parse(text).is_err()
);

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A device in MDE: 40 hex digits, kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MachineId(String);

impl MachineId {
    /// The id in `text`, 40 hex digits of any case.
    ///
    /// # Errors
    /// [`IdError`] when `text` is anything else.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(IdError::new("machine id", text, "40 hex digits"))
        }
    }

    /// A made-up id, for a device that is none: as many hex digits of a number.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self(format!("{number:040x}"))
    }

    /// The id as 40 lower-case hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MachineId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for MachineId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The id of one of our actions: a UUID of version 7, so that ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(Uuid);

impl ActionId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ActionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::new("action id", text, "a UUID"))
    }
}

/// The id of an API token: a UUID of version 7, so that ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Uuid);

impl TokenId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TokenId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::new("token id", text, "a UUID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_40_hex_digits_in_lower_case() {
        let id = MachineId::new("1E5BC9D7E413DDD7902C2932E418702B84D0CC07").unwrap();
        assert_eq!(id.as_str(), "1e5bc9d7e413ddd7902c2932e418702b84d0cc07");
        for bad in ["", "1234", "1e5bc9d7e413ddd7902c2932e418702b84d0cc0g", &"0".repeat(41)] {
            assert!(MachineId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_named_in_lower_case_and_never_like_an_id() {
        for good in ["ana", "ci-pipeline.2", "a", "0197a000", &"x".repeat(64)] {
            assert!(TokenName::new(good).is_ok(), "{good:?}");
        }
        let id = TokenId::generate().to_string();
        for bad in ["", "Ana", "ana b", "ana\n", "user:ana", "ana/..", "än", &"x".repeat(65), &id, &id.replace('-', "")]
        {
            assert!(TokenName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_repeats_only_the_start_of_what_it_refuses() {
        let error = MachineId::new(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }
}
