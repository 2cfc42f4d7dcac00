//! Protections that vanish: a set that lost one is in force and told until somebody has seen it, a set without any
//! rule is not taken, and neither a restart nor a midnight hides a loss.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stanch::app::{Daemon, StartError};
use stanch::clock::{Clock, SystemClock};
use stanch::config;
use stanch::model::protection::{LostProtection, ProtectionInForce};
use stanch::model::{Outcome, State, TenantName};
use stanch::store::{AuditFilter, RulesTaken, Store};

use crate::support::binary::{output, stanch};
use crate::support::{RANSOMWARE, TestApp, machine, ransomware};

/// Keeps the first device.
const PROTECT: &str = "
title: Leave the till alone
id: leave-the-till
detection: { till: { machine.computerDnsName: pc-1.contoso.test }, condition: till }
response: { action: protect }
";

/// The rules of a team: one that restricts, and one that protects.
async fn protected() -> TestApp {
    TestApp::builder().rules(&[RANSOMWARE, PROTECT]).start(add_machines).await
}

fn add_machines(simulator: &stanch::simulator::Simulator) {
    for device in 1..4 {
        simulator.add_machine(machine(device)).unwrap();
    }
}

async fn lost(app: &TestApp) -> Vec<LostProtection> {
    app.store().lost_protections().await.unwrap()
}

async fn until_lost(app: &TestApp) -> LostProtection {
    let mut lost = app
        .until("a protection is lost", async || {
            let lost = lost(app).await;
            (!lost.is_empty()).then_some(lost)
        })
        .await;
    assert_eq!(lost.len(), 1, "{lost:#?}");
    lost.remove(0)
}

async fn until_none_is_lost(app: &TestApp) {
    app.until("no protection is lost", async || lost(app).await.is_empty().then_some(())).await;
}

/// What happened of that sort, in the order of the audit: who did it, and the words.
async fn audited(app: &TestApp, what: &str) -> Vec<(String, String)> {
    let rows = app.store().audit(&AuditFilter::default(), false, None, 1_000).await.unwrap().items;
    rows.into_iter().filter(|row| row.what == what).map(|row| (row.by, row.detail)).collect()
}

/// Commands run in a process of their own, so the daemon in this one must not be kept from answering.
async fn command(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn status(app: &TestApp) -> Value {
    let printed = command(app, &["status", "--json"]).await;
    serde_json::from_slice::<Value>(&printed.stdout).unwrap()["rules"].clone()
}

/// The gauge, as Prometheus reads it.
async fn gauge(app: &TestApp) -> String {
    let metrics = app.hooks().replace("/hooks/hook", "/metrics");
    let text = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix("stanch_rules_shrunk ")).unwrap().to_owned()
}

