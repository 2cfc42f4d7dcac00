//! One pair of alert and device: what these rules come to beside what was done, or what other rules come to.
//!
//! Absent: the sums over all pairs ([`super::totals`]).

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{AlertId, MachineId, Outcome, RuleId, TenantName};

/// What no rule chose has this in place of an outcome.
pub(super) const NONE: &str = "none";

/// What a rule that chose a device came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub rule_id: RuleId,
    pub outcome: Outcome,
    /// Why, in words; empty where only the outcome was kept.
    pub reason: String,
}

/// One (alert, device) pair as both sides see it.
pub(super) struct Pair<'a> {
    pub tenant: &'a TenantName,
    pub alert_id: &'a AlertId,
    pub machine_id: &'a MachineId,
    pub device_name: Option<&'a str>,
    pub at: Timestamp,
    /// What these rules say now.
    pub now: &'a [Said],
    /// What was said then; `None` where there is nothing to compare with.
    pub then: Option<&'a [Said]>,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    alert_id: &'a AlertId,
    machine_id: &'a MachineId,
    rule_id: Option<&'a RuleId>,
    outcome: &'static str,
    then: Option<&'static str>,
    reason: &'a str,
    tenant: &'a TenantName,
    at: Timestamp,
}

impl<'a> Pair<'a> {
    /// A line for each rule that chose the device, or one that says that none did.
    pub(super) fn lines(&self) -> Vec<Line<'a>> {
        if self.now.is_empty() {
            let then = self.then.and_then(strongest);
            let reason =
                if then.is_some() { "no rule chooses the device any more" } else { "no rule chooses the device" };
            return vec![self.line(then.map(|said| &said.rule_id), NONE, then, reason)];
        }
        let line = |said: &'a Said| {
            let same_rule = self.then.and_then(|then| then.iter().find(|other| other.rule_id == said.rule_id));
            let then = same_rule.or_else(|| self.then.and_then(strongest));
            self.line(Some(&said.rule_id), said.outcome.as_str(), then, &said.reason)
        };
        self.now.iter().map(line).collect()
    }

    fn line(
        &self,
        rule_id: Option<&'a RuleId>,
        outcome: &'static str,
        then: Option<&Said>,
        reason: &'a str,
    ) -> Line<'a> {
        Line {
            alert_id: self.alert_id,
            machine_id: self.machine_id,
            rule_id,
            outcome,
            then: then.map(|said| said.outcome.as_str()),
            reason,
            tenant: self.tenant,
            at: self.at,
        }
    }
}

/// What was said of a pair by the rule that did most to it.
fn strongest(said: &[Said]) -> Option<&Said> {
    const WEIGHTS: [Outcome; 6] =
        [Outcome::Suppressed, Outcome::Protected, Outcome::Shadowed, Outcome::Coalesced, Outcome::Held, Outcome::Acted];
    // Of equals the first, which was judged first.
    said.iter().rev().max_by_key(|said| WEIGHTS.iter().position(|outcome| *outcome == said.outcome))
}

/// What a device comes to over the whole time: the most that was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Standing {
    /// No rule chose it.
    NotChosen,
    /// A guard found no reason to act.
    Suppressed,
    /// A protect rule forbade it.
    Protected,
    /// It would have been restricted but for the shadow.
    Shadowed,
    /// Its restrict waits for a human.
    Held,
    /// It was restricted, or was already.
    Restricted,
}

impl Standing {
    /// Where a device stands after one more outcome. What joins a held restrict waits with it; any other joins
    /// a restriction.
    pub(super) fn after(self, outcome: Outcome) -> Self {
        self.max(match outcome {
            Outcome::Coalesced if self == Self::Held => Self::Held,
            Outcome::Acted | Outcome::Coalesced => Self::Restricted,
            Outcome::Held => Self::Held,
            Outcome::Shadowed => Self::Shadowed,
            Outcome::Protected => Self::Protected,
            Outcome::Suppressed => Self::Suppressed,
        })
    }

    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NotChosen => "not chosen",
            Self::Suppressed => "suppressed",
            Self::Protected => "protected",
            Self::Shadowed => "shadowed",
            Self::Held => "held",
            Self::Restricted => "restricted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(rule: &str, outcome: Outcome) -> Said {
        Said { rule_id: RuleId::new(rule).unwrap(), outcome, reason: format!("{rule} says so") }
    }

    /// `rule_id`, `outcome` and `then` of each line.
    fn lines(now: &[Said], then: Option<&[Said]>) -> Value {
        let pair = Pair {
            tenant: &TenantName::new("contoso").unwrap(),
            alert_id: &AlertId::new("1234").unwrap(),
            machine_id: &MachineId::new(&"a".repeat(40)).unwrap(),
            device_name: None,
            at: "2026-11-24T06:00:00Z".parse().unwrap(),
            now,
            then,
        };
        let line = |line: &Line<'_>| {
            let line = serde_json::to_value(line).unwrap();
            json!([line["rule_id"], line["outcome"], line["then"]])
        };
        pair.lines().iter().map(line).collect()
    }

    #[test]
    fn each_rule_that_chose_has_a_line_beside_what_it_did_then() {
        let (acted, held, joined) =
            (said("a", Outcome::Acted), said("b", Outcome::Held), said("b", Outcome::Coalesced));
        let now = [acted.clone(), joined];
        assert_eq!(
            lines(&now, Some(&[acted.clone(), held.clone()])),
            json!([["a", "acted", "acted"], ["b", "coalesced", "held"]])
        );
        assert_eq!(lines(&now, Some(&[])), json!([["a", "acted", null], ["b", "coalesced", null]]));
        assert_eq!(lines(&now, None), json!([["a", "acted", null], ["b", "coalesced", null]]));
        let renamed = [held, said("old", Outcome::Acted)];
        assert_eq!(
            lines(&[acted], Some(&renamed)),
            json!([["a", "acted", "acted"]]),
            "what was done to the device counts"
        );
    }

    #[test]
    fn a_pair_that_no_rule_chooses_has_one_line() {
        assert_eq!(lines(&[], Some(&[])), json!([[null, "none", null]]));
        let then = [said("a", Outcome::Coalesced), said("b", Outcome::Acted), said("c", Outcome::Acted)];
        assert_eq!(lines(&[], Some(&then)), json!([["b", "none", "acted"]]));
    }

    #[test]
    fn a_device_stands_where_the_most_that_was_done_to_it_brought_it() {
        let stands = |outcomes: &[Outcome]| outcomes.iter().fold(Standing::NotChosen, |at, outcome| at.after(*outcome));
        let growing = [Outcome::Suppressed, Outcome::Protected, Outcome::Shadowed, Outcome::Held, Outcome::Acted];
        assert!((0..=growing.len()).map(|many| stands(&growing[..many])).is_sorted_by(|a, b| a < b));
        assert_eq!(stands(&[Outcome::Acted, Outcome::Held, Outcome::Suppressed]), Standing::Restricted);
        assert_eq!(stands(&[Outcome::Coalesced]), Standing::Restricted, "what it joined began before");
        assert_eq!(stands(&[Outcome::Held, Outcome::Coalesced]), Standing::Held, "it joined what was held");
    }
}
