//! What alerts are replayed with: rules, guards, quota and tenant.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::Arguments;
use crate::cli::arguments::Global;
use crate::cli::check;
use crate::cli::explain::setting::{config, told};
use crate::cli::surroundings::Surroundings;
use crate::config::{self, Config, GuardsConfig};
use crate::diagnostics::Problems;
use crate::model::{TenantName, Window};
use crate::rules::RuleSet;

/// The tenant of alerts from a file where nothing names one.
const TENANT: &str = "example";

/// What alerts are replayed with.
pub(super) struct Setting {
    pub rules: Rules,
    /// The other rules, where they are compared with.
    pub against: Option<Rules>,
    pub guards: GuardsConfig,
    /// The quota of restricts.
    pub windows: Vec<Window>,
    /// The tenant of alerts from a file.
    pub tenant: TenantName,
    /// What is to be known, in words.
    pub notes: Vec<String>,
}

/// A rule set, and where it is from.
pub(super) struct Rules {
    pub set: Arc<RuleSet>,
    /// `14 rules in 3 files of DIR`
    pub name: String,
}

/// Finds the rules, the guards, the quota and the tenant.
///
/// # Errors
/// When there are no rules, they can not be loaded, or the tenant is not clear.
pub(super) fn find(arguments: &Arguments, global: &Global, around: &Surroundings<'_>) -> anyhow::Result<Setting> {
    let mut notes = Vec::new();
    let config = config(arguments.rules.is_some(), global, around, &mut notes)?;
    let dir = arguments.rules.as_deref().or_else(|| config.as_ref().map(|config| config.rules.dir.as_path()));
    let dir = dir.context("name the rules with --rules, or the config with --config")?;
    let tenants = config.as_ref().map(names);
    let rules = |dir: &Path| load(dir, tenants.as_deref(), around);
    let (rules, against) = (rules(dir)?, arguments.against.as_deref().map(rules).transpose()?);
    let tenant = tenant(arguments, tenants.as_deref(), &rules.set)?;
    let (guards, windows) = match config {
        Some(config) => (config.guards, config.limits.restrict),
        None => {
            notes.push("no config was read: default guards and quotas hold".to_owned());
            let guards = config::default_guards().context("this program has no default guards")?;
            (guards, config::default_restrict_windows())
        }
    };
    Ok(Setting { rules, against, guards, windows, tenant, notes })
}

fn names(config: &Config) -> Vec<TenantName> {
    config.tenants.iter().map(|tenant| tenant.name.clone()).collect()
}

fn load(dir: &Path, tenants: Option<&[TenantName]>, around: &Surroundings<'_>) -> anyhow::Result<Rules> {
    let loaded = check::rules(&[dir.to_owned()], tenants, around.clock.now());
    let name = format!("{} of {}", loaded.counted(), dir.display());
    match loaded.set {
        Some(set) => Ok(Rules { set: Arc::new(set), name }),
        None => {
            Err(told(&Problems(loaded.problems)).context(format!("the rules in {} can not be loaded", dir.display())))
        }
    }
}

/// The tenant of alerts from a file: the one that is named, else the only one of the config, else the first
/// that a rule names.
fn tenant(arguments: &Arguments, configured: Option<&[TenantName]>, rules: &RuleSet) -> anyhow::Result<TenantName> {
    if let Some(named) = &arguments.tenant.tenant {
        if let Some(known) = configured.filter(|known| !known.contains(named)) {
            bail!("the config has no tenant {named}, only {}", list(known));
        }
        return Ok(named.clone());
    }
    if let Some(known) = configured.filter(|known| known.len() > 1 && arguments.alerts.is_some()) {
        bail!("say with --tenant whose alerts they are: the config has {}", list(known));
    }
    let of_rules = || rules.rules().iter().find_map(|rule| rule.response.tenants.as_ref()?.first());
    match configured.and_then(<[TenantName]>::first).or_else(of_rules) {
        Some(first) => Ok(first.clone()),
        None => Ok(TenantName::new(TENANT)?),
    }
}

fn list(tenants: &[TenantName]) -> String {
    tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(", ")
}
