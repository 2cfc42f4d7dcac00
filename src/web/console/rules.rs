//! The rules in force: what each may do, what it came to lately, and whether its own tests pass.
//!
//! Absent: changing them. Rules are files; that protections are lost is acknowledged.

mod ends;

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};
use jiff::Timestamp;

use super::form::{Asked, Done, Posted, see};
use super::layout::{Frame, Page, badge};
use super::{Problem, Web};
use crate::config::Mode;
use crate::model::protection::LostProtection;
use crate::model::{Outcome, RuleId, TenantName};
use crate::rules::{Rule, RuleSet, Status};
use crate::store::{ProtectedFor, RuleHits};
use crate::web::caller::Operator;
pub(in crate::web) use ends::TestEnds;
use ends::{Ends, TestEnd};

/// Rules of one page.
const MOST_RULES: usize = 100;
/// Tests of one rule that fail and are shown.
const MOST_FAILED: usize = 20;
/// A rule that did not match for so many days is told apart.
const QUIET_DAYS: i64 = 30;
const SECONDS_A_DAY: i64 = 86_400;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/rules", get(list)).route("/rules/acknowledge", post(acknowledge))
}

/// Which rules are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Restrict,
    Protect,
    Correlation,
    Shadow,
    Quiet,
    Failing,
}

impl Which {
    const ALL: [Self; 6] = [Self::Restrict, Self::Protect, Self::Correlation, Self::Shadow, Self::Quiet, Self::Failing];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::Protect => "protect",
            Self::Correlation => "correlation",
            Self::Shadow => "shadow",
            Self::Quiet => "quiet",
            Self::Failing => "failing",
        }
    }

    fn takes(self, row: &Row) -> bool {
        match self {
            Self::Restrict => row.restricts,
            Self::Protect => !row.restricts,
            Self::Correlation => row.correlates,
            Self::Shadow => !row.shadow_because.is_empty(),
            Self::Quiet => row.quiet.is_some(),
            Self::Failing => !row.failed().is_empty(),
        }
    }
}

#[derive(Template)]
#[template(path = "rules.html")]
struct Rules {
    frame: Frame,
    asked: Asked,
    hash: String,
    /// All rules of the folder, those without a response too.
    loaded: usize,
    loaded_at: Timestamp,
    stale: Option<String>,
    lost: Vec<LostProtection>,
    in_shadow: bool,
    /// How many there are of each sort, the filter aside.
    counts: Vec<(Which, usize)>,
    rows: Vec<Row>,
    found: usize,
    next: Option<String>,
}

