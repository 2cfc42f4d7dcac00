//! `replay` over files and over a daemon that answers to order: exact words, JSON, exit codes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::test_daemon::{Ran, TestDaemon, problem, run_piped, run_with};

const RANSOMWARE: &str = "
title: Contain ransomware
id: ransomware
level: critical
detection:
  ransomware:
    category: Ransomware
  condition: ransomware
response: { action: restrict }
";

/// Also chooses malware, but only on workstations, and at most two devices.
const WIDER: &str = "
title: Contain malware
id: malware
level: high
detection:
  malware:
    category: [Ransomware, Malware]
  workstation:
    machine.osPlatform|startswith: Windows1
  condition: malware and workstation
response: { action: restrict, limit: { devices: 2, per: 1h } }
";

fn machine_id(n: usize) -> String {
    format!("{n:040x}")
}

fn alert(id: &str, n: usize, category: &str, second: usize) -> Value {
    json!({
        "id": id, "machineId": machine_id(n), "category": category,
        "lastUpdateTime": format!("2026-11-24T05:{:02}:{:02}Z", second / 60, second % 60),
    })
}

fn machine(n: usize, platform: &str) -> Value {
    json!({"id": machine_id(n), "computerDnsName": format!("pc-{n}"), "osPlatform": platform})
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// A folder with rules, alerts and machine records.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        scratch.write("now/rule.yml", RANSOMWARE);
        scratch.write("next/rule.yml", WIDER);
        scratch.write(
            "alerts.jsonl",
            &lines(&[
                alert("a", 1, "Ransomware", 0),
                alert("b", 2, "Malware", 1),
                alert("c", 3, "Malware", 2),
                alert("d", 4, "Ransomware", 3),
                alert("e", 5, "Phishing", 4),
                alert("f", 1, "Ransomware", 70),
            ]),
        );
        let platforms = ["Windows11", "Windows11", "Windows11", "WindowsServer2022", "Windows11"];
        let machines: Vec<Value> = platforms.iter().enumerate().map(|(n, os)| machine(n + 1, os)).collect();
        scratch.write("machines.json", &json!({"value": machines}).to_string());
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs `stanch replay`; `{}` in the words and in what comes of it stands for the folder.
    fn replay(&self, words: &str, terminal_width: Option<u16>) -> Ran {
        self.piped(words, "", terminal_width)
    }

    fn piped(&self, words: &str, input: &str, terminal_width: Option<u16>) -> Ran {
        let folder = self.0.path().display().to_string();
        let words = format!("replay {}", words.replace("{}", &folder));
        let ran = run_piped(&words, input, terminal_width, &|_| None);
        Ran { out: ran.out.replace(&folder, "{}"), err: ran.err.replace(&folder, "{}"), ..ran }
    }
}

/// The lines of `--json`, and the summary behind them.
#[track_caller]
fn json_of(ran: &Ran) -> (Vec<Value>, Value) {
    assert_eq!(ran.code(), 0, "{ran:?}");
    let mut lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    (lines, summary)
}

/// `alert rule outcome then` of each line.
fn brief(lines: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("null").to_owned();
    let brief = |line: &Value| ["alert_id", "rule_id", "outcome", "then"].map(|key| word(&line[key])).join(" ");
    lines.iter().map(brief).collect()
}

const FILES: &str = "--alerts {}/alerts.jsonl --machines {}/machines.json";

#[test]
fn alerts_of_a_file_go_through_rules_with_dedup() {
    let ran = Scratch::new().replay(&format!("{FILES} --rules {{}}/now --json"), None);
    let (lines, summary) = json_of(&ran);
    assert_eq!(
        brief(&lines),
        [
            "a ransomware acted null",
            "b null none null",
            "c null none null",
            "d ransomware acted null",
            "e null none null",
            "f ransomware coalesced null"
        ]
    );
    assert_eq!(lines[0]["machine_id"], machine_id(1));
    assert_eq!(lines[0]["reason"], "every guard passed");
    assert_eq!(
        summary["outcomes"],
        json!({"acted": 2, "coalesced": 1, "shadowed": 0, "held": 0, "protected": 0, "suppressed": 0, "none": 3})
    );
    for (key, value) in [
        ("alerts", json!(6)),
        ("pairs", json!(6)),
        ("devices", json!(5)),
        ("then", json!(null)),
        ("restricted", json!(2)),
        ("newly_chosen", json!(null)),
        ("peak_per_minute", json!(2)),
        ("peak_per_hour", json!(2)),
        ("quota_per_minute", json!(100)),
        ("quota_per_hour", json!(1_500)),
        ("malformed", json!(0)),
        ("unknown_machines", json!(0)),
        ("since", json!("2026-11-24T05:00:00Z")),
        ("until", json!("2026-11-24T05:01:10Z")),
    ] {
        assert_eq!(summary[key], value, "{key}");
    }
}

