//! `explain`: why an alert comes to what it comes to, rule by rule and guard by guard.
//!
//! Of an alert from a file it works with the rules on disk and assumed facts; of a stored one it asks the
//! daemon. Absent: the explaining itself (see [`crate::worker::explain`]).

mod alert;
pub(super) mod setting;
mod show;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::arguments::{Global, Tenant};
use super::exit::{Exit, No};
use super::surroundings::Surroundings;
use super::{screen, session};
use crate::diagnostics::nearest;
use crate::model::explanation::Explanation;
use crate::model::{AlertId, RuleId};
use crate::rules::RuleSet;
use crate::worker::explain::assumed;
use alert::Named;

/// What is explained.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// The alert, as MDE sends it or with the keys that matter: a file, - for stdin, or the id of an alert
    /// that the daemon has stored
    #[arg(long, value_name = "FILE|-|ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    alert: String,
    /// The machine record of its device, as GET /api/machines/{id} gives it [default: what the daemon knows]
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
    /// Only this rule, whole
    #[arg(long, value_name = "ID")]
    rule: Option<RuleId>,
    /// The rules: a folder or a file [default: the folder that the config names]
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    tenant: Tenant,
}

/// Explains an alert. Exit 1: there is no such rule or no such stored alert.
pub(super) fn run(question: &Question, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if question.alert == "-" {
        let text = alert::text(Path::new("<stdin>"), &mut *around.input)?;
        return explain_text(&Named { name: "<stdin>", text }, question, global, around);
    }
    let file = Path::new(&question.alert);
    if file.exists() {
        let text = alert::text(file, &mut open(file)?)?;
        return explain_text(&Named { name: &question.alert, text }, question, global, around);
    }
    explain_stored(question, global, around)
}

fn open(file: &Path) -> anyhow::Result<impl Read> {
    std::fs::File::open(file).with_context(|| format!("can not read {}", file.display()))
}

fn explain_text(
    named: &Named<'_>,
    question: &Question,
    global: &Global,
    around: &mut Surroundings<'_>,
) -> anyhow::Result<Exit> {
    let now = around.clock.now();
    let setting = setting::find(question, global, around)?;
    if let Some(rule) = question.rule.as_ref().filter(|rule| setting.rules.rule(rule).is_none()) {
        return Err(No(unknown(rule, &setting.rules)).into());
    }
    let mut subject = alert::subject(named, &setting, now)?;
    match &question.machine {
        Some(file) => alert::give_machine(file, &mut subject)?,
        None => setting::ask_daemon(&mut subject, global, around)?,
    }
    let explanation = assumed(subject, &setting.rules, question.rule.as_ref(), &setting.guards, now);
    tell(&explanation, question, global, around)
}

fn unknown(rule: &RuleId, rules: &RuleSet) -> String {
    let ids = rules.rules().iter().map(|rule| rule.id.as_str());
    let meant = nearest(rule.as_str(), ids).map(|id| format!(": did you mean {id}?"));
    format!("no rule that restricts or protects has the id {rule}{}", meant.unwrap_or_default())
}

fn explain_stored(question: &Question, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let named = &question.alert;
    let is_path = named.contains(['/', '\\']) || named.ends_with(".json");
    let Some(id) = AlertId::new(named.as_str()).ok().filter(|_| !is_path) else {
        bail!("there is no file {named}");
    };
    if question.machine.is_some() || question.rules.is_some() {
        bail!(
            "there is no file {named}; a stored alert is explained by the daemon's own rules and records, without --machine and --rules"
        );
    }
    let mut query = question.tenant.query();
    query.extend(question.rule.as_ref().map(|rule| ("rule", rule.to_string())));
    let mut told = None;
    session::with_daemon(global, around, async |session| {
        let answer = session.client.get(&["api", "v1", "alerts", id.as_str(), "explanation"], &query).await;
        let answer = answer.map_err(|error| match error.downcast_ref::<No>() {
            Some(_) => error,
            None => error.context(format!("there is no file {named}, so it is taken for the id of a stored alert")),
        })?;
        if session.json {
            session.out.json(answer.text())?;
        } else {
            told = Some(answer.read::<Explanation>()?);
        }
        Ok(Exit::Done)
    })?;
    match told {
        Some(explanation) => tell(&explanation, question, global, around),
        None => Ok(Exit::Done),
    }
}

fn tell(
    explanation: &Explanation,
    question: &Question,
    global: &Global,
    around: &mut Surroundings<'_>,
) -> anyhow::Result<Exit> {
    let mut out = screen(around.out, around.out_terminal);
    if global.json {
        out.json(&serde_json::to_string(explanation)?)?;
        return Ok(Exit::Done);
    }
    let marks = out.is_terminal() && show::draws(around.environment);
    show::explanation(explanation, question.rule.is_some(), marks, around.clock.now(), &mut out)?;
    Ok(Exit::Done)
}
