//! Usage: what is refused before anybody is asked.

use clap::CommandFactory as _;
use serde_json::json;

use super::super::Arguments;
use super::super::test_daemon::{ACTION, DEVICE, TestDaemon, run_with};

#[test]
fn the_command_tree_holds_together() {
    Arguments::command().debug_assert();
}

#[test]
fn a_change_without_a_reason_is_a_usage_error_and_nobody_is_asked() {
    let daemon = TestDaemon::answering(200, &json!({}));
    let changes = [
        format!("actions approve {ACTION}"),
        "actions approve --all".to_owned(),
        format!("actions reject {ACTION}"),
        format!("actions cancel {ACTION}"),
        format!("actions retry {ACTION}"),
        format!("devices restrict {DEVICE}"),
        format!("devices release {DEVICE}"),
        "devices release --all".to_owned(),
        "pause".to_owned(),
        "resume".to_owned(),
    ];
    for change in changes {
        for why in ["", "--why ''", "--why ' \t'", "--why"] {
            let ran = daemon.run(&format!("{change} {why}"));
            assert_eq!(ran.code(), 2, "{change} {why}");
            assert!(ran.err.contains("--why"), "{change} {why}: {}", ran.err);
        }
    }
    assert!(daemon.calls().is_empty());
}

#[test]
fn a_target_is_one_of_an_id_a_rule_or_all() {
    let daemon = TestDaemon::answering(200, &json!({}));
    for wrong in [
        "devices release --why x".to_owned(),
        format!("devices release {DEVICE} --all --why x"),
        "devices release --rule r --all --why x".to_owned(),
        "actions approve --why x".to_owned(),
        format!("actions reject {ACTION} --rule r --why x"),
    ] {
        assert_eq!(daemon.run(&wrong).code(), 2, "{wrong}");
    }
    assert!(daemon.calls().is_empty());
}

#[test]
fn other_wrong_words_are_usage_errors() {
    for wrong in [
        "",
        "nonsense",
        "actions",
        "actions list --state heldd",
        "actions list --kind isolate",
        "actions list --limit 0",
        "actions list --since yesterday",
        "alerts list --tenant 'a b'",
        "alerts show",
        "devices list --state maybe",
        "status --url stanch.example.org",
    ] {
        let ran = run_with(wrong, None, &|_| None);
        assert_eq!(ran.code(), 2, "{wrong}");
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{wrong}: {ran:?}");
    }
}

#[test]
fn a_misspelt_state_names_the_nearest() {
    let ran = run_with("actions list --state heldd", None, &|_| None);
    assert!(ran.err.contains("'held'"), "{}", ran.err);
}

#[test]
fn help_and_version_are_data() {
    for (command, expected) in
        [("--help", "Exit codes: 0 done"), ("actions list --help", "--since"), ("--version", "stanch ")]
    {
        let ran = run_with(command, None, &|_| None);
        assert_eq!((ran.code(), ran.err.as_str()), (0, ""), "{command}");
        assert!(ran.out.contains(expected), "{command}: {}", ran.out);
    }
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let daemon = TestDaemon::answering(200, &json!({"items": [], "next_cursor": null}));
    let url = daemon.url();
    for command in [
        format!("--json --url {url} actions list"),
        format!("actions --json list --url {url}"),
        format!("actions list --url {url} --json"),
    ] {
        assert_eq!(run_with(&command, None, &|_| None).code(), 0, "{command}");
    }
    assert_eq!(daemon.calls().len(), 3);
}
