//! A storm of bodies that are wrong in every way, with good alerts between them: nothing breaks, memory stays within
//! bounds, and every good alert is decided. The same bodies come of the same seed.
//!
//! `benches/webhook_storm.rs` sends 50,000 of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;

use crate::support::binary::{Process, wait_for_socket};
use crate::support::{TestApp, machine, ransomware};

/// Connections that are kept open and sent over at once.
const SENDERS: usize = 8;

/// Of so many bodies one is a good alert.
const GOOD_ONE_IN: u64 = 5;

/// No body is longer: twice what is taken, and little enough that the refusal is read before the connection ends.
const MOST_BYTES: usize = 8 << 20;

/// The devices that good alerts are about.
const DEVICES: usize = 20;

/// How much more memory a storm may cost, in MiB, at its height: bodies of up to 4 MiB from each sender, and what is
/// made of them.
pub const MOST_MORE_MIB: f64 = 250.0;

/// A webhook of each form.
const SOURCES: &str = "[{ type: webhook, name: mde, tenant: contoso, auth: { bearer_file: hook } }, \
    { type: webhook, name: graph, tenant: contoso, format: graph, auth: { bearer_file: hook } }, \
    { type: webhook, name: map, tenant: contoso, format: map, auth: { bearer_file: hook }, \
      map: { id: /id, machineId: /machineId, title: /title, severity: /evidence/0/sha1, lastUpdateTime: /lastUpdateTime } }]";

/// Numbers that look drawn, the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }

    fn at(&mut self, length: usize) -> usize {
        self.roll(length.max(1) as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.at(of.len())].clone()
    }
}

/// What came of a storm.
#[derive(Debug, Default)]
pub struct Storm {
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, usize>,
    /// Good alerts that were sent.
    pub good: usize,
    /// Resident memory before, after and at its height, in MiB.
    pub resident: [f64; 3],
}

/// An alert with something in each field.
fn alert(id: &str, dice: &mut Dice) -> Value {
    let mut alert = ransomware(id, dice.at(DEVICES));
    let more = json!({
        "incidentId": 7, "investigationState": "Queued", "detectionSource": "WindowsDefenderAtp", "description": "text",
        "firstEventTime": "2026-11-24T01:00:00Z", "resolvedTime": null, "rbacGroupName": "g", "assignedTo": null,
        "mitreTechniques": ["T1059.001"], "comments": [], "status": "New", "serviceSource": "microsoftDefenderForEndpoint",
        "evidence": [{
            "entityType": "Process", "sha1": "aa", "fileName": "tool.exe", "processId": 4_711, "accountName": "someone",
            "@odata.type": "#microsoft.graph.security.deviceEvidence", "mdeDeviceId": "0000000000000000000000000000000000000001",
        }],
    });
    alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    alert
}

/// A value that stands nowhere for good.
fn odd(dice: &mut Dice) -> Value {
    let deep = (0..100).fold(json!(1), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) });
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(-0.0),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!([[]]),
        json!([[[null]]]),
        json!({ "id": {} }),
        json!([1, "a", null, {}]),
        deep,
        json!("\u{0}"),
        json!("\u{feff}id"),
        json!("\u{202e}fdp.exe"),
        json!("\u{1f4a9}".repeat(300)),
        json!("<script>alert(1)</script>"),
        json!("{{ alert.id }}"),
        json!("' OR 1=1 --"),
        json!("../../etc/passwd"),
        json!("9999-99-99T99:99:99Z"),
        json!("2026-02-30T00:00:00Z"),
        json!("-9999-01-01T00:00:00Z"),
        json!("9999-12-31T23:59:60Z"),
        json!("2026-11-24"),
        json!("\r\nX: y"),
        json!("x".repeat(10_000)),
    ];
    dice.one(&values)
}

/// A batch with something wrong in it, or with its text broken.
pub fn mutated(number: usize, dice: &mut Dice) -> Vec<u8> {
    let rows = 1 + dice.at(4);
    let mut batch: Vec<Value> = (0..rows).map(|row| alert(&format!("odd-{number}-{row}"), dice)).collect();
    for row in &mut batch {
        change(row, dice);
    }
    let text = if rows == 1 && dice.roll(2) == 0 { batch[0].to_string() } else { Value::from(batch).to_string() };
    let mut bytes = broken(text, dice);
    bytes.truncate(MOST_BYTES);
    bytes
}

/// Puts odd values in a row, at the top or below.
fn change(row: &mut Value, dice: &mut Dice) {
    for _ in 0..=dice.at(3) {
        let keys: Vec<String> = row.as_object().map(|row| row.keys().cloned().collect()).unwrap_or_default();
        if keys.is_empty() {
            return;
        }
        let key = dice.one(&keys);
        match dice.roll(10) {
            0 => drop(row.as_object_mut().unwrap().remove(&key)),
            1 => row[&key] = Value::from(vec![row[&key].clone(); 1 + dice.at(500)]),
            2 => row[&key] = json!("y".repeat(dice.at(200_000))),
            3 => row[&format!("{key}\u{0}{}", odd(dice))] = odd(dice),
            4 | 5 => {
                row["evidence"] =
                    json!([{ "entityType": odd(dice), "mdeDeviceId": odd(dice), "sha1": odd(dice) }, odd(dice)])
            }
            6 => *row = odd(dice),
            _ => row[&key] = odd(dice),
        }
    }
}

