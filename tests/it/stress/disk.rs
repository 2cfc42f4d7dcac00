//! The disk is full.
//!
//! Brought about by the limit of a file's size, set to nothing under the running process by prlimit(1): every write
//! fails. It needs no privilege, which a small file system of its own would. What differs is the error's number,
//! `EFBIG` in the place of `ENOSPC`, after both of which SQLite rolls back; and that a full disk still takes what fits
//! into the room that its files have.

use std::process::Command;
use std::time::Duration;

use stanch::simulator::Api;

use super::daemon::Daemon;
use super::{all_is_done_once, nothing_moves, with_an_action_that_will_be_due};
use crate::support::{TestApp, machine, ransomware};

fn limit_of_file_size(daemon: &Daemon, bytes: &str) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", daemon.id()))
        .arg(format!("--fsize={bytes}:unlimited"))
        .status()
        .unwrap();
    assert!(status.success());
}

fn no_more_room(daemon: &Daemon) {
    limit_of_file_size(daemon, "0");
}

fn room(daemon: &Daemon) {
    limit_of_file_size(daemon, "unlimited");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_sent_or_lost_and_it_goes_on_when_there_is_room() {
    let (app, mut daemon) = with_an_action_that_will_be_due().await;
    no_more_room(&daemon);
    nothing_moves(&app, &mut daemon).await;
    room(&daemon);
    all_is_done_once(&app, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_finds_the_disk_full_is_kept_until_it_can_be_recorded() {
    let app = TestApp::builder()
        .simulator(|options| options.latency = Duration::from_secs(1))
        .prepare(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(0)).unwrap();
            simulator.add_alert(ransomware("alert-0", 0)).unwrap();
        })
        .await;
    let daemon = Daemon::run(&app);
    app.until("the POST is on the wire", async || {
        (app.simulator.ledger().of(Api::Restrict).count() == 1).then_some(())
    })
    .await;
    no_more_room(&daemon);
    app.until("the answer is there", async || daemon.log().contains("an outcome can not be recorded").then_some(()))
        .await;
    assert_eq!(daemon.number("SELECT COUNT(*) FROM actions WHERE state = 'sending'").await, 1);
    room(&daemon);
    app.until("the answer is recorded", async || {
        (daemon.number("SELECT COUNT(*) FROM actions WHERE state = 'submitted'").await == 1).then_some(())
    })
    .await;
    assert_eq!(daemon.number("SELECT COUNT(*) FROM action_history WHERE to_state = 'uncertain'").await, 0);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
    assert!(daemon.terminate().success());
}
