//! Every crash point: the real binary dies there in the middle of an outbreak and is started again. Nothing is
//! lost, nothing is done twice, and nothing is left open.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use stanch::crash_point::CRASH_POINTS;
use stanch::model::view::{ActionView, AlertState, Page, StatusView};
use stanch::model::{Kind, MachineId, State};
use stanch::simulator::{Api, Ledger, Status};
use stanch::store::{ActionFilter, AlertFilter, Store};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::audit;
use crate::support::binary::{Process, stanch};
use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

/// Outbreaks at once. Most of their time is waiting.
const AT_ONCE: usize = 12;

/// The signal of `abort`. Source: signal(7).
const SIGABRT: i32 = 6;

/// Restricted by a polled alert, and released by a person.
const RELEASED: usize = 0;
/// Restricted by a polled alert under the rule whose restrictions expire.
const EXPIRING: usize = 1;
/// Restricted by a polled alert.
const POLLED: usize = 2;
/// Restricted by an alert that a webhook brings.
const HOOKED: usize = 3;
/// It has an alert that no rule asks anything for.
const BYSTANDER: usize = 4;
/// It comes after the machine list was read, so it is asked for by itself.
const NEWCOMER: usize = 5;
/// Off the network, so that its restrict is open when a person cancels it.
const OFFLINE: usize = 6;
/// Restricted by a person.
const BY_HAND: usize = 7;
/// Restricted in the portal before everything.
const PORTAL: [usize; 4] = [8, 9, 10, 11];

/// Devices whose restrict nobody undoes.
const STAYING: [usize; 4] = [POLLED, HOOKED, NEWCOMER, BY_HAND];

const EXPIRES_AFTER: &str = "  expires_after: 1s\n";

/// The rows of a page: fewer than there are polled alerts, and machine actions once one was sent.
const PAGE: usize = 4;

/// What happened before the process that dies at the point was started.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// Another one died at that point.
    Crash(&'static str),
    /// Another one was killed, and while none ran, a restriction expired.
    Expiry,
}

