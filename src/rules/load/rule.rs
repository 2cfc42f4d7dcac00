//! One rule document, as far as it alone can tell.

use rsigma_parser::SigmaRule;
use serde_yaml::{Mapping, Value};

use super::header::{Header, Kind};
use super::{LoadContext, advice, always, compile, detection, header};
use crate::diagnostics::Diagnostic;
use crate::rules::digest::sha256_hex;
use crate::rules::inline_test;
use crate::rules::report::Report;
use crate::rules::response::{self, Response};
use crate::rules::rule::{Rule, Status};

/// A rule that was read.
pub(super) struct RuleDraft {
    pub(super) sigma: SigmaRule,
    /// `None` without a response: it was checked, and does nothing by itself.
    pub(super) rule: Option<Rule>,
    /// Of a rule without a response that matches every alert: an error unless a correlation says that it is
    /// meant.
    pub(super) unbounded: Option<Diagnostic>,
}

/// Reads a rule; `None` when anything in it is wrong, which the report then says.
pub(super) fn check(
    mapping: &Mapping,
    context: &LoadContext<'_>,
    report: &mut Report<'_>,
) -> Option<(Header, RuleDraft)> {
    let header = header::check(mapping, Kind::Rule, report);
    let response = read_response(mapping, context, report);
    let tests = inline_test::of(mapping, response.as_ref().ok().and_then(Option::as_ref), context, report);
    let has_title = mapping.get("title").is_some_and(Value::is_string);
    let is_fit =
        detection::check(mapping, report) && has_title && mapping.get("logsource").is_none_or(Value::is_mapping);
    let sigma = is_fit.then(|| compile::rule(mapping, report)).flatten();
    let is_meant = matches!(&response, Ok(Some(response)) if response.match_all);
    let is_unbounded = |rule: &&SigmaRule| !is_meant && always::matches_every_alert(rule);
    let mut unbounded = sigma.as_ref().filter(is_unbounded).map(|_| unbounded(report));
    if !matches!(response, Ok(None)) {
        unbounded.take().into_iter().for_each(|problem| report.take(problem));
    }
    // These need no sound rule, so that they are told with its errors.
    advice::of_rule(mapping, response.as_ref().ok().and_then(Option::as_ref), report);
    let (header, mut sigma, response) = (header?, sigma?, response.ok()?);
    warn_of_status(&header, response.as_ref(), report);
    // The engine's answers are told apart by id, which a rule may lack.
    sigma.id = Some(header.id.as_str().to_owned());
    let rule = response.map(|response| Rule { tests, ..rule(&header, response, report) });
    Some((header, RuleDraft { sigma, rule, unbounded }))
}

/// The response when there is one; `Err` when it is wrong.
pub(super) fn read_response(
    mapping: &Mapping,
    context: &LoadContext<'_>,
    report: &mut Report<'_>,
) -> Result<Option<Response>, ()> {
    mapping.get("response").map(|value| response::parse(value, context, report).ok_or(())).transpose()
}

pub(super) fn warn_of_status(header: &Header, response: Option<&Response>, report: &mut Report<'_>) {
    if response.is_some_and(Response::is_restrict) && matches!(header.status, Status::Deprecated | Status::Unsupported)
    {
        let status = header.status.as_str();
        report.warning(&["status".into()], format!("a rule with status {status} runs in shadow"));
    }
}

/// The rule of a header and a response, with no tests, that reads no machine record.
pub(super) fn rule(header: &Header, response: Response, report: &Report<'_>) -> Rule {
    let document = report.document();
    Rule {
        id: header.id.clone(),
        title: header.title.clone(),
        hash: sha256_hex(document.text.as_bytes()),
        level: header.level,
        status: header.status,
        response,
        reads_machine: false,
        tests: Vec::new(),
        file: document.file.to_owned(),
        line: document.place(&["title".into()]).line,
    }
}

fn unbounded(report: &Report<'_>) -> Diagnostic {
    let document = report.document();
    let place = document.place(&["detection".into(), "condition".into()]);
    Diagnostic::error(document.file, place, "the condition matches every alert")
        .with_hint("'match_all: true' in the response says that this is meant")
}
