//! The table of `docs/reference/answers.md` is what the classifier does.

use super::*;

const PAGE: &str = include_str!("../../../../docs/reference/answers.md");

/// A body: what the table calls it, and what comes with that status and code.
type Body = (&'static str, fn(u16, Option<&str>) -> Exchange);

const BODIES: [Body; 15] = [
    ("a machine action", |status, _| answer(status, &action(json!({})))),
    ("a machine action of an unknown type", |status, _| answer(status, &action(json!({"type": "SomethingNew"})))),
    ("a machine action of the opposite type", |status, _| {
        answer(status, &action(json!({"type": "UnrestrictCodeExecution"})))
    }),
    ("a machine action of another machine", |status, _| answer(status, &action(json!({"machineId": "0".repeat(40)})))),
    ("a machine action without an id", |status, _| answer(status, &action(json!({"id": null})))),
    ("an error", |status, code| answer(status, &words(code, "no"))),
    ("an error in the words *action is already in progress*", |status, code| {
        answer(status, &words(code, "Action is already in progress"))
    }),
    ("an error in the words *missing application roles*", |status, code| {
        answer(status, &words(code, "Missing application roles. API required roles: Machine.RestrictExecution."))
    }),
    ("an error in the words *required application permissions*", |status, code| {
        answer(status, &words(code, OTHER_ROLES))
    }),
    ("a web page", |status, _| answer(status, HTML)),
    ("a web page in the words *action is already in progress*", |status, _| {
        answer(status, "<p>Action is already in progress</p>")
    }),
    ("a web page in the words *missing application roles*", |status, _| {
        answer(status, "<p>Missing application roles</p>")
    }),
    ("half a document", |status, _| answer(status, r#"{"error":{"code":"Forb"#)),
    ("nothing", |status, _| answer(status, "")),
    ("a body that breaks off", |status, _| cut(status)),
];

const CODES: [Option<&str>; 10] = [
    None,
    Some("BadRequest"),
    Some("ActiveRequestAlreadyExists"),
    Some("InvalidInput"),
    Some("OsPlatformNotSupported"),
    Some("Forbidden"),
    Some("DisallowedOperation"),
    Some("DisabledFeature"),
    Some("ResourceNotFound"),
    Some("NeverHeardOf"),
];

/// The API's error document, with or without a code.
fn words(code: Option<&str>, message: &str) -> String {
    code.map_or_else(|| json!({"error": {"message": message}}).to_string(), |code| error(code, message))
}

/// A row of the table; the first that fits is meant.
#[derive(Debug)]
struct Row<'a> {
    status: &'a str,
    body: &'a str,
    code: &'a str,
    outcome: &'a str,
}

impl Row<'_> {
    fn fits(&self, status: u16, body: &str, code: Option<&str>) -> bool {
        let lists = |cell: &str, names: &[&str]| cell.split(", ").any(|word| names.contains(&word));
        let sort = if body.starts_with("an error") { "any error" } else { "any" };
        let code = code.map_or_else(|| "none".to_owned(), |code| format!("`{code}`"));
        lists(self.status, &[&status.to_string(), "any other"])
            && lists(self.body, &[body, sort, "any", "any other"])
            && lists(self.code, &[&code, "any", "any other"])
    }
}

/// The rows about answers; those about none have no status.
fn rows() -> Vec<Row<'static>> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("What an answer means")).unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| match cells[..] {
            [status, body, code, outcome] => Row { status, body, code, outcome },
            _ => panic!("a row of another form: {cells:?}"),
        })
        .collect()
}

/// An outcome as the table calls it.
fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Busy { .. } => "busy",
        Outcome::Refused { .. } => "refused",
        Outcome::NotFound { .. } => "not found",
        Outcome::Disallowed { .. } => "disallowed",
        Outcome::Forbidden { missing_roles: true, .. } => "forbidden to the application",
        Outcome::Forbidden { missing_roles: false, .. } => "forbidden",
        Outcome::Unauthorized { .. } => "unauthorized",
        Outcome::Throttled { .. } => "throttled",
        Outcome::NotSignedIn(_) | Outcome::NotSent { .. } => "not sent",
        Outcome::Unanswered { .. } => "unanswered",
    }
}

#[test]
fn each_answer_is_in_the_table_and_each_row_is_what_the_classifier_says() {
    let rows = rows();
    let mut used = vec![false; rows.len()];
    for status in 200..600 {
        for (body, make) in BODIES {
            for code in CODES {
                let exchange = make(status, code);
                let place = rows.iter().position(|row| row.fits(status, body, code));
                let place = place.unwrap_or_else(|| panic!("no row for {status}, {body}, {code:?}"));
                used[place] = true;
                assert_eq!(rows[place].outcome, name(&classified(&exchange)), "{status}, {body}, {code:?}");
            }
        }
    }
    for (row, used) in rows.iter().zip(used) {
        assert!(used || row.body.is_empty(), "no answer comes to {row:?}");
    }
}

#[test]
fn no_answer_at_all_is_in_the_table() {
    let message = || "why".to_owned();
    let none = [
        ("no answer", Exchange::Unanswered { message: message() }),
        ("no connection", Exchange::NotSent { message: message() }),
    ];
    for (what, exchange) in none {
        let rows = rows();
        let row = rows.iter().find(|row| row.status.starts_with(what)).unwrap();
        assert_eq!(row.outcome, name(&classified(&exchange)), "{row:?}");
    }
}

#[test]
fn every_outcome_has_its_row_of_what_it_does() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("What an outcome does")).unwrap();
    for row in rows() {
        assert!(section.contains(&format!("\n| {} |", row.outcome)), "{}", row.outcome);
    }
}
