//! Reload: whatever way a rule file is changed, the right set is live, and a bad one never is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use stanch::model::{Outcome, RuleId};
use stanch::rules::RuleSet;

use crate::support::binary::{Process, output, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp, alert, machine};

const PROTECT: &str = "
title: Protect the first device
id: protect-it
detection: { it: { machine.computerDnsName: pc-1.contoso.test }, condition: it }
response: { action: protect }
";

/// The rule of the tests, restricting on another category.
fn rule_for(category: &str) -> String {
    RANSOMWARE.replace("category: Ransomware", &format!("category: {category}"))
}

async fn with(rules: &[&str]) -> TestApp {
    TestApp::builder()
        .rules(rules)
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_machine(machine(2)).unwrap();
        })
        .await
}

/// Waits until another set is put in force; it must be that of the folder as it is now, whole.
async fn live(app: &TestApp, changes: &mut tokio::sync::watch::Receiver<std::sync::Arc<RuleSet>>) {
    let files = RuleSet::read(&app.path("rules")).unwrap();
    let today = app.work().today();
    let (wanted, _) = stanch::worker::rules::load(&app.work().config, today, &files).unwrap();
    let first = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
    first.expect("another set is put in force").unwrap();
    assert_eq!(changes.borrow_and_update().hash(), wanted.hash(), "no half of it was live before the whole");
    assert_eq!(app.work().board.rules_state().error, None);
    let metrics = app.work().metrics.text();
    assert!(metrics.contains(&format!("stanch_rules_loaded {}\n", wanted.loaded())), "{metrics}");
    assert!(metrics.contains("stanch_rules_stale 0\n"), "{metrics}");
}

/// Subscribes to the sets that are put in force from here on.
fn changes(app: &TestApp) -> tokio::sync::watch::Receiver<std::sync::Arc<RuleSet>> {
    let mut changes = app.work().rules.subscribe();
    changes.mark_unchanged();
    changes
}

