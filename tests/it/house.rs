//! The house rules that no lint can hold: which room may know which, and what documents and schema must
//! agree with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stanch::clock::{Clock as _, SystemClock};
use stanch::config;
use stanch::crash_point::CRASH_POINTS;
use stanch::metrics::Metrics;
use stanch::model::view::{AlertState, QuotaView, SourceView};
use stanch::model::{ChannelName, Kind, Lane, Outcome, Role, RuleId, SourceName, State, TenantName};
use stanch::store::Totals;

/// The rooms that a room may know, itself aside. `ARCHITECTURE.md` says why each may.
const DIRECTIONS: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("diagnostics", &[]),
    ("clock", &[]),
    ("crash_point", &[]),
    ("config", &["model", "diagnostics"]),
    ("telemetry", &["config", "model"]),
    ("intake", &["model", "diagnostics"]),
    ("quota", &["model"]),
    ("guards", &["model", "config"]),
    ("rules", &["model", "config", "diagnostics"]),
    ("rehearsal", &["model", "config", "rules", "guards"]),
    ("defender", &["model", "config", "clock"]),
    ("store", &["model", "config", "guards", "quota"]),
    ("metrics", &["model", "store"]),
    ("traces", &["model"]),
    ("notify", &["model", "config"]),
    ("simulator", &["model", "clock"]),
];

/// Rooms that may know any other but these.
const STRANGERS: [(&str, &[&str]); 4] = [
    ("worker", &["app", "cli", "web", "simulator", "telemetry"]),
    ("web", &["app", "cli", "defender", "simulator", "telemetry"]),
    ("app", &["cli", "simulator", "telemetry"]),
    ("cli", &["web", "quota", "metrics"]),
];

