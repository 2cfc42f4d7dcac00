//! Explaining what is stored, by a daemon that knows what it did.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use stanch::model::State;

use crate::support::binary::stanch;
use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

const PROTECT: &str = "
title: Leave the tills alone
id: tills
detection: { till: { machine.computerDnsName|startswith: pc-2 }, condition: till }
response: { action: protect, comment: a till }
";

/// Commands run in a process of their own, so the daemon in this one must not be kept from answering.
async fn explain(app: &TestApp, arguments: &[&str], input: Option<Value>) -> Output {
    let mut command = stanch(app, &[&["explain"], arguments].concat());
    tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(input) = input {
            std::io::Write::write_all(&mut stdin, input.to_string().as_bytes()).unwrap();
        }
        drop(stdin);
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

async fn json(app: &TestApp, arguments: &[&str], input: Option<Value>) -> Value {
    let output = explain(app, &[arguments, &["--json"]].concat(), input).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rule<'e>(explained: &'e Value, id: &str) -> &'e Value {
    explained["rules"].as_array().unwrap().iter().find(|rule| rule["rule_id"] == id).unwrap()
}

/// The guards that did not let it pass, with their verdicts.
fn spoke(rule: &Value) -> Vec<(&str, &str)> {
    let guards = rule["guards"].as_array().unwrap().iter();
    let named = guards.map(|guard| (guard["name"].as_str().unwrap(), guard["verdict"].as_str().unwrap()));
    named.filter(|(_, verdict)| *verdict != "pass").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_alert_is_explained_by_the_rules_and_the_facts_as_they_are_now() {
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, PROTECT])
        .start(|simulator| {
            for n in 1..=2 {
                simulator.add_machine(machine(n)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{n}"), n)).unwrap();
            }
        })
        .await;
    app.action_in(State::Succeeded).await;
    app.decided("alert-2").await;

    // The device is restricted by now, and what was decided then is told beside.
    let explained = json(&app, &["--alert", "alert-1"], None).await;
    let contain = rule(&explained, "contain-ransomware");
    assert_eq!((&contain["matched"], &contain["outcome"]), (&json!(true), &json!("coalesced")), "{contain:#}");
    assert_eq!(spoke(contain), [("open", "coalesced")]);
    assert_eq!(contain["machine_id"], machine_id(1).as_str());
    assert_eq!(contain["selections"][0]["fields"], json!([{"field": "category", "value": "Ransomware"}]));
    assert_eq!(contain["decided"]["outcome"], "acted");
    let comment = contain["comment"].as_str().unwrap();
    assert_eq!(comment, "Restrict code execution due to alert alert-1 [stanch:<action id>]");
    assert_eq!(rule(&explained, "tills")["matched"], false);

    let explained = json(&app, &["--alert", "alert-2"], None).await;
    let contain = rule(&explained, "contain-ransomware");
    assert_eq!(spoke(contain), [("protected", "protected")]);
    assert!(contain["reason"].as_str().unwrap().ends_with("a till"), "{contain:#}");
    assert_eq!(contain["decided"]["outcome"], "protected");
    assert_eq!(rule(&explained, "tills")["outcome"], "none");

    // Asking changes nothing.
    assert_eq!(app.actions().await.len(), 1);
    assert_eq!(app.decided("alert-1").await.decisions.len(), 1);

    let unknown = explain(&app, &["--alert", "alert-9"], None).await;
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let unknown = explain(&app, &["--alert", "alert-1", "--rule", "nope"], None).await;
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_piped_in_gets_the_record_that_the_daemon_has() {
    let app = TestApp::builder().rules(&[RANSOMWARE, PROTECT]).start(|simulator| {
        simulator.add_machine(machine(2)).unwrap();
        simulator.add_alert(alert("other", 2, "Malware")).unwrap();
    });
    let app = app.await;
    app.decided("other").await;
    let explained = json(&app, &["--alert", "-", "--tenant", "contoso"], Some(ransomware("new", 2))).await;
    assert_eq!(explained["devices"][0]["device_name"], "pc-2.contoso.test", "{explained:#}");
    assert_eq!(rule(&explained, "contain-ransomware")["outcome"], "protected");
    assert!(app.actions().await.is_empty());
}