#[test]
fn two_folders_of_rules_are_compared_with_their_caps() {
    let words = format!("{FILES} --rules {{}}/next --against {{}}/now");
    let scratch = Scratch::new();
    let (lines, summary) = json_of(&scratch.replay(&format!("{words} --json"), None));
    assert_eq!(
        brief(&lines),
        [
            "a malware acted acted",
            "b malware acted null",
            "c malware held null",
            "d ransomware none acted",
            "e null none null",
            "f malware coalesced coalesced"
        ]
    );
    assert!(lines[2]["reason"].as_str().unwrap().starts_with("rule_limit: "), "{}", lines[2]);
    for (key, value) in [
        ("newly_chosen", 2),
        ("no_longer_chosen", 1),
        ("changed", 0),
        ("same", 1),
        ("newly_restricted", 1),
        ("no_longer_restricted", 1),
        ("restricted", 2),
        ("held", 1),
    ] {
        assert_eq!(summary[key], value, "{key}");
    }
    assert_eq!((&summary["then"]["acted"], &summary["then"]["none"]), (&json!(2), &json!(3)));

    let told = scratch.replay(&words, Some(100));
    assert_eq!(told.code(), 0);
    insta::assert_snapshot!(told.out, @"
    6 alerts on 5 devices, 2026-11-24 05:00Z to 2026-11-24 05:01Z
    now   1 rule in 1 file of {}/next
    then  1 rule in 1 file of {}/now
    note: no config was read: default guards and quotas hold

    Devices, by the most that was done to each
                NOW  THEN  MORE  LESS
    restricted  2    2     +1    -1
    held        1    0     +1

    pairs now   2 acted, 1 coalesced, 1 held, 2 none
    pairs then  2 acted, 1 coalesced, 3 none
    peak        2 restricts in a minute (quota 100), 2 in an hour (quota 1500)

    1 device newly restricted
    DEVICE  THEN        NOW         RULE     ALERT  WHY
    pc-2    not chosen  restricted  malware  b      every guard passed

    1 device no longer restricted
    DEVICE  THEN        NOW         RULE        ALERT  WHY
    pc-4    restricted  not chosen  ransomware  d      no rule chooses it any more

    1 device newly chosen
    DEVICE  THEN        NOW   RULE     ALERT  WHY
    pc-3    not chosen  held  malware  c      rule_limit: the rule restricted 2 devices within 1h, its
                                              limit is 2
    ");
    let same = scratch.replay(&format!("{FILES} --rules {{}}/now --against {{}}/now"), None);
    assert!(same.out.contains("no device differs"), "{}", same.out);
}

#[test]
fn without_anything_to_compare_with_it_shows_what_would_be_done() {
    let ran = Scratch::new().replay(&format!("{FILES} --rules {{}}/next"), Some(100));
    insta::assert_snapshot!(ran.out, @"
    6 alerts on 5 devices, 2026-11-24 05:00Z to 2026-11-24 05:01Z
    now  1 rule in 1 file of {}/next
    note: no config was read: default guards and quotas hold

    Devices, by the most that was done to each
                NOW
    restricted  2
    held        1

    pairs  2 acted, 1 coalesced, 1 held, 2 none
    peak   2 restricts in a minute (quota 100), 2 in an hour (quota 1500)

    2 devices would be restricted
    DEVICE  RULE     ALERT  WHY
    pc-1    malware  a      every guard passed
    pc-2    malware  b      every guard passed

    1 device would be held
    DEVICE  RULE     ALERT  WHY
    pc-3    malware  c      rule_limit: the rule restricted 2 devices within 1h, its limit is 2
    ");
}

#[test]
fn a_list_a_page_and_stdin_give_the_same_as_lines() {
    let scratch = Scratch::new();
    let text = std::fs::read_to_string(scratch.0.path().join("alerts.jsonl")).unwrap();
    let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.reverse();
    scratch.write("list.json", &serde_json::to_string_pretty(&rows).unwrap());
    scratch.write("page.json", &json!({"@odata.context": "x", "value": rows}).to_string());
    let rules = "--machines {}/machines.json --rules {}/now --json";
    let expected = scratch.replay(&format!("--alerts {{}}/alerts.jsonl {rules}"), None).out;
    for name in ["list.json", "page.json"] {
        assert_eq!(scratch.replay(&format!("--alerts {{}}/{name} {rules}"), None).out, expected, "{name}");
    }
    assert_eq!(scratch.piped(&format!("--alerts - {rules}"), &text, None).out, expected);
}

#[test]
fn what_is_malformed_or_older_is_counted_and_stops_nothing() {
    let scratch = Scratch::new();
    let older = json!({"id": "a", "machineId": machine_id(1), "lastUpdateTime": "2026-11-24T05:00:00Z"});
    let rows = [
        alert("a", 1, "Ransomware", 0).to_string(),
        "{\"id\": \"broken".to_owned(),
        older.to_string(),
        json!({"id": "b", "machineId": "pc-1"}).to_string(),
        json!({"id": "c", "category": "Ransomware"}).to_string(),
    ];
    scratch.write("alerts.jsonl", &rows.join("\n"));
    let (lines, summary) = json_of(&scratch.replay(&format!("{FILES} --rules {{}}/now --json"), None));
    assert_eq!(brief(&lines), ["a ransomware acted null"], "an alert without a device has no line");
    assert_eq!((&summary["alerts"], &summary["superseded"], &summary["malformed"]), (&json!(2), &json!(1), &json!(2)));
    let named = summary["malformed_rows"].as_array().unwrap();
    assert!(named.iter().all(|row| row.as_str().unwrap().starts_with("{}/alerts.jsonl: line ")), "{named:?}");
    let told = scratch.replay(&format!("{FILES} --rules {{}}/now"), None).out;
    assert!(told.contains("warning: 2 malformed rows were passed over"), "{told}");
}

#[test]
fn without_records_it_says_what_that_means() {
    let scratch = Scratch::new();
    let words = "--alerts {}/alerts.jsonl --rules {}/next";
    let told = scratch.replay(words, None).out;
    let warning = "warning: 5 of 5 devices have no machine record: no rule that reads machine.* can match them";
    assert!(told.contains(warning) && told.contains("the size of the fleet is not known"), "{told}");
    let (lines, summary) = json_of(&scratch.replay("--alerts {}/alerts.jsonl --rules {}/now --json", None));
    assert!(lines[0]["reason"].as_str().unwrap().starts_with("machine_unknown: "), "{}", lines[0]);
    assert_eq!((&summary["unknown_machines"], &summary["held"]), (&json!(5), &json!(2)));
}

#[test]
fn what_can_not_be_run_is_a_2_with_a_way_out() {
    let scratch = Scratch::new();
    scratch.write("bad/rule.yml", "title: x\n");
    scratch.write("alerts.csv", "id,category\n");
    for (words, expected) in [
        ("--rules {}/now", "--since <WHEN>|--alerts"),
        ("--since 30d --alerts {}/alerts.jsonl", "cannot be used with"),
        ("--since yesterday", "write a duration back"),
        ("--alerts {}/alerts.jsonl --rules {}/bad", "{}/bad/rule.yml:1:1: "),
        ("--alerts {}/alerts.jsonl --rules {}/now --against {}/none", "{}/none"),
        ("--alerts {}/none.json --rules {}/now", "can not read {}/none.json"),
        ("--alerts {}/alerts.csv --rules {}/now", "it is not JSON"),
        ("--alerts {}/alerts.jsonl --rules {}/now --machines {}/none.json", "can not read {}/none.json"),
        ("--alerts {}/alerts.jsonl", "name the rules with --rules"),
        ("--alerts {}/alerts.jsonl --rules {}/now --config {}/none.yaml", "none.yaml"),
    ] {
        let ran = scratch.replay(words, None);
        assert_eq!(ran.code(), 2, "{words}: {ran:?}");
        assert!(ran.err.contains(expected), "{words}: {}", ran.err);
        assert_eq!(ran.out, "", "{words}");
    }
}

/// A stored alert as the API gives it.
fn stored(id: &str, n: usize, category: &str, second: usize, then: &[(&str, &str)]) -> Value {
    let body = alert(id, n, category, second);
    let decisions: Vec<Value> = then
        .iter()
        .map(|(rule, outcome)| json!({"machine_id": machine_id(n), "rule_id": rule, "outcome": outcome}))
        .collect();
    json!({
        "id": id, "tenant": "contoso", "source": "defender", "last_update": body["lastUpdateTime"],
        "received_at": body["lastUpdateTime"], "machine_ids": [machine_id(n)], "malformed": null,
        "decided": category != "Undecided", "decisions": decisions, "body": body,
    })
}

/// A daemon with these pages of alerts, and a record of every machine but the ninth.
fn daemon(pages: Vec<Vec<Value>>) -> TestDaemon {
    let pages: BTreeMap<usize, Vec<Value>> = pages.into_iter().enumerate().collect();
    TestDaemon::new(move |call| {
        if call.line.contains("/replay/machines") {
            let ids = call.line.split("ids=").nth(1).unwrap().replace("%2C", ",");
            let known = ids.split(',').filter(|id| **id != machine_id(9));
            let items: Vec<Value> = known.map(|id| json!({"id": id, "osPlatform": "Windows11"})).collect();
            return (200, json!({"items": items, "fleet": 1_000}).to_string());
        }
        let cursor = call.line.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
        match pages.get(&cursor) {
            Some(items) => (200, json!({"items": items, "next_cursor": (cursor + 1).to_string()}).to_string()),
            None => (200, json!({"items": [], "next_cursor": null}).to_string()),
        }
    })
}

#[test]
fn stored_alerts_are_compared_with_what_was_done() {
    let scratch = Scratch::new();
    let daemon = daemon(vec![
        vec![
            stored("a", 1, "Ransomware", 0, &[("ransomware", "acted")]),
            stored("b", 2, "Ransomware", 1, &[]),
            stored("c", 3, "Phishing", 2, &[("phishing", "held"), ("other", "acted")]),
        ],
        vec![
            stored("a", 1, "Ransomware", 3, &[("ransomware", "coalesced")]),
            stored("d", 9, "Ransomware", 4, &[("ransomware", "acted")]),
            stored("e", 5, "Undecided", 5, &[]),
        ],
    ]);
    let rules = scratch.0.path().join("now").display().to_string();
    let (lines, summary) = json_of(&daemon.run(&format!("replay --since 2h --rules {rules} --json")));
    assert_eq!(
        brief(&lines),
        [
            "a ransomware acted acted",
            "b ransomware acted null",
            "c other none acted",
            "a ransomware coalesced coalesced",
            "d ransomware held acted",
            "e null none null"
        ]
    );
    for (key, value) in
        [("undecided", 1), ("unknown_machines", 1), ("newly_restricted", 1), ("no_longer_restricted", 2)]
    {
        assert_eq!(summary[key], value, "{key}");
    }
    assert_eq!(summary["beside"], "what was done");
    let calls = daemon.lines();
    assert!(calls[0].starts_with("GET /api/v1/replay/alerts?since=2026-11-24T04%3A00%3A00Z"), "{calls:?}");
    let asked: Vec<&String> = calls.iter().filter(|line| line.contains("/replay/machines")).collect();
    assert_eq!(asked.len(), 2);
    assert!(!asked[1].contains(&machine_id(1)), "a machine is asked for once: {asked:?}");
}

#[test]
fn alerts_of_a_file_get_their_records_from_the_daemon() {
    let scratch = Scratch::new();
    let daemon = daemon(Vec::new());
    let folder = scratch.0.path().display();
    let words = format!("replay --alerts {folder}/alerts.jsonl --rules {folder}/next --json");
    let (lines, summary) = json_of(&daemon.run(&words));
    assert_eq!(brief(&lines)[3], "d malware held null", "the daemon knows it as a workstation");
    assert_eq!(summary["unknown_machines"], 0);

    let refusing = TestDaemon::new(|_| problem(503, "Unavailable", "the store can not be used now"));
    let (_, summary) = json_of(&refusing.run(&words));
    assert_eq!(summary["unknown_machines"], 5);
    assert!(summary["notes"].to_string().contains("could not be asked for machine records"), "{summary}");
}

#[test]
fn a_daemon_that_can_not_be_asked_for_its_alerts_is_a_2() {
    let scratch = Scratch::new();
    let folder = scratch.0.path().display();
    let refusing = TestDaemon::new(|_| problem(503, "Unavailable", "the store can not be used now"));
    let ran = refusing.run(&format!("replay --since 30d --rules {folder}/now"));
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err.contains("the store can not be used now"), "{}", ran.err);
    let nobody = format!("--config {folder}/stanch.yaml replay --since 30d --rules {folder}/now");
    scratch.write("stanch.yaml", "server: { socket: nobody.sock }");
    let ran = run_with(&nobody, None, &|_| None);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err.contains("no such socket"), "{}", ran.err);
}
