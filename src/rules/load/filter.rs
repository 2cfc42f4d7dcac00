//! Sigma filters: conditions that rules are narrowed by, from their own documents.
//!
//! The library reads them. They are added to the rules here and not by its engine, which takes `1 of them`
//! in a filter for selections of the rule. Absent: which rules are meant (see [`super::references`]).

use rsigma_parser::{ConditionExpr, Detection, LogSource, SelectorPattern, SigmaRule};
use serde_yaml::{Mapping, Value};

use super::references::{self, Reference};
use super::{compile, detection};
use crate::diagnostics::{Place, Step};
use crate::rules::report::{Report, below};

/// A filter that was read.
pub(super) struct Filter {
    /// The rules that it names; `None`: any.
    pub(super) rules: Option<Vec<Reference>>,
    /// Where it says which.
    pub(super) rules_place: Place,
    logsource: Option<LogSource>,
    selections: Vec<(String, Detection)>,
    condition: ConditionExpr,
}

/// Reads `filter`; `None` when anything in it is wrong, which the report then says.
pub(super) fn check(mapping: &Mapping, report: &mut Report<'_>) -> Option<Filter> {
    let root: [Step; 1] = ["filter".into()];
    let Some(filter) = mapping.get("filter").and_then(Value::as_mapping) else {
        report.error(&root, "filter must be a mapping of rules, selections and a condition");
        return None;
    };
    let rules = rules(filter, &root, report);
    for name in filter.keys().filter_map(Value::as_str).filter(|name| name.starts_with('_')) {
        report.error(&below(&root, name), "a selection of a filter can not begin with '_'");
    }
    let version = detection::version(mapping);
    let is_fit = detection::check_part(filter, &root, version, &["rules"], report);
    let is_fit = is_fit && mapping.get("title").is_some_and(Value::is_string);
    let rules = rules?;
    let parsed = is_fit.then(|| compile::filter(mapping, report)).flatten()?;
    let mut conditions = parsed.detection.conditions;
    let condition = if conditions.len() == 1 { conditions.pop()? } else { ConditionExpr::Or(conditions) };
    let mut selections: Vec<(String, Detection)> = parsed.detection.named.into_iter().collect();
    selections.sort_by(|a, b| a.0.cmp(&b.0));
    let rules_place = report.document().place(&below(&root, "rules"));
    Some(Filter { rules, rules_place, logsource: parsed.logsource, selections, condition })
}

/// `any`, or the rules that are named.
fn rules(filter: &Mapping, root: &[Step], report: &mut Report<'_>) -> Option<Option<Vec<Reference>>> {
    let path = below(root, "rules");
    match filter.get("rules") {
        Some(Value::String(word)) if word.eq_ignore_ascii_case("any") => Some(None),
        Some(value) => references::read(value, &path, report).map(Some),
        None => {
            let hint = "a list of rules by id, name or title, or any";
            report.error_with_hint(root, "the filter lacks 'rules'", hint);
            None
        }
    }
}

impl Filter {
    /// Whether rule and filter are about the same logs. What one of them leaves open, the other may say:
    /// rules of alerts have no log source of their own.
    pub(super) fn is_about(&self, rule: &SigmaRule) -> bool {
        let Some(own) = &self.logsource else { return true };
        let agree = |a: Option<&String>, b: Option<&String>| match (a, b) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => true,
        };
        let of = &rule.logsource;
        agree(own.category.as_ref(), of.category.as_ref())
            && agree(own.product.as_ref(), of.product.as_ref())
            && agree(own.service.as_ref(), of.service.as_ref())
    }

    /// Narrows the rule by this filter, the rule's `number`-th.
    ///
    /// # Errors
    /// Why it can not be narrowed.
    pub(super) fn narrow(&self, rule: &mut SigmaRule, number: usize) -> Result<(), String> {
        // No selection of a rule is called so, and no pattern that people write for some of them fits.
        let own = |name: &str| format!("_filter {number} {name}.");
        let hides_some = rule.detection.named.keys().any(|name| name.starts_with('_') && !name.starts_with("_filter "));
        let names: Vec<String> = self.selections.iter().map(|(name, _)| own(name)).collect();
        for condition in &mut rule.detection.conditions {
            mend_patterns(condition, &names, hides_some)?;
        }
        for ((_, detection), name) in self.selections.iter().zip(names) {
            rule.detection.named.insert(name, detection.clone());
        }
        let mut narrowing = self.condition.clone();
        rename(&mut narrowing, &own);
        for condition in &mut rule.detection.conditions {
            *condition = ConditionExpr::And(vec![condition.clone(), narrowing.clone()]);
        }
        Ok(())
    }
}

/// `1 of *` means the rule's own selections, also once a filter has brought others.
fn mend_patterns(condition: &mut ConditionExpr, names: &[String], hides_some: bool) -> Result<(), String> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter_mut().try_for_each(|part| mend_patterns(part, names, hides_some))
        }
        ConditionExpr::Not(part) => mend_patterns(part, names, hides_some),
        ConditionExpr::Identifier(_) => Ok(()),
        ConditionExpr::Selector { pattern, .. } => {
            if !names.iter().any(|name| pattern.matches_detection_name(name)) {
                return Ok(());
            }
            if hides_some || !matches!(pattern, SelectorPattern::Pattern(all) if all == "*") {
                return Err(format!("its condition says 'of {pattern}', which would take in the filter's selections"));
            }
            *pattern = SelectorPattern::Them;
            Ok(())
        }
    }
}

fn rename(condition: &mut ConditionExpr, own: &dyn Fn(&str) -> String) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter_mut().for_each(|part| rename(part, own)),
        ConditionExpr::Not(part) => rename(part, own),
        ConditionExpr::Identifier(name) => *name = own(name),
        ConditionExpr::Selector { pattern, .. } => {
            let named = match &*pattern {
                SelectorPattern::Them => "*",
                SelectorPattern::Pattern(pattern) => pattern.as_str(),
            };
            *pattern = SelectorPattern::Pattern(own(named));
        }
    }
}