/// Waits until the folder was read so often again.
async fn readings(app: &TestApp, many: usize) {
    let last = || app.work().board.loops().into_iter().find(|row| row.name == "rules").map(|row| row.last_run);
    let mut seen = vec![last()];
    app.until("the folder was read again", async || {
        let now = last();
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        (seen.len() > many).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_that_writes_beside_and_renames_over_is_seen() {
    let app = with(&[RANSOMWARE]).await;
    let mut changes = changes(&app);
    fs::write(app.path("rules/.0.yml.tmp"), rule_for("Exploit")).unwrap();
    fs::rename(app.path("rules/.0.yml.tmp"), app.path("rules/0.yml")).unwrap();
    live(&app, &mut changes).await;

    app.simulator.add_alert(alert("new", 2, "Exploit")).unwrap();
    let decision = &app.decided("new").await.decisions[0];
    let rule = app.work().rule_set().rule(&RuleId::new("contain-ransomware").unwrap()).unwrap().clone();
    assert_eq!((&decision.rule_id, &decision.rule_hash), (&rule.id, &rule.hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_that_moves_the_old_file_away_first_never_leaves_the_rules_without_it() {
    let app = with(&[RANSOMWARE, PROTECT]).await;
    let mut changes = changes(&app);
    fs::rename(app.path("rules/1.yml"), app.path("rules/1.yml~")).unwrap();
    // The editor is slow: whole readings of the folder without the protection lie in between.
    readings(&app, 3).await;
    fs::write(app.path("rules/1.yml"), PROTECT.replace("Protect the first", "Protect the very first")).unwrap();
    fs::remove_file(app.path("rules/1.yml~")).unwrap();
    live(&app, &mut changes).await;
    assert_eq!(app.work().rule_set().rules().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_for_good_is_gone_in_the_end() {
    let app = with(&[RANSOMWARE, PROTECT]).await;
    let mut changes = changes(&app);
    fs::remove_file(app.path("rules/1.yml")).unwrap();
    live(&app, &mut changes).await;
    assert_eq!(app.work().rule_set().rules().len(), 1);
}

/// A version of a ConfigMap as Kubernetes writes one beside the others.
fn version(rules: &Path, name: &str, texts: &[(&str, &str)]) {
    fs::create_dir(rules.join(name)).unwrap();
    for (file, text) in texts {
        fs::write(rules.join(name).join(file), text).unwrap();
    }
}

/// Points `..data` at a version, as Kubernetes does: a new link, renamed over the old.
fn swap(rules: &Path, name: &str) {
    symlink(name, rules.join("..data_tmp")).unwrap();
    fs::rename(rules.join("..data_tmp"), rules.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_swapped_is_seen_whole() {
    let app = with(&[]).await;
    let rules = app.path("rules");
    let mut changes = changes(&app);
    version(&rules, "..2026_11_23", &[("a.yml", RANSOMWARE), ("b.yml", PROTECT)]);
    swap(&rules, "..2026_11_23");
    for file in ["a.yml", "b.yml"] {
        symlink(format!("..data/{file}"), rules.join(file)).unwrap();
    }
    live(&app, &mut changes).await;

    let (exploit, first) = (rule_for("Exploit"), PROTECT.replace("protect-it", "protect-them"));
    version(&rules, "..2026_11_24", &[("a.yml", &exploit), ("b.yml", &first)]);
    swap(&rules, "..2026_11_24");
    fs::remove_dir_all(rules.join("..2026_11_23")).unwrap();
    live(&app, &mut changes).await;
    let set = app.work().rule_set();
    assert!(set.rule(&RuleId::new("protect-them").unwrap()).is_some());
    app.simulator.add_alert(alert("on-the-protected", 1, "Exploit")).unwrap();
    assert_eq!(app.decided("on-the-protected").await.decisions[0].outcome, Outcome::Protected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_replaced_is_seen() {
    let app = with(&[RANSOMWARE]).await;
    let mut changes = changes(&app);
    fs::create_dir(app.path("next")).unwrap();
    fs::write(app.path("next/0.yml"), rule_for("Exploit")).unwrap();
    fs::write(app.path("next/1.yml"), PROTECT).unwrap();
    fs::rename(app.path("rules"), app.path("before")).unwrap();
    fs::rename(app.path("next"), app.path("rules")).unwrap();
    live(&app, &mut changes).await;
    assert_eq!(app.work().rule_set().rules().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_leaves_the_last_good_set_in_force() {
    let app = with(&[RANSOMWARE]).await;
    let mut changes = changes(&app);
    fs::rename(app.path("rules"), app.path("away")).unwrap();
    let error = app.until("it is said", async || app.work().board.rules_state().error).await;
    assert!(error.contains("can not be read"), "{error}");
    assert_eq!(app.work().rule_set().rules().len(), 1);
    fs::write(app.path("away/1.yml"), PROTECT).unwrap();
    fs::rename(app.path("away"), app.path("rules")).unwrap();
    live(&app, &mut changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_is_never_live() {
    let app = with(&[RANSOMWARE]).await;
    let mut changes = changes(&app);
    let whole = rule_for("Exploit");
    for half in ["", &whole[..whole.find("condition").unwrap()]] {
        fs::write(app.path("rules/0.yml"), half).unwrap();
        app.until("it is said that it can not be loaded", async || {
            app.work().board.rules_state().error.filter(|error| error.contains("empty") == half.is_empty())
        })
        .await;
        assert!(app.work().metrics.text().contains("stanch_rules_stale 1\n"));
        assert!(!changes.has_changed().unwrap());
    }
    fs::write(app.path("rules/0.yml"), whole).unwrap();
    live(&app, &mut changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_among_good_ones_holds_all_of_them_back_and_the_status_says_so() {
    let app = with(&[RANSOMWARE]).await;
    let before = app.work().rule_set();
    let mut changes = changes(&app);
    fs::write(app.path("rules/0.yml"), rule_for("Exploit")).unwrap();
    fs::write(app.path("rules/bad.yml"), RANSOMWARE.replace("condition: ransomware", "condition: ransomwear")).unwrap();
    app.until("the folder is said to be stale", async || app.work().board.rules_state().error).await;
    let status: Value = serde_json::from_slice(&output(&app, &["status", "--json"]).stdout).unwrap();
    assert_eq!(status["rules"]["stale"], true);
    assert_eq!(status["rules"]["hash"], before.hash());
    let error = status["rules"]["error"].as_str().unwrap();
    assert!(error.contains("bad.yml:") && error.contains("ransomwear"), "{error}");
    assert!(!changes.has_changed().unwrap(), "the good change beside it waits for the bad one");

    app.simulator.add_alert(alert("meanwhile", 1, "Ransomware")).unwrap();
    let decision = &app.decided("meanwhile").await.decisions[0];
    assert_eq!(decision.rule_hash, before.rule(&decision.rule_id).unwrap().hash);

    fs::remove_file(app.path("rules/bad.yml")).unwrap();
    live(&app, &mut changes).await;
}

#[test]
fn a_file_that_goes_away_while_it_is_read_is_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yml"), RANSOMWARE).unwrap();
    let (stop, comes_and_goes) = (AtomicBool::new(false), dir.path().join("b.yml"));
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::write(&comes_and_goes, PROTECT).unwrap();
                fs::remove_file(&comes_and_goes).unwrap();
            }
        });
        let refused = (0..2_000).find_map(|_| RuleSet::read(dir.path()).err());
        stop.store(true, Ordering::Relaxed);
        refused
    });
    assert!(refused.is_none(), "{refused:?}");
}

/// What `status` says, once it says so.
fn until_status(app: &TestApp, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status: Value = serde_json::from_slice(&output(app, &["status", "--json"]).stdout).unwrap();
        if holds(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}: {status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_rules_where_nobody_watches_them() {
    let app = TestApp::builder().set("RULES__WATCH", "false").prepare(|_| ()).await;
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let before = until_status(&app, "it runs", |status| status["rules"]["loaded"] == 1);

    fs::write(app.path("rules/0.yml"), "title: [").unwrap();
    process.signal("HUP");
    let stale = until_status(&app, "the mistake is said", |status| status["rules"]["stale"] == true);
    assert_eq!(stale["rules"]["hash"], before["rules"]["hash"]);
    assert!(stale["rules"]["error"].as_str().unwrap().contains("0.yml:1"), "{stale:#}");

    fs::write(app.path("rules/0.yml"), rule_for("Exploit")).unwrap();
    fs::write(app.path("rules/1.yml"), PROTECT).unwrap();
    process.signal("HUP");
    let after = until_status(&app, "the new set is live", |status| status["rules"]["loaded"] == 2);
    assert_eq!(after["rules"]["stale"], false);
    assert!(process.terminate().success());
}
