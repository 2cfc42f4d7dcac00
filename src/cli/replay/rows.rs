//! A file of JSON objects as rows: one array, JSON Lines, or a page of an API as `{"value": [...]}`.
//!
//! Rows are cut out of the bytes one by one, so that a file of any size needs room for one row only, and a
//! broken row costs itself. Absent: what a row means.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use anyhow::{Context as _, bail};

/// The most bytes of one row: what a webhook takes.
pub(super) const MOST_ROW_BYTES: usize = 4 << 20;

/// What is looked at to tell how a file holds its rows. Before its list a page says little.
const HEAD_BYTES: usize = 64 << 10;

/// Where a row stands, and whether its bytes were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its place among the rows, or its line, from 1.
    pub number: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl Row {
    /// Whether it is longer than any row may be: then its bytes were thrown away.
    pub(super) const fn is_too_long(&self) -> bool {
        self.length > MOST_ROW_BYTES as u64
    }
}

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In one list, between commas.
    List,
    /// One a line.
    Lines,
    /// One behind the other, each over several lines.
    Objects,
}

/// Cuts a file into its rows.
pub(super) struct Rows<R> {
    from: BufReader<io::Chain<Cursor<Vec<u8>>, R>>,
    form: Form,
    offset: u64,
    number: u64,
    /// Whether the list is the value of a key of an object.
    is_page: bool,
    ended: bool,
    more: bool,
}

impl<R: Read> Rows<R> {
    /// Finds out how the file holds its rows.
    ///
    /// # Errors
    /// When it can not be read, or holds something that is not JSON at all.
    pub(super) fn new(mut from: R) -> anyhow::Result<Self> {
        let mut head = Vec::new();
        from.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).context("it can not be read")?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            bail!("it is UTF-16: save it as UTF-8 (in PowerShell, Out-File -Encoding utf8)");
        }
        let Begin { form, is_page, skip } = begin(&head)?;
        let mut rows = Self {
            from: BufReader::with_capacity(HEAD_BYTES, Cursor::new(head).chain(from)),
            form,
            offset: 0,
            number: 0,
            is_page,
            ended: false,
            more: false,
        };
        rows.skip(skip)?;
        Ok(rows)
    }

    /// The word that the number of a row goes with.
    pub(super) const fn unit(&self) -> &'static str {
        match self.form {
            Form::Lines => "line",
            Form::List | Form::Objects => "row",
        }
    }

    /// What is wrong with the file as a whole, once its rows were read.
    pub(super) const fn fault(&self) -> Option<&'static str> {
        match self.form {
            Form::List if !self.ended => Some("its list has no end: it was cut off"),
            Form::List if self.more => Some("only the first of its lists was read: give one array, or JSON Lines"),
            _ => None,
        }
    }

    /// The next row, its bytes in `bytes`; `None` behind the last.
    ///
    /// # Errors
    /// When the file can not be read on.
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Row>> {
        bytes.clear();
        if self.ended {
            return Ok(None);
        }
        match self.form {
            Form::Lines => self.line(bytes),
            Form::List => self.member(bytes),
            Form::Objects => self.object(bytes),
        }
    }

    fn line(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Row>> {
        loop {
            self.number += 1;
            let row = self.cut(bytes, |byte| if byte == b'\n' { Cut::Before } else { Cut::No })?;
            let at_the_end = self.peek()?.is_none();
            self.skip(1)?;
            if !bytes.trim_ascii().is_empty() || row.is_too_long() {
                return Ok(Some(row));
            }
            if at_the_end {
                return Ok(None);
            }
            bytes.clear();
        }
    }

    fn member(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Row>> {
        loop {
            match self.peek()? {
                None => return Ok(None),
                Some(b']') => {
                    self.skip(1)?;
                    self.ended = true;
                    self.more = self.is_more_behind()?;
                    return Ok(None);
                }
                Some(b',' | b' ' | b'\t' | b'\r' | b'\n') => self.skip(1)?,
                Some(_) => break,
            }
        }
        self.number += 1;
        let mut nesting = Nesting::default();
        let row = self.cut(bytes, move |byte| match byte {
            b',' | b']' if nesting.is_outside() => Cut::Before,
            _ => {
                nesting.pass(byte);
                Cut::No
            }
        })?;
        Ok(Some(row))
    }

    /// Whether something follows the array, or the object that it is in.
    fn is_more_behind(&mut self) -> io::Result<bool> {
        let mut nesting = Nesting { depth: u32::from(self.is_page), ..Nesting::default() };
        while let Some(byte) = self.peek()? {
            if nesting.is_outside() && !byte.is_ascii_whitespace() {
                return Ok(true);
            }
            nesting.pass(byte);
            self.skip(1)?;
        }
        Ok(false)
    }

    fn object(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Row>> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace() || byte == b',') {
            self.skip(1)?;
        }
        if self.peek()?.is_none() {
            return Ok(None);
        }
        self.number += 1;
        let mut nesting = Nesting::default();
        let row = self.cut(bytes, move |byte| {
            nesting.pass(byte);
            // What stands between objects and is none ends with its line.
            let is_over = nesting.is_outside() && matches!(byte, b'}' | b']' | b'\n');
            if is_over { Cut::Behind } else { Cut::No }
        })?;
        Ok(Some(row))
    }

    /// Reads up to where `cut` says, or to the end. Of a row that is too long no bytes are kept.
    fn cut(&mut self, bytes: &mut Vec<u8>, mut cut: impl FnMut(u8) -> Cut) -> io::Result<Row> {
        let begin = self.offset;
        loop {
            let buffer = self.from.fill_buf()?;
            let found = buffer.iter().enumerate().find_map(|(place, byte)| match cut(*byte) {
                Cut::No => None,
                Cut::Before => Some(place),
                Cut::Behind => Some(place + 1),
            });
            let taken = found.unwrap_or(buffer.len());
            if bytes.len() + taken <= MOST_ROW_BYTES {
                bytes.extend_from_slice(buffer.get(..taken).unwrap_or_default());
            }
            let over = found.is_some() || buffer.is_empty();
            self.from.consume(taken);
            self.offset += taken as u64;
            if over {
                break;
            }
        }
        let row = Row { number: self.number, offset: begin, length: self.offset - begin };
        if row.is_too_long() {
            bytes.clear();
        }
        Ok(row)
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.from.fill_buf()?.first().copied())
    }

    fn skip(&mut self, mut bytes: usize) -> io::Result<()> {
        while bytes > 0 {
            let there = self.from.fill_buf()?.len().min(bytes);
            if there == 0 {
                break;
            }
            self.from.consume(there);
            self.offset += there as u64;
            bytes -= there;
        }
        Ok(())
    }
}

