//! `explain` on real files, on what is piped in, and on what a daemon answers.

use serde_json::{Value, json};

use super::super::test_daemon::{DEVICE, Ran, TestDaemon, problem, run_piped};

const RULES: &str = "\
title: Contain ransomware on workstations
id: contain-ransomware
sigma-version: 3
level: critical
detection:
  ransomware:
    category: Ransomware
    severity: [Medium, High]
  workstation:
    machine.osPlatform|startswith: Windows1
  condition: ransomware and workstation
response:
  action: restrict
  comment: '{{ rule.title }}: alert {{ alert.id }}'
  limit: { devices: 10, per: 1h }
---
title: Ask before credential dumping
id: ask-first
detection:
  dumping:
    title|contains: [lsass, mimikatz]
  condition: dumping
response: { action: restrict, approval: required }
---
title: Leave tills alone
id: tills
detection:
  till: { machine.machineTags: till }
  condition: till
response: { action: protect, comment: a till }
";

const CONFIG: &str = "\
tenants:
  - { name: contoso, tenant_id: t-1, client_id: c-1, credential: { secret_file: secret } }
sources: [{ type: defender }]
store: { url: \"sqlite://stanch.db\" }
rules: { dir: rules }
guards: { mode: shadow }
server: { socket: stanch.sock }
";

/// A folder with an alert, a machine record, rules and a config.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(scratch.0.path().join("rules")).unwrap();
        scratch.write("rules/rules.yml", RULES);
        scratch.write("secret", "s3cret");
        scratch.write("stanch.yaml", CONFIG);
        scratch.write("alert.json", &alert(json!({})).to_string());
        scratch.write("machine.json", &machine(json!({})).to_string());
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs `stanch explain`; `{}` in the words and in what comes of it stands for the folder.
    fn explain(&self, words: &str) -> Ran {
        self.explain_with(words, "", None)
    }

    fn explain_with(&self, words: &str, input: &str, terminal_width: Option<u16>) -> Ran {
        let folder = self.0.path().display().to_string();
        let command = format!("explain {}", words.replace("{}", &folder));
        let environment = |name: &str| (name == "LANG").then(|| "C.UTF-8".to_owned());
        let ran = run_piped(&command, input, terminal_width, &environment);
        Ran { out: ran.out.replace(&folder, "{}"), err: ran.err.replace(&folder, "{}"), ..ran }
    }

    fn json(&self, words: &str) -> Value {
        let ran = self.explain(&format!("--json {words}"));
        assert_eq!(ran.code(), 0, "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }
}

fn alert(changes: Value) -> Value {
    changed(
        json!({
            "id": "da1234_1", "title": "Ransomware behavior", "category": "Ransomware", "severity": "High",
            "status": "New", "machineId": DEVICE, "lastUpdateTime": "2026-11-24T05:55:00Z",
        }),
        changes,
    )
}

fn machine(changes: Value) -> Value {
    changed(json!({"id": DEVICE, "computerDnsName": "pc-042.contoso.test", "osPlatform": "Windows11"}), changes)
}

fn changed(mut document: Value, changes: Value) -> Value {
    document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    document
}

const FROM_FILES: &str = "--alert {}/alert.json --machine {}/machine.json --rules {}/rules";

#[test]
fn an_alert_that_restricts_is_explained_from_the_outcome_down() {
    let ran = Scratch::new().explain(FROM_FILES);
    assert_eq!((ran.code(), ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out, @r#"
    alert da1234_1  Ransomware behavior
    note: with the rules of {}/rules and default guards, in tenant example
    note: assumed: nothing is restricted or under way, nobody undid anything, nothing is spent, the fleet has no end

    device 1e5bc9d7e413ddd7902c2932e418702b84d0cc07  pc-042.contoso.test, Windows11
    acted  Contain ransomware on workstations: every guard passed

    restrict rule Contain ransomware on workstations (contain-ransomware)
      condition  ransomware and workstation
      ransomware matched
          category = "Ransomware"
          severity = "High"
      workstation matched
          machine.osPlatform = "Windows11"
      guards, in their order; the first that does not pass decides
        pass  protected   no protect rule matches the device
        pass  ineligible  the restrict API supports Windows11
        pass  stale       last updated 2026-11-24T05:55:00Z, within 24h (guards.max_alert_age)
        pass  shadow      neither the rule nor guards.mode is in shadow
        pass  open        assumed: the device is not restricted, and nothing is under way
        pass  override    assumed: nobody undid a restriction of the device within the cooldown of 12h
        pass  spent       assumed: no restriction that this alert asked for has ended
        pass  machine     there is a machine record
        pass  limits      assumed: other devices restricted: 0 of 10 by this rule within 1h, 0 of 50 in all within 1h
        pass  approval    the rule asks for none
      comment  Contain ransomware on workstations: alert da1234_1 [stanch:<action id>]

    Did not match (--rule ID shows one whole)
    tills  Leave tills alone: till did not match: machine.machineTags is absent, asked for: is "till"
    ask-first  Ask before credential dumping: dumping did not match: title is "Ransomware behavior", asked for: contains "lsass" or "mimikatz"
    "#);
}

#[test]
fn a_rule_that_did_not_match_is_shown_whole_when_it_is_named() {
    let scratch = Scratch::new();
    let server = machine(json!({"osPlatform": "WindowsServer2022"}));
    scratch.write("machine.json", &server.to_string());
    let ran = scratch.explain_with(&format!("{FROM_FILES} --rule contain-ransomware"), "", Some(100));
    assert_eq!(ran.code(), 0, "{}", ran.err);
    insta::assert_snapshot!(ran.out, @r#"
    alert da1234_1  Ransomware behavior
    note: with the rules of {}/rules and default guards, in tenant example
    note: assumed: nothing is restricted or under way, nobody undid anything, nothing is spent, the fleet has no end

    device 1e5bc9d7e413ddd7902c2932e418702b84d0cc07  pc-042.contoso.test, WindowsServer2022
    none  Contain ransomware on workstations: workstation did not match: machine.osPlatform is "WindowsServer2022", asked for: starts with "Windows1"

    restrict rule Contain ransomware on workstations (contain-ransomware)
      condition  ransomware and workstation
      ✓ ransomware matched
          category = "Ransomware"
          severity = "High"
      ✗ workstation did not match
          machine.osPlatform is "WindowsServer2022", asked for: starts with "Windows1"
    "#);
}

#[test]
fn the_json_has_every_key_of_the_contract() {
    let explained = Scratch::new().json(FROM_FILES);
    let rules = explained["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 3);
    for rule in rules {
        for key in ["rule_id", "machine_id", "matched", "selections", "guards", "outcome"] {
            assert!(!rule[key].is_null(), "{key} in {rule}");
        }
    }
    let rule = rules.iter().find(|rule| rule["rule_id"] == "contain-ransomware").unwrap();
    assert_eq!(
        (&rule["matched"], &rule["outcome"], &rule["machine_id"]),
        (&json!(true), &json!("acted"), &json!(DEVICE))
    );
    assert_eq!(
        rule["selections"][1],
        json!({
            "name": "workstation", "matched": true, "missed": [],
            "fields": [{"field": "machine.osPlatform", "value": "Windows11"}],
        })
    );
    let names: Vec<&str> =
        rule["guards"].as_array().unwrap().iter().map(|guard| guard["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["protected", "ineligible", "stale", "shadow", "open", "override", "spent", "machine", "limits", "approval"]
    );
    assert!(rule["guards"].as_array().unwrap().iter().all(|guard| guard["verdict"] == "pass"));
    let unmatched = rules.iter().find(|rule| rule["rule_id"] == "ask-first").unwrap();
    assert_eq!((&unmatched["outcome"], &unmatched["guards"]), (&json!("none"), &json!([])));
}

#[test]
fn each_guard_has_its_word_and_the_first_decides() {
    let scratch = Scratch::new();
    scratch.write("alert.json", &alert(json!({"status": "Resolved", "title": "mimikatz"})).to_string());
    scratch.write("machine.json", &machine(json!({"machineTags": ["till"]})).to_string());
    let explained = scratch.json(FROM_FILES);
    let rule = |id: &str| explained["rules"].as_array().unwrap().iter().find(|rule| rule["rule_id"] == id).unwrap();
    let spoke = |id: &str| -> Vec<String> {
        let guards = rule(id)["guards"].as_array().unwrap().iter();
        guards
            .filter(|guard| guard["verdict"] != "pass")
            .map(|guard| format!("{} {}", guard["name"], guard["verdict"]))
            .collect()
    };
    assert_eq!(rule("ask-first")["outcome"], "protected");
    assert_eq!(spoke("ask-first"), [r#""protected" "protected""#, r#""stale" "suppressed""#, r#""approval" "held""#]);
    assert_eq!((&rule("tills")["matched"], &rule("tills")["outcome"]), (&json!(true), &json!("none")));
}

#[test]
fn the_next_rule_on_a_device_sees_what_the_one_before_it_did() {
    let scratch = Scratch::new();
    scratch.write("alert.json", &alert(json!({"title": "mimikatz"})).to_string());
    let explained = scratch.json(FROM_FILES);
    let outcomes: Vec<(&str, &str)> = explained["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["rule_id"].as_str().unwrap(), rule["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [("tills", "none"), ("contain-ransomware", "acted"), ("ask-first", "coalesced")]);
}

#[test]
fn the_config_gives_rules_guards_and_tenant() {
    let explained = Scratch::new().json("--config {}/stanch.yaml --alert {}/alert.json --machine {}/machine.json");
    assert_eq!(explained["tenant"], "contoso");
    let outcomes: Vec<&Value> = explained["rules"].as_array().unwrap().iter().map(|rule| &rule["outcome"]).collect();
    assert_eq!(outcomes, ["none", "shadowed", "none"]);
}

#[test]
fn what_a_person_who_tries_things_leaves_out_is_assumed_and_said() {
    let scratch = Scratch::new();
    let words = "--json --alert - --machine {}/machine.json --rules {}/rules --rule contain-ransomware";
    let ran = scratch.explain_with(words, r#"{"category": "ransomware", "severity": "high"}"#, None);
    let explained: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(explained["rules"][0]["outcome"], "acted", "{explained:#}");
    assert_eq!(explained["rules"].as_array().unwrap().len(), 1);
    let notes = explained["notes"].to_string();
    for said in ["no id", "no lastUpdateTime", "names no device", "nothing is restricted"] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
}

#[test]
fn an_alert_without_a_device_and_a_device_without_a_record_say_so() {
    let scratch = Scratch::new();
    scratch.write("alert.json", &alert(json!({"machineId": null})).to_string());
    let explained = scratch.json("--alert {}/alert.json --rules {}/rules");
    assert!(explained["notes"].to_string().contains("names no device"), "{explained:#}");
    assert!(explained["rules"].as_array().unwrap().iter().all(|rule| rule["machine_id"].is_null()));

    scratch.write("alert.json", &alert(json!({"title": "mimikatz"})).to_string());
    let explained = scratch.json("--alert {}/alert.json --rules {}/rules --rule ask-first");
    assert!(explained["notes"].to_string().contains("no machine record"), "{explained:#}");
    assert_eq!(explained["rules"][0]["outcome"], "held");
    assert!(explained["rules"][0]["reason"].as_str().unwrap().starts_with("machine_unknown: "));
}

#[test]
fn a_rule_that_is_not_in_force_says_why() {
    let scratch = Scratch::new();
    scratch.write("rules/rules.yml", &RULES.replace("per: 1h }", "per: 1h }\n  tenants: [fabrikam]"));
    let of = |tenant: &str| scratch.json(&format!("{FROM_FILES} --rule contain-ransomware --tenant {tenant}"));
    assert_eq!(of("fabrikam")["rules"][0]["outcome"], "acted");
    let rule = &of("contoso")["rules"][0];
    assert_eq!((&rule["matched"], &rule["in_force"], &rule["outcome"]), (&json!(true), &json!(false), &json!("none")));
    assert!(rule["reason"].as_str().unwrap().contains("not for the tenant contoso"), "{rule}");
}

#[test]
fn what_can_not_be_read_names_the_place_and_the_mend() {
    let scratch = Scratch::new();
    scratch.write("half.json", "{\n  \"id\": \"a\",\n  \"category\" \"x\"\n}");
    scratch.write("list.json", "[{}, {}]");
    scratch.write("answer.json", r#"{"value": [{"id": "a"}]}"#);
    scratch.write("odd.json", &alert(json!({"machineId": "pc-1", "lastUpdateTime": "yesterday"})).to_string());
    let cases = [
        ("--alert {}/half.json --rules {}/rules", "{}/half.json:3:14: not JSON"),
        ("--alert {}/list.json --rules {}/rules", "list of 2: give one alert"),
        ("--alert {}/answer.json --rules {}/rules", "give one alert of its value"),
        ("--alert {}/odd.json --rules {}/rules", "machineId"),
        ("--alert {}/odd.json --rules {}/rules", "lastUpdateTime: \"yesterday\""),
        ("--alert {}/none.json --rules {}/rules", "there is no file {}/none.json"),
        ("--alert {}/alert.json --machine {}/none.json --rules {}/rules", "can not read {}/none.json"),
        ("--alert {}/alert.json --machine {}/half.json --rules {}/rules", "{}/half.json:3:14"),
        ("--alert {}/alert.json --rules {}/none", "{}/none"),
        ("--alert {}/alert.json --config {}/none.yaml", "can not read the config file {}/none.yaml"),
        ("--alert {}/alert.json --config {}/stanch.yaml --tenant fabrikam", "no tenant fabrikam, only contoso"),
        ("--alert da1 --rules {}/rules", "there is no file da1"),
    ];
    for (words, said) in cases {
        let ran = scratch.explain(words);
        assert_eq!((ran.code(), ran.out.as_str()), (2, ""), "{words}: {}", ran.err);
        assert!(ran.err.contains(said), "{words}: {}", ran.err);
    }
}

#[test]
fn rules_that_can_not_be_loaded_are_told_as_check_tells_them() {
    let scratch = Scratch::new();
    scratch.write("rules/rules.yml", &RULES.replace("action: restrict", "acton: restrict"));
    let ran = scratch.explain(FROM_FILES);
    assert_eq!(ran.code(), 2);
    assert!(ran.err.contains("{}/rules/rules.yml:13:3: ") && ran.err.contains("action"), "{}", ran.err);
}

#[test]
fn an_unknown_rule_is_a_no_and_names_the_nearest() {
    let ran = Scratch::new().explain(&format!("{FROM_FILES} --rule contain-ransomwar"));
    assert_eq!((ran.code(), ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("did you mean contain-ransomware?"), "{}", ran.err);
}

#[test]
fn a_stored_alert_is_explained_by_the_daemon() {
    let scratch = Scratch::new();
    let explained = scratch.json(FROM_FILES);
    let daemon = TestDaemon::answering(200, &explained);
    let json = daemon.run("explain --alert da1234_1 --rule contain-ransomware --tenant contoso --json");
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap(), explained);
    let shown = daemon.run("explain --alert da1234_1");
    assert!(shown.out.contains("acted  Contain ransomware on workstations: every guard passed"), "{}", shown.out);
    assert_eq!(
        daemon.lines(),
        [
            "GET /api/v1/alerts/da1234_1/explanation?tenant=contoso&rule=contain-ransomware",
            "GET /api/v1/alerts/da1234_1/explanation",
        ]
    );
}

#[test]
fn an_unknown_alert_is_a_no_and_no_daemon_is_not() {
    let daemon = TestDaemon::new(|_| problem(404, "Not Found", "nothing is known of alert da9"));
    let ran = daemon.run("explain --alert da9");
    assert_eq!((ran.code(), ran.err.as_str()), (1, "error: nothing is known of alert da9\n"));
    let ran = Scratch::new().explain("--config {}/stanch.yaml --alert da9");
    assert_eq!(ran.code(), 2);
    assert!(ran.err.contains("taken for the id of a stored alert"), "{}", ran.err);
}

#[test]
fn without_a_record_at_hand_the_daemon_is_asked_for_it() {
    let scratch = Scratch::new();
    let record = machine(json!({})).to_string();
    let daemon = TestDaemon::new(move |_| (200, record.clone()));
    let words = format!("--url {} --alert {{}}/alert.json --rules {{}}/rules --rule contain-ransomware", daemon.url());
    assert_eq!(scratch.json(&words)["rules"][0]["outcome"], "acted");
    assert_eq!(daemon.lines(), [format!("GET /api/v1/devices/{DEVICE}/record?tenant=example")]);

    let daemon = TestDaemon::new(|_| problem(503, "Service Unavailable", "the store is away"));
    let words = words.replace(&words[words.find("http").unwrap()..words.find(" --alert").unwrap()], daemon.url());
    let explained = scratch.json(&words);
    assert!(explained["notes"].to_string().contains("the store is away"), "{explained:#}");
    assert_eq!(explained["rules"][0]["outcome"], "none");
}
