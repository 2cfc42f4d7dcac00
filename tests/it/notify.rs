//! Messages to people, from what happens to an HTTP receiver on loopback that fails in every way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use stanch::config::{self, Channel};
use stanch::intake::signature::verify_hmac;
use stanch::metrics::Metrics;
use stanch::model::{Alert, AlertId, AlertTime, ChannelName, Machine, Moment, SourceName};
use stanch::notify::post::Post;
use stanch::store::{Entry, Incoming, Store};
use stanch::worker::notify::Teller;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::simulation::daemon::{Daemon, guards, operator, tenant};
use crate::simulation::{at, machine_id};
use crate::support::binary::{Process, output, stanch, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp};

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Takes,
    Says(&'static str),
    /// 200 with this body.
    Says200(&'static str),
    NeverAnswers,
    CutsOff,
}

/// A request, as it came.
#[derive(Debug, Clone)]
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A real HTTP server that takes messages, once it has done what its script says.
#[derive(Debug, Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Received>>>,
    script: Arc<Mutex<VecDeque<Answer>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/services/T0/hush-hush", listener.local_addr().unwrap());
        let receiver = Self { url, got: Arc::default(), script: Arc::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let receiver = serving.clone();
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        receiver
    }

    /// Serves one connection, which ends after one answer.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let received = read_request(&mut stream).await?;
        self.got.lock().unwrap().push(received);
        let answer = self.script.lock().unwrap().pop_front().unwrap_or(Answer::Takes);
        let (head, body) = match answer {
            Answer::Takes => ("HTTP/1.1 200 OK", ""),
            Answer::Says(head) => (head, ""),
            Answer::Says200(body) => ("HTTP/1.1 200 OK", body),
            Answer::NeverAnswers => std::future::pending().await,
            Answer::CutsOff => return None,
        };
        let head = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.ok()
    }

    fn will(&self, answers: &[Answer]) {
        self.script.lock().unwrap().extend(answers);
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(Received::json).collect()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let (start, length): (usize, usize) = (head.len() + 4, length?);
            if bytes.len() >= start + length {
                return Some(Received { head: head.to_owned(), body: bytes[start..start + length].to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A store, a channel that is told of it, and a clock that goes by hand.
struct Night {
    dir: TempDir,
    daemon: Daemon,
    channel: Channel,
    receiver: Receiver,
    metrics: Arc<Metrics>,
    alerts: usize,
}

/// The channel that this says, with its address in a file beside it.
fn channel(dir: &Path, url: &str, text: &str) -> Channel {
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    std::fs::write(dir.join("secret"), "s3cret\n").unwrap();
    std::fs::write(dir.join("url"), url).unwrap();
    let config = format!(
        "tenants: [{{ name: contoso, tenant_id: t, client_id: c, credential: {{ secret_file: secret }} }}]\n\
         sources: [{{ type: defender }}]\nstore: {{ url: 'sqlite:stanch.db' }}\nrules: {{ dir: rules }}\nnotify: [{text}]\n"
    );
    let path = dir.join("stanch.yaml");
    std::fs::write(&path, config).unwrap();
    config::load(&path, &BTreeMap::new()).unwrap().config.notify.remove(0)
}

impl Night {
    async fn begin(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let channel = channel(dir.path(), &receiver.url, text);
        let mut daemon = Daemon::start(&dir.path().join("stanch.db")).await;
        daemon.looked = true;
        daemon.learn_machines(1_100, at(0)).await;
        let night = Self { dir, daemon, channel, receiver, metrics: Arc::default(), alerts: 0 };
        night.open().await;
        night
    }

    async fn open(&self) {
        self.store().open_channels(&BTreeSet::from([self.channel.name.clone()])).await.unwrap();
    }

    fn store(&self) -> &Store {
        &self.daemon.store
    }

    fn post(&self) -> Post {
        Post::within(&self.channel, Duration::from_millis(300)).unwrap()
    }

    /// The process ends at once, and another opens what is in the store.
    async fn restart(&mut self) {
        self.daemon.store.close().await;
        let spare = tempfile::tempdir().unwrap();
        let old = std::mem::replace(&mut self.daemon, Daemon::start(&spare.path().join("spare.db")).await);
        drop(old);
        self.daemon = Daemon::start(&self.dir.path().join("stanch.db")).await;
        self.daemon.looked = true;
        self.open().await;
    }

    /// So many alerts that a rule wants to act on, each on a device of its own, once a human says so.
    async fn hold(&mut self, count: usize, millis: i64) {
        let now = at(millis);
        let rows: Vec<Incoming> = (self.alerts..self.alerts + count).map(|n| incoming(n, "A title", now)).collect();
        self.alerts += count;
        self.store().accept(&tenant(), &SourceName::new("defender").unwrap(), &rows, None, now).await.unwrap();
        while self.store().undecided_count().await.unwrap() > 0 {
            self.daemon.decide(&guards(), now).await;
        }
    }
}

/// An alert on the n-th device that `asks-first` wants to act on.
fn incoming(n: usize, title: &str, now: Timestamp) -> Incoming {
    let last_update = AlertTime::from_timestamp(now);
    let body = json!({
        "id": format!("da-{n}"), "status": "New", "title": title, "lastEventTime": last_update.to_string(),
        "rules": ["asks-first"],
    });
    Incoming::Alert(Alert {
        id: AlertId::new(format!("da-{n}")).unwrap(),
        last_update: Some(last_update),
        machine_ids: vec![machine_id(n)],
        body: body.as_object().unwrap().clone(),
    })
}

/// Half-second turns from one moment to another, in seconds; gives the moments at which something was posted.
async fn turns(teller: &mut Teller<'_>, receiver: &Receiver, seconds: std::ops::Range<i64>) -> Vec<i64> {
    let mut posted = Vec::new();
    for half in seconds.start * 2..seconds.end * 2 {
        let before = receiver.got.lock().unwrap().len();
        teller.turn(|_| Some("Asks first".to_owned()), || Moment::from(at(half * 500))).await.unwrap();
        if receiver.got.lock().unwrap().len() > before {
            posted.push(half / 2);
        }
    }
    posted
}

const WEBHOOK: &str = "{ type: webhook, url_file: url, hmac_file: secret }";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_held_actions_are_a_handful_of_messages_that_name_their_number() {
    let mut night = Night::begin(WEBHOOK).await;
    night.hold(400, 0).await;
    let (post, receiver, metrics) = (night.post(), night.receiver.clone(), Arc::clone(&night.metrics));
    let mut posted = Vec::new();
    // The audit is followed by one teller all the while; each step adds to it.
    let channel = night.channel.clone();
    for (from, to, more) in [(0, 10, 0), (10, 40, 300), (40, 1_000, 300)] {
        night.hold(more, from * 1_000).await;
        let mut teller = Teller::new(night.store(), &channel, &post, Arc::clone(&metrics));
        posted.extend(turns(&mut teller, &receiver, from..to).await);
    }
    assert_eq!(posted, [1, 61]);
    let got = receiver.got();
    let said: Vec<(&Value, &Value)> = got.iter().map(|message| (&message["count"], &message["new"])).collect();
    assert_eq!(said, [(&json!(400), &json!(400)), (&json!(1_000), &json!(600))]);
    assert_eq!(got[0]["title"], "Held for a human: 400 actions");
    let text = got[1]["text"].as_str().unwrap();
    assert!(text.starts_with("Held for a human: 1000 actions, 600 since the last message\n"), "{text}");
    assert!(text.contains("Rule: Asks first (asks-first)") && text.contains("and 590 more"), "{text}");
    assert!(text.contains("approval: ") && text.contains("alert da-400 \"A title\""), "{text}");
    assert_eq!((got[1]["outbreak"].clone(), got[0]["devices"][0].clone()), (got[0]["outbreak"].clone(), json!("pc-0")));

    // It has been quiet for so long that what comes now is another outbreak, and is told at once.
    night.hold(1, 1_000_000).await;
    let mut teller = Teller::new(night.store(), &channel, &post, metrics);
    assert_eq!(turns(&mut teller, &receiver, 1_000..1_005).await, [1_001]);
    let last = receiver.got().pop().unwrap();
    assert_eq!(last["count"], 1);
    assert_ne!(last["outbreak"], got[0]["outbreak"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_in_every_way_has_the_message_in_the_end() {
    let mut night = Night::begin(WEBHOOK).await;
    night.hold(3, 0).await;
    night.receiver.will(&[
        Answer::Says("HTTP/1.1 500 Internal Server Error"),
        Answer::Says("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 77"),
        Answer::NeverAnswers,
        Answer::CutsOff,
        Answer::Says("HTTP/1.1 302 Found\r\nLocation: https://evil.test/"),
        Answer::Says("no HTTP at all"),
        Answer::Says("HTTP/1.1 400 Bad Request"),
    ]);
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    let posted = turns(&mut teller, &night.receiver, 0..1_500).await;
    assert_eq!(posted, [1, 6, 83, 103, 143, 223, 383, 703], "5 s doubling, but for the 77 s that were asked for");
    let got = night.receiver.got();
    assert!(got.iter().all(|message| message["id"] == got[0]["id"] && message["new"] == 3), "{got:#?}");
    let text = night.metrics.text();
    for line in [
        r#"stanch_notices_total{channel="webhook",status="failed"} 7"#,
        r#"stanch_notices_total{channel="webhook",status="delivered"} 1"#,
        r#"stanch_notices_undelivered{channel="webhook"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_of_teams_that_says_it_failed_is_no_delivery() {
    let mut night = Night::begin("{ type: teams, url_file: url }").await;
    night.hold(3, 0).await;
    let throttled =
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x";
    night.receiver.will(&[Answer::Says200(throttled), Answer::Says200(throttled), Answer::Says200("1")]);
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    assert_eq!(turns(&mut teller, &night.receiver, 0..200).await, [1, 6, 16], "it is tried again, ever later");
    let text = night.metrics.text();
    assert!(text.contains(r#"stanch_notices_total{channel="teams",status="failed"} 2"#), "{text}");
    assert!(text.contains(r#"stanch_notices_total{channel="teams",status="delivered"} 1"#), "{text}");
    assert_eq!(night.store().undelivered(&night.channel.name).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_receiver_takes_is_told_again_after_a_restart_and_given_up_after_a_day() {
    let mut night = Night::begin(WEBHOOK).await;
    night.receiver.will(&[Answer::CutsOff; 3]);
    night.hold(5, 0).await;
    {
        let post = night.post();
        let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
        turns(&mut teller, &night.receiver, 0..4).await;
    }
    // Two more happen that no teller has read when the process dies.
    night.hold(2, 4_000).await;
    night.restart().await;
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 4..40).await;
    let got = night.receiver.got();
    assert_eq!(got.len(), 4);
    assert_eq!(
        (&got[3]["count"], &got[3]["new"]),
        (&json!(7), &json!(7)),
        "it has grown meanwhile, and nothing is lost"
    );

    night.receiver.will(&[Answer::Says("HTTP/1.1 404 Not Found"); 200]);
    night.store().pause(&operator(), "a test", at(50_000)).await.unwrap();
    let day = 86_400;
    let mut second = 50;
    while second < day + 2_000 {
        turns(&mut teller, &night.receiver, second..second + 1).await;
        second += 60;
    }
    assert!(night.metrics.text().contains(r#"{channel="webhook",status="given_up"} 1"#), "{}", night.metrics.text());
    assert_eq!(night.store().undelivered(&night.channel.name).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_its_receiver_refuses_does_not_keep_others_back() {
    let mut night = Night::begin(WEBHOOK).await;
    night.receiver.will(&[Answer::Says("HTTP/1.1 413 Content Too Large")]);
    night.hold(1, 0).await;
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 0..2).await;
    night.store().pause(&operator(), "a test", at(2_000)).await.unwrap();
    turns(&mut teller, &night.receiver, 2..10).await;
    let cases: Vec<Value> = night.receiver.got().iter().map(|message| message["case"].clone()).collect();
    assert_eq!(cases, ["held", "paused", "held"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_told_only_what_it_asked_for_and_nothing_from_before_it_was_there() {
    let mut night = Night::begin("{ type: slack, url_file: url, on: [paused] }").await;
    night.store().pause(&operator(), "in the past", at(0)).await.unwrap();
    night.store().open_channels(&BTreeSet::new()).await.unwrap();
    night.open().await;
    night.hold(3, 1_000).await;
    night.store().resume(&operator(), "go <!channel> on", at(2_000)).await.unwrap();
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 2..120).await;
    let got = night.receiver.got();
    assert_eq!(got.len(), 1, "{got:#?}");
    let text = got[0]["text"].as_str().unwrap();
    assert!(text.starts_with("Resumed: actions are sent again\n"), "{text}");
    assert!(text.contains("go &lt;!channel&gt; on; by ana"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_told_of_when_it_failed() {
    use stanch::model::{By, Happening};
    let night = Night::begin("{ type: teams, url_file: url }").await;
    for (after, detail) in [("passed", "all is well"), ("failed", "no action came of the alert")] {
        let entry = Entry { after: Some(after), ..Entry::new(Happening::Drill, &By::Stanch, detail, at(0)) };
        night.store().note(&entry).await.unwrap();
    }
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 0..10).await;
    let got = night.receiver.got();
    assert_eq!(got.len(), 1);
    let card = &got[0]["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let text = card["content"].to_string();
    assert!(text.contains("The fire drill failed") && text.contains("no action came of the alert"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_history_that_nobody_is_told_of_is_passed_in_a_few_turns() {
    use stanch::model::{By, Happening};
    let night = Night::begin("{ type: slack, url_file: url, on: [drill] }").await;
    for n in 0..1_200 {
        let detail = format!("token {n}");
        night.store().note(&Entry::new(Happening::TokenCreated, &By::Stanch, &detail, at(n))).await.unwrap();
    }
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 2..3).await;
    let kept = night.store().read_by(&night.channel.name).await.unwrap();
    assert!(kept >= 1_000, "{kept}");
    assert!(night.receiver.got().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_titles_of_an_attacker_call_nobody() {
    let night = Night::begin("{ type: slack, url_file: url }").await;
    let evil = "<!channel> https://evil.test @everyone";
    let record = json!({ "id": machine_id(1).as_str(), "osPlatform": "Windows11", "computerDnsName": evil });
    let machine = Machine::from_record(record.as_object().unwrap().clone()).unwrap();
    night.store().save_machines(&tenant(), &[machine], at(0)).await.unwrap();
    let source = SourceName::new("defender").unwrap();
    night.store().accept(&tenant(), &source, &[incoming(1, evil, at(0))], None, at(0)).await.unwrap();
    night.daemon.decide(&guards(), at(0)).await;
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 0..3).await;
    let text = night.receiver.got()[0].to_string();
    assert!(text.contains("&lt;!channel&gt;"), "{text}");
    for sign in ["<!channel>", "@everyone", "https://evil"] {
        assert!(!text.contains(sign), "{sign} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tells_two_channels_neither_waits_for_the_other_and_the_log_holds_no_secret() {
    let (well, silent) = (Receiver::start().await, Receiver::start().await);
    silent.will(&[Answer::NeverAnswers; 100]);
    let notify = "[{ type: slack, url_file: silent }, { type: teams, url_file: nobody }, \
                   { type: webhook, url_file: well, hmac_file: key, on: [paused] }]";
    let app = TestApp::builder().set("NOTIFY", notify).set("TELEMETRY__LOG", "json").prepare(|_| ()).await;
    std::fs::write(app.path("silent"), &silent.url).unwrap();
    std::fs::write(app.path("well"), &well.url).unwrap();
    std::fs::write(app.path("nobody"), "http://127.0.0.1:1/services/hush-hush").unwrap();
    std::fs::write(app.path("key"), "hush-key\n").unwrap();
    let mut command = stanch(&app, &["run"]);
    command.env("STANCH_LOG", "trace");
    let process = Process::spawn(&app, command);
    wait_for_socket(&app.path("stanch.sock"));
    for (verb, case) in [("pause", "paused"), ("resume", "resumed")] {
        let output = output(&app, &[verb, "--why", "a test"]);
        assert!(output.status.success(), "{output:?}");
        app.until(case, async || well.got().iter().any(|message| message["case"] == case).then_some(())).await;
    }
    let received = well.got.lock().unwrap()[0].clone();
    let signature = received.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("X-Stanch-Signature").then_some(value)
    });
    assert!(verify_hmac(signature, &received.body, &SecretString::from("hush-key"), TestApp::now()));
    let log = app.until("the log tells of the channel that nobody answers", async || {
        let log = std::fs::read_to_string(app.path("log")).ok()?;
        log.contains("a message can not be delivered").then_some(log)
    });
    let log = log.await;
    assert!(log.contains("\"channel\":\"teams\"") && log.contains("127.0.0.1:1"), "{log}");
    assert!(!silent.got().is_empty(), "the silent one was asked too");
    assert!(process.terminate().success());
    let log = std::fs::read_to_string(app.path("log")).unwrap();
    assert!(!log.contains("hush"), "{}", log.lines().find(|line| line.contains("hush")).unwrap());
    let name = ChannelName::new("webhook").unwrap();
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    assert_eq!(store.undelivered(&name).await.unwrap(), 0);
    assert!(store.undelivered(&ChannelName::new("slack").unwrap()).await.unwrap() >= 1, "it is still to be told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protection_that_is_lost_is_told_by_its_name_with_what_to_do() {
    let receiver = Receiver::start().await;
    let notify = "[{ type: webhook, url_file: url, hmac_file: key }]";
    let protect = "title: Leave the till alone\nid: leave-the-till\n\
                   detection: { till: { machine.computerDnsName: till }, condition: till }\nresponse: { action: protect }\n";
    let mut app = TestApp::builder().rules(&[RANSOMWARE, protect]).set("NOTIFY", notify).prepare(|_| ()).await;
    std::fs::write(app.path("url"), &receiver.url).unwrap();
    std::fs::write(app.path("key"), "a key\n").unwrap();
    app.start_daemon().await;
    std::fs::remove_file(app.path("rules/1.yml")).unwrap();
    let shrunk = async || receiver.got().into_iter().find(|message| message["case"] == "rules_shrunk");
    let told = app.until("somebody is told", shrunk).await.to_string();
    for word in ["A protection is lost", "Leave the till alone", "contoso", "stanch rules acknowledge --why"] {
        assert!(told.contains(word), "{word} in {told}");
    }
}

/// However many tellers' turns fall into one moment, a message waits for its distance.
#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_distance() {
    let night = Night::begin(WEBHOOK).await;
    night.store().pause(&operator(), "a test", at(0)).await.unwrap();
    night.store().resume(&operator(), "a test", at(0)).await.unwrap();
    let post = night.post();
    let mut teller = Teller::new(night.store(), &night.channel, &post, Arc::clone(&night.metrics));
    turns(&mut teller, &night.receiver, 0..1).await;
    for millis in [1_000, 1_000, 1_500, 1_999] {
        teller.turn(|_| None, || Moment::from(at(millis))).await.unwrap();
        assert_eq!(night.receiver.got().len(), 1, "{millis}");
    }
    let moment = at(0) + SignedDuration::from_secs(2);
    teller.turn(|_| None, || Moment::from(moment)).await.unwrap();
    assert_eq!(night.receiver.got().len(), 2);
}
