//! The store in trouble, under the real binary and a real file: what comes in is refused or left where it is,
//! nothing is sent, and when the trouble is over everything is done once.

mod daemon;
mod disk;
mod lock;
mod read_only;

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;
use stanch::simulator::Api;

use crate::support::{TestApp, machine, machine_id, ransomware};
use daemon::Daemon;

/// How long a window of two POSTs is: longer than it takes to bring the trouble about.
const WINDOW: Duration = Duration::from_secs(8);

/// The most lines that a daemon in trouble may log in a second. A poll and a look that fail say so, each ten times a second
/// here; a loop that does not wait would log hundreds.
const LINES_A_SECOND: f64 = 50.0;

/// A daemon that has restricted two devices, and has queued a third that is due when the window has room again.
async fn with_an_action_that_will_be_due() -> (TestApp, Daemon) {
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", &format!("[{{ calls: 2, per: {}s }}]", WINDOW.as_secs()))
        .set("LIMITS__RESERVE_PERCENT", "0")
        .prepare(|simulator| {
            for device in 0..5 {
                simulator.add_machine(machine(device)).unwrap();
            }
            for device in 0..2 {
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let daemon = Daemon::run(&app);
    app.until("two devices are restricted", async || (app.simulator.ledger().restricted.len() == 2).then_some(()))
        .await;
    app.simulator.add_alert(ransomware("alert-2", 2)).unwrap();
    app.until("a third is queued", async || {
        (daemon.number("SELECT COUNT(*) FROM actions WHERE state = 'queued'").await == 1).then_some(())
    })
    .await;
    (app, daemon)
}

/// What must hold for as long as the trouble lasts, while alerts come by poll and by webhook.
async fn nothing_moves(app: &TestApp, daemon: &mut Daemon) {
    let (begun, lines, cpu) = (Instant::now(), daemon.lines(), daemon.cpu_time());
    let watermark = daemon.number("SELECT watermark_ticks FROM sources WHERE source = 'defender'").await;
    app.simulator.add_alert(ransomware("alert-3", 3)).unwrap();

    let refused = daemon.send(&ransomware("alert-4", 4)).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
    assert!(refused.headers().contains_key(RETRY_AFTER), "{refused:?}");
    let problem: Value = refused.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("store"), "{problem}");
    assert!(begun.elapsed() < Duration::from_secs(20), "a sender waits no longer: {:?}", begun.elapsed());

    // The store is asked once a second.
    let unready = async || Some(daemon.get("/readyz").await).filter(|answer| answer.status() == 503);
    let ready: Value = app.until("the daemon is not ready", unready).await.json().await.unwrap();
    assert_eq!(ready["detail"], "the store can not be written: the daemon's log says why");
    assert_eq!(daemon.get("/healthz").await.status(), 200);

    // Until what is queued would long have been sent.
    tokio::time::sleep((WINDOW + Duration::from_secs(2)).saturating_sub(begun.elapsed())).await;
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 2, "nothing is sent that can not be recorded first");
    assert_eq!(daemon.number("SELECT COUNT(*) FROM alerts").await, 3);
    assert_eq!(daemon.number("SELECT watermark_ticks FROM sources WHERE source = 'defender'").await, watermark);
    assert!(daemon.is_alive(), "{}", daemon.log());
    let seconds = begun.elapsed().as_secs_f64();
    let (lines, cpu) = (daemon.lines() - lines, daemon.cpu_time() - cpu);
    assert!((lines as f64) < LINES_A_SECOND * seconds, "{lines} lines in {seconds} s:\n{}", daemon.log());
    assert!(cpu.as_secs_f64() < seconds / 2.0, "{cpu:?} of work in {seconds} s");
}

/// The trouble is over: a sender that was refused sends again, and everything is done once.
async fn all_is_done_once(app: &TestApp, daemon: Daemon) {
    app.until("what was refused is taken", async || {
        (daemon.send(&ransomware("alert-4", 4)).await.status() == 202).then_some(())
    })
    .await;
    app.until("the daemon is ready", async || (daemon.get("/readyz").await.status() == 200).then_some(())).await;
    app.until("every device is restricted", async || (app.simulator.ledger().restricted.len() == 5).then_some(()))
        .await;
    app.until("everything is decided", async || {
        (daemon.number("SELECT COUNT(*) FROM alerts WHERE state = 'decided'").await == 5).then_some(())
    })
    .await;
    let expected = (0..5).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(app.simulator.ledger().effective_restrictions(), expected);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 5);
    assert_eq!(
        daemon.number("SELECT COUNT(*) FROM operations").await,
        0,
        "asking whether it can be written leaves nothing"
    );
    let log = daemon.log();
    assert!(daemon.terminate().success(), "{log}");
    assert!(!log.contains("panic") && !log.contains("defect"), "{log}");
}
