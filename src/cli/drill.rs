//! `drill`: a fire drill against the running daemon, a line for each step.

use clap::Args;

use super::exit::Exit;
use super::output::{Tone, part, plain};
use super::session::Session;
use crate::model::drill::{DrillStep, DrillView};
use crate::model::{Span, TenantName};

/// Where, and how long it may take.
#[derive(Debug, Args)]
pub(super) struct Drill {
    /// In this tenant alone [default: every tenant]
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// How long it may take, at most 50s
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    within: Span,
}

/// Exit 0 when every step is well, 1 when one is not.
pub(super) async fn run(drill: &Drill, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let mut query = vec![("within", drill.within.to_string())];
    query.extend(drill.tenant.as_ref().map(|tenant| ("tenant", tenant.to_string())));
    let answer = session.client.post(&["api", "v1", "drill"], &query, &serde_json::json!({})).await?;
    let view: DrillView = answer.read()?;
    let exit = if view.passed { Exit::Done } else { Exit::No };
    if session.json {
        session.out.json(answer.text())?;
        return Ok(exit);
    }
    for step in &view.steps {
        tell(step, session)?;
    }
    let failed = view.steps.iter().filter(|step| !step.ok).count();
    let took = format_args!(" in {} ms", view.took_ms).to_string();
    session.out.line(&match failed {
        0 => [part(Tone::Good, "the drill passed"), plain(took)],
        count => {
            [part(Tone::Bad, format_args!("the drill failed: {count} of {} steps", view.steps.len())), plain(took)]
        }
    })?;
    Ok(exit)
}

fn tell(step: &DrillStep, session: &mut Session<'_>) -> std::io::Result<()> {
    let (tone, word) = match (step.ok, &step.mend) {
        (true, None) => (Tone::Good, "ok"),
        (true, Some(_)) => (Tone::Warn, "note"),
        (false, _) => (Tone::Bad, "failed"),
    };
    let padding = " ".repeat(INDENT.len() - word.len());
    let of = step.tenant.iter().map(|tenant| format!("{tenant} ")).collect::<String>();
    let text = format!("{padding}{of}{}: {} ({} ms)", step.name, step.detail, step.took_ms);
    session.out.line(&[part(tone, word), plain(text)])?;
    match &step.mend {
        Some(mend) => session.out.line(&[plain(INDENT), plain(format_args!("mend: {mend}"))]),
        None => Ok(()),
    }
}

/// Where details begin.
const INDENT: &str = "        ";
