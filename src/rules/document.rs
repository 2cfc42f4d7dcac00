//! A file's text as YAML documents, with bounds that are held before any parser sees them.
//!
//! Absent: what a rule is. Next: [`super::load`].

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Mapping, Sequence, Value};

use crate::diagnostics::{Place, Step, locate};

/// Brackets that are open at once. The YAML scanner's work grows with the square of it.
const MAX_OPEN_BRACKETS: usize = 256;
/// Mappings and lists within each other; every walk after this one recurses.
const MAX_DEPTH: usize = 32;
/// Nodes once all aliases are followed.
const MAX_NODES: usize = 100_000;
/// Bytes of text once all aliases are followed.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one key.
const MAX_KEY_BYTES: usize = 512;

/// One YAML document of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    /// The file.
    pub(super) file: &'a Path,
    /// The document's own text.
    pub(super) text: &'a str,
    /// The lines of the file before it.
    pub(super) lines_before: usize,
}

impl<'a> Document<'a> {
    /// Where the last step of `path` stands in the file.
    pub(super) fn place(&self, path: &[Step]) -> Place {
        let start = match path {
            [] => self.first_content(),
            [Step::Key(key)] => self.only_line_of(key).unwrap_or_else(|| locate(self.text, path)),
            _ => locate(self.text, path),
        };
        self.in_file(start)
    }

    /// The start of the only line that begins with that key. Only text in quotes could deceive this, when a
    /// line of it stands at the left edge, and only about a place; parsing anew for each rule costs more than
    /// all else that is done with it.
    fn only_line_of(&self, key: &str) -> Option<Place> {
        let begins_with_it = |line: &str| {
            let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(':'));
            value.is_some_and(|value| value.is_empty() || value.starts_with([' ', '\t']))
        };
        let mut lines = self.text.lines().enumerate().filter(|(_, line)| begins_with_it(line));
        let (index, _) = lines.next()?;
        lines.next().is_none().then_some(Place { line: index + 1, column: 1 })
    }

    /// A place of the document as a place of the file.
    pub(super) const fn in_file(&self, place: Place) -> Place {
        Place { line: place.line + self.lines_before, column: place.column }
    }

    /// Where `word` stands as a whole word at or after `path`, in the next few lines; else `path`'s place.
    pub(super) fn place_of_word(&self, path: &[Step], word: &str) -> Place {
        /// A folded condition seldom has more lines.
        const LINES: usize = 40;
        let start = locate(self.text, path);
        for (index, line) in self.text.lines().enumerate().skip(start.line - 1).take(LINES) {
            let skip = if index + 1 == start.line { start.column - 1 } else { 0 };
            if let Some(column) = find_word(line, word, skip) {
                return self.in_file(Place { line: index + 1, column });
            }
        }
        self.in_file(start)
    }

    fn first_content(&self) -> Place {
        let is_content = |line: &str| {
            let line = line.trim();
            !(line.is_empty() || line.starts_with('#') || line == "---")
        };
        let line = self.text.lines().position(is_content).map_or(1, |index| index + 1);
        Place { line, column: 1 }
    }

    /// The document as a value.
    ///
    /// # Errors
    /// The place in the file and why, when it is no YAML, holds a key twice, or breaks a bound.
    pub(super) fn parse(&self) -> Result<Value, (Place, String)> {
        self.refuse_lone_returns()?;
        self.refuse_open_brackets()?;
        let mut documents = serde_yaml::Deserializer::from_str(self.text);
        let first = documents.next().ok_or_else(|| (self.place(&[]), "holds no document".to_owned()))?;
        let budget = &mut Budget { nodes: MAX_NODES, text_bytes: MAX_TEXT_BYTES };
        let value = Measure { budget, depth: 0 }.deserialize(first).map_err(|error| self.explain(&error))?;
        if documents.next().is_some() {
            let why = "holds documents that do not begin with '---' on a line of its own";
            return Err((self.place(&[]), why.to_owned()));
        }
        Ok(value)
    }

    fn explain(&self, error: &serde_yaml::Error) -> (Place, String) {
        let place = error.location().map_or(Place::START, |at| Place { line: at.line(), column: at.column() });
        let place = place.within(self.text);
        let text = error.to_string();
        let ours = text.split(MARK).nth(1);
        // The library ends its messages with a place, which would be one of the document, not of the file.
        let theirs = || {
            let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
            format!("is no valid YAML: {}", plainly(text.split(" at line ").next().unwrap_or(&text), line))
        };
        (self.in_file(place), ours.map_or_else(theirs, str::to_owned))
    }

    /// They are line ends to the parser and none to editors, so that no place would be right.
    fn refuse_lone_returns(&self) -> Result<(), (Place, String)> {
        for (index, line) in self.text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if let Some((before, _)) = line.split_once('\r') {
                let place = Place { line: index + 1, column: before.chars().count() + 1 };
                return Err((self.in_file(place), "a carriage return stands without a line feed".to_owned()));
            }
        }
        Ok(())
    }

    fn refuse_open_brackets(&self) -> Result<(), (Place, String)> {
        let mut open: usize = 0;
        for (index, line) in self.text.lines().enumerate() {
            for (column, byte) in line.bytes().enumerate() {
                match byte {
                    b'[' | b'{' => open += 1,
                    b']' | b'}' => open = open.saturating_sub(1),
                    _ => {}
                }
                if open > MAX_OPEN_BRACKETS {
                    let place = Place { line: index + 1, column: column + 1 };
                    return Err((self.in_file(place), format!("more than {MAX_OPEN_BRACKETS} brackets are open")));
                }
            }
        }
        Ok(())
    }
}

