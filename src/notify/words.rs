//! What a message says, in words for a person who was asleep a minute ago: what happened, to which devices, why, and what
//! can be done. Absent: the form that each channel wants.

use std::fmt::Write as _;

use jiff::Timestamp;
use url::Url;

use super::safe::line;
use crate::model::notice::{Case, Item, Outbreak};
use crate::model::{By, Kind, RuleId};

/// The longest title, in characters: Slack's header takes 150 (docs.slack.dev/reference/block-kit/blocks/header-block),
/// and some of them are gaps.
const LONGEST_TITLE: usize = 120;
/// The longest line of a message.
const LONGEST_LINE: usize = 300;

/// What a message says. Every line is harmless already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What happened.
    pub(super) title: String,
    /// Where, by which rule, when.
    pub(super) facts: Vec<String>,
    /// A line for each thing.
    pub(super) items: Vec<String>,
    /// How many things have no line.
    pub(super) more: u64,
    /// Commands that help.
    pub(super) commands: Vec<String>,
    /// Where the console shows it.
    pub(super) link: Option<String>,
}

/// What is said of an outbreak. `rule_title`: of its rule, if that is still loaded.
pub(super) fn words(outbreak: &Outbreak, rule_title: Option<&str>, console: Option<&Url>) -> Words {
    Words {
        title: line(&title(outbreak), LONGEST_TITLE),
        facts: facts(outbreak, rule_title).iter().map(|fact| line(fact, LONGEST_LINE)).collect(),
        items: outbreak.items.iter().map(|item| line(&sentence(outbreak.case, item), LONGEST_LINE)).collect(),
        more: outbreak.fresh.saturating_sub(outbreak.items.len() as u64),
        commands: commands(outbreak),
        link: console.map(|console| format!("{}{}", console.as_str().trim_end_matches('/'), page(outbreak))),
    }
}

impl Words {
    /// All of it as lines of text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.title.clone()];
        lines.extend(self.facts.iter().cloned());
        lines.extend(self.items.iter().map(|item| format!("- {item}")));
        lines.extend(self.and_more());
        lines.extend(self.commands.iter().cloned());
        lines.extend(self.link.iter().cloned());
        lines
    }

    /// How many things have no line, as one.
    pub(super) fn and_more(&self) -> Option<String> {
        (self.more > 0).then(|| format!("and {} more", self.more))
    }
}

/// The only thing that it is about.
fn single(outbreak: &Outbreak) -> Option<&Item> {
    match outbreak.items.as_slice() {
        [item] if outbreak.count == 1 => Some(item),
        _ => None,
    }
}

fn title(outbreak: &Outbreak) -> String {
    let tenant = outbreak.tenant.as_ref().map_or("a tenant", |tenant| tenant.as_str());
    let of_devices = |what: &str, noun: &str| match single(outbreak) {
        Some(item) => format!("{what}: {}", device_of(item)),
        None => format!("{what}: {} {noun}", outbreak.count),
    };
    let title = match outbreak.case {
        Case::Acted => of_devices("Restricting", "devices"),
        Case::Held => of_devices("Held for a human", "actions"),
        Case::Expired => of_devices("Given up before it was sent", "actions"),
        Case::Failed => match single(outbreak) {
            Some(item) => format!("Failed to {} {}", item.kind.map_or("act on", Kind::as_str), device_of(item)),
            None => format!("Failed: {} actions", outbreak.count),
        },
        Case::Released => of_devices("Released", "devices"),
        Case::HumanOverride => of_devices("Undone by a person", "devices"),
        Case::MachineUnknown => of_devices("No machine record", "devices"),
        Case::TenantSick => format!("Tenant {tenant} can not be worked with"),
        Case::TenantWell => format!("Tenant {tenant} works again"),
        Case::SourceSick => format!("A source of {tenant} can not be read"),
        Case::SourceWell => format!("A source of {tenant} can be read again"),
        Case::Paused => "Paused: nothing is sent to any device".to_owned(),
        Case::Resumed => "Resumed: actions are sent again".to_owned(),
        Case::RulesStale => "New rules can not be loaded, the old ones go on".to_owned(),
        Case::RulesShrunk => match outbreak.count {
            1 => "A protection is lost: devices that it kept may be restricted".to_owned(),
            count => format!("{count} protections are lost: devices that they kept may be restricted"),
        },
        Case::DrillFailed => "The fire drill failed".to_owned(),
    };
    match (outbreak.told, single(outbreak).is_some()) {
        (0, _) | (_, true) => title,
        (_, false) => format!("{title}, {} since the last message", outbreak.fresh),
    }
}

fn device_of(item: &Item) -> &str {
    let id = item.machine_id.as_ref().map(|id| id.as_str());
    item.device_name.as_deref().or(id).unwrap_or("an unknown device")
}

