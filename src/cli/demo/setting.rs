//! What the demo is made of: the sample rules, a configuration and a simulator that suit each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{self, Config};
use crate::model::Window;
use crate::simulator::{Fault, Options, Scenario};

/// The sample rules, as they stand in `config/rules`.
const RULES: [(&str, &str); 3] = [
    ("hands-on-keyboard.yml", include_str!("../../../config/rules/hands-on-keyboard.yml")),
    ("protect-servers.yml", include_str!("../../../config/rules/protect-servers.yml")),
    ("ransomware-on-workstations.yml", include_str!("../../../config/rules/ransomware-on-workstations.yml")),
];

const DEVICES: usize = 200;
const SEED: u64 = 7;

/// Windows short enough to be seen at work.
const ACTIONS: (u32, &str) = (20, "2s");
const READS: (u32, &str) = (100, "5s");

/// What the demo is made of.
pub(super) struct Setting {
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) simulator: Options,
}

impl Setting {
    /// Writes rules and configuration into `folder`, for a simulator at `origin`.
    pub(super) fn write(folder: &Path, origin: &str) -> anyhow::Result<Self> {
        let path = folder.join("stanch.yaml");
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).with_context(|| format!("{} can not be written", path.display()))
        };
        std::fs::create_dir(folder.join("rules")).context("no folder for rules can be made")?;
        for (name, rule) in RULES {
            write(&folder.join("rules").join(name), &without_limit(rule))?;
        }
        write(&folder.join("secret"), "demo")?;
        write(&path, &config_text(origin))?;
        let config = config::load(&path, &BTreeMap::new())?.config;
        Ok(Self { path, config, simulator: simulator()? })
    }
}

/// The caps are lifted, so that the whole outbreak is seen contained.
fn without_limit(rule: &str) -> String {
    rule.lines().filter(|line| !line.trim_start().starts_with("limit:")).flat_map(|line| [line, "\n"]).collect()
}

fn config_text(origin: &str) -> String {
    let (actions, actions_per) = ACTIONS;
    let (reads, reads_per) = READS;
    format!(
        "tenants:
  - name: contoso
    tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: 22222222-2222-4222-8222-222222222222
    credential: {{ secret_file: secret }}
    api_url: {origin}
    login_url: {origin}
sources:
  - {{ type: defender, every: 500ms, overlap: 10s, sweep: {{ every: 5s, back: 1m }}, start: 1m }}
store: {{ url: 'sqlite:stanch.db' }}
rules: {{ dir: rules }}
guards:
  blast_radius: {{ devices: 100000, per: 1h, fleet_percent: 100 }}
limits:
  restrict: [{{ calls: {actions}, per: {actions_per} }}]
  release: [{{ calls: {actions}, per: {actions_per} }}]
  read: [{{ calls: {reads}, per: {reads_per} }}]
  reserve_percent: 0
  request_timeout: 3s
  reconcile_grace: 500ms
tracking: {{ every: 500ms }}
server: {{ socket: stanch.sock, listen: 127.0.0.1:0 }}
"
    )
}

fn simulator() -> anyhow::Result<Options> {
    let window = |(calls, per): (u32, &str)| -> anyhow::Result<Window> { Ok(Window { calls, per: per.parse()? }) };
    let quota = vec![window(ACTIONS)?];
    let reads = vec![window(READS)?];
    let quota_of = crate::simulator::Api::COUNTED
        .into_iter()
        .filter(|api| !matches!(api, crate::simulator::Api::Restrict | crate::simulator::Api::Release))
        .map(|api| (api, reads.clone()))
        .collect();
    Ok(Options {
        devices: DEVICES,
        scenario: Scenario::Outbreak,
        seed: SEED,
        latency: Duration::from_millis(20),
        list_lag: Duration::from_millis(300),
        time_scale: 2.0,
        faults: vec![
            (Fault::Throttle, 0.01),
            (Fault::ErrorBefore, 0.005),
            (Fault::ErrorAfter, 0.02),
            (Fault::CutAfter, 0.02),
            (Fault::HtmlError, 0.005),
        ],
        quota,
        quota_of,
        ..Options::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_rules_are_the_demos_but_for_their_limits() {
        for (name, rule) in RULES {
            let lifted = without_limit(rule);
            assert!(!lifted.contains("limit:"), "{name}");
            assert!(rule.lines().count() - lifted.lines().count() <= 1, "{name}");
        }
    }
}
