//! The line and column of a key or value in a YAML text.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The start of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The same, or the nearest place inside the text. Parsers tell past its end what is missing there, and to
    /// YAML more characters end a line than to editors.
    #[must_use]
    pub fn within(self, text: &str) -> Self {
        let lines = text.lines().count().max(1);
        let line = self.line.clamp(1, lines);
        let end = text.lines().nth(line - 1).map_or(1, |line| line.chars().count() + 1);
        let column = if self.line > lines { end } else { self.column.clamp(1, end) };
        Self { line, column }
    }
}

/// One step on the way to a place in a YAML text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into the member of a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where the last step of `path` stands in the first document of `text`: a key by the key itself, a
/// member of a list by its value. A path that is not there gives the deepest place of it that is.
#[must_use]
pub fn locate(text: &str, path: &[Step]) -> Place {
    (0..=path.len())
        .rev()
        .filter_map(|depth| path.get(..depth))
        .find_map(|path| locate_exactly(text, path))
        .unwrap_or(Place::START)
        .within(text)
}

/// The parser tells where it stood when a visitor failed, so a visitor that fails at the wanted place
/// finds it.
fn locate_exactly(text: &str, path: &[Step]) -> Option<Place> {
    let document = serde_yaml::Deserializer::from_str(text).next()?;
    let error = Walk { path }.deserialize(document).err()?;
    let location = error.location()?;
    error.to_string().contains(FOUND).then_some(Place { line: location.line(), column: location.column() })
}

const FOUND: &str = "\u{1}found\u{1}";

struct Walk<'a> {
    path: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            return deserializer.deserialize_any(Stop);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Ok(());
        };
        loop {
            let seed = KeyOf { wanted, stop: rest.is_empty() };
            match map.next_key_seed(seed)? {
                None => return Ok(()),
                Some(true) => return map.next_value_seed(Walk { path: rest }),
                Some(false) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((&Step::Index(wanted), rest)) = self.path.split_first() else {
            return Ok(());
        };
        for _ in 0..wanted {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(Walk { path: rest }).map(|_| ())
    }
}

/// Reads a key, says whether it is the wanted one, and fails there if that is where the path ends.
struct KeyOf<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = bool;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        struct Key<'a>(KeyOf<'a>);
        impl Visitor<'_> for Key<'_> {
            type Value = bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
                let is_wanted = key == self.0.wanted;
                if is_wanted && self.0.stop { Err(E::custom(FOUND)) } else { Ok(is_wanted) }
            }
        }
        deserializer.deserialize_str(Key(self))
    }
}

/// Fails at whatever stands there.
struct Stop;

impl<'de> Visitor<'de> for Stop {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(FOUND))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(FOUND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "title: A rule\nresponse:\n  action: restrict\n  limit: { devices: 10, per: 1h }\ntests:\n  - name: one\n  - name: two\n    expect: acted\n";

    #[test]
    fn keys_and_members_are_found() {
        let cases: [(&[Step], (usize, usize)); 6] = [
            (&["title".into()], (1, 1)),
            (&["response".into()], (2, 1)),
            (&["response".into(), "action".into()], (3, 3)),
            (&["response".into(), "limit".into(), "per".into()], (4, 25)),
            (&["tests".into(), 1.into(), "expect".into()], (8, 5)),
            (&["tests".into(), 1.into()], (7, 5)),
        ];
        for (path, (line, column)) in cases {
            assert_eq!(locate(TEXT, path), Place { line, column }, "{path:?}");
        }
    }

    #[test]
    fn a_place_is_inside_the_text_whatever_else_ends_a_line_to_yaml() {
        let text = "a: 1\rb: 2\u{85}c: 3\u{2028}d: 4";
        for key in ["a", "b", "c", "d"] {
            let place = locate(text, &[key.into()]);
            assert!(place.line == 1 && place.column <= text.chars().count() + 1, "{key}: {place:?}");
        }
        assert_eq!(Place { line: 9, column: 4 }.within("one\ntwo\n"), Place { line: 2, column: 4 });
        assert_eq!(Place { line: 1, column: 9 }.within("one\ntwo\n"), Place { line: 1, column: 4 });
        assert_eq!(Place { line: 3, column: 1 }.within(""), Place::START);
    }

    #[test]
    fn a_missing_key_gives_the_place_of_its_parent() {
        assert_eq!(locate(TEXT, &["response".into(), "nope".into()]), Place { line: 2, column: 1 });
        assert_eq!(locate("", &["nope".into()]), Place::START);
    }
}