/// The mistakes that people make most often, told in their words instead of the parser's.
fn plainly<'m>(message: &'m str, line: &str) -> &'m str {
    let indentation = line.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
    if indentation.contains('\t') {
        return "the line is indented with a tab: use spaces";
    }
    match message {
        "mapping values are not allowed in this context" => {
            "a second ': ' stands in the line: put the value that holds it in quotes"
        }
        "found unexpected end of stream" => "a quote is opened and never closed",
        other => other,
    }
}

/// The documents of a file: those that hold anything but blank lines and comments.
pub(super) fn split<'a>(file: &'a Path, text: &'a str) -> Vec<Document<'a>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut start, mut lines_before) = (0, 0);
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // YAML takes '---' and '...' at the start of a line as markers wherever they stand.
        let is_marker = |marker: &str| {
            line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if is_marker("---") {
            documents.push(Document { file, text: text.get(start..offset).unwrap_or(""), lines_before });
            (start, lines_before) = (offset, index);
        } else if is_marker("...") {
            documents.push(Document { file, text: text.get(start..offset).unwrap_or(""), lines_before });
            (start, lines_before) = (offset + line.len(), index + 1);
        }
        offset += line.len();
    }
    documents.push(Document { file, text: text.get(start..).unwrap_or(""), lines_before });
    documents.retain(|document| !is_blank(document.text));
    documents
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#')
    })
}

/// The column (from 1, in characters) of `word` in `line` after `skip` characters, when it stands alone.
fn find_word(line: &str, word: &str, skip: usize) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
    let from = line.char_indices().nth(skip).map_or(line.len(), |(offset, _)| offset);
    let tail = line.get(from..)?;
    tail.match_indices(word).find_map(|(offset, found)| {
        let before = tail.get(..offset)?.chars().next_back();
        let after = tail.get(offset + found.len()..)?.chars().next();
        let alone = !before.is_some_and(is_part) && !after.is_some_and(is_part);
        alone.then(|| skip + tail.get(..offset).map_or(0, |head| head.chars().count()) + 1)
    })
}

/// Our own messages stand between two of these, since the library adds a path before and a place behind.
const MARK: char = '\u{2}';

fn refusal<E: serde::de::Error>(message: impl fmt::Display) -> E {
    E::custom(format!("{MARK}{message}{MARK}"))
}

struct Budget {
    nodes: usize,
    text_bytes: usize,
}

/// Reads a value, following aliases, and fails where a bound is broken or a key stands twice.
struct Measure<'b> {
    budget: &'b mut Budget,
    depth: usize,
}

impl Measure<'_> {
    fn take<E: serde::de::Error>(&mut self, text_bytes: usize) -> Result<(), E> {
        let (Some(nodes), Some(bytes)) =
            (self.budget.nodes.checked_sub(1), self.budget.text_bytes.checked_sub(text_bytes))
        else {
            return Err(refusal(format!(
                "is too large: more than {MAX_NODES} values or {} MiB of text once aliases are followed",
                MAX_TEXT_BYTES / 1024 / 1024
            )));
        };
        *self.budget = Budget { nodes, text_bytes: bytes };
        Ok(())
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<Measure<'_>, E> {
        if self.depth >= MAX_DEPTH {
            return Err(refusal(format!("mappings and lists are nested more than {MAX_DEPTH} deep")));
        }
        Ok(Measure { depth: self.depth + 1, budget: self.budget })
    }
}

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Value, E> {
        self.take(text.len())?;
        Ok(Value::from(text))
    }
    fn visit_bool<E: serde::de::Error>(mut self, flag: bool) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::from(flag))
    }
    fn visit_i64<E: serde::de::Error>(mut self, number: i64) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::from(number))
    }
    fn visit_u64<E: serde::de::Error>(mut self, number: u64) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::from(number))
    }
    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Value, E> {
        Err(refusal("a number is too large"))
    }
    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Value, E> {
        Err(refusal("a number is too large"))
    }
    fn visit_f64<E: serde::de::Error>(mut self, number: f64) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::from(number))
    }
    fn visit_unit<E: serde::de::Error>(mut self) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::Null)
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }
    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(refusal("YAML tags have no meaning in rules"))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut members = self.deeper()?;
        let mut read = Sequence::new();
        while let Some(member) = list.next_element_seed(Measure { budget: members.budget, depth: members.depth })? {
            members.take(0)?;
            read.push(member);
        }
        Ok(Value::Sequence(read))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut members = self.deeper()?;
        let mut read = Mapping::new();
        while let Some(key) = map.next_key_seed(Key { before: &read })? {
            members.take(key.len())?;
            let value = map.next_value_seed(Measure { budget: members.budget, depth: members.depth })?;
            read.insert(Value::String(key), value);
        }
        Ok(Value::Mapping(read))
    }
}

/// Reads a key, and refuses what no key of a rule can be.
struct Key<'k> {
    /// The keys of the same mapping that stand before it.
    before: &'k Mapping,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}a key must be text (put it in quotes){MARK}")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        if key.len() > MAX_KEY_BYTES {
            return Err(refusal(format!("a key is longer than {MAX_KEY_BYTES} bytes")));
        }
        if key == "<<" {
            return Err(refusal("merge keys ('<<') are not followed: write the keys out"));
        }
        if self.before.contains_key(key) {
            return Err(refusal(format!("the key {key:?} stands twice")));
        }
        Ok(key.to_owned())
    }
}
