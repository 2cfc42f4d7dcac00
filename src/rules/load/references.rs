//! What refers to what: filters narrow rules, correlations count them.
//!
//! Absent: a look at any document by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rsigma_parser::SigmaRule;
use serde_yaml::Value;

use super::correlation::CorrelationDraft;
use super::filter::Filter;
use super::{Body, Draft, Ready, compile};
use crate::diagnostics::{Diagnostic, Place, Step};
use crate::rules::correlation::{Correlation, Member, Source};
use crate::rules::report::{Report, below, hint_for, shorten};
use crate::rules::response::describe;
use crate::rules::rule::Rule;

/// The most rules that one document names.
const MAX_REFERENCES: usize = 256;
/// The most filters that narrow one rule: each makes its condition one deeper.
const MAX_FILTERS: usize = 64;

/// A rule that another document refers to, by id, name or title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Reads one reference or a list of them; `None` when there is none or something else, which the report
/// then says.
pub(super) fn read(value: &Value, path: &[Step], report: &mut Report<'_>) -> Option<Vec<Reference>> {
    let written: Vec<(Vec<Step>, &Value)> = match value {
        Value::Sequence(list) => list.iter().enumerate().map(|(index, member)| (below(path, index), member)).collect(),
        one => vec![(path.to_vec(), one)],
    };
    if written.is_empty() || written.len() > MAX_REFERENCES {
        report.error(path, format!("rules must name at least one rule, and at most {MAX_REFERENCES}"));
        return None;
    }
    let before = report.count();
    let mut references: Vec<Reference> = Vec::with_capacity(written.len());
    for (path, value) in written {
        match value.as_str().map(str::trim) {
            Some(text) if references.iter().any(|known| known.text == text) => {
                report.error(&path, format!("the rule {:?} is named twice", shorten(text)));
            }
            Some(text) if !text.is_empty() => {
                references.push(Reference { text: text.to_owned(), place: report.document().place(&path) });
            }
            _ => report.error(&path, format!("a rule is named by its id, name or title, not by {}", describe(value))),
        }
    }
    (report.count() == before).then_some(references)
}

/// What the drafts come to once each reference is followed.
pub(super) struct Resolved {
    pub(super) ready: Vec<Ready>,
    /// What correlations count, each once.
    pub(super) bases: Vec<SigmaRule>,
    /// Each after those that it refers to.
    pub(super) correlations: Vec<Correlation>,
}

/// Follows every reference. What is wrong is pushed to `problems`.
pub(super) fn resolve(
    mut drafts: Vec<Draft>,
    problems: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> Resolved {
    narrow(&mut drafts, problems, warnings);
    let members = members(&drafts, problems);
    let order = order(&drafts, &members, problems);
    let referred: HashSet<usize> = members.values().flatten().copied().collect();
    tell_idle(&drafts, &referred, warnings);
    refuse_unbounded(&drafts, &members, problems);
    refuse_silenced(&drafts, &members, problems);
    build(drafts, &members, &order)
}

/// The documents by what they can be called.
struct Names<'d> {
    drafts: &'d [Draft],
}

impl Names<'_> {
    /// The only document that a reference means: by id, else by name, else by title.
    fn find(&self, text: &str) -> Result<usize, Missed> {
        // A title that stands in for an id is a title here.
        let by_id = |draft: &Draft| draft.id.as_str() != draft.title && draft.id.as_str().eq_ignore_ascii_case(text);
        let by_name = |draft: &Draft| draft.name.as_deref() == Some(text);
        let by_title = |draft: &Draft| draft.title == text;
        let ways: [&dyn Fn(&Draft) -> bool; 3] = [&by_id, &by_name, &by_title];
        for is_meant in ways {
            let mut meant = (0..self.drafts.len()).filter(|&at| self.drafts.get(at).is_some_and(is_meant));
            match (meant.next(), meant.next()) {
                (Some(one), None) => return Ok(one),
                (Some(_), Some(_)) => return Err(Missed::Ambiguous),
                _ => {}
            }
        }
        Err(Missed::Unknown)
    }

    fn follow(&self, from: &Draft, reference: &Reference, problems: &mut Vec<Diagnostic>) -> Option<usize> {
        let text = shorten(&reference.text);
        match self.find(&reference.text) {
            Ok(found) => return Some(found),
            Err(Missed::Unknown) => {
                let known = self.drafts.iter().filter(|draft| !matches!(draft.body, Body::Filter(_)));
                let known =
                    known.flat_map(|draft| [draft.name.as_deref(), Some(draft.id.as_str()), Some(&draft.title)]);
                let mut known: Vec<&str> = known.flatten().collect();
                known.dedup();
                let mut problem =
                    Diagnostic::error(&from.file, reference.place, format!("refers to the unknown rule {text:?}"));
                problem.hint = hint_for(&reference.text, &known);
                problems.push(problem);
            }
            Err(Missed::Ambiguous) => {
                let message = format!("several rules are called {text:?}");
                problems.push(Diagnostic::error(&from.file, reference.place, message).with_hint("use the id"));
            }
        }
        None
    }
}