/// Crates that only these may name: whoever else did would do the job of that room.
const CRATES: [(&str, &[&str]); 15] = [
    ("sqlx", &["store/"]),
    ("rsigma_eval", &["rules/load/", "rules/matching/", "rules/evaluate.rs", "rules/correlation/", "rules/trace/"]),
    ("rsigma_parser", &["rules/load/", "rules/matching/", "rules/evaluate.rs", "rules/correlation/", "rules/trace/"]),
    ("minijinja", &["rules/template.rs"]),
    ("serde_yaml", &["config/", "rules/", "diagnostics/", "cli/socket.rs"]),
    ("reqwest", &["defender/", "notify/post.rs", "cli/client.rs"]),
    ("axum", &["web/", "simulator/"]),
    ("clap", &["cli/"]),
    ("annotate_snippets", &["cli/output/"]),
    ("comfy_table", &["cli/output/"]),
    ("prometheus_client", &["metrics.rs"]),
    ("sd_notify", &["app.rs"]),
    ("opentelemetry", &["traces/export.rs"]),
    ("tokio_rustls", &["config/server_tls.rs", "web/tls.rs"]),
    ("x509_cert", &["config/certificate.rs", "simulator/assertion.rs"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder whose name ends so, as paths from the root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !name.starts_with("target") && !name.starts_with(".git") {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(name);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// The program's own code by file, without its tests and comments. Tests may use whatever they test with.
fn code() -> Vec<(String, String)> {
    let is_test = |path: &str| {
        path.contains("/tests/") || ["tests.rs", "testing.rs", "test_daemon.rs"].iter().any(|end| path.ends_with(end))
    };
    files("src", ".rs")
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = read(&path);
            let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path.strip_prefix("src/").unwrap().to_owned(), lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn room_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

/// The word that a text begins with.
fn word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next().unwrap()
}

#[test]
fn no_room_knows_one_that_it_must_not() {
    for (path, code) in code() {
        let room = room_of(&path);
        if ["lib", "main"].contains(&room) {
            continue;
        }
        assert!(!code.contains("crate::{"), "{path}: one room for each `use crate::`, so that this test can read it");
        let allowed = DIRECTIONS.iter().find(|(name, _)| *name == room);
        let strangers = STRANGERS.iter().find(|(name, _)| *name == room);
        assert!(allowed.is_some() != strangers.is_some(), "{path}: this test does not know the room {room}");
        for other in code.split("crate::").skip(1).map(word).filter(|other| *other != room) {
            let may = allowed.is_none_or(|(_, rooms)| rooms.contains(&other))
                && strangers.is_none_or(|(_, rooms)| !rooms.contains(&other));
            assert!(may, "src/{path} uses crate::{other}, which {room} must not know");
            let asks_microsoft = room == "cli" && other == "defender";
            assert!(!asks_microsoft || path.starts_with("cli/doctor/"), "src/{path}: only doctor may ask Microsoft");
        }
    }
}

#[test]
fn each_job_of_a_library_is_done_in_one_place() {
    for (path, code) in code() {
        for (name, homes) in CRATES {
            let names_it =
                code.split(&format!("{name}::")).skip(1).count() > 0 || code.contains(&format!("use {name}"));
            assert!(!names_it || homes.iter().any(|home| path.starts_with(home)), "src/{path} names {name}");
        }
    }
}

#[test]
fn only_the_clock_says_now_and_only_the_command_line_prints() {
    for (path, code) in code() {
        let may_say_now = path == "clock.rs";
        assert_eq!(code.contains("allow(clippy::disallowed_methods)"), may_say_now, "src/{path}");
        for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing"] {
            assert!(!code.contains(&format!("allow(clippy::{lint}")), "src/{path} lets itself off {lint}");
        }
        let prints = code.contains("allow(clippy::print_");
        assert!(!prints || path.starts_with("cli/"), "src/{path} prints");
    }
}

#[test]
fn every_crash_point_is_one_place() {
    let mut placed: Vec<String> = Vec::new();
    for (_, code) in code() {
        let names = code.split("crash_point(\"").skip(1).map(|rest| rest.split_once('"').unwrap().0.to_owned());
        placed.extend(names);
    }
    let mut listed: Vec<String> = CRASH_POINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    placed.sort();
    listed.sort();
    assert_eq!(placed, listed);
}

#[test]
fn every_module_begins_with_its_one_job() {
    for path in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        assert!(read(&path).starts_with("//! "), "{path}");
    }
}

/// The quoted words of the first list after `start` in the part of the schema that begins with `part`.
fn listed(schema: &str, part: &str, start: &str) -> BTreeSet<String> {
    let part = schema.split_once(part).unwrap_or_else(|| panic!("no {part}")).1.split_once(';').unwrap().0;
    let list = part.split_once(start).unwrap_or_else(|| panic!("no {start}")).1.split_once(')').unwrap().0;
    list.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names<T>(all: impl IntoIterator<Item = T>, name: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    all.into_iter().map(|one| name(one).to_owned()).collect()
}

#[test]
fn the_schema_lists_just_what_the_code_knows() {
    let schema: String = files("migrations/sqlite", ".sql").iter().map(|path| read(path)).collect();
    let states = |is: fn(State) -> bool| names(State::ALL.into_iter().filter(|state| is(*state)), State::as_str);
    let actions = "CREATE TABLE actions (";
    assert_eq!(listed(&schema, actions, "CHECK (state IN ("), states(|_| true));
    assert_eq!(listed(&schema, actions, "CHECK (kind IN ("), names(Kind::ALL, Kind::as_str));
    let families = names(Kind::ALL, |kind| kind.spec().family.as_str());
    assert_eq!(listed(&schema, actions, "CHECK (family IN ("), families);
    let outcomes = listed(&schema, "CREATE TABLE decisions (", "CHECK (outcome IN (");
    assert_eq!(outcomes, names(Outcome::ALL, Outcome::as_str));
    let alert_states = listed(&schema, "CREATE TABLE alerts (", "CHECK (state IN (");
    assert_eq!(
        alert_states,
        names([AlertState::Received, AlertState::Waiting, AlertState::Decided], AlertState::as_str)
    );
    assert!(alert_states.iter().all(|name| AlertState::from_name(name).is_some()));

    let roles = listed(&schema, "CREATE TABLE tokens (", "CHECK (role IN (");
    assert_eq!(roles, names(Role::ALL, Role::as_str));

    let one_open = "CREATE UNIQUE INDEX actions_one_open ON actions (tenant, machine_id, kind)";
    assert_eq!(listed(&schema, one_open, "WHERE state IN ("), states(State::is_open));
    let one_on_the_wire = "CREATE UNIQUE INDEX actions_one_on_the_wire ON actions (tenant, machine_id, family)";
    assert_eq!(listed(&schema, one_on_the_wire, "WHERE state IN ("), states(State::is_on_the_wire));
}

/// Everything that can be counted, counted once.
fn everything_counted() -> Metrics {
    let (metrics, now) = (Metrics::default(), SystemClock.now());
    let (tenant, source) = (TenantName::new("contoso").unwrap(), SourceName::new("defender").unwrap());
    metrics.received(&tenant, &source, 1, 1);
    metrics.unknown_value(&tenant, "severity");
    metrics.decided(&tenant, &RuleId::new("rule").unwrap(), Outcome::Acted, now);
    metrics.api_call(&tenant, Lane::Restrict.as_str(), Some(201));
    metrics.misfit(&tenant, Lane::Restrict);
    metrics.submitted(&tenant, 1.0);
    metrics.rules(1, false);
    metrics.queue_oldest(&tenant, 1.0);
    let channel = ChannelName::new("night").unwrap();
    metrics.notice(&channel, "delivered");
    metrics.notices_undelivered(&channel, 1);
    let totals = Totals { actions: [(("contoso".into(), "restrict".into(), "queued".into()), 1)].into(), undecided: 0 };
    let quota = QuotaView {
        tenant: tenant.clone(),
        lane: Lane::Restrict,
        window: "60s".to_owned(),
        calls: 100,
        remaining: 99,
        paused_until: None,
        reason: None,
    };
    let source = SourceView { name: source, kind: "defender".to_owned(), tenant, lag_seconds: Some(1.0), error: None };
    metrics.stored(&totals, &[quota], &[source], false);
    metrics
}

#[test]
fn the_reference_of_metrics_has_each_with_its_labels() {
    let text = everything_counted().text();
    let mut registered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
        let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let sample = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no sample of {name}"));
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        registered.insert(shown, labels.filter(|label| label != "le").collect());
    }
    assert!(registered.len() >= 14, "{registered:?}");

    let rows: BTreeMap<String, BTreeSet<String>> = read("docs/reference/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `stanch_"))
        .map(|line| line.split('|').collect::<Vec<_>>())
        .filter(|cells| cells.len() == 6)
        .map(|cells| {
            let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
            (quoted(cells[1]).remove(0), quoted(cells[3]).into_iter().collect())
        })
        .collect();
    assert_eq!(rows, registered);
}

#[test]
fn the_messages_that_people_build_on_are_logged_at_their_levels() {
    let page = read("docs/reference/logging.md");
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split(" | ").collect()).collect();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .filter(|cells| cells.len() == 3 && cells[0].starts_with("| `"))
        .map(|cells| (cells[0].trim_matches(['|', ' ', '`']), cells[1]))
        .filter(|(_, level)| ["ERROR", "WARN", "INFO", "DEBUG"].contains(level))
        .collect();
    assert!(rows.len() >= 19, "{rows:?}");
    let logged: Vec<(String, String)> = code().iter().flat_map(|(_, code)| logged(code)).collect();
    for (message, level) in rows {
        let found = logged.iter().any(|(at, said)| at == level && said == message);
        assert!(found, "nothing logs {message:?} as {level}");
    }
}

