//! The ways in which rule files change on a disk: what is in force after each, and that a decision names
//! the text it was made by. What a change does to actions is in `rules.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use stanch::model::Outcome;
use stanch::rules::RuleSet;

use crate::support::binary::{Process, output, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp, alert, machine};

/// The rule after the change.
fn changed() -> String {
    RANSOMWARE.replace("category: Ransomware", "category: Exploit")
}

/// Another rule, for another file.
fn other() -> String {
    RANSOMWARE.replace("contain-ransomware", "contain-malware").replace("category: Ransomware", "category: Malware")
}

async fn with_rules(rules: &[&str]) -> TestApp {
    TestApp::builder()
        .rules(rules)
        .start(|simulator| {
            for device in 0..4 {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await
}

fn hash(app: &TestApp) -> String {
    app.work().rule_set().hash().to_owned()
}

/// Waits until another set than that of `before` is in force, and nothing is stale.
async fn another_set(app: &TestApp, before: &str) {
    app.until("another set is in force", async || {
        (hash(app) != before && app.work().board.rules_state().error.is_none()).then_some(())
    })
    .await;
    assert!(app.work().metrics.text().contains("stanch_rules_stale 0"));
}

/// Waits until the folder is said to be bad; the set of `before` must be in force.
async fn stale(app: &TestApp, before: &str) -> String {
    let error = app.until("the folder is stale", async || app.work().board.rules_state().error).await;
    assert_eq!(hash(app), before);
    assert!(app.work().metrics.text().contains("stanch_rules_stale 1"));
    error
}

/// An alert of that category is acted upon by the rule with that text, and the decision says so.
async fn decides(app: &TestApp, category: &str, device: usize, text: &str) {
    app.simulator.add_alert(alert(category, device, category)).unwrap();
    let decisions = app.decided(category).await.decisions;
    assert_eq!(decisions.len(), 1, "{decisions:#?}");
    assert_eq!(decisions[0].outcome, Outcome::Acted);
    assert!(text.contains(&format!("id: {}\n", decisions[0].rule_id)), "{decisions:#?}");
    let expected: String = digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(decisions[0].rule_hash, expected);
}

/// No rule wants an alert of that category.
async fn ignores(app: &TestApp, category: &str, device: usize) {
    app.simulator.add_alert(alert(category, device, category)).unwrap();
    assert!(app.decided(category).await.decisions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_over_the_old_one_is_in_force() {
    let app = with_rules(&[RANSOMWARE]).await;
    let before = hash(&app);
    decides(&app, "Ransomware", 0, RANSOMWARE).await;
    fs::write(app.path("rules/.0.yml.tmp"), changed()).unwrap();
    fs::rename(app.path("rules/.0.yml.tmp"), app.path("rules/0.yml")).unwrap();
    another_set(&app, &before).await;
    decides(&app, "Exploit", 1, &changed()).await;
}

/// As vim does: the old file becomes the backup, and a new one is written in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_away_and_written_anew_is_never_missed_from_the_set() {
    let app = with_rules(&[RANSOMWARE]).await;
    let mut sets = app.work().rules.subscribe();
    fs::rename(app.path("rules/0.yml"), app.path("rules/0.yml~")).unwrap();
    fs::write(app.path("rules/0.yml"), changed()).unwrap();
    fs::remove_file(app.path("rules/0.yml~")).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(30), sets.changed()).await.unwrap().unwrap();
    assert_eq!(sets.borrow_and_update().loaded(), 1, "the set without the file was never in force");
    decides(&app, "Exploit", 0, &changed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_replaced_is_in_force_as_a_whole() {
    let app = with_rules(&[RANSOMWARE]).await;
    let before = hash(&app);
    fs::create_dir(app.path("next")).unwrap();
    fs::write(app.path("next/0.yml"), changed()).unwrap();
    fs::write(app.path("next/1.yml"), other()).unwrap();
    fs::rename(app.path("rules"), app.path("last")).unwrap();
    fs::rename(app.path("next"), app.path("rules")).unwrap();
    another_set(&app, &before).await;
    assert_eq!(app.work().rule_set().loaded(), 2);
    decides(&app, "Exploit", 0, &changed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_leaves_the_last_good_set_in_force() {
    let app = with_rules(&[RANSOMWARE]).await;
    let before = hash(&app);
    fs::rename(app.path("rules"), app.path("away")).unwrap();
    let error = stale(&app, &before).await;
    assert!(error.contains("can not be read"), "{error}");
    decides(&app, "Ransomware", 0, RANSOMWARE).await;
    fs::write(app.path("away/1.yml"), other()).unwrap();
    fs::rename(app.path("away"), app.path("rules")).unwrap();
    another_set(&app, &before).await;
}

#[test]
fn a_file_that_goes_away_while_it_is_read_is_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yml"), RANSOMWARE).unwrap();
    let (stop, comes_and_goes) = (AtomicBool::new(false), dir.path().join("b.yml"));
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::write(&comes_and_goes, other()).unwrap();
                fs::remove_file(&comes_and_goes).unwrap();
            }
        });
        let refused = (0..2_000).find_map(|_| RuleSet::read(dir.path()).err());
        stop.store(true, Ordering::Relaxed);
        refused
    });
    assert!(refused.is_none(), "{refused:?}");
}

/// As Kubernetes does: the files are links through `..data`, which is swapped for another folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_swapped_is_in_force_as_a_whole() {
    let mut app = TestApp::builder()
        .rules(&[])
        .prepare(|simulator| {
            for device in 0..4 {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    let rules = app.path("rules");
    config_map(&rules, "..2026_11_23", &[("a.yml", RANSOMWARE), ("b.yml", &other())]);
    for name in ["a.yml", "b.yml"] {
        symlink(format!("..data/{name}"), rules.join(name)).unwrap();
    }
    app.start_daemon().await;
    let before = hash(&app);
    decides(&app, "Malware", 0, &other()).await;

    let second = format!("{}  mode: enforce\n", other());
    config_map(&rules, "..2026_11_24", &[("a.yml", &changed()), ("b.yml", &second)]);
    fs::remove_dir_all(rules.join("..2026_11_23")).unwrap();
    another_set(&app, &before).await;
    assert_eq!(app.work().rule_set().loaded(), 2);
    decides(&app, "Exploit", 1, &changed()).await;
    ignores(&app, "Ransomware", 2).await;
}

/// Writes a folder of files and lets `..data` lead to it, at one stroke.
fn config_map(rules: &Path, folder: &str, files: &[(&str, &str)]) {
    fs::create_dir(rules.join(folder)).unwrap();
    for (name, text) in files {
        fs::write(rules.join(folder).join(name), text).unwrap();
    }
    symlink(folder, rules.join("..data_tmp")).unwrap();
    fs::rename(rules.join("..data_tmp"), rules.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_changes_nothing_until_it_is_whole() {
    let app = with_rules(&[RANSOMWARE]).await;
    let before = hash(&app);
    fs::write(app.path("rules/0.yml"), "").unwrap();
    let error = stale(&app, &before).await;
    assert!(error.contains("0.yml:1:1: the file is empty"), "{error}");

    let whole = changed();
    let half = whole.split_at(whole.find("Exploit").unwrap()).0.replace("category: ", "category: 'Ex");
    fs::write(app.path("rules/0.yml"), half).unwrap();
    app.until("the half is refused", async || {
        app.work().board.rules_state().error.filter(|error| error.contains("0.yml:") && !error.contains("empty"))
    })
    .await;
    decides(&app, "Ransomware", 0, RANSOMWARE).await;

    fs::write(app.path("rules/0.yml"), &whole).unwrap();
    another_set(&app, &before).await;
    decides(&app, "Exploit", 1, &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_change_beside_a_bad_file_waits_until_all_are_good() {
    let app = with_rules(&[RANSOMWARE]).await;
    let before = hash(&app);
    fs::write(app.path("rules/bad.yml"), other().replace("detection:", "detecton:")).unwrap();
    fs::write(app.path("rules/0.yml"), changed()).unwrap();
    let error = stale(&app, &before).await;
    assert!(error.contains("bad.yml:2:1: the rule lacks 'detection'"), "{error}");
    decides(&app, "Ransomware", 0, RANSOMWARE).await;
    ignores(&app, "Exploit", 1).await;

    fs::write(app.path("rules/bad.yml"), other()).unwrap();
    another_set(&app, &before).await;
    assert_eq!(app.work().rule_set().loaded(), 2);
    decides(&app, "Malware", 2, &other()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_a_deleted_file_is_gone_and_the_others_stay() {
    let app = with_rules(&[RANSOMWARE, &other()]).await;
    let before = hash(&app);
    fs::remove_file(app.path("rules/0.yml")).unwrap();
    another_set(&app, &before).await;
    assert_eq!(app.work().rule_set().loaded(), 1);
    assert!(app.work().metrics.text().contains("stanch_rules_loaded 1"));
    ignores(&app, "Ransomware", 0).await;
    decides(&app, "Malware", 1, &other()).await;
}

/// What `status --json` of the real binary says of the rules.
fn rules_of(app: &TestApp) -> Value {
    let printed = output(app, &["status", "--json"]);
    serde_json::from_slice::<Value>(&printed.stdout).unwrap()["rules"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reads_the_folder_where_nobody_watches_it() {
    let app = TestApp::builder().set("RULES__WATCH", "false").prepare(|_| ()).await;
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let first = rules_of(&app);
    assert_eq!((&first["loaded"], &first["stale"]), (&1.into(), &false.into()));

    fs::write(app.path("rules/1.yml"), other().replace("response:", "respone:")).unwrap();
    process.signal("HUP");
    let bad = app.until("it is stale", async || Some(rules_of(&app)).filter(|rules| rules["stale"] == true)).await;
    assert_eq!((&bad["hash"], &bad["loaded"]), (&first["hash"], &first["loaded"]));
    assert!(bad["error"].as_str().unwrap().contains("1.yml:"), "{bad}");

    fs::write(app.path("rules/1.yml"), other()).unwrap();
    process.signal("HUP");
    let good = app.until("two are loaded", async || Some(rules_of(&app)).filter(|rules| rules["loaded"] == 2)).await;
    assert_eq!(good["stale"], false);
    assert_ne!(good["hash"], first["hash"]);
    assert!(process.terminate().success());
}
