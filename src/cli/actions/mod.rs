//! `actions list|show|approve|reject|cancel|retry`: what stanch does, and a human's word on it.

mod show;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::arguments::{Filters, Many, Query, Tenant, Why, one_of};
use super::client::Answer;
use super::exit::{Exit, No};
use super::listing::Listing;
use super::output::{Tone, flowing, part, plain, time, whole};
use super::session::Session;
use crate::model::view::{ActionView, SkippedView};
use crate::model::{ActionId, Kind, State};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List actions
    List(ListArguments),
    /// Show one action: what, why, where it stands, and each step so far
    Show {
        /// The action's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Approve held actions: they are queued
    Approve(ApproveArguments),
    /// Reject held actions: they are cancelled
    Reject(JudgeArguments),
    /// Cancel an action
    Cancel(ChangeArguments),
    /// Try an ended action again, as a new one
    Retry(ChangeArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = one_of(State::ALL.map(State::as_str), State::from_name))]
    state: Option<State>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND", value_parser = one_of(Kind::ALL.map(Kind::as_str), Kind::from_name))]
    kind: Option<Kind>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").args(["id", "rule", "all"]).required(true)))]
pub(super) struct JudgeArguments {
    /// The action's id
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    many: Many,
    #[command(flatten)]
    tenant: Tenant,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
pub(super) struct ApproveArguments {
    #[command(flatten)]
    which: JudgeArguments,
    /// Only if the action is still what `show` showed, which prints this
    #[arg(long, value_name = "REVISION", requires = "id")]
    revision: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArguments {
    /// The action's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    why: Why,
}

const LISTING: Listing<ActionView> = Listing {
    noun: "actions",
    columns: &[
        whole("STATE"),
        whole("ACTION"),
        whole("KIND"),
        flowing("DEVICE"),
        flowing("BECAUSE"),
        flowing("CREATED"),
    ],
    row,
};

/// Looks at actions, and changes them.
pub(super) async fn run(command: Command, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::List(arguments) => {
            let mut query = arguments.filters.query(session.now);
            query.extend(arguments.state.map(|state| ("state", state.as_str().to_owned())));
            query.extend(arguments.kind.map(|kind| ("kind", kind.as_str().to_owned())));
            LISTING.print(session, query, arguments.filters.limit).await
        }
        Command::Show { id } => {
            let id = action_id(&id)?;
            let answer = session.client.get(&["api", "v1", "actions", &id], &Query::new()).await?;
            print(&answer, session)
        }
        Command::Approve(arguments) => {
            let words = Changed { done: "approved", none: "nothing to approve" };
            let ApproveArguments { which, revision } = arguments;
            judge("approve", &which, revision.as_deref(), &words, session).await
        }
        Command::Reject(arguments) => {
            let words = Changed { done: "rejected", none: "nothing to reject" };
            judge("reject", &arguments, None, &words, session).await
        }
        Command::Cancel(ChangeArguments { id, why }) => change("cancel", &id, None, &Query::new(), &why, session).await,
        Command::Retry(ChangeArguments { id, why }) => change("retry", &id, None, &Query::new(), &why, session).await,
    }
}

async fn judge(
    verb: &str,
    arguments: &JudgeArguments,
    revision: Option<&str>,
    words: &Changed,
    session: &mut Session<'_>,
) -> anyhow::Result<Exit> {
    if let Some(id) = &arguments.id {
        return change(verb, id, revision, &arguments.tenant.query(), &arguments.why, session).await;
    }
    let body = many(&arguments.many, &arguments.tenant, &arguments.why);
    let answer = session.client.post(&["api", "v1", "actions", verb], &Query::new(), &body).await?;
    print_changed(&answer, words, session)
}

async fn change(
    verb: &str,
    id: &str,
    revision: Option<&str>,
    query: &Query,
    why: &Why,
    session: &mut Session<'_>,
) -> anyhow::Result<Exit> {
    let id = action_id(id)?;
    let body = match revision {
        Some(revision) => serde_json::json!({ "why": why.why, "revision": revision }),
        None => serde_json::json!({ "why": why.why }),
    };
    let answer = session.client.post(&["api", "v1", "actions", &id, verb], query, &body).await?;
    print(&answer, session)
}

/// What is no action id is the id of no action.
fn action_id(text: &str) -> Result<String, No> {
    let id: Result<ActionId, _> = text.parse();
    id.map(|id| id.to_string()).map_err(|error| No(format!("no such action: {error}")))
}

/// The body of a change of many.
pub(super) fn many(many: &Many, tenant: &Tenant, why: &Why) -> serde_json::Value {
    serde_json::json!({ "why": why.why, "rule": many.rule, "all": many.all, "tenant": tenant.tenant })
}

/// Prints the action of `answer` as `show` does.
pub(super) fn print(answer: &Answer, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    if session.json {
        session.out.json(answer.text())?;
    } else {
        show::show(&answer.read()?, session)?;
    }
    Ok(Exit::Done)
}

/// What is said of a change of many.
pub(super) struct Changed {
    /// What became of them.
    pub done: &'static str,
    /// What is said when there were none.
    pub none: &'static str,
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
    #[serde(default)]
    skipped: Vec<SkippedView>,
}

/// Says what was left as it was, and why: on standard error, where it is seen beside `--json` too.
fn note_skipped(skipped: &[SkippedView], session: &mut Session<'_>) -> anyhow::Result<()> {
    for left in skipped {
        session.notes.line(&[part(Tone::Warn, "skipped"), plain(format_args!(": {}", left.reason))])?;
    }
    Ok(())
}

/// Prints the actions of a change of many: a line each, and how many.
pub(super) fn print_changed(answer: &Answer, words: &Changed, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    if session.json {
        let rows: Items<Box<RawValue>> = answer.read()?;
        rows.items.iter().try_for_each(|row| session.out.json(row.get()))?;
        note_skipped(&rows.skipped, session)?;
        return Ok(Exit::Done);
    }
    let rows: Items<ActionView> = answer.read()?;
    session.out.table(&LISTING.table(&rows.items, session.now))?;
    note_skipped(&rows.skipped, session)?;
    let summary = match rows.items.len() {
        0 => words.none.to_owned(),
        count => format!("{count} {}", words.done),
    };
    session.notes.line(&[part(Tone::Faint, summary)])?;
    Ok(Exit::Done)
}

fn row(action: &ActionView, now: Timestamp) -> (Tone, Vec<String>) {
    let cells = vec![
        action.state.to_string(),
        action.id.to_string(),
        action.kind.to_string(),
        action.device_name.clone().unwrap_or_else(|| action.machine_id.to_string()),
        because(action),
        time::short(now, action.created_at),
    ];
    (Tone::of_state(action.state), cells)
}

/// Why it is held, what went wrong, or who wanted it: whichever a reader asks for first.
fn because(action: &ActionView) -> String {
    match (&action.hold_reason, &action.error, &action.rule_id) {
        (Some(reason), _, _) if action.state == State::Held => reason.clone(),
        (_, Some(error), _) => format!("{}: {}", error.code, error.message),
        (_, _, Some(rule)) => format!("rule {rule}"),
        _ => "an operator".to_owned(),
    }
}
