//! `doctor` against the simulator on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::super::test_daemon::Ran;
use super::super::{Surroundings, run};
use crate::clock::{Clock, SystemClock};
use crate::simulator::{Api, Fault, Options, Simulator, Tokens};

const CLIENT: &str = "22222222-2222-4222-8222-222222222222";

const RULE: &str = "\
title: Contain ransomware
detection: { ransomware: { category: Ransomware }, condition: ransomware }
response: { action: restrict }
tests: [{ name: it matches, alert: { category: Ransomware }, machine: { osPlatform: Windows11 }, expect: acted }]
";

/// The machine's clock, so far off.
#[derive(Debug)]
struct Off(SignedDuration);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

/// A simulator, and a folder with a config that leads to it, rules and a secret.
struct Stand {
    simulator: Simulator,
    folder: tempfile::TempDir,
    url: String,
    stop: CancellationToken,
    _runtime: tokio::runtime::Runtime,
}

impl Stand {
    fn new(tokens: Tokens) -> Self {
        let options = Options { devices: 3, tokens, ..Options::default() };
        let simulator = Simulator::new(options, Arc::new(SystemClock)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (served, stopped) = (simulator.clone(), stop.clone());
        runtime.spawn(async move { served.serve(listener, stopped).await.unwrap() });
        let stand = Self { simulator, folder: tempfile::tempdir().unwrap(), url, stop, _runtime: runtime };
        std::fs::create_dir(stand.folder.path().join("rules")).unwrap();
        stand.write("rules/a.yml", RULE);
        stand.write("secret", "s3cret");
        stand.write("stanch.yaml", &stand.config());
        stand
    }

    fn config(&self) -> String {
        format!(
            "tenants:
  - name: contoso
    tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: {CLIENT}
    credential: {{ secret_file: secret }}
    api_url: {url}
    login_url: {url}
    graph_url: {url}
sources: [{{ type: defender }}]
store: {{ url: \"sqlite://stanch.db\" }}
rules: {{ dir: rules }}
limits: {{ request_timeout: 2s }}
",
            url = self.url
        )
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn doctor_with(&self, clock: &dyn Clock, words: &[&str]) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let config = self.folder.path().join("stanch.yaml").display().to_string();
        let arguments = ["stanch", "doctor", "--config", config.as_str()].into_iter().chain(words.iter().copied());
        let exit = run(
            arguments.map(Into::into),
            &mut Surroundings {
                out: &mut out,
                err: &mut err,
                input: &mut std::io::empty(),
                out_terminal: None,
                err_terminal: None,
                environment: &|_| None,
                variables: &BTreeMap::new,
                clock,
            },
        );
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.folder.path().display().to_string(), "{}").replace(&self.url, "URL")
        };
        Ran { exit, out: text(out), err: text(err) }
    }

    fn doctor(&self) -> Ran {
        self.doctor_with(&SystemClock, &[])
    }

    /// Runs it with findings, and gives their lines, each with its mend.
    #[track_caller]
    fn findings(&self) -> String {
        let ran = self.doctor();
        assert_eq!((ran.code(), ran.err.as_str()), (1, ""), "{}", ran.out);
        let mut lines = ran.out.lines().peekable();
        let mut findings = String::new();
        while let Some(line) = lines.next() {
            if line.starts_with("finding ") {
                let mend = lines.next_if(|next| next.starts_with(' ')).unwrap_or_default();
                findings.push_str(&format!("{line}\n{mend}\n"));
            }
        }
        findings
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[test]
fn all_is_well() {
    let stand = Stand::new(Tokens::default());
    let ran = stand.doctor();
    assert_eq!((ran.code(), ran.err.as_str()), (0, ""), "{}", ran.out);
    insta::assert_snapshot!(ran.out, @r#"
    ok       config: {}/stanch.yaml
    ok       rules: 1 rule in 1 file, from {}/rules
    ok       store: {}/stanch.db is not there yet: run makes it
    ok       contoso credential: the client secret in {}/secret
    ok       contoso login: signed in as application 22222222-2222-4222-8222-222222222222
    ok       contoso token: carries Machine.RestrictExecution, Machine.Read.All, Alert.Read.All
    ok       contoso roles: all that are needed
    ok       clock: within 5 s of Microsoft's
    ok       contoso alerts: can be read
    ok       contoso machines: can be read: 3
    ok       contoso machine_actions: can be read: 0 in the last hour
    ok       contoso endpoint: legacy (URL, tokens for https://api.securitycenter.microsoft.com) works, and so does unified (URL, tokens for https://api.security.microsoft.com)
    unseen   Microsoft Defender Antivirus: restricting needs it on the device, and the API does not show it
    unseen   code integrity policy: restricting needs a device that meets its requirements (Windows 10 from 1709, Windows 11, Windows Server from 2019), and the API does not show whether it does
    unseen   Defender for Endpoint Plan 2: restricting needs it, and the API does not show the plan
    all is well
    "#);
    assert_eq!(stand.files(), ["rules", "secret", "stanch.yaml"], "nothing is written");
    let ledger = stand.simulator.ledger();
    assert_eq!(
        ledger.calls_per_api().into_iter().collect::<Vec<_>>(),
        [("alerts", 1), ("machine_actions", 2), ("machines", 1), ("token", 2)]
    );
}

#[test]
fn a_tenant_whose_alerts_come_from_graph_has_a_second_token_looked_at() {
    let tokens = Tokens { graph_roles: Some(vec!["Directory.Read.All".to_owned()]), ..Tokens::default() };
    let stand = Stand::new(tokens);
    let of_graph = stand.config().replace("type: defender", "type: graph");
    stand.write("stanch.yaml", &of_graph);
    insta::assert_snapshot!(stand.findings(), @r"
    finding  contoso graph_roles: the application lacks the role SecurityAlert.Read.All or SecurityAlert.ReadWrite.All
             mend: grant it in Entra (API permissions of Microsoft Graph, application permission, admin consent) to the app registration 22222222-2222-4222-8222-222222222222
    finding  contoso graph_alerts: Microsoft does not allow this call: Missing application roles. API required roles: SecurityAlert.Read.All,SecurityAlert.ReadWrite.All, application roles: Directory.Read.All.
             mend: grant it in Entra (API permissions of Microsoft Graph, application permission, admin consent) to the app registration 22222222-2222-4222-8222-222222222222
    ");
    stand.simulator.set_tokens(Tokens {
        roles: Some(vec!["Machine.RestrictExecution".to_owned(), "Machine.Read.All".to_owned()]),
        ..Tokens::default()
    });
    let ran = stand.doctor();
    assert_eq!(ran.code(), 0, "{}", ran.out);
    let of_graph_alone = ran.out.lines().filter(|line| line.contains("graph")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(of_graph_alone, @r"
    ok       contoso graph_login: signed in as application 22222222-2222-4222-8222-222222222222
    ok       contoso graph_token: carries SecurityAlert.Read.All
    ok       contoso graph_roles: all that are needed
    ok       contoso graph_alerts: can be read
    note     contoso graph_coverage: alerts_v2 leaves out alerts that tuning suppressed, standalone alerts, and alerts of a Sentinel workspace that is not connected to Defender: rules never see those
    ");
    let nowhere = of_graph.replace(&format!("graph_url: {}", stand.url), "graph_url: https://127.0.0.1:1");
    stand.write("stanch.yaml", &nowhere);
    let findings = stand.findings();
    assert!(findings.contains("contoso graph_alerts: ") && findings.contains("https://127.0.0.1:1"), "{findings}");
}

#[test]
fn json_is_one_document_of_checks_and_findings() {
    let stand = Stand::new(Tokens { roles: Some(vec!["Alert.Read.All".to_owned()]), ..Tokens::default() });
    let ran = stand.doctor_with(&SystemClock, &["--json"]);
    assert_eq!(ran.code(), 1);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let names = |list: &str| -> Vec<(String, Value, Value)> {
        let checks = document[list].as_array().unwrap().iter();
        checks
            .map(|check| (check["name"].as_str().unwrap().to_owned(), check["tenant"].clone(), check["ok"].clone()))
            .collect()
    };
    let row = |name: &str, tenant: Value, ok: bool| (name.to_owned(), tenant, json!(ok));
    let contoso = || json!("contoso");
    let wrong =
        [row("roles", contoso(), false), row("machines", contoso(), false), row("machine_actions", contoso(), false)];
    assert_eq!(names("findings"), wrong);
    let [roles, machines, machine_actions] = wrong;
    assert_eq!(
        names("checks"),
        [
            row("config", Value::Null, true),
            row("rules", Value::Null, true),
            row("store", Value::Null, true),
            row("credential", contoso(), true),
            row("login", contoso(), true),
            row("token", contoso(), true),
            roles,
            row("clock", Value::Null, true),
            row("alerts", contoso(), true),
            machines,
            machine_actions,
            row("endpoint", contoso(), true),
        ]
    );
    assert!(document["unseen"].to_string().contains("Plan 2"));
    assert_eq!(document["checks"][0]["mend"], Value::Null);
}

#[test]
fn a_missing_role_is_named_with_where_to_grant_it() {
    let roles = ["Machine.Read.All", "Alert.Read.All"].map(str::to_owned).to_vec();
    let stand = Stand::new(Tokens { roles: Some(roles), ..Tokens::default() });
    insta::assert_snapshot!(stand.findings(), @r#"
    finding  contoso roles: the application lacks the role Machine.RestrictExecution
             mend: grant it in Entra (API permissions of WindowsDefenderATP, application permission, admin consent) to the app registration 22222222-2222-4222-8222-222222222222
    "#);
}

#[test]
fn a_role_for_alerts_is_needed_only_where_they_are_polled() {
    let roles = ["Machine.Read.All", "Machine.RestrictExecution"].map(str::to_owned).to_vec();
    let stand = Stand::new(Tokens { roles: Some(roles), ..Tokens::default() });
    assert!(stand.findings().contains("lacks the role Alert.Read.All or Alert.ReadWrite.All\n"));

    let hook = "{ type: webhook, tenant: contoso, auth: { bearer_file: secret } }";
    let config = stand.config().replace("{ type: defender }", hook) + "server: { listen: 127.0.0.1:8787 }\n";
    stand.write("stanch.yaml", &config);
    assert_eq!(stand.doctor().code(), 0);
    assert_eq!(stand.simulator.ledger().of(Api::Alerts).count(), 1, "only of the first run");
}

#[test]
fn an_opaque_token_is_no_finding() {
    let stand = Stand::new(Tokens { opaque: true, ..Tokens::default() });
    let ran = stand.doctor();
    assert_eq!(ran.code(), 0, "{}", ran.out);
    assert!(ran.out.contains("note     contoso token: opaque"), "{}", ran.out);
}

/// A stand whose API takes the tokens of one endpoint alone.
fn with_tokens_for(host: &str) -> Stand {
    Stand::new(Tokens { audiences: Some(vec![format!("https://{host}")]), ..Tokens::default() })
}

#[test]
fn the_endpoint_that_works_is_named_with_what_to_write() {
    let stand = with_tokens_for("api.security.microsoft.com");
    let findings = stand.findings();
    assert!(findings.contains("finding  contoso machine_actions: "), "{findings}");
    let expected = "finding  contoso endpoint: legacy (URL, tokens for https://api.securitycenter.microsoft.com) does not \
                    work, and unified (URL, tokens for https://api.security.microsoft.com) does\n         mend: write \
                    endpoint: unified for tenant contoso\n";
    assert!(findings.ends_with(expected), "{findings}");

    stand.write("stanch.yaml", &stand.config().replace("    api_url", "    endpoint: unified\n    api_url"));
    let ran = stand.doctor();
    assert_eq!(ran.code(), 0, "{}", ran.out);
    let said = "ok       contoso endpoint: unified (URL, tokens for https://api.security.microsoft.com) works, and legacy \
                (URL, tokens for https://api.securitycenter.microsoft.com) does not: ";
    assert!(ran.out.contains(said), "{}", ran.out);
}

#[test]
fn endpoints_that_both_refuse_are_no_reason_to_change_one_for_the_other() {
    let stand = with_tokens_for("api.example");
    assert!(!stand.findings().contains("endpoint"), "{}", stand.findings());
    assert!(stand.doctor().out.contains("note     contoso endpoint: neither legacy ("));
}

#[test]
fn a_wrong_secret_is_told_by_its_code_and_never_shown() {
    let stand = Stand::new(Tokens::default());
    stand.simulator.accept_client(CLIENT, "another");
    let findings = stand.findings();
    assert!(findings.starts_with("finding  contoso login: the login service refused: AADSTS7000215"), "{findings}");
    assert!(findings.ends_with("mend: the secret is wrong: take the secret's value, not its id\n"), "{findings}");
    assert!(!findings.contains("s3cret"), "{findings}");
    let ran = stand.doctor();
    assert!(ran.out.contains("note     contoso api: roles and APIs were not looked at"), "{}", ran.out);
    assert!(ran.out.contains("note     clock: not compared"), "{}", ran.out);
}

#[test]
fn a_login_service_that_can_not_be_reached_is_told_with_its_address() {
    let stand = Stand::new(Tokens::default());
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let login = format!("login_url: {}", stand.url);
    stand.write("stanch.yaml", &stand.config().replace(&login, &format!("login_url: http://{nowhere}")));
    let findings = stand.findings().replace(&nowhere.to_string(), "NOWHERE");
    assert!(findings.starts_with("finding  contoso login: the login service can not be reached: "), "{findings}");
    assert!(findings.ends_with("mend: check DNS, firewall and proxy from here to http://NOWHERE/\n"), "{findings}");
}

#[test]
fn one_sick_api_does_not_hide_the_others() {
    let stand = Stand::new(Tokens::default());
    stand.simulator.next_fault(Api::Machines, Fault::HtmlError);
    let ran = stand.doctor();
    assert_eq!(ran.code(), 1);
    assert!(ran.out.contains("finding  contoso machines: the API gave no answer: "), "{}", ran.out);
    assert!(ran.out.contains("ok       contoso machine_actions: can be read"), "{}", ran.out);
    assert!(ran.out.ends_with("1 finding\n"), "{}", ran.out);
}

#[test]
fn the_second_tenant_is_looked_at_whatever_the_first_one_has() {
    let stand = Stand::new(Tokens::default());
    let config = stand.config();
    let (first, rest) = config.split_at(config.find("sources").unwrap());
    let second = first.replace("tenants:\n", "").replace("contoso", "fabrikam");
    let sick = first.replace("credential: { secret_file: secret }", "credential: { secret_file: other }");
    stand.write("other", "wrong");
    stand.write("stanch.yaml", &format!("{sick}{second}{rest}"));
    stand.simulator.accept_client(CLIENT, "s3cret");
    let ran = stand.doctor();
    assert!(ran.out.contains("finding  contoso login: "), "{}", ran.out);
    assert!(ran.out.contains("ok       fabrikam machines: can be read: 3\n"), "{}", ran.out);
}

#[test]
fn a_clock_that_is_off_is_a_note_and_then_a_finding() {
    let stand = Stand::new(Tokens::default());
    let at = |seconds: i64| {
        let ran = stand.doctor_with(&Off(SignedDuration::from_secs(seconds)), &[]);
        let line = ran.out.lines().find(|line| line.contains(" clock: ")).unwrap().to_owned();
        (ran.code(), line)
    };
    assert_eq!(at(2), (0, "ok       clock: within 5 s of Microsoft's".to_owned()));
    for (seconds, code, word, way) in
        [(30, 0, "note", "ahead"), (3_600, 1, "finding", "ahead"), (-3_600, 1, "finding", "behind")]
    {
        let (exit, line) = at(seconds);
        assert_eq!(exit, code, "{line}");
        assert!(line.starts_with(word) && line.contains(way), "{line}");
    }
}

#[test]
fn problems_of_config_and_rules_are_findings_with_their_places() {
    let stand = Stand::new(Tokens::default());
    stand.write("rules/a.yml", &RULE.replace("restrict", "restrct"));
    insta::assert_snapshot!(stand.findings(), @r#"
    finding  rules: {}/rules/a.yml:3:13: unknown action "restrct"
             mend: did you mean "restrict"?
    "#);

    stand.write("stanch.yaml", &stand.config().replace("store:", "stor:"));
    insta::assert_snapshot!(stand.findings(), @r#"
    finding  config: {}/stanch.yaml:10:1: stor: unknown key
             mend: did you mean store?
    "#);
    assert_eq!(stand.simulator.ledger().of(Api::Token).count(), 2, "with a bad config nobody is asked");
}

#[test]
fn a_config_that_is_not_there_can_not_be_judged() {
    let stand = Stand::new(Tokens::default());
    std::fs::remove_file(stand.folder.path().join("stanch.yaml")).unwrap();
    let ran = stand.doctor();
    assert_eq!((ran.code(), ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("can not read the config file {}/stanch.yaml"), "{}", ran.err);
}

#[test]
fn a_store_in_use_is_well_and_what_is_none_is_a_finding() {
    let stand = Stand::new(Tokens::default());
    let path = stand.folder.path().join("stanch.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = runtime.block_on(crate::store::Store::open(&path)).unwrap();
    let ran = stand.doctor();
    assert!(ran.out.contains("ok       store: {}/stanch.db\n"), "{}", ran.out);
    runtime.block_on(store.close());
    drop(store);

    std::fs::write(&path, "no database at all, but long enough to look at".repeat(50)).unwrap();
    assert!(stand.findings().starts_with("finding  store: the store at {}/stanch.db can not be read"));

    stand.write("stanch.yaml", &stand.config().replace("sqlite://", "sqlite://gone/"));
    assert!(stand.findings().starts_with("finding  store: there is no folder {}/gone to make it in\n"));
}

#[test]
fn an_api_that_does_not_answer_is_given_up_in_time() {
    let stand = Stand::new(Tokens::default());
    stand.write("stanch.yaml", &stand.config().replace("request_timeout: 2s", "request_timeout: 200ms"));
    stand.simulator.set_latency(Duration::from_secs(3_600));
    let findings = stand.findings();
    assert!(findings.starts_with("finding  contoso login: the login service gave no answer: "), "{findings}");
}
