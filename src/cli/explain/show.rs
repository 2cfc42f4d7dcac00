//! An explanation for people: first what comes of it and why, then what matched, then who had nothing to
//! say.

use std::io;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::output::{Screen, Table, Tone, flowing, part, plain, time, whole};
use crate::model::Outcome;
use crate::model::explanation::{ExplainedDevice, ExplainedGuard, ExplainedRule, ExplainedSelection, Explanation};

/// The most rules that did not match that get a line.
const MOST_UNMATCHED: usize = 40;

/// The most lines of what one selection matched on or missed by.
const MOST_LINES: usize = 8;

/// The most characters of one value.
const MOST_CHARACTERS: usize = 160;

/// Whether a terminal can draw more than letters, by what its environment says of its characters.
pub(super) fn draws(environment: &dyn Fn(&str) -> Option<String>) -> bool {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

/// How much is shown, and with what.
#[derive(Clone, Copy)]
struct Style {
    /// Whether a rule that did not match is shown whole.
    whole: bool,
    marks: bool,
    now: Timestamp,
}

/// Prints an explanation. `whole`: rules that did not match are not put into one line each.
pub(super) fn explanation(
    explanation: &Explanation,
    whole: bool,
    marks: bool,
    now: Timestamp,
    out: &mut Screen<'_>,
) -> io::Result<()> {
    let style = Style { whole, marks, now };
    let title = explanation.title.as_ref().map(|title| format!("  {title}")).unwrap_or_default();
    out.line(&[part(Tone::Strong, format_args!("alert {}", explanation.alert_id)), plain(title)])?;
    for note in &explanation.notes {
        out.line(&[part(Tone::Faint, "note: "), plain(note)])?;
    }
    if explanation.devices.is_empty() {
        return on_device(None, explanation, style, out);
    }
    explanation.devices.iter().try_for_each(|device| on_device(Some(device), explanation, style, out))
}

fn on_device(
    device: Option<&ExplainedDevice>,
    explanation: &Explanation,
    style: Style,
    out: &mut Screen<'_>,
) -> io::Result<()> {
    if let Some(device) = device {
        out.section(&heading(device))?;
    } else {
        out.blank()?;
    }
    let id = device.map(|device| &device.machine_id);
    let rules = explanation.rules.iter().filter(|rule| rule.machine_id.as_ref() == id);
    let (matched, unmatched): (Vec<&ExplainedRule>, Vec<&ExplainedRule>) = rules.partition(|rule| rule.matched);
    if matched.is_empty() && !style.whole {
        out.line(&[part(Tone::Faint, "no rule matches")])?;
    }
    for rule in &matched {
        outcome(rule, out)?;
    }
    for rule in &matched {
        details(rule, style, out)?;
    }
    if style.whole {
        return unmatched.iter().try_for_each(|rule| {
            outcome(rule, out)?;
            details(rule, style, out)
        });
    }
    in_a_line_each(&unmatched, out)
}

/// `device 1e5b… pc-1.contoso.test, Windows11`
fn heading(device: &ExplainedDevice) -> String {
    let known = [&device.device_name, &device.os_platform].into_iter().flatten().map(String::as_str);
    let known: Vec<&str> = known.collect();
    let known = if device.known { known.join(", ") } else { "no machine record".to_owned() };
    format!("device {}  {known}", device.machine_id)
}

fn outcome(rule: &ExplainedRule, out: &mut Screen<'_>) -> io::Result<()> {
    let tone = Outcome::from_name(&rule.outcome).map_or(Tone::Faint, Tone::of_outcome);
    let words = format!("  {}: {}", rule.title, rule.reason);
    out.line(&[part(tone, &rule.outcome), plain(words)])
}

fn details(rule: &ExplainedRule, style: Style, out: &mut Screen<'_>) -> io::Result<()> {
    out.section(&format!("{} rule {} ({})", rule.action, rule.title, rule.rule_id))?;
    if !rule.condition.is_empty() {
        out.line(&[part(Tone::Faint, "  condition  "), plain(&rule.condition)])?;
    }
    for selection in &rule.selections {
        selected(selection, style, out)?;
    }
    if !rule.guards.is_empty() {
        out.line(&[part(Tone::Faint, "  guards, in their order; the first that does not pass decides")])?;
        out.table(&guards(&rule.guards))?;
    }
    if let Some(comment) = &rule.comment {
        out.line(&[part(Tone::Faint, "  comment  "), plain(comment)])?;
    }
    if let Some(decided) = &rule.decided {
        let when = time::full(style.now, decided.at);
        let words = format!("{} {when}: {}", decided.outcome, decided.reason);
        out.line(&[part(Tone::Faint, "  decided  "), plain(words)])?;
    }
    Ok(())
}

fn selected(selection: &ExplainedSelection, style: Style, out: &mut Screen<'_>) -> io::Result<()> {
    let (mark, tone, word) = match selection.matched {
        true => ("✓ ", Tone::Good, "matched"),
        false => ("✗ ", Tone::Warn, "did not match"),
    };
    let mark = if style.marks { mark } else { "" };
    out.line(&[plain("  "), part(tone, format_args!("{mark}{} {word}", selection.name))])?;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(selection.fields.iter().map(|field| format!("{} = {}", field.field, short(&field.value))));
    lines.extend(selection.missed.iter().map(|missed| {
        let has = if missed.absent { "absent".to_owned() } else { short(&missed.value) };
        format!("{} is {has}, asked for: {}", missed.field, missed.expected)
    }));
    for line in lines.iter().take(MOST_LINES) {
        out.line(&[plain("      "), plain(line)])?;
    }
    if lines.len() > MOST_LINES {
        out.line(&[part(Tone::Faint, format_args!("      and {} more: see --json", lines.len() - MOST_LINES))])?;
    }
    Ok(())
}

fn guards(guards: &[ExplainedGuard]) -> Table {
    let mut table = Table::new(&[whole(""), whole(""), flowing("")]).without_header().indented(4);
    for guard in guards {
        let tone = Outcome::from_name(&guard.verdict).map_or(Tone::Faint, Tone::of_outcome);
        table.row(tone, [guard.verdict.clone(), guard.name.clone(), guard.reason.clone()]);
    }
    table
}

fn in_a_line_each(rules: &[&ExplainedRule], out: &mut Screen<'_>) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    out.section("Did not match (--rule ID shows one whole)")?;
    for rule in rules.iter().take(MOST_UNMATCHED) {
        let words = format!("  {}: {}", rule.title, rule.reason);
        out.line(&[part(Tone::Faint, &rule.rule_id), plain(words)])?;
    }
    if rules.len() > MOST_UNMATCHED {
        out.line(&[part(Tone::Faint, format_args!("and {} more: see --json", rules.len() - MOST_UNMATCHED))])?;
    }
    Ok(())
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(MOST_CHARACTERS).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}
