//! Lists: filters, pages, JSON Lines and tables.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::super::test_daemon::{ACTION, TestDaemon, action, alert, device, held};
use super::super::{Exit, Surroundings, run};
use crate::clock::SystemClock;

fn page(items: &[Value], next_cursor: Option<&str>) -> (u16, String) {
    (200, json!({"items": items, "next_cursor": next_cursor}).to_string())
}

/// A daemon with five actions on pages of two.
fn five_actions() -> TestDaemon {
    let of = |attempts: u32| action(json!({"attempts": attempts}));
    TestDaemon::new(move |call| {
        let after = |cursor: &str| call.line.contains(&format!("cursor={cursor}"));
        if after("c4") {
            page(&[of(5)], None)
        } else if after("c2") {
            page(&[of(3), of(4)], Some("c4"))
        } else {
            page(&[of(1), of(2)], Some("c2"))
        }
    })
}

fn attempts(out: &str) -> Vec<u64> {
    out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["attempts"].as_u64().unwrap()).collect()
}

#[test]
fn json_lists_are_json_lines_of_all_pages() {
    let daemon = five_actions();
    let ran = daemon.run("actions list --json");
    assert_eq!((ran.code(), ran.err.as_str()), (0, ""));
    assert_eq!(attempts(&ran.out), [1, 2, 3, 4, 5]);
    assert_eq!(
        daemon.lines(),
        [
            "GET /api/v1/actions?limit=500",
            "GET /api/v1/actions?limit=500&cursor=c2",
            "GET /api/v1/actions?limit=500&cursor=c4"
        ]
    );
}

#[test]
fn a_row_is_the_document_that_show_gives() {
    let daemon =
        TestDaemon::new(
            |call| {
                if call.line.contains(ACTION) { (200, held().to_string()) } else { page(&[held()], None) }
            },
        );
    let row = daemon.run("actions list --json").out;
    assert_eq!(row, daemon.run(&format!("actions show {ACTION} --json")).out);
    assert_eq!(serde_json::from_str::<Value>(&row).unwrap(), held());
}

#[test]
fn a_limit_is_kept_over_pages_and_even_if_the_daemon_gives_more() {
    for (limit, expected) in [(1, vec![1]), (2, vec![1, 2]), (3, vec![1, 2, 3]), (9, vec![1, 2, 3, 4, 5])] {
        let ran = five_actions().run(&format!("actions list --json --limit {limit}"));
        assert_eq!(attempts(&ran.out), expected, "{limit}");
    }
    let daemon = five_actions();
    daemon.run("actions list --limit 3");
    assert_eq!(daemon.lines(), ["GET /api/v1/actions?limit=3", "GET /api/v1/actions?limit=1&cursor=c2"]);
}

#[test]
fn a_list_that_comes_around_again_is_an_error() {
    let daemon = TestDaemon::new(|_| page(&[action(json!({}))], Some("same")));
    let ran = daemon.run("actions list --json");
    assert_eq!(ran.code(), 2);
    assert!(ran.err.contains("does not end"), "{}", ran.err);
}

#[test]
fn filters_are_the_apis_parameters() {
    let daemon = TestDaemon::new(|_| page(&[], None));
    daemon.run("actions list --state held --kind restrict --device 'pc 42&x' --tenant contoso --since 24h --limit 7");
    daemon.run("alerts list --state waiting --since 2026-11-24T01:00:00+01:00");
    daemon.run("devices list --state restricted --device pc-42");
    assert_eq!(
        daemon.lines(),
        [
            "GET /api/v1/actions?device=pc+42%26x&tenant=contoso&since=2026-11-23T06%3A00%3A00Z\
             &state=held&kind=restrict&limit=7",
            "GET /api/v1/alerts?since=2026-11-24T00%3A00%3A00Z&state=waiting&limit=500",
            "GET /api/v1/devices?device=pc-42&state=restricted&limit=500",
        ]
    );
}