async fn until_stale(app: &TestApp) -> String {
    app.until("the folder is stale", async || app.work().board.rules_state().error).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protect_file_that_is_renamed_is_told_and_the_new_set_is_in_force() {
    let app = protected().await;
    assert_eq!((gauge(&app).await.as_str(), &status(&app).await["shrunk"]), ("0", &false.into()));
    fs::rename(app.path("rules/1.yml"), app.path("rules/1.yml.off")).unwrap();

    let till = until_lost(&app).await;
    assert_eq!((till.rule_id.as_str(), till.title.as_str()), ("leave-the-till", "Leave the till alone"));
    assert_eq!(till.tenants, [TestApp::tenant()]);
    assert_eq!(till.why, "no rule of this id protects any more");
    assert_eq!(gauge(&app).await, "1");
    let rules = status(&app).await;
    assert_eq!((&rules["shrunk"], &rules["lost"][0]["rule_id"]), (&true.into(), &"leave-the-till".into()));
    let screen = String::from_utf8(command(&app, &["status"]).await.stdout).unwrap();
    assert!(screen.contains("protections are lost") && screen.contains("Leave the till alone"), "{screen}");
    let [(by, words)] = audited(&app, "rules_shrunk").await.try_into().unwrap();
    assert_eq!(by, "stanch");
    assert_eq!(words, "\"Leave the till alone\" no longer protects contoso: no rule of this id protects any more");

    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    assert_eq!(app.decided("alert").await.decisions[0].outcome, Outcome::Acted, "the new set is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protection_that_is_put_back_is_no_longer_missed() {
    let app = protected().await;
    fs::rename(app.path("rules/1.yml"), app.path("rules/1.yml.off")).unwrap();
    until_lost(&app).await;
    fs::rename(app.path("rules/1.yml.off"), app.path("rules/till.yml")).unwrap();
    until_none_is_lost(&app).await;
    assert_eq!(gauge(&app).await, "0");
    let refused = command(&app, &["rules", "acknowledge", "--why", "seen"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("nothing to acknowledge"));
    assert!(audited(&app, "rules_acknowledged").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rule_in_its_place_and_one_that_restricts_now_are_losses_too() {
    let app = protected().await;
    fs::write(app.path("rules/1.yml"), PROTECT.replace("leave-the-till", "leave-all-tills")).unwrap();
    assert_eq!(until_lost(&app).await.rule_id.as_str(), "leave-the-till");
    fs::write(app.path("rules/1.yml"), PROTECT).unwrap();
    app.until("the other one is lost now", async || {
        lost(&app).await.iter().all(|one| one.rule_id.as_str() == "leave-all-tills").then_some(())
    })
    .await;
    app.store().acknowledge_lost(None, &TestApp::operator(), "one is enough", TestApp::now()).await.unwrap();

    fs::write(app.path("rules/1.yml"), PROTECT.replace("protect }", "restrict }")).unwrap();
    assert_eq!(until_lost(&app).await.why, "the rule of this id restricts now");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_a_rule_protects_no_more_are_named() {
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, PROTECT])
        .set("TENANTS__1__NAME", "fabrikam")
        .set("TENANTS__1__TENANT_ID", "33333333-3333-4333-8333-333333333333")
        .set("TENANTS__1__CLIENT_ID", "44444444-4444-4444-8444-444444444444")
        .set("TENANTS__1__CREDENTIAL", "{ secret_file: secret }")
        .set("TENANTS__1__API_URL", "http://127.0.0.1:1")
        .set("TENANTS__1__LOGIN_URL", "http://127.0.0.1:1")
        .start(add_machines)
        .await;
    fs::write(app.path("rules/1.yml"), PROTECT.replace("protect }", "protect, tenants: [contoso] }")).unwrap();
    let lost = until_lost(&app).await;
    assert_eq!(lost.tenant_names(), "fabrikam");
    assert_eq!(lost.why, "the rule is not for the tenant fabrikam (tenants)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_without_the_protection_is_told_once_its_links_are_gone() {
    let mut app = TestApp::builder().rules(&[]).prepare(add_machines).await;
    let rules = app.path("rules");
    config_map(&rules, "..2026_11_23", &[("contain.yml", RANSOMWARE), ("protect.yml", PROTECT)]);
    for name in ["contain.yml", "protect.yml"] {
        symlink(format!("..data/{name}"), rules.join(name)).unwrap();
    }
    app.start_daemon().await;
    config_map(&rules, "..2026_11_24", &[("contain.yml", RANSOMWARE)]);
    fs::remove_dir_all(rules.join("..2026_11_23")).unwrap();
    let error = until_stale(&app).await;
    assert!(error.contains("protect.yml"), "a link that leads nowhere is no deleted file: {error}");
    assert!(lost(&app).await.is_empty());
    fs::remove_file(rules.join("protect.yml")).unwrap();
    assert_eq!(until_lost(&app).await.rule_id.as_str(), "leave-the-till");
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
async fn a_loss_while_no_daemon_ran_is_told_once_and_missed_over_every_restart() {
    let mut app = protected().await;
    app.stop_daemon().await;
    fs::remove_file(app.path("rules/1.yml")).unwrap();
    app.start_daemon().await;
    assert_eq!(lost(&app).await[0].rule_id.as_str(), "leave-the-till");
    app.stop_daemon().await;
    app.start_daemon().await;
    assert_eq!((lost(&app).await.len(), gauge(&app).await.as_str()), (1, "1"));
    assert_eq!(audited(&app, "rules_shrunk").await.len(), 1, "it is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_acknowledges_a_loss_with_a_reason() {
    let mut app = protected().await;
    fs::remove_file(app.path("rules/1.yml")).unwrap();
    until_lost(&app).await;
    assert_eq!(command(&app, &["rules", "acknowledge"]).await.status.code(), Some(2), "--why is required");
    assert_eq!(gauge(&app).await, "1");

    let done = command(&app, &["rules", "acknowledge", "--why", "the till was sold", "--json"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["protections"][0]["rule_id"], "leave-the-till");
    assert_eq!(gauge(&app).await, "0");
    assert_eq!(status(&app).await["shrunk"], false);
    let [(by, words)] = audited(&app, "rules_acknowledged").await.try_into().unwrap();
    assert!(by.starts_with("user:"), "{by}");
    assert_eq!(words, "the till was sold (leave-the-till)");
    let again = command(&app, &["rules", "acknowledge", "--why", "once more"]).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    app.stop_daemon().await;
    app.start_daemon().await;
    assert!(lost(&app).await.is_empty(), "it stays acknowledged");
    fs::write(app.path("rules/1.yml"), PROTECT).unwrap();
    app.until("it protects again", async || (app.work().rule_set().loaded() == 2).then_some(())).await;
    fs::remove_file(app.path("rules/1.yml")).unwrap();
    until_lost(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_folder_leaves_the_last_set_in_force() {
    let app = protected().await;
    for file in ["rules/0.yml", "rules/1.yml"] {
        fs::remove_file(app.path(file)).unwrap();
    }
    let error = until_stale(&app).await;
    assert!(error.contains("the folder holds no rule") && error.contains("rules.allow_empty: true"), "{error}");
    assert!(app.work().metrics.text().contains("stanch_rules_stale 1"));
    app.simulator.add_alert(ransomware("kept", 1)).unwrap();
    app.simulator.add_alert(ransomware("restricted", 2)).unwrap();
    assert_eq!(app.decided("kept").await.decisions[0].outcome, Outcome::Protected);
    app.action_in(State::Succeeded).await;
    assert!(lost(&app).await.is_empty());

    fs::write(app.path("rules/only.yml"), "# every rule is commented out\n").unwrap();
    app.until("a file without a rule changes nothing", async || {
        app.work().board.last_run("rules").filter(|run| run.said == "1 rule files")
    })
    .await;
    assert_eq!(app.work().rule_set().loaded(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_that_is_allowed_is_taken_told_and_decides_nothing() {
    let app =
        TestApp::builder().rules(&[RANSOMWARE, PROTECT]).set("RULES__ALLOW_EMPTY", "true").start(add_machines).await;
    for (from, to) in [("rules/0.yml", "0"), ("rules/1.yml", "1")] {
        fs::rename(app.path(from), app.path(to)).unwrap();
    }
    until_lost(&app).await;
    app.until("no rule is in force", async || app.work().rule_set().is_empty().then_some(())).await;
    app.simulator.add_alert(ransomware("alert", 2)).unwrap();
    app.received(1).await;
    let waits = async || app.work().board.last_run("decide").filter(|run| run.said.contains("alerts wait"));
    app.until("alerts wait", waits).await;
    app.work().decide.notify_one();
    assert_eq!(app.store().undecided_count().await.unwrap(), 1);

    for (from, to) in [("0", "rules/0.yml"), ("1", "rules/1.yml")] {
        fs::rename(app.path(from), app.path(to)).unwrap();
    }
    assert_eq!(app.decided("alert").await.decisions[0].outcome, Outcome::Acted);
    until_none_is_lost(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_enforces_does_not_start_without_rules() {
    let app = TestApp::builder().rules(&[]).prepare(add_machines).await;
    for arguments in [["run"], ["check"]] {
        let refused = output(&app, &arguments);
        let said = String::from_utf8([refused.stdout, refused.stderr].concat()).unwrap();
        assert_eq!(refused.status.code(), Some(if arguments == ["run"] { 2 } else { 1 }), "{said}");
        assert!(said.contains("rules:1:1: the folder holds no rule") && said.contains("allow_empty"), "{said}");
    }
    let mut overrides = app.overrides().clone();
    for (key, value) in [("STANCH_GUARDS__MODE", "shadow"), ("STANCH_RULES__ALLOW_EMPTY", "true")] {
        assert!(matches!(try_start(&app, app.overrides()).await, Err(StartError::Rules(_))));
        overrides.clone_from(app.overrides());
        overrides.insert(key.to_owned(), value.to_owned());
        assert!(try_start(&app, &overrides).await.is_ok(), "{key}");
    }
}

/// Starts a daemon and stops it again.
async fn try_start(app: &TestApp, overrides: &std::collections::BTreeMap<String, String>) -> Result<(), StartError> {
    let config = config::load(&app.config_path(), overrides).unwrap().config;
    let daemon = Daemon::start(config, Arc::new(SystemClock)).await?;
    daemon.run(async {}).await;
    Ok(())
}

/// A store that is told of sets by hand.
struct Told {
    store: Store,
    tenants: Vec<TenantName>,
}

impl Told {
    async fn begin(dir: &Path) -> Self {
        Self { store: Store::open(&dir.join("stanch.db")).await.unwrap(), tenants: tenants(&["contoso", "fabrikam"]) }
    }

    /// Tells it of a set in which that rule protects these tenants; gives what that lost.
    async fn takes(&self, rule: &str, protected: &[&str]) -> Vec<LostProtection> {
        let protection = |tenant| ProtectionInForce { rule_id: rule.parse().unwrap(), title: "It".to_owned(), tenant };
        let protections: Vec<ProtectionInForce> = tenants(protected).into_iter().map(protection).collect();
        let taken = RulesTaken {
            loaded: None,
            protections: &protections,
            tenants: &self.tenants,
            why_lost: &|_, tenant| format!("not for {tenant}"),
        };
        self.store.rules_taken(&taken, TestApp::now()).await.unwrap().lost
    }
}

fn tenants(names: &[&str]) -> Vec<TenantName> {
    names.iter().map(|name| TenantName::new(*name).unwrap()).collect()
}

#[tokio::test]
async fn a_tenant_that_leaves_the_configuration_is_no_loss_and_is_compared_again_when_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::begin(dir.path()).await;
    assert!(told.takes("rule", &["contoso", "fabrikam"]).await.is_empty());
    told.tenants = tenants(&["contoso"]);
    assert!(told.takes("rule", &["contoso"]).await.is_empty());
    told.tenants = tenants(&["contoso", "fabrikam"]);
    let lost = told.takes("rule", &["contoso"]).await;
    assert_eq!(
        (lost.len(), lost[0].tenant_names(), lost[0].why.as_str()),
        (1, "fabrikam".to_owned(), "not for fabrikam")
    );
    told.tenants = tenants(&["contoso"]);
    assert!(told.takes("rule", &["contoso"]).await.is_empty());
    assert!(told.store.lost_protections().await.unwrap().is_empty(), "it is of nobody's concern meanwhile");
    told.tenants = tenants(&["contoso", "fabrikam"]);
    assert_eq!(told.takes("rule", &["contoso"]).await.len(), 1, "and is told again");
}

#[tokio::test]
async fn a_rule_whose_id_differs_in_case_alone_still_protects() {
    let dir = tempfile::tempdir().unwrap();
    let told = Told::begin(dir.path()).await;
    told.takes("3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10", &["contoso"]).await;
    assert!(told.takes("3F2C6C8E-6D52-4C0B-9F58-6F0F4D1C9A10", &["contoso"]).await.is_empty());
    let lost = told.takes("other", &["contoso"]).await;
    assert_eq!(lost.len(), 1, "another rule in its place is not taken for it: {lost:#?}");
}

/// The machine's clock, ahead by so many seconds.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Timestamp {
        SystemClock.steady()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protection_that_runs_out_at_midnight_is_told_although_no_file_changed() {
    let day = jiff::tz::TimeZone::UTC.to_datetime(SystemClock.now()).date();
    let until_today = PROTECT.replace("protect }", &format!("protect, until: {day} }}"));
    let mut app =
        TestApp::builder().rules(&[RANSOMWARE, &until_today]).set("RULES__WATCH", "false").prepare(|_| ()).await;
    let clock = Arc::new(Ahead::default());
    app.start_daemon_by(Arc::clone(&clock) as Arc<dyn Clock>).await;
    clock.0.store(86_400, Ordering::SeqCst);
    let lost = until_lost(&app).await;
    assert_eq!(lost.why, format!("the rule is out of force: its last day was {day} (until)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_midnight_while_the_folder_is_stale_does_not_say_that_rules_were_loaded() {
    let day = jiff::tz::TimeZone::UTC.to_datetime(SystemClock.now()).date();
    let until_today = PROTECT.replace("protect }", &format!("protect, until: {day} }}"));
    let mut app = TestApp::builder().rules(&[RANSOMWARE, &until_today]).prepare(|_| ()).await;
    let clock = Arc::new(Ahead::default());
    app.start_daemon_by(Arc::clone(&clock) as Arc<dyn Clock>).await;
    fs::write(app.path("rules/bad.yml"), "title: [").unwrap();
    until_stale(&app).await;
    clock.0.store(86_400, Ordering::SeqCst);
    until_lost(&app).await;
    assert_eq!(audited(&app, "rules_loaded").await.len(), 1);
    assert!(app.work().board.rules_state().error.is_some());
}