/// Where a row ends.
enum Cut {
    No,
    Before,
    Behind,
}

/// How deep in objects, lists and texts a place is.
#[derive(Debug, Default)]
struct Nesting {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Nesting {
    const fn pass(&mut self, byte: u8) {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    const fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_text
    }
}

/// How a file begins.
struct Begin {
    form: Form,
    is_page: bool,
    /// Bytes before the first row.
    skip: usize,
}

fn begin(head: &[u8]) -> anyhow::Result<Begin> {
    const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
    let marked = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let rest = head.get(marked..).unwrap_or_default();
    let text = rest.trim_ascii_start();
    let start = marked + (rest.len() - text.len());
    let (form, is_page, skip) = match text.first() {
        None => (Form::Lines, false, start),
        Some(b'[') => (Form::List, false, start + 1),
        Some(b'{') => match list_of_page(text) {
            Some(list) => (Form::List, true, start + list),
            None if is_one_a_line(text) => (Form::Lines, false, marked),
            None => (Form::Objects, false, start),
        },
        Some(_) => bail!("it is not JSON: give a JSON array, JSON Lines, or an API page as {{\"value\": [...]}}"),
    };
    Ok(Begin { form, is_page, skip })
}

/// Where the list of a page begins: the array under the key `value` of an object that has no `id`.
fn list_of_page(text: &[u8]) -> Option<usize> {
    let mut nesting = Nesting::default();
    let mut begun = 0;
    for (place, byte) in text.iter().enumerate() {
        let was_in_text = nesting.in_text;
        nesting.pass(*byte);
        if nesting.depth == 0 {
            return None;
        }
        if nesting.depth > 1 || *byte != b'"' {
            continue;
        }
        if !was_in_text {
            begun = place + 1;
        } else if !nesting.in_text {
            let rest = text.get(place + 1..)?.trim_ascii_start();
            let Some(value) = rest.strip_prefix(b":") else { continue };
            match text.get(begun..place)? {
                b"id" => return None,
                b"value" => {
                    let list = value.trim_ascii_start().strip_prefix(b"[")?;
                    return Some(text.len() - list.len());
                }
                _ => {}
            }
        }
    }
    None
}

/// Whether the first line is a whole object, or the second begins another.
fn is_one_a_line(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut nesting = Nesting::default();
    first.iter().for_each(|byte| nesting.pass(*byte));
    nesting.is_outside() || first.len() == text.len() || lines.next().is_some_and(|line| line.starts_with(b"{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a file, each with its number.
    fn rows(text: &[u8]) -> Vec<(u64, String)> {
        let mut rows = Rows::new(text).unwrap();
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next(&mut bytes).unwrap() {
            assert!(row.is_too_long() || row.length == bytes.len() as u64);
            let there = &text[usize::try_from(row.offset).unwrap()..][..usize::try_from(row.length).unwrap()];
            assert!(row.is_too_long() || there == bytes, "the place of a row leads back to it");
            found.push((row.number, String::from_utf8_lossy(&bytes).trim().to_owned()));
        }
        found
    }

    fn numbered(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
        rows.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
    }

    #[test]
    fn a_list_a_page_lines_and_objects_give_the_same_rows() {
        let (a, b) = (r#"{"id": "a]", "x": [1, {"y": "\"}"}]}"#, r#"{"id": "b"}"#);
        let two = numbered(&[(1, a), (2, b)]);
        let forms = [
            format!("[{a},{b}]"),
            format!("\u{feff}\n [ {a} ,\n {b}\n ]\n"),
            format!(
                "{{\"@odata.context\": \"https://x/[value]\", \"@odata.count\": 2, \"value\" : [{a}, {b}], \"n\": 1}}"
            ),
            format!("{a}\n{b}\n"),
            format!("{a}\r\n{b}"),
        ];
        for text in forms {
            assert_eq!(rows(text.as_bytes()), two, "{text}");
        }
        let pretty = "{\n  \"id\": \"a\"\n}\n{\n  \"id\": \"b\"\n}\n";
        let expected = [(1, "{\n  \"id\": \"a\"\n}"), (2, "{\n  \"id\": \"b\"\n}")];
        assert_eq!(rows(pretty.as_bytes()), numbered(&expected));
    }

    #[test]
    fn a_broken_line_costs_itself_and_is_numbered_as_an_editor_does() {
        let text = "{\"id\": \"a\"}\n\n{\"id\": \"b\nnonsense\n{\"id\": \"c\"}\n";
        let expected = [(1, r#"{"id": "a"}"#), (3, r#"{"id": "b"#), (4, "nonsense"), (5, r#"{"id": "c"}"#)];
        assert_eq!(rows(text.as_bytes()), numbered(&expected));
        assert_eq!(
            rows(b"{\"id\": \"cut\n{\"id\": \"b\"}\n").len(),
            2,
            "a first line that is cut off is one of several"
        );
    }

    #[test]
    fn an_alert_with_a_key_named_value_is_no_page() {
        for text in [r#"{"id": "a", "value": [1]}"#, r#"{"evidence": {"value": [1]}, "id": "a"}"#] {
            assert_eq!(rows(text.as_bytes()), numbered(&[(1, text)]));
        }
    }

    #[test]
    fn nothing_at_all_has_no_rows() {
        for text in ["", "\n\n", "[]", " [ ] ", "{\"value\": []}"] {
            assert_eq!(rows(text.as_bytes()), [], "{text:?}");
        }
    }

    #[test]
    fn a_list_that_is_cut_off_or_followed_by_more_gives_what_it_has_and_says_so() {
        let read = |text: &str| {
            let mut rows = Rows::new(text.as_bytes()).unwrap();
            let (mut count, mut bytes) = (0, Vec::new());
            while rows.next(&mut bytes).unwrap().is_some() {
                count += 1;
            }
            (count, rows.fault().map(|fault| fault.split(' ').next_back().unwrap()))
        };
        assert_eq!(read("[{\"id\": 1}]\n"), (1, None));
        assert_eq!(read("{\"value\": [{\"id\": 1}], \"@odata.nextLink\": \"x}[\"}\n"), (1, None));
        assert_eq!(read("[{\"id\": 1}, {\"id\""), (2, Some("off")));
        assert_eq!(read("[{\"id\": 1}]\n[{\"id\": 2}]"), (1, Some("Lines")));
        assert_eq!(read("{\"value\": [{\"id\": 1}]}\n{\"value\": []}"), (1, Some("Lines")));
    }

    #[test]
    fn a_row_that_is_too_long_is_passed_over_without_keeping_it() {
        let long = format!("{{\"id\": \"{}\"}}", "x".repeat(MOST_ROW_BYTES));
        for text in [format!("[{long}, {{}}]"), format!("{{}}\n{long}\n{{}}\n")] {
            let mut rows = Rows::new(text.as_bytes()).unwrap();
            let (mut bytes, mut long) = (Vec::new(), 0);
            while let Some(row) = rows.next(&mut bytes).unwrap() {
                assert!(bytes.len() < 10);
                long += u64::from(row.is_too_long());
            }
            assert_eq!(long, 1);
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_a_way_out() {
        let refused = |text: &[u8]| Rows::new(text).err().unwrap().to_string();
        assert!(refused(b"\xff\xfe[\0]\0").contains("UTF-16"));
        assert!(refused(b"id,title\n1,2\n").contains("JSON Lines"));
    }
}