fn facts(outbreak: &Outbreak, rule_title: Option<&str>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(tenant) = &outbreak.tenant {
        facts.push(format!("Tenant: {tenant}"));
    }
    if let Some(rule) = &outbreak.rule_id {
        facts.push(match rule_title {
            Some(title) if title != rule.as_str() => format!("Rule: {title} ({rule})"),
            _ => format!("Rule: {rule}"),
        });
    }
    let (first, last) = (time(outbreak.first_at), time(outbreak.last_at));
    facts.push(if first == last { format!("At: {first}") } else { format!("From {first} to {last}") });
    facts
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// One thing, as `pc-1: approval: the rule asks for one; alert da1 "Ransomware"; action 0197...`.
fn sentence(case: Case, item: &Item) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !item.reason.is_empty() {
        parts.push(item.reason.clone());
    }
    if let Some(name) = By::person_in(&item.by) {
        parts.push(format!("by {name}"));
    }
    if let Some(alert) = &item.alert_id {
        let title = item.alert_title.as_ref().map(|title| format!(" \"{}\"", line(title, 100))).unwrap_or_default();
        parts.push(format!("alert {alert}{title}"));
    }
    if let Some(action) = &item.action_id {
        parts.push(format!("action {action}"));
    }
    let about = parts.join("; ");
    if item.machine_id.is_none() && item.device_name.is_none() {
        return about;
    }
    let mut sentence = String::new();
    if let (Case::Failed | Case::Expired, Some(kind)) = (case, item.kind) {
        // Writing to a String can not fail.
        let _ = write!(sentence, "{kind} ");
    }
    let _ = write!(sentence, "{}: {about}", device_of(item));
    sentence
}

/// The commands that help. What a shell could take for something else is not put into one.
fn commands(outbreak: &Outbreak) -> Vec<String> {
    const WHY: &str = "--why 'your reason'";
    let item = single(outbreak);
    let action = item.and_then(|item| item.action_id);
    let machine = item.and_then(|item| item.machine_id.as_ref());
    match (outbreak.case, action, machine) {
        (Case::Held, Some(id), _) => {
            vec![format!("stanch actions approve {id} {WHY}"), format!("stanch actions reject {id} {WHY}")]
        }
        (Case::Held, None, _) => {
            let mut commands = vec!["stanch actions list --state held".to_owned()];
            if let Some(rule) = outbreak.rule_id.as_ref().filter(|rule| is_plain(rule)) {
                commands.push(format!("stanch actions approve --rule {rule} {WHY}"));
                commands.push(format!("stanch actions reject --rule {rule} {WHY}"));
            }
            commands
        }
        (Case::Failed | Case::Expired, Some(id), _) => {
            vec![format!("stanch actions show {id}"), format!("stanch actions retry {id} {WHY}")]
        }
        (Case::Failed, None, _) => vec!["stanch actions list --state failed".to_owned()],
        (Case::Expired, None, _) => vec!["stanch actions list --state expired".to_owned()],
        (Case::Acted, Some(id), Some(machine)) => {
            vec![format!("stanch actions show {id}"), format!("stanch devices release {machine} {WHY}")]
        }
        (Case::Acted, ..) => vec!["stanch devices list".to_owned(), format!("stanch pause {WHY}")],
        (Case::Released, ..) => vec!["stanch devices list".to_owned()],
        (Case::HumanOverride | Case::MachineUnknown, _, Some(machine)) => {
            vec![format!("stanch devices show {machine}")]
        }
        (Case::HumanOverride | Case::MachineUnknown, ..) => vec!["stanch devices list".to_owned()],
        (Case::TenantSick, ..) => vec!["stanch doctor".to_owned()],
        (Case::Paused, ..) => vec![format!("stanch resume {WHY}")],
        (Case::RulesStale, ..) => vec!["stanch check".to_owned()],
        (Case::RulesShrunk, ..) => {
            vec!["stanch status".to_owned(), format!("stanch pause {WHY}"), format!("stanch rules acknowledge {WHY}")]
        }
        (Case::DrillFailed, ..) => vec!["stanch status".to_owned(), "stanch drill".to_owned()],
        (Case::TenantWell | Case::SourceSick | Case::SourceWell | Case::Resumed, ..) => {
            vec!["stanch status".to_owned()]
        }
    }
}

fn is_plain(rule: &RuleId) -> bool {
    let rule = rule.as_str();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !rule.starts_with('-') && rule.bytes().all(plain)
}

/// The page of the console that shows it.
fn page(outbreak: &Outbreak) -> String {
    if let Some(id) = single(outbreak).and_then(|item| item.action_id) {
        return format!("/actions/{id}");
    }
    match outbreak.case {
        Case::Held => "/actions?state=held",
        Case::Failed => "/actions?state=failed",
        Case::Expired => "/actions?state=expired",
        Case::Acted | Case::Released | Case::HumanOverride | Case::MachineUnknown => "/devices",
        Case::RulesStale | Case::RulesShrunk => "/rules",
        Case::TenantSick
        | Case::TenantWell
        | Case::SourceSick
        | Case::SourceWell
        | Case::Paused
        | Case::Resumed
        | Case::DrillFailed => "/",
    }
    .to_owned()
}
