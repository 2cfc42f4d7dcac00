//! Which rows of the audit anybody is told of, and with which others. Absent: who asked for it (a channel's `on`).

use super::safe::shortened;
use crate::model::notice::{Case, Happened, Item, Notice};
use crate::model::{Happening, Kind, RuleId, State};

/// The longest reason and title that are kept of a row, in characters.
const LONGEST_TEXT: usize = 300;
/// The longest name of a device or a person.
const LONGEST_NAME: usize = 100;

/// What is told of a row; nothing of most.
#[must_use]
pub fn notice_of(happened: Happened) -> Option<Notice> {
    let case = case_of(&happened)?;
    let Happened { tenant, rule_id, item, .. } = happened;
    // What a person did or what a tenant is like is told at once, whatever rule an action had.
    let rule_id: Option<RuleId> = if is_by_rule(case) { rule_id } else { None };
    Some(Notice { case, tenant, rule_id, item: bounded(item) })
}

fn case_of(happened: &Happened) -> Option<Case> {
    match happened.what {
        Happening::Transition => of_transition(happened),
        Happening::CancelRefused => Some(Case::Failed),
        Happening::Override => Some(Case::HumanOverride),
        Happening::Paused => Some(Case::Paused),
        Happening::Resumed => Some(Case::Resumed),
        Happening::RulesStale => Some(Case::RulesStale),
        Happening::RulesShrunk => Some(Case::RulesShrunk),
        Happening::TenantSick => Some(Case::TenantSick),
        Happening::TenantWell => Some(Case::TenantWell),
        Happening::SourceSick => Some(Case::SourceSick),
        Happening::SourceWell => Some(Case::SourceWell),
        Happening::MachineUnknown => Some(Case::MachineUnknown),
        Happening::Drill => (happened.after.as_deref() == Some("failed")).then_some(Case::DrillFailed),
        _ => None,
    }
}

fn of_transition(happened: &Happened) -> Option<Case> {
    let state = |name: Option<&str>| name.and_then(State::from_name);
    let before = state(happened.before.as_deref());
    match (state(happened.after.as_deref())?, happened.item.kind?) {
        (State::Held, _) => Some(Case::Held),
        // One that was sent already and waits to be sent again was told of before.
        (State::Queued, Kind::Restrict) if matches!(before, None | Some(State::Held)) => Some(Case::Acted),
        (State::Expired, _) => Some(Case::Expired),
        (State::Failed | State::TimedOut | State::Rejected, _) => Some(Case::Failed),
        (State::Succeeded, Kind::Release) => Some(Case::Released),
        _ => None,
    }
}

const fn is_by_rule(case: Case) -> bool {
    matches!(case, Case::Acted | Case::Held | Case::Expired | Case::Failed | Case::Released)
}

fn bounded(mut item: Item) -> Item {
    if let Some(alert) = &item.alert_id {
        let opening = format!("alert {alert}");
        if let Some(rest) = item.reason.strip_prefix(&opening) {
            item.reason = rest.trim_start_matches([':', ' ']).to_owned();
        }
    }
    item.reason = shortened(&item.reason, LONGEST_TEXT);
    item.by = shortened(&item.by, LONGEST_NAME);
    item.alert_title = item.alert_title.map(|title| shortened(&title, LONGEST_TEXT));
    item.device_name = item.device_name.map(|name| shortened(&name, LONGEST_NAME));
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(before: Option<&str>, after: &str, kind: Kind) -> Option<Case> {
        let item = Item {
            at: jiff::Timestamp::UNIX_EPOCH,
            machine_id: None,
            device_name: None,
            action_id: None,
            kind: Some(kind),
            alert_id: "da1".parse().ok(),
            alert_title: Some("t".repeat(2_000)),
            by: "stanch".to_owned(),
            reason: "alert da1: approval: the rule asks for one".to_owned(),
        };
        let happened = Happened {
            what: Happening::Transition,
            before: before.map(str::to_owned),
            after: Some(after.to_owned()),
            tenant: None,
            rule_id: "a-rule".parse().ok(),
            item,
        };
        let notice = notice_of(happened)?;
        assert_eq!(notice.item.reason, "approval: the rule asks for one");
        assert_eq!(notice.item.alert_title.unwrap().chars().count(), LONGEST_TEXT);
        assert!(notice.rule_id.is_some());
        Some(notice.case)
    }

    #[test]
    fn people_are_told_that_microsoft_would_not_cancel() {
        let item = Item {
            at: jiff::Timestamp::UNIX_EPOCH,
            machine_id: None,
            device_name: None,
            action_id: None,
            kind: Some(Kind::Restrict),
            alert_id: None,
            alert_title: None,
            by: "microsoft".to_owned(),
            reason: "Microsoft would not cancel it: no".to_owned(),
        };
        let (what, rule_id) = (Happening::CancelRefused, "a-rule".parse().ok());
        let notice = notice_of(Happened { what, before: None, after: None, tenant: None, rule_id, item }).unwrap();
        assert_eq!((notice.case, notice.item.reason.as_str()), (Case::Failed, "Microsoft would not cancel it: no"));
    }

    #[test]
    fn of_what_happens_to_an_action_people_are_told_where_they_are_needed_and_what_came_of_it() {
        let restrict = |before, after| transition(before, after, Kind::Restrict);
        assert_eq!(restrict(None, "held"), Some(Case::Held));
        assert_eq!(restrict(Some("queued"), "held"), Some(Case::Held), "the gate holds too");
        assert_eq!(restrict(None, "queued"), Some(Case::Acted));
        assert_eq!(restrict(Some("held"), "queued"), Some(Case::Acted));
        assert_eq!(restrict(Some("sending"), "queued"), None, "it waits for its second try");
        assert_eq!(restrict(Some("submitted"), "succeeded"), None, "that it was queued is told");
        for state in ["failed", "timed_out", "rejected"] {
            assert_eq!(restrict(Some("submitted"), state), Some(Case::Failed), "{state}");
        }
        assert_eq!(restrict(Some("queued"), "expired"), Some(Case::Expired));
        assert_eq!(restrict(Some("queued"), "cancelled"), None);
        assert_eq!(transition(Some("submitted"), "succeeded", Kind::Release), Some(Case::Released));
        assert_eq!(transition(None, "queued", Kind::Release), None);
    }
}
