//! A file's text as YAML documents, with bounds that are held before any parser sees them.
//!
//! Absent: what a rule is. Next: [`super::load`].

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;

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
        let start = if path.is_empty() { self.first_content() } else { locate(self.text, path) };
        self.in_file(start)
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
        Measure { budget, depth: 0 }.deserialize(first).map_err(|error| self.explain(&error))?;
        if documents.next().is_some() {
            let why = "holds documents that do not begin with '---' on a line of its own";
            return Err((self.place(&[]), why.to_owned()));
        }
        serde_yaml::from_str(self.text).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &serde_yaml::Error) -> (Place, String) {
        let place = error.location().map_or(Place::START, |at| Place { line: at.line(), column: at.column() });
        let place = self.not_past_the_end(place);
        let text = error.to_string();
        let ours = text.split(MARK).nth(1);
        // The library ends its messages with a place, which would be one of the document, not of the file.
        let theirs = || {
            let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
            format!("is no valid YAML: {}", plainly(text.split(" at line ").next().unwrap_or(&text), line))
        };
        (self.in_file(place), ours.map_or_else(theirs, str::to_owned))
    }

    /// What is missing at the end of a text is told at the end of its last line.
    fn not_past_the_end(&self, place: Place) -> Place {
        let lines = self.text.lines().count().max(1);
        let last = self.text.lines().next_back().unwrap_or("");
        if place.line <= lines { place } else { Place { line: lines, column: last.chars().count() + 1 } }
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

/// Walks a document without keeping it, following aliases, and fails where a bound is broken or a key
/// stands twice.
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
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.take(text.len())
    }
    fn visit_bool<E: serde::de::Error>(mut self, _: bool) -> Result<(), E> {
        self.take(0)
    }
    fn visit_i64<E: serde::de::Error>(mut self, _: i64) -> Result<(), E> {
        self.take(0)
    }
    fn visit_u64<E: serde::de::Error>(mut self, _: u64) -> Result<(), E> {
        self.take(0)
    }
    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<(), E> {
        Err(refusal("a number is too large"))
    }
    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<(), E> {
        Err(refusal("a number is too large"))
    }
    fn visit_f64<E: serde::de::Error>(mut self, _: f64) -> Result<(), E> {
        self.take(0)
    }
    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.take(0)
    }
    fn visit_none<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.take(0)
    }
    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(refusal("YAML tags have no meaning in rules"))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.take(0)?;
        let mut members = self.deeper()?;
        while list.next_element_seed(Measure { budget: members.budget, depth: members.depth })?.is_some() {
            members.take(0)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.take(0)?;
        let mut members = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(length) = map.next_key_seed(Key { seen: &mut keys })? {
            members.take(length)?;
            map.next_value_seed(Measure { budget: members.budget, depth: members.depth })?;
        }
        Ok(())
    }
}

/// Reads a key, refuses what no key of a rule can be, and gives its length in bytes.
struct Key<'k> {
    seen: &'k mut HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = usize;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}a key must be text (put it in quotes){MARK}")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<usize, E> {
        if key.len() > MAX_KEY_BYTES {
            return Err(refusal(format!("a key is longer than {MAX_KEY_BYTES} bytes")));
        }
        if key == "<<" {
            return Err(refusal("merge keys ('<<') are not followed: write the keys out"));
        }
        if !self.seen.insert(key.to_owned()) {
            return Err(refusal(format!("the key {key:?} stands twice")));
        }
        Ok(key.len())
    }
}
