//! From the moment at which an alert is sent to the webhook until the POST for its device arrives, with the real
//! binary over loopback.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use stanch::model::MachineId;
use stanch::simulator::Api;
use tokio::task::JoinSet;

use crate::process::until_ready;
use crate::support::binary::Process;
use crate::support::{TestApp, machine, machine_id};
use crate::work::{Draws, full_alert, scaled};
use crate::{Figures, Unit, percentile};

const PER_SECOND: f64 = 50.0;
/// Alerts of each of the two runs.
const ALERTS: usize = 750;
/// Measurements of the disk before and after.
const FSYNCS: usize = 150;

/// An address of loopback that nobody listens on.
pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub async fn alert_to_post(figures: &mut Figures) {
    let alerts = scaled(ALERTS);
    let address = free_address();
    let app = TestApp::builder()
        .without_polling()
        .set("SERVER__LISTEN", &address)
        .set("LIMITS__RESTRICT", "[{ calls: 100000, per: 60s }]")
        .set("LIMITS__REQUEST_TIMEOUT", "30s")
        .set("LIMITS__RECONCILE_GRACE", "10s")
        .set("TRACKING__EVERY", "10s")
        .prepare(|simulator| (0..2 * alerts).for_each(|n| simulator.add_machine(machine(n)).map(|_| ()).unwrap()))
        .await;
    let process = Process::run(&app);
    until_ready(&app).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut fsyncs = fsyncs(&app.path("fsync"));
    let even = |n: usize| n as f64 / PER_SECOND;
    let mut evenly = run(&app, &address, 0, (0..alerts).map(even).collect()).await;
    let mut draws = Draws::new();
    let mut at = 0.0;
    let random = (0..alerts).map(|_| {
        at -= (1.0 - draws.draw()).ln() / PER_SECOND;
        at
    });
    let mut randomly = run(&app, &address, alerts, random.collect()).await;
    fsyncs.extend(self::fsyncs(&app.path("fsync")));
    figures.tell("write of 4 KiB and fsync in the same folder, p50", percentile(&mut fsyncs, 50.0), Unit::Millis);
    figures.tell("write of 4 KiB and fsync in the same folder, p99", percentile(&mut fsyncs, 99.0), Unit::Millis);
    figures.tell("alert to POST, 50 alerts/s evenly spaced, p50", percentile(&mut evenly, 50.0), Unit::Millis);
    figures.at_most("alert to POST, 50 alerts/s evenly spaced, p99", percentile(&mut evenly, 99.0), 20.0, Unit::Millis);
    figures.tell("alert to POST, 50 alerts/s at random, p50", percentile(&mut randomly, 50.0), Unit::Millis);
    figures.at_most("alert to POST, 50 alerts/s at random, p99", percentile(&mut randomly, 99.0), 40.0, Unit::Millis);
    let calls = app.simulator.ledger().of(Api::Restrict).count();
    figures.promise("  devices not called for just once", (2 * alerts).abs_diff(calls) as f64, 0.0, Unit::Count);
    process.kill();
}

/// How long a write of 4 KiB takes until it is on the disk, again and again.
fn fsyncs(path: &Path) -> Vec<f64> {
    let mut file = File::create(path).unwrap();
    let once = |_| {
        let begun = Instant::now();
        file.write_all(&[1; 4_096]).unwrap();
        file.sync_all().unwrap();
        begun.elapsed().as_secs_f64() * 1_000.0
    };
    (0..FSYNCS).map(once).collect()
}

/// Sends an alert at each of the times, in seconds from now on, for the devices from `first` on; gives how many
/// milliseconds each took to its POST.
async fn run(app: &TestApp, address: &str, first: usize, times: Vec<f64>) -> Vec<f64> {
    let client = reqwest::Client::new();
    let url = format!("http://{address}/hooks/hook");
    let begun = tokio::time::Instant::now();
    let mut senders = JoinSet::new();
    for (n, at) in times.into_iter().enumerate() {
        let device = first + n;
        let request = client.post(&url).bearer_auth("hook-token");
        tokio::time::sleep_until(begun + Duration::from_secs_f64(at)).await;
        senders.spawn(async move {
            let request = request.json(&full_alert(&format!("alert-{device}"), device, "Ransomware"));
            let sent = TestApp::now();
            assert_eq!(request.send().await.unwrap().status(), 202);
            (machine_id(device), sent)
        });
    }
    let sent: HashMap<MachineId, Timestamp> = senders.join_all().await.into_iter().collect();
    let count = first + sent.len();
    app.until("every device was called for", async || {
        (app.simulator.ledger().of(Api::Restrict).count() >= count).then_some(())
    })
    .await;
    let ledger = app.simulator.ledger();
    let took = |call: &stanch::simulator::Call| {
        let sent = sent.get(call.machine_id.as_ref()?)?;
        Some(call.at.timestamp().duration_since(*sent).as_secs_f64() * 1_000.0)
    };
    ledger.of(Api::Restrict).filter_map(took).collect()
}