/// Breaks the text itself, one time in two.
fn broken(text: String, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    match dice.roll(20) {
        0 => bytes.truncate(dice.at(bytes.len())),
        1 => (0..=dice.at(8)).for_each(|_| {
            let at = dice.at(bytes.len());
            bytes[at] = dice.roll(256) as u8;
        }),
        2 => {
            let at = dice.at(bytes.len());
            bytes.splice(
                at..at,
                dice.one(&[&b"\xff\xfe"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]).to_vec(),
            );
        }
        3 => {
            let depth = 1 + dice.at(100_000);
            bytes = ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
        }
        4 => bytes = again(&bytes, "\"id\":", "\"id\":\"twice\",\"id\":"),
        5 => bytes = again(&bytes, ":\"", ":1e999,\"x\":\""),
        6 => bytes = again(&bytes, "\"machineId\":\"", "\"machineId\":\"\\ud800"),
        7 => bytes = again(&bytes, ":7", ":123456789012345678901234567890.5e-3"),
        8 => {
            bytes = dice
                .one(&[
                    &b""[..],
                    b" ",
                    b"null",
                    b"true",
                    b"1",
                    b"\"\"",
                    b"[",
                    b"{}",
                    b"[{}]",
                    b"[[],[[]]]",
                    b"\0",
                    b"[null]",
                ])
                .to_vec()
        }
        9 => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        _ => {}
    }
    bytes
}

/// The text with each `from` made `to`.
fn again(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace(from, to).into_bytes()
}

/// Resident memory in MiB: now, or at its height.
fn memory(process: &Process, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// Sends so many bodies and waits until every good alert is decided. It fails when the daemon gives way anywhere.
pub async fn storm(bodies: usize, seed: u64) -> Storm {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let app = TestApp::builder().without_polling().set("SOURCES", SOURCES).set("SERVER__LISTEN", &address);
    let app =
        app.prepare(|simulator| (0..DEVICES).for_each(|n| simulator.add_machine(machine(n)).map(|_| ()).unwrap()));
    let app = app.await;
    let mut process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let healthz = format!("http://{address}/healthz");
    app.until("it listens", async || client.get(&healthz).send().await.is_ok().then_some(())).await;
    let before = memory(&process, "VmRSS:");
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (client, address) = (client.clone(), address.clone());
        senders.spawn(async move { send(&client, &address, sender, bodies / SENDERS, seed).await });
    }
    let mut result = Storm::default();
    while let Some(sent) = senders.join_next().await {
        let (statuses, good) = sent.unwrap();
        statuses.into_iter().for_each(|(status, count)| *result.statuses.entry(status).or_default() += count);
        result.good += good;
    }
    assert!(result.statuses.keys().all(|status| [202, 400, 413].contains(status)), "{:?}", result.statuses);
    let decided = async || {
        let options = SqliteConnectOptions::new().filename(app.path("stanch.db")).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let query = "SELECT COUNT(DISTINCT alert_id) FROM alerts WHERE alert_id LIKE 'good-%' AND state = 'decided'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut connection).await.unwrap()
    };
    app.until("every good alert is decided", async || (decided().await == result.good as i64).then_some(())).await;
    assert!(process.0.try_wait().unwrap().is_none(), "the daemon runs on");
    result.resident = [before, memory(&process, "VmRSS:"), memory(&process, "VmHWM:")];
    assert!(result.resident[2] - before < MOST_MORE_MIB, "{result:?}");
    let log = std::fs::read_to_string(app.path("log")).unwrap();
    assert!(!log.contains("panic") && !log.contains("defect"), "{log}");
    assert!(process.terminate().success());
    result
}

/// One sender's part: how often each status was answered, and how many good alerts were taken.
async fn send(
    client: &reqwest::Client,
    address: &str,
    sender: usize,
    bodies: usize,
    seed: u64,
) -> (BTreeMap<u16, usize>, usize) {
    let mut dice = Dice::new(seed.wrapping_mul(1_000).wrapping_add(sender as u64 + 1));
    let (mut statuses, mut good) = (BTreeMap::new(), 0);
    for number in 0..bodies {
        let is_good = dice.roll(GOOD_ONE_IN) == 0;
        let (hook, body) = if is_good {
            good += 1;
            ("mde", ransomware(&format!("good-{sender}-{number}"), dice.at(DEVICES)).to_string().into_bytes())
        } else {
            (dice.one(&["mde", "graph", "map"]), mutated(number * SENDERS + sender, &mut dice))
        };
        let url = format!("http://{address}/hooks/{hook}");
        let answer = client.post(url).bearer_auth("hook-token").body(body.clone()).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{error:?}: {}", String::from_utf8_lossy(&body)));
        let status = answer.status().as_u16();
        assert!(!is_good || status == 202, "a good alert: {status}");
        assert!(status < 500, "{status}: {}", String::from_utf8_lossy(&body));
        *statuses.entry(status).or_default() += 1;
        // Read whole, so that the connection is used again.
        drop(answer.bytes().await);
    }
    (statuses, good)
}

#[tokio::test]
async fn wrong_bodies_of_every_kind_harm_nothing_and_good_alerts_between_them_are_decided() {
    let result = storm(2_000, 20_261_124).await;
    assert!(result.good > 200, "{result:?}");
    assert!(result.statuses[&400] > 200 && result.statuses[&202] > 200, "both kinds came: {result:?}");
}