enum Missed {
    Unknown,
    Ambiguous,
}

/// Applies each filter to the rules that it means.
fn narrow(drafts: &mut [Draft], problems: &mut Vec<Diagnostic>, warnings: &mut Vec<Diagnostic>) {
    let mut narrowings: Vec<(usize, usize, Place)> = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        let Body::Filter(filter) = &draft.body else { continue };
        let before = narrowings.len();
        match &filter.rules {
            Some(references) => {
                let names = Names { drafts };
                for reference in references {
                    let Some(rule) = names.follow(draft, reference, problems) else { continue };
                    match why_not(filter, drafts.get(rule)) {
                        None => narrowings.push((at, rule, reference.place)),
                        Some(why) => problems.push(Diagnostic::error(&draft.file, reference.place, why)),
                    }
                }
            }
            None => {
                let meant = drafts.iter().enumerate().filter(|(_, rule)| why_not(filter, Some(rule)).is_none());
                narrowings.extend(meant.map(|(rule, _)| (at, rule, filter.rules_place)));
                if narrowings.len() == before {
                    warnings.push(Diagnostic::warning(&draft.file, filter.rules_place, "the filter narrows no rule"));
                }
            }
        }
    }
    let mut filters: HashMap<usize, usize> = HashMap::new();
    for (from, to, place) in narrowings {
        let Ok([filter, rule]) = drafts.get_disjoint_mut([from, to]) else { continue };
        let (Body::Filter(narrowing), Body::Rule(draft)) = (&filter.body, &mut rule.body) else { continue };
        let number = *filters.entry(to).and_modify(|number| *number += 1).or_default();
        if number >= MAX_FILTERS {
            if number == MAX_FILTERS {
                let message = format!("more than {MAX_FILTERS} filters narrow the rule {:?}", rule.id.as_str());
                problems.push(Diagnostic::error(&filter.file, place, message));
            }
            continue;
        }
        if let Err(why) = narrowing.narrow(&mut draft.sigma, number) {
            let message = format!("the rule {:?} can not be narrowed: {why}", rule.id.as_str());
            problems.push(Diagnostic::error(&filter.file, place, message));
        }
    }
}

/// Why a filter does not narrow a document.
fn why_not(filter: &Filter, document: Option<&Draft>) -> Option<String> {
    let document = document?;
    let id = document.id.as_str();
    match &document.body {
        Body::Filter(_) => Some(format!("{id:?} is a filter, not a rule")),
        Body::Correlation(_) => Some(format!("{id:?} is a correlation: a filter narrows the rules that it counts")),
        // What narrows a protection lets devices be restricted that were not to be.
        Body::Rule(rule) if rule.rule.as_ref().is_some_and(|rule| !rule.response.is_restrict()) => {
            Some(format!("{id:?} protects, and a filter can not take protection away: write it into the rule"))
        }
        Body::Rule(rule) if !filter.is_about(&rule.sigma) => {
            Some(format!("the log source of the filter is not that of the rule {id:?}"))
        }
        Body::Rule(_) => None,
    }
}

/// What each correlation refers to, in its order.
fn members(drafts: &[Draft], problems: &mut Vec<Diagnostic>) -> HashMap<usize, Vec<usize>> {
    let names = Names { drafts };
    let mut members = HashMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        let Body::Correlation(correlation) = &draft.body else { continue };
        let mut found: Vec<usize> = Vec::new();
        for reference in &correlation.references {
            let Some(member) = names.follow(draft, reference, problems) else { continue };
            let message = if drafts.get(member).is_some_and(|draft| matches!(draft.body, Body::Filter(_))) {
                format!("{:?} is a filter, not a rule", shorten(&reference.text))
            } else if found.contains(&member) {
                format!("the rule {:?} is named twice", shorten(&reference.text))
            } else {
                found.push(member);
                continue;
            };
            problems.push(Diagnostic::error(&draft.file, reference.place, message));
        }
        members.insert(at, found);
    }
    members
}

/// The correlations, each after those that it refers to.
fn order(drafts: &[Draft], members: &HashMap<usize, Vec<usize>>, problems: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut ordered: HashSet<usize> = HashSet::new();
    let mut open: Vec<usize> = (0..drafts.len()).filter(|at| members.contains_key(at)).collect();
    loop {
        let is_ready = |at: &usize| {
            let mut inner = members.get(at).into_iter().flatten().filter(|member| members.contains_key(member));
            inner.all(|member| ordered.contains(member))
        };
        let (ready, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|at| is_ready(at));
        if ready.is_empty() {
            // What is left refers to itself, or to something that does.
            if let Some((at, reference)) = rest.iter().find_map(|at| Some((*at, back(drafts, members, *at)?)))
                && let Some(draft) = drafts.get(at)
            {
                let message = format!("the correlation {:?} refers to itself in the end", draft.id.as_str());
                problems.push(Diagnostic::error(&draft.file, reference.place, message));
            }
            return order;
        }
        ordered.extend(&ready);
        order.extend(ready);
        open = rest;
    }
}