/// The level and the words of each event that a file logs.
fn logged(code: &str) -> Vec<(String, String)> {
    let event = |rest: &str| {
        let (level, rest) = rest.split_once("!(")?;
        // The words stand last, however the event is laid out.
        let words = up_to_the_closing_parenthesis(rest).rsplit('"').nth(1)?;
        Some((level.to_uppercase(), words.to_owned()))
    };
    code.split("tracing::").skip(1).filter_map(event).collect()
}

fn up_to_the_closing_parenthesis(text: &str) -> &str {
    let (mut depth, mut quoted) = (0, false);
    let closes = text.char_indices().find(|(_, c)| {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        depth < 0
    });
    closes.map_or(text, |(at, _)| &text[..at])
}

#[test]
fn alarms_and_dashboards_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = read("docs/reference/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned()))
        .collect();
    for path in ["deploy/prometheus/stanch.rules.yml", "deploy/grafana/stanch.json"] {
        let text = read(path);
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("stanch_"));
        let mut asked = 0;
        for name in names {
            let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(known.contains(series), "{path}: {name} is no metric of ours");
            asked += 1;
        }
        assert!(asked > 8, "{path}");
    }
}

fn documents() -> Vec<(String, String)> {
    files(".", ".md").into_iter().map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            assert!(linked.exists(), "{path} links to {target}");
            assert!(heading.is_empty() || headings(&linked).contains(heading), "{path} links to {target}");
        }
    }
}

