//! What an alert from a file is explained with: rules, guards, tenant, and what the daemon may know.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value};

use super::{Question, alert};
use crate::cli::arguments::Global;
use crate::cli::check;
use crate::cli::exit::No;
use crate::cli::session;
use crate::cli::surroundings::Surroundings;
use crate::config::{self, Config, GuardsConfig};
use crate::diagnostics::Problems;
use crate::model::TenantName;
use crate::rules::RuleSet;
use crate::worker::explain::Subject;

/// The tenant where neither config nor rules name one.
const TENANT: &str = "example";

/// What nobody looks up for an alert that is not stored.
const ASSUMED: &str =
    "assumed: nothing is restricted or under way, nobody undid anything, nothing is spent, the fleet has no end";

/// The most problems that are told; `check` tells all.
const MOST_PROBLEMS: usize = 5;

/// What an alert from a file is explained with.
pub(super) struct Setting {
    pub(super) rules: RuleSet,
    pub(super) guards: GuardsConfig,
    pub(super) tenant: TenantName,
    /// What it is, in words.
    pub(super) notes: Vec<String>,
}

/// Finds the rules, the guards and the tenant.
///
/// # Errors
/// When there are no rules, they can not be loaded, or the config does not know the tenant.
pub(super) fn find(question: &Question, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Setting> {
    let mut notes = Vec::new();
    let config = config(question.rules.is_some(), global, around, &mut notes)?;
    let dir: PathBuf = match (&question.rules, &config) {
        (Some(dir), _) => dir.clone(),
        (None, Some(config)) => config.rules.dir.clone(),
        (None, None) => bail!("name the rules with --rules, or the config with --config"),
    };
    let tenants: Option<Vec<TenantName>> =
        config.as_ref().map(|config| config.tenants.iter().map(|tenant| tenant.name.clone()).collect());
    let loaded = check::rules(std::slice::from_ref(&dir), tenants.as_deref(), around.clock.now());
    let Some(rules) = loaded.set else {
        return Err(
            told(&Problems(loaded.problems)).context(format!("the rules in {} can not be loaded", dir.display()))
        );
    };
    let tenant = tenant(question, tenants.as_deref(), &rules)?;
    let (guards, of) = match config {
        Some(config) => (config.guards, format!("the guards of {}", global.config_file().display())),
        None => (config::default_guards().context("this program has no default guards")?, "default guards".to_owned()),
    };
    let with = format!("with the rules of {} and {of}, in tenant {tenant}", dir.display());
    notes.splice(0..0, [with, ASSUMED.to_owned()]);
    Ok(Setting { rules, guards, tenant, notes })
}

/// The config. Only where the rules are named too may it be one that can not be loaded, which is noted.
///
/// # Errors
/// When a config that was named or is needed can not be read or loaded.
pub(in crate::cli) fn config(
    rules_are_named: bool,
    global: &Global,
    around: &Surroundings<'_>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Option<Config>> {
    let file = global.config_file();
    if !rules_are_named {
        check::readable(file).context("name the rules with --rules, or a config that names them")?;
    } else if global.config.is_some() {
        check::readable(file)?;
    } else if !file.exists() {
        return Ok(None);
    }
    match config::load(file, &(around.variables)()) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(problems) if !rules_are_named => {
            Err(told(&problems).context(format!("the config {} can not be loaded", file.display())))
        }
        Err(problems) => {
            let first = problems.0.first().map(|problem| format!(": {problem}")).unwrap_or_default();
            notes.push(format!("the config can not be loaded, so it is not used{first}"));
            Ok(None)
        }
    }
}

/// The first problems, as an error.
pub(in crate::cli) fn told(Problems(problems): &Problems) -> anyhow::Error {
    let mut lines: Vec<String> = problems.iter().take(MOST_PROBLEMS).map(ToString::to_string).collect();
    if problems.len() > MOST_PROBLEMS {
        lines.push(format!("and {} more: see `stanch check`", problems.len() - MOST_PROBLEMS));
    }
    anyhow!("{}", lines.join("\n"))
}

/// The tenant that is named, else the first that there is.
fn tenant(question: &Question, configured: Option<&[TenantName]>, rules: &RuleSet) -> anyhow::Result<TenantName> {
    if let Some(named) = &question.tenant.tenant {
        if let Some(configured) = configured.filter(|configured| !configured.contains(named)) {
            let known: Vec<&str> = configured.iter().map(TenantName::as_str).collect();
            bail!("the config has no tenant {named}, only {}", known.join(", "));
        }
        return Ok(named.clone());
    }
    let of_rules = || rules.rules().iter().find_map(|rule| rule.response.tenants.as_ref()?.first());
    match configured.and_then(<[TenantName]>::first).or_else(of_rules) {
        Some(first) => Ok(first.clone()),
        None => Ok(TenantName::new(TENANT)?),
    }
}

/// Gives each device the record that the daemon has of it. A daemon that can not be asked is no error.
///
/// # Errors
/// When this system gives no threads.
pub(super) fn ask_daemon(subject: &mut Subject, global: &Global, around: &Surroundings<'_>) -> anyhow::Result<()> {
    if subject.devices.is_empty() || (global.url.is_none() && !global.config_file().exists()) {
        return Ok(());
    }
    let client = match session::client(global, around) {
        Ok(client) => client,
        Err(error) => {
            subject.notes.push(format!("no daemon was asked for a machine record: {error}"));
            return Ok(());
        }
    };
    let query = vec![("tenant", subject.tenant.to_string())];
    let Subject { devices, notes, .. } = subject;
    crate::cli::block_on(&mut tokio::runtime::Builder::new_current_thread(), async {
        for (id, machine) in devices {
            let path = ["api", "v1", "devices", id.as_str(), "record"];
            let record = client.get(&path, &query).await.and_then(|answer| answer.read::<Map<String, Value>>());
            match record {
                Ok(record) => *machine = alert::machine(record, id, notes),
                Err(error) if error.downcast_ref::<No>().is_some() => {}
                Err(error) => {
                    notes.push(format!(
                        "the daemon could not be asked for a machine record ({error}): --machine gives one"
                    ));
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}