/// The reference of a correlation that leads back to it.
fn back<'d>(drafts: &'d [Draft], members: &HashMap<usize, Vec<usize>>, start: usize) -> Option<&'d Reference> {
    let Body::Correlation(correlation) = &drafts.get(start)?.body else { return None };
    let leads_back = |first: usize| {
        let (mut seen, mut next) = (HashSet::new(), vec![first]);
        while let Some(at) = next.pop() {
            if at == start {
                return true;
            }
            if seen.insert(at) {
                next.extend(members.get(&at).into_iter().flatten());
            }
        }
        false
    };
    let place = members.get(&start)?.iter().position(|member| leads_back(*member))?;
    correlation.references.get(place)
}

fn tell_idle(drafts: &[Draft], referred: &HashSet<usize>, warnings: &mut Vec<Diagnostic>) {
    for (at, draft) in drafts.iter().enumerate() {
        let what = match &draft.body {
            Body::Rule(rule) if rule.rule.is_none() => "rule",
            Body::Correlation(correlation) if correlation.rule.is_none() => "correlation",
            _ => continue,
        };
        if !referred.contains(&at) {
            let message = format!("the {what} has no response, and nothing refers to it");
            warnings.push(Diagnostic::warning(&draft.file, draft.title_place, message));
        }
    }
}

/// A rule without a response may match every alert if a correlation over it says that this is meant.
fn refuse_unbounded(drafts: &[Draft], members: &HashMap<usize, Vec<usize>>, problems: &mut Vec<Diagnostic>) {
    let is_meant = |at: usize| {
        let over_it = members.iter().filter(|(_, members)| members.contains(&at));
        let mut rules = over_it.filter_map(|(correlation, _)| match &drafts.get(*correlation)?.body {
            Body::Correlation(correlation) => correlation.rule.as_ref(),
            _ => None,
        });
        rules.any(|rule| rule.response.match_all)
    };
    for (at, draft) in drafts.iter().enumerate() {
        if let Body::Rule(rule) = &draft.body
            && let Some(problem) = rule.unbounded.as_ref().filter(|_| !is_meant(at))
        {
            problems.push(problem.clone());
        }
    }
}

/// `generate: false` can not be kept over a rule that acts by itself.
fn refuse_silenced(drafts: &[Draft], members: &HashMap<usize, Vec<usize>>, problems: &mut Vec<Diagnostic>) {
    for (at, members) in members {
        let Some(draft) = drafts.get(*at) else { continue };
        let Body::Correlation(correlation) = &draft.body else { continue };
        let Some(place) = correlation.silences else { continue };
        for member in members.iter().filter_map(|member| drafts.get(*member)) {
            if member.body.rule().is_some() {
                let message =
                    format!("the rule {:?} has a response, so it acts by itself all the same", member.id.as_str());
                problems.push(Diagnostic::error(&draft.file, place, message));
            }
        }
    }
}

fn build(drafts: Vec<Draft>, members: &HashMap<usize, Vec<usize>>, order: &[usize]) -> Resolved {
    let mut sources: HashMap<usize, Source> = HashMap::new();
    sources.extend(order.iter().enumerate().map(|(place, at)| (*at, Source::Correlation(place))));
    let mut resolved = Resolved { ready: Vec::new(), bases: Vec::new(), correlations: Vec::new() };
    let mut reads: HashSet<usize> = HashSet::new();
    let mut waiting: HashMap<usize, Box<CorrelationDraft>> = HashMap::new();
    let is_member = |at: &usize| members.values().any(|members| members.contains(at));
    for (at, draft) in drafts.into_iter().enumerate() {
        match draft.body {
            Body::Rule(rule) => {
                let rule = *rule;
                let reads_machine = compile::reads_machine(&rule.sigma);
                if is_member(&at) {
                    sources.insert(at, Source::Base(resolved.bases.len()));
                    resolved.bases.push(rule.sigma.clone());
                }
                if reads_machine {
                    reads.insert(at);
                }
                if let Some(own) = rule.rule {
                    resolved.ready.push(Ready { rule: Arc::new(Rule { reads_machine, ..own }), sigma: rule.sigma });
                }
            }
            Body::Correlation(correlation) => {
                waiting.insert(at, correlation);
            }
            Body::Filter(_) => {}
        }
    }
    for at in order {
        let (Some(draft), Some(members)) = (waiting.remove(at), members.get(at)) else { continue };
        let fields = || draft.group_by_of.iter().flatten().chain(&draft.counted);
        let reads_machine =
            members.iter().any(|member| reads.contains(member)) || fields().any(|field| compile::is_machine(field));
        if reads_machine {
            reads.insert(*at);
        }
        let rule = draft.rule.map(|rule| Arc::new(Rule { reads_machine, ..rule }));
        let sources = members
            .iter()
            .zip(draft.group_by_of)
            .filter_map(|(member, group_by)| Some(Member { source: *sources.get(member)?, group_by }));
        resolved.correlations.push(Correlation {
            rule,
            kind: draft.kind,
            test: draft.test,
            timespan: draft.timespan,
            group_by: draft.group_by,
            counted: draft.counted,
            members: sources.collect(),
        });
    }
    resolved
}