/// The headings of a document, as links name them.
fn headings(path: &PathBuf) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            title.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>()
        })
        .map(|title| title.replace(' ', "-"))
        .collect()
}

/// What a document sets in backticks within a line.
fn quoted(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let outside = text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn files_and_tests_that_documents_name_are_there() {
    let mut tests_named = 0;
    for (path, text) in documents() {
        for name in quoted(&text) {
            let top = name.split('/').next().unwrap();
            let is_path = ["src", "tests", "docs", "config", "migrations", "deploy", "benches"].contains(&top);
            if is_path && name.contains('/') && !name.contains(['*', ' ', '<']) {
                assert!(root().join(name).exists(), "{path} names {name}");
            }
            if let Some((file, test)) = name.strip_suffix("()").and_then(|name| name.split_once("::")) {
                let file = format!("tests/it/{file}.rs");
                assert!(read(&file).contains(&format!("fn {test}(")), "{path} names {name}, which is not in {file}");
                tests_named += 1;
            }
        }
    }
    assert!(tests_named > 10, "the promises name the tests that show them");
}

/// The first fenced block of a document that holds a text.
fn block(text: &str, holds: &str) -> String {
    let blocks = text.split("```").skip(1).step_by(2);
    let block =
        blocks.into_iter().find(|block| block.contains(holds)).unwrap_or_else(|| panic!("no block with {holds}"));
    block.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn what_the_readme_gives_to_copy_works() {
    let readme = read("README.md");
    for command in ["cargo run --release -- demo", "cargo test"] {
        assert!(readme.lines().any(|line| line == command), "{command} stands on a line of its own");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    fs::write(dir.path().join("contoso.secret"), "a secret\n").unwrap();
    fs::write(dir.path().join("rules/rule.yml"), block(&readme, "response:")).unwrap();
    let path = dir.path().join("stanch.yaml");
    fs::write(&path, block(&readme, "sources:")).unwrap();
    let loaded = config::load(&path, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.guards.mode, config::Mode::Shadow, "nobody begins with enforce");
    let mut check = Command::new(env!("CARGO_BIN_EXE_stanch"));
    let output = check.env_clear().arg("--config").arg(&path).arg("check").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_readme_names_every_command() {
    let readme = read("README.md");
    let output = Command::new(env!("CARGO_BIN_EXE_stanch")).env_clear().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let named: Vec<&str> = commands.map(word).filter(|command| *command != "help").collect();
    assert!(named.len() >= 12, "{named:?}");
    for command in named {
        assert!(readme.contains(&format!("`stanch {command}")), "README does not name `stanch {command}`");
    }
}
