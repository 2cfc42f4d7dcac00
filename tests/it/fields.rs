//! `docs/reference/fields.md` is made of the vocabulary, by which rules are checked as well.
//!
//! With `STANCH_WRITE_DOCS=1` in the environment the page is written anew instead of compared.

use std::fmt::Write as _;
use std::path::Path;

use stanch::model::vocabulary::{EVENT, Field, Kind, Values};

const HEAD: &str = "\
# The fields that a rule can read

A rule sees one alert on one device: the alert as Microsoft sends it, the device's record under `machine`, and
what stanch adds under `stanch`. This page is made from the list that `stanch check` warns by and that
`stanch schema rule` gives to editors.

- **Names are written as here**: `severity`, not `Severity`. `stanch check` warns of a name that is not on this
  page. It is a warning and no error, as Microsoft adds fields.
- **Values are compared without regard to case**, unless `|cased` stands behind the field.
- Within a mapping and within a list the way goes by dots: `machine.osPlatform`, `evidence.sha1`. On a list it
  means any member. Where several fields must be those of one member, open a block, which needs
  `sigma-version: 3`: `evidence[any]:` with the fields below it; `[all]`, `[all_or_empty]`, `[none]` and a place
  as `[0]` or `[-1]` work likewise.
- Any field may be null or absent. `field: null` asks for either, `field|exists: true` that it is there, be it null:
  [how values are matched](matching.md).
- Values are Microsoft's, as its pages list them or as records have them. A list that is called *closed* has no
  others; `stanch check` warns of any other value there, and of what looks like a slip in the other lists.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let apart = ["evidence", "machine", "stanch"];
    let of = |name: &str| EVENT.iter().find(|field| field.name == name).unwrap();
    let alert: Vec<&Field> = EVENT.iter().filter(|field| !apart.contains(&field.name)).collect();
    page.push_str("\n## The alert\n\n");
    table(&mut page, "", &alert);
    for (title, name) in [("Evidence", "evidence"), ("The device", "machine"), ("What stanch adds", "stanch")] {
        write!(page, "\n## {title}\n\n{}\n\n", of(name).about).unwrap();
        table(&mut page, &format!("{name}."), &of(name).members().iter().collect::<Vec<_>>());
    }
    page
}

fn table(page: &mut String, before: &str, fields: &[&Field]) {
    page.push_str("| field | type | what it says | values |\n|---|---|---|---|\n");
    rows(page, before, fields);
}

fn rows(page: &mut String, before: &str, fields: &[&Field]) {
    for field in fields {
        let values: Vec<String> = field.values.listed().iter().map(|value| format!("`{value}`")).collect();
        let closed = if matches!(field.values, Values::Closed(_)) { "closed: " } else { "" };
        let (name, about, values) = (field.name, field.about, values.join(", "));
        writeln!(page, "| `{before}{name}` | {} | {about} | {closed}{values} |", kind(field.kind)).unwrap();
        rows(page, &format!("{before}{name}."), &field.members().iter().collect::<Vec<_>>());
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number",
        Kind::Flag => "true or false",
        Kind::Time => "time",
        Kind::Texts => "list of texts",
        Kind::Fields(_) => "mapping",
        Kind::List(_) => "list of mappings",
        Kind::Anything => "anything",
    }
}

#[test]
fn the_page_of_fields_is_what_the_program_knows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/fields.md");
    if std::env::var_os("STANCH_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "write it anew with STANCH_WRITE_DOCS=1");
}