/// Every point at its first passing, and some at later ones.
fn deaths() -> Vec<(String, Before)> {
    let first = CRASH_POINTS.iter().map(|(name, _)| {
        let before = match *name {
            // A look that has to find what a dead process has sent.
            name if name.starts_with("look.") => Before::Crash("send.answered"),
            "timers.due" => Before::Expiry,
            _ => Before::Nothing,
        };
        ((*name).to_owned(), before)
    });
    // The page that moves the watermark; the release and the cancellation that a person asks for, after a
    // restrict; and what is sent after others were settled.
    let later = ["poll.page_stored:2", "api.changed:2", "api.changed:3", "send.claimed:3", "send.answered:3"];
    let later = later.map(|point| (point.to_owned(), Before::Nothing));
    let mut deaths: Vec<_> = first.chain(later).collect();
    // A cancellation that was put off is asked for again after 15 s: begun first, so that the others run meanwhile.
    deaths.sort_by_key(|(point, _)| point != "cancel.put_off");
    deaths
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_point_loses_nothing_and_does_nothing_twice() {
    let (room, runtime) = (&Semaphore::new(AT_ONCE), &Handle::current());
    let failed: Vec<String> = std::thread::scope(|scope| {
        let begin = |(point, before): (String, Before)| {
            let name = point.clone();
            let outbreak = move || {
                runtime.block_on(async {
                    let _place = room.acquire().await.unwrap();
                    survives(&point, before).await;
                });
            };
            (name.clone(), std::thread::Builder::new().name(name).spawn_scoped(scope, outbreak).unwrap())
        };
        let threads: Vec<_> = deaths().into_iter().map(begin).collect();
        threads.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "each of these has said why above: {failed:?}");
}

/// One outbreak in which the daemon dies at a point.
async fn survives(point: &str, before: Before) {
    let app = outbreak().await;
    let (process, ()) = tokio::join!(lives(&app, point, before), people(&app));
    app.until("everything is done", async || is_done(&app).then_some(())).await;
    // Whatever would be done once more has the time for it: the look under way and two whole ones,
    // of at most four pages each.
    let looked = app.simulator.ledger().of(Api::MachineActions).count();
    app.until("two more looks", async || {
        (app.simulator.ledger().of(Api::MachineActions).count() > looked + 10).then_some(())
    })
    .await;
    assert!(process.terminate().success());
    judge_microsofts_side(&app.simulator.ledger());
    judge_ours(&app).await;
}

async fn outbreak() -> TestApp {
    let expiring = RANSOMWARE
        .replace("contain-ransomware", "contain-for-a-while")
        .replace("category: Ransomware", "category: Malware");
    let expiring = format!("{expiring}{EXPIRES_AFTER}");
    TestApp::builder()
        .rules(&[RANSOMWARE, &expiring])
        // Each call is three commits: as few as the test can do with.
        .set("TRACKING__EVERY", "500ms")
        .set("SOURCES__0__EVERY", "500ms")
        .set(
            "SOURCES__2",
            "{ type: webhook, name: told, tenant: contoso, auth: { client_state_file: hook }, format: graph }",
        )
        .simulator(|options| options.server_page = Some(PAGE))
        .prepare(|simulator| {
            for device in (0..12).filter(|device| *device != NEWCOMER) {
                simulator.add_machine(machine(device)).unwrap();
            }
            simulator.set_offline(&machine_id(OFFLINE), true);
            for device in PORTAL {
                simulator.human_restrict(&machine_id(device), Status::Succeeded);
            }
            for device in [RELEASED, POLLED, OFFLINE] {
                simulator.add_alert(ransomware(&alert_id(device), device)).unwrap();
            }
            simulator.add_alert(alert(&alert_id(EXPIRING), EXPIRING, "Malware")).unwrap();
            simulator.add_alert(alert(&alert_id(BYSTANDER), BYSTANDER, "Phishing")).unwrap();
        })
        .await
}

fn alert_id(device: usize) -> String {
    format!("alert-{device}")
}

/// The daemon: as much of it as there is before, the one that dies at the point, and the one after it.
async fn lives(app: &TestApp, point: &str, before: Before) -> Process {
    match before {
        Before::Nothing => {}
        Before::Crash(point) => dies_at(app, point).await,
        Before::Expiry => {
            let process = Process::run(app);
            let expires_at = app.until("an expiry is known", async || {
                actions(app, EXPIRING, Kind::Restrict)?.iter().find_map(|restrict| restrict.expires_at)
            });
            let expires_at = expires_at.await;
            process.kill();
            app.until("it has expired", async || (TestApp::now() > expires_at).then_some(())).await;
        }
    }
    dies_at(app, point).await;
    Process::run(app)
}

async fn dies_at(app: &TestApp, point: &str) {
    let mut command = stanch(app, &["run"]);
    command.env("STANCH_CRASH_AT", point);
    let mut process = Process::spawn(app, command);
    let status = app.until(&format!("it dies at {point}"), async || process.0.try_wait().unwrap()).await;
    let log = std::fs::read_to_string(app.path("log")).unwrap();
    assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}\n{log}");
    let name = point.split(':').next().unwrap();
    assert!(log.contains(&format!("name=\"{name}\"")), "{point}: {log}");
}

/// Everybody else. Who gets no answer asks again, and looks first where asking twice would be doing twice.
async fn people(app: &TestApp) {
    let why = json!({ "why": "an outbreak" });
    let post = |path: &str| ask(app, "POST", path, &why).map(|(status, _)| assert_eq!(status, 200));
    app.until("the brake is on", async || post("/api/v1/pause")).await;
    app.until("the brake is off", async || post("/api/v1/resume")).await;
    let hooked = ransomware(&alert_id(HOOKED), HOOKED);
    app.until("the webhook's alert is kept", async || {
        ask(app, "POST", "/hooks/hook", &hooked).map(|(status, _)| assert_eq!(status, 202))
    })
    .await;
    // It is polled too, so that nothing new comes of it.
    let told = json!({ "value": [{ "clientState": "hook-token", "resourceData": { "id": alert_id(POLLED) } }] });
    app.until("the notification is kept", async || {
        ask(app, "POST", "/hooks/told", &told).map(|(status, _)| assert_eq!(status, 202))
    })
    .await;

    // Nothing is restricted before the machine list was read.
    app.until("a device is restricted", async || {
        app.simulator.ledger().restricted.contains(&machine_id(RELEASED)).then_some(())
    })
    .await;
    app.simulator.add_machine(machine(NEWCOMER)).unwrap();
    app.simulator.add_alert(ransomware(&alert_id(NEWCOMER), NEWCOMER)).unwrap();

    for (device, kind, verb) in [(BY_HAND, Kind::Restrict, "restrict"), (RELEASED, Kind::Release, "release")] {
        let path = format!("/api/v1/devices/{}/{verb}", machine_id(device));
        app.until(&format!("the {verb} is taken"), async || {
            let is_there = !actions(app, device, kind)?.is_empty();
            if is_there { Some(()) } else { post(&path) }
        })
        .await;
    }
    app.until("the cancellation is taken", async || {
        let restrict = actions(app, OFFLINE, Kind::Restrict)?.pop()?;
        match restrict.state {
            State::Cancelled => Some(()),
            State::Submitted => post(&format!("/api/v1/actions/{}/cancel", restrict.id)),
            _ => None,
        }
    })
    .await;
}

/// Whether nothing is left to do, as far as the daemon and Microsoft say.
fn is_done(app: &TestApp) -> bool {
    let ledger = app.simulator.ledger();
    if ledger.restricted != staying() || ledger.effective_releases().len() < 2 {
        return false;
    }
    let Some((200, status)) = ask(app, "GET", "/api/v1/status", &Value::Null) else { return false };
    let status: StatusView = serde_json::from_value(status).unwrap();
    let open = State::ALL.into_iter().filter(|state| state.is_open());
    let open: u64 = open.filter_map(|state| status.actions.get(state.as_str())).sum();
    status.undecided == 0 && open == 0
}

/// The devices that are restricted in the end.
fn staying() -> BTreeSet<MachineId> {
    STAYING.into_iter().chain(PORTAL).map(machine_id).collect()
}

fn once(devices: &[usize]) -> BTreeMap<MachineId, usize> {
    devices.iter().map(|device| (machine_id(*device), 1)).collect()
}

fn judge_microsofts_side(ledger: &Ledger) {
    let mut restricted = [&STAYING[..], &[RELEASED, EXPIRING, OFFLINE]].concat();
    restricted.sort_unstable();
    assert_eq!(ledger.restrictions_made(), once(&restricted));
    assert_eq!(ledger.effective_releases(), once(&[RELEASED, EXPIRING]));
    assert_eq!(ledger.actions.len(), PORTAL.len() + restricted.len() + 2, "{:#?}", ledger.actions);
    assert_eq!(ledger.restricted, staying());
    let cancelled: Vec<_> = ledger.of(Api::Cancel).filter(|call| call.took_effect).collect();
    assert_eq!(cancelled.len(), 1, "{cancelled:#?}");
    assert_eq!(ledger.genuine_429s(), 0);
}

async fn judge_ours(app: &TestApp) {
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    audit::seal(&store).await;
    let sealed = audit::all(&store).await;
    assert_eq!(audit::verified(&sealed).map(|held| held.rows), Ok(sealed.len() as u64));
    let alerts = store.alerts(&AlertFilter::default(), None, 100).await.unwrap().items;
    let decisions: BTreeMap<String, usize> = alerts
        .iter()
        .inspect(|alert| assert_eq!(alert.state, AlertState::Decided, "{alert:#?}"))
        .map(|alert| (alert.id.to_string(), alert.decisions.len()))
        .collect();
    let expected = [RELEASED, EXPIRING, POLLED, HOOKED, BYSTANDER, NEWCOMER, OFFLINE];
    let expected = expected.map(|device| (alert_id(device), usize::from(device != BYSTANDER)));
    assert_eq!((alerts.len(), decisions), (expected.len(), expected.into()));

    let actions = store.actions(&ActionFilter::default(), None, 100).await.unwrap().items;
    let states: Vec<_> = actions.iter().map(|action| (action.machine_id.clone(), action.kind, action.state)).collect();
    let restricts = [RELEASED, EXPIRING, POLLED, HOOKED, NEWCOMER, BY_HAND];
    let restricts = restricts.map(|device| (machine_id(device), Kind::Restrict, State::Succeeded));
    let releases = [RELEASED, EXPIRING].map(|device| (machine_id(device), Kind::Release, State::Succeeded));
    let cancelled = (machine_id(OFFLINE), Kind::Restrict, State::Cancelled);
    let expected: Vec<_> = restricts.into_iter().chain(releases).chain([cancelled]).collect();
    assert_eq!(states.len(), expected.len(), "{actions:#?}");
    assert!(expected.iter().all(|state| states.contains(state)), "{actions:#?}");
}

/// The actions of a device; `None` while nobody answers.
fn actions(app: &TestApp, device: usize, kind: Kind) -> Option<Vec<ActionView>> {
    let path = format!("/api/v1/actions?device={}&kind={kind}", machine_id(device));
    let (status, page) = ask(app, "GET", &path, &Value::Null)?;
    assert_eq!(status, 200, "{page}");
    Some(serde_json::from_value::<Page<ActionView>>(page).unwrap().items)
}

/// One request over the daemon's socket; `None` when no whole answer comes back.
fn ask(app: &TestApp, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: stanch\r\nconnection: close\r\nauthorization: Bearer hook-token\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = UnixStream::connect(app.path("stanch.sock")).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}