#[test]
fn an_empty_list_says_so_beside_the_data() {
    let daemon = TestDaemon::new(|_| page(&[], None));
    let ran = daemon.run("devices list");
    assert_eq!((ran.code(), ran.out.as_str(), ran.err.as_str()), (0, "", "no devices match\n"));
    let ran = daemon.run("devices list --json");
    assert_eq!((ran.code(), ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

#[test]
fn a_person_at_a_terminal_sees_a_screenful_and_is_told_of_the_rest() {
    let rows: Vec<Value> = (0..100).map(|_| action(json!({}))).collect();
    let daemon = TestDaemon::new(move |_| page(&rows, Some("more")));
    let ran = daemon.run_at_terminal(200, "actions list");
    assert_eq!(ran.code(), 0, "{}", ran.err);
    assert!(ran.err.contains("only the first 100 actions: --limit N"), "{}", ran.err);
    assert_eq!(daemon.lines(), ["GET /api/v1/actions?limit=100"]);
}

#[test]
fn titles_stand_once_over_many_pages() {
    let ran = five_actions().run("actions list");
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("STATE")).count(), 1, "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 6);
}

#[test]
fn lists_are_tables() {
    let actions = TestDaemon::new(|_| {
        page(&[held(), action(json!({"device_name": null, "rule_id": null, "state": "timed_out"}))], None)
    });
    insta::assert_snapshot!(actions.run("actions list").out, @r#"
    STATE      ACTION                                KIND      DEVICE                                    BECAUSE                          CREATED
    held       0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b  restrict  pc-042.contoso.test                       approval: the rule asks for one  3m ago 05:57Z
    timed_out  0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b  restrict  1e5bc9d7e413ddd7902c2932e418702b84d0cc07  an operator                      3m ago 05:57Z
    "#);
    insta::assert_snapshot!(actions.run_at_terminal(100, "actions list").out, @r#"
    STATE      ACTION                                KIND      DEVICE           BECAUSE          CREATED
    held       0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b  restrict  pc-042.contoso.  approval: the    3m ago
                                                               test             rule asks for    05:57Z
                                                                                one
    timed_out  0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b  restrict  1e5bc9d7e413ddd  an operator      3m ago
                                                               7902c2932e41870                   05:57Z
                                                               2b84d0cc07
    "#);
    let other = json!({"restriction": "none", "since": null, "expires_at": null, "by": null, "action_id": null});
    let devices = TestDaemon::new(move |_| page(&[device(json!({})), device(other.clone())], None));
    insta::assert_snapshot!(devices.run("devices list").out, @r#"
    RESTRICTION  MACHINE ID                                NAME                 TENANT   OS         BY      SINCE          EXPIRES
    restricted   1e5bc9d7e413ddd7902c2932e418702b84d0cc07  pc-042.contoso.test  contoso  Windows11  stanch  2m ago 05:58Z  in 23h 05:57Z
    none         1e5bc9d7e413ddd7902c2932e418702b84d0cc07  pc-042.contoso.test  contoso  Windows11  -       -              -
    "#);
    insta::assert_snapshot!(TestDaemon::new(|_| page(&[alert()], None)).run("alerts list").out, @r#"
    STATE    ALERT     SEVERITY  TITLE                 DEVICES  DECISIONS  RECEIVED
    decided  da1234_1  High      Ransomware behaviour  1        1 acted    3m ago 05:57Z
    "#);
}

/// A pipe whose reader goes away after the first line.
struct Head {
    lines: usize,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lines > 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let daemon = five_actions();
    for form in ["--json", ""] {
        let command = format!("stanch --url {} actions list {form}", daemon.url());
        let mut err = Vec::new();
        let exit = run(
            command.split_whitespace().map(Into::into),
            &mut Surroundings {
                out: &mut Head { lines: 0 },
                err: &mut err,
                input: &mut std::io::empty(),
                out_terminal: None,
                err_terminal: None,
                environment: &|_| None,
                variables: &std::collections::BTreeMap::new,
                clock: &SystemClock,
            },
        );
        assert_eq!((exit, err.as_slice()), (Exit::Done, &b""[..]), "{form}");
    }
    assert!(daemon.lines().iter().all(|line| !line.contains("c4")), "what nobody reads is not asked for");
}