/// A rule with a response.
struct Row {
    id: RuleId,
    title: String,
    place: String,
    restricts: bool,
    correlates: bool,
    level: &'static str,
    status: &'static str,
    /// Why it only records what it would have done; empty when it acts.
    shadow_because: Vec<String>,
    /// What else is to be known of its response.
    notes: Vec<String>,
    day: Vec<(&'static str, u64)>,
    month: Vec<(&'static str, u64)>,
    last: Option<Timestamp>,
    quiet: Option<String>,
    /// `None`: they were not run.
    tests: Option<Vec<TestEnd>>,
}

impl Row {
    /// Its tests that fail, as far as they are shown.
    fn failed(&self) -> Vec<&TestEnd> {
        self.tests.iter().flatten().filter(|test| !test.passed).take(MOST_FAILED).collect()
    }
}

async fn list(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<Rules>, Problem> {
    let which = asked.one_of("show", &Which::ALL, Which::as_str)?;
    let text = asked.sought("text")?.unwrap_or_default().to_lowercase();
    let from = asked.parsed::<usize>("from")?.unwrap_or(0);
    let work = &web.work;
    let set = work.rule_set();
    let ends = web.test_ends.of(&set, &work.config.guards).await;
    let facts = Facts {
        hits: work.store.rule_hits(frame.now).await?,
        protected: work.store.protected_for().await?,
        ends: &ends,
        in_shadow: work.config.guards.mode == Mode::Shadow,
        now: frame.now,
        folder: &work.config.rules.dir,
    };
    let mut rows: Vec<Row> = set.rules().iter().map(|rule| facts.row(&set, rule)).collect();
    let counts = Which::ALL.map(|which| (which, rows.iter().filter(|row| which.takes(row)).count()));
    let is_sought = |row: &Row| {
        text.is_empty()
            || [row.id.as_str(), &row.title, &row.place].iter().any(|said| said.to_lowercase().contains(&text))
    };
    rows.retain(|row| which.is_none_or(|which| which.takes(row)) && is_sought(row));
    rows.sort_by(|one, other| (&one.title, &one.id).cmp(&(&other.title, &other.id)));
    let found = rows.len();
    let rows: Vec<Row> = rows.into_iter().skip(from).take(MOST_RULES).collect();
    let end = from.saturating_add(rows.len());
    let next = (end < found).then(|| format!("/rules{}", asked.with("from", &end.to_string())));
    let page = Rules {
        hash: set.hash().to_owned(),
        loaded: set.loaded(),
        loaded_at: work.board.rules_loaded_at().unwrap_or(web.started_at),
        stale: work.board.rules_state().error,
        lost: work.store.lost_protections().await?,
        in_shadow: facts.in_shadow,
        counts: counts.into(),
        rows,
        found,
        next,
        frame,
        asked,
    };
    Ok(Page(page))
}

/// What was lost after the page was made was seen by nobody.
async fn acknowledge(
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    Posted(form): Posted,
) -> Result<Redirect, Problem> {
    let (why, seen) = (form.why()?, form.parsed::<Timestamp>("seen")?);
    web.work.store.acknowledge_lost(seen, &by, &why, web.work.now()).await?;
    tracing::warn!(%by, why, "the loss of protections is acknowledged");
    Ok(see(&form.then("/rules"), Done::Acknowledged))
}

impl Rules {
    fn is_shown(&self, which: &Which) -> bool {
        self.asked.get("show") == Some(which.as_str())
    }
}

/// What a rule came to in a day, in a month, by outcome; and when it last did.
type Hits = (Vec<(&'static str, u64)>, Vec<(&'static str, u64)>, Option<Timestamp>);

/// What is known of all rules.
struct Facts<'f> {
    hits: HashMap<RuleId, RuleHits>,
    protected: Vec<ProtectedFor>,
    ends: &'f Ends,
    in_shadow: bool,
    now: Timestamp,
    folder: &'f std::path::Path,
}

impl Facts<'_> {
    fn row(&self, set: &RuleSet, rule: &Rule) -> Row {
        let restricts = rule.response.is_restrict();
        let (day, month, last) = if restricts { self.hits_of(rule) } else { self.protections_of(rule) };
        let file = rule.file.strip_prefix(self.folder).unwrap_or(&rule.file);
        Row {
            id: rule.id.clone(),
            title: rule.title.clone(),
            place: format!("{}:{}", file.display(), rule.line),
            restricts,
            correlates: set.is_correlation(&rule.id),
            level: rule.level.as_str(),
            status: rule.status.as_str(),
            shadow_because: if restricts { self.shadow_because(rule) } else { Vec::new() },
            notes: notes(rule),
            day,
            month,
            last,
            quiet: self.quiet(last),
            tests: self.ends.of(&rule.id),
        }
    }

    fn hits_of(&self, rule: &Rule) -> Hits {
        let Some(hits) = self.hits.get(&rule.id) else {
            return (Vec::new(), Vec::new(), None);
        };
        let some = |counts: &std::collections::BTreeMap<&'static str, u64>| {
            let each =
                Outcome::ALL.map(|outcome| (outcome.as_str(), counts.get(outcome.as_str()).copied().unwrap_or(0)));
            each.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        (some(&hits.day), some(&hits.month), hits.last)
    }

    /// What a protection kept from happening: its decisions are those of the rules that it stopped.
    fn protections_of(&self, rule: &Rule) -> Hits {
        let words = rule.protection();
        let own = self.protected.iter().filter(|one| one.reason.starts_with(&words));
        let (count, last) = own.fold((0, None), |(count, last), one| (count + one.count, Some(one.last).max(last)));
        let counted = if count > 0 { vec![(Outcome::Protected.as_str(), count)] } else { Vec::new() };
        (Vec::new(), counted, last)
    }

    fn shadow_because(&self, rule: &Rule) -> Vec<String> {
        let reasons = [
            self.in_shadow.then(|| "the daemon is in shadow (guards.mode)".to_owned()),
            (rule.response.mode == Mode::Shadow).then(|| "the rule says so (mode)".to_owned()),
            (rule.status != Status::Stable).then(|| format!("its status is {}", rule.status.as_str())),
        ];
        reasons.into_iter().flatten().collect()
    }

    fn quiet(&self, last: Option<Timestamp>) -> Option<String> {
        let Some(last) = last else {
            return Some("it never matched".to_owned());
        };
        let days = self.now.duration_since(last).as_secs() / SECONDS_A_DAY;
        (days >= QUIET_DAYS).then(|| format!("no match for {days} days"))
    }
}

/// What a person wants to know of a response beside its mode.
fn notes(rule: &Rule) -> Vec<String> {
    let response = &rule.response;
    let names = |tenants: &[TenantName]| tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(", ");
    let notes = [
        response.approval.then(|| "asks for approval".to_owned()),
        response.expires_after.as_ref().map(|after| format!("expires after {after}")),
        response.limit.as_ref().map(|limit| format!("at most {} devices in {}", limit.devices, limit.per)),
        response.tenants.as_deref().map(|tenants| format!("for {} only", names(tenants))),
        response.until.map(|until| format!("until {until}")),
        response.match_all.then(|| "matches every alert".to_owned()),
    ];
    notes.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
