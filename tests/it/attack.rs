//! Who stands at the door and means no good, against the real daemon over loopback: nobody else is kept waiting,
//! memory stays within bounds, and what is refused says why.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use stanch::clock::{Clock as _, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::strangers::SOURCES;
use crate::support::binary::{Process, wait_for_socket};
use crate::support::{TestApp, machine, ransomware};

/// How much more memory an attack may cost, in MiB: that of the bodies that are taken in at once.
const MOST_MORE_MIB: f64 = 200.0;

/// The head of a request to the webhook, but for how long its body is.
const HEAD: &str = "POST /hooks/hook HTTP/1.1\r\nHost: stanch\r\nAuthorization: Bearer hook-token\r\n";

/// The real daemon, and where it listens.
struct Target {
    app: TestApp,
    process: Process,
    address: String,
    client: reqwest::Client,
}

impl Target {
    async fn start() -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let app = TestApp::builder().without_polling().set("SOURCES", SOURCES).set("SERVER__LISTEN", &address);
        let app = app.prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
        let process = Process::run(&app);
        wait_for_socket(&app.path("stanch.sock"));
        let target = Self { app, process, address, client: reqwest::Client::new() };
        target.app.until("it listens", async || TcpStream::connect(&target.address).await.is_ok().then_some(())).await;
        target
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Resident memory in MiB.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
    }

    /// Writes bytes as they are and gives what comes back until the other end closes.
    async fn write(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The other end may have heard enough.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    /// Sends an alert in a connection of its own, which must be taken.
    async fn is_taken(&self, id: &str) {
        let client = reqwest::Client::new();
        let request = client.post(format!("http://{}/hooks/hook", self.address)).bearer_auth("hook-token");
        let answer = timeout(Duration::from_secs(8), request.json(&ransomware(id, 1)).send()).await;
        assert_eq!(answer.expect("nobody is kept waiting").unwrap().status(), 202);
    }

    /// The alerts that it has.
    async fn alerts(&self) -> Vec<String> {
        let items = self.api("/api/v1/alerts?limit=200").await.1["items"].as_array().unwrap().clone();
        items.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    }

    /// `GET` over the socket.
    async fn api(&self, path: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().unix_socket(self.app.path("stanch.sock")).build().unwrap();
        let answer = client.get(format!("http://stanch{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Sends a body with a signature of `age_secs` ago.
    async fn send_signed(&self, body: &str, age_secs: i64) -> u16 {
        let time = SystemClock.now().as_second() - age_secs;
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"hook-token");
        let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.send_with(&format!("t={time},v1={hex}"), body).await
    }

    async fn send_with(&self, signature: &str, body: &str) -> u16 {
        let request = self.client.post(format!("http://{}/hooks/signed", self.address));
        let answer = request.header("X-Stanch-Signature", signature).body(body.to_owned()).send().await;
        answer.unwrap().status().as_u16()
    }
}

/// What comes until the other end closes, which must be soon.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it too; what came before it counts.
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer; 0 when there is none.
fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    line.map_or(0, |status| status.parse().unwrap())
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut_off_and_others_are_served_meanwhile() {
    let target = Target::start().await;
    let mut slow = JoinSet::new();
    let head = format!("{HEAD}Content-Length: 1000\r\n\r\n");
    for number in 0..40 {
        let mut stream = target.connect().await;
        let (begin, is_body) = match number % 2 {
            0 => ("GET /healthz HTTP/1.1\r\nHost: stanch\r\nX-Slow: ".to_owned(), false),
            _ => (head.clone(), true),
        };
        slow.spawn(async move {
            let begun = Instant::now();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let (mut reads, mut writes) = stream.split();
            let dribble = async {
                while writes.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let mut answer = Vec::new();
            tokio::select! {
                _ = reads.read_to_end(&mut answer) => {}
                () = dribble => {}
            }
            (begun.elapsed(), is_body, String::from_utf8_lossy(&answer).into_owned())
        });
    }
    target.is_taken("meanwhile").await;
    while let Some(ended) = slow.join_next().await {
        let (took, is_body, answer) = ended.unwrap();
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(!is_body || [408, 503].contains(&status(&answer)), "{answer}");
    }
    target.is_taken("afterwards").await;
}

#[tokio::test]
async fn a_crowd_that_asks_for_nothing_keeps_nobody_out() {
    let target = Target::start().await;
    let before = target.resident();
    let mut crowd = Vec::new();
    for _ in 0..1_500 {
        match timeout(Duration::from_secs(5), TcpStream::connect(&target.address)).await {
            Ok(Ok(stream)) => crowd.push(stream),
            _ => break,
        }
    }
    assert!(crowd.len() > 600, "more than there are places for: {}", crowd.len());
    target.is_taken("through the crowd").await;
    assert!(target.resident() - before < MOST_MORE_MIB, "{before} to {}", target.resident());
    drop(crowd);
    target.is_taken("when it is gone").await;
}

#[tokio::test]
async fn a_body_without_end_is_refused_within_bounds() {
    let target = Target::start().await;
    let before = target.resident();
    let mut senders = JoinSet::new();
    for _ in 0..8 {
        let mut stream = target.connect().await;
        senders.spawn(async move {
            stream.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
            let (mut reads, mut writes) = stream.split();
            let endless = async { while writes.write_all(chunk.as_bytes()).await.is_ok() {} };
            let mut answer = vec![0; 512];
            let got = async { reads.read(&mut answer).await.unwrap_or(0) };
            let read = tokio::select! {
                read = got => read,
                () = async { endless.await; std::future::pending().await } => 0,
            };
            String::from_utf8_lossy(&answer[..read]).into_owned()
        });
    }
    target.is_taken("meanwhile").await;
    while let Some(answer) = senders.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(status(&answer), 413, "{answer}");
    }
    assert!(target.resident() - before < MOST_MORE_MIB, "{before} to {}", target.resident());
}

#[tokio::test]
async fn an_announced_length_beyond_all_bounds_is_refused_before_any_body() {
    let target = Target::start().await;
    // The last number that fits is the HTTP library's own sign for "none", which it answers as too large a head.
    let lengths = [
        ("99999999999", 413),
        ("18446744073709551615", 431),
        ("99999999999999999999999", 400),
        ("-1", 400),
        ("0x10", 400),
    ];
    for (length, expected) in lengths {
        let request = format!("{HEAD}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let answer = target.write(request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{length}: {answer}");
    }
    target.is_taken("afterwards").await;
}

/// Bytes as gzip(1) packs them.
fn packed(bytes: &'static [u8], times: usize) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = gzip.stdin.take().unwrap();
    let writing = std::thread::spawn(move || (0..times).for_each(|_| into.write_all(bytes).unwrap()));
    let packed = gzip.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    packed
}

#[tokio::test]
async fn a_compressed_bomb_is_opened_no_further_than_a_body_may_be_long() {
    let target = Target::start().await;
    let bomb = packed(&[b' '; 1 << 20], 200);
    assert!(bomb.len() < 1 << 20);
    let before = target.resident();
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = target.client.post(format!("http://{}/hooks/hook", target.address)).bearer_auth("hook-token");
        request.header("Content-Encoding", encoding).body(body).send().await.unwrap()
    };
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        assert_eq!(send(encoding, bomb.clone()).await.status(), 413, "{encoding}");
        assert_eq!(send(encoding, b"{}".to_vec()).await.status(), 400, "{encoding}");
    }
    for encoding in ["deflate", "br", "gzip, identity", "gzip, gzip"] {
        let answer = send(encoding, bomb.clone()).await;
        assert_eq!(answer.status(), 415, "{encoding}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding"), "{problem}");
    }
    let unsaid = target.client.post(format!("http://{}/hooks/hook", target.address)).bearer_auth("hook-token");
    assert_eq!(unsaid.body(bomb).send().await.unwrap().status(), 400, "as it is, it is no JSON");
    assert!(target.resident() - before < 50.0, "{before} to {}", target.resident());
    let plain = ransomware("plain", 1).to_string().into_bytes();
    assert_eq!(send("identity", plain).await.status(), 202);
    assert_eq!(send("gzip", packed(br#"[{"id": "packed"}]"#, 1)).await.status(), 202);
    let mut alerts = target.alerts().await;
    alerts.sort_unstable();
    assert_eq!(alerts, ["packed", "plain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_from_one_address_that_never_ends_its_bodies_keeps_nobody_out() {
    let target = Target::start().await;
    let before = target.resident();
    let forms = [
        "POST /hooks/signed HTTP/1.1\r\nHost: stanch\r\nX-Stanch-Signature: t=0,v1=00\r\n",
        "POST /sign-in HTTP/1.1\r\nHost: stanch\r\nContent-Type: application/x-www-form-urlencoded\r\n",
    ];
    let mut crowd = Vec::new();
    for number in 0..700 {
        let head = forms[number % 2].replace("t=0", &format!("t={}", SystemClock.now().as_second()));
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(5), TcpStream::connect(&target.address)).await else {
            break;
        };
        let _ = stream.write_all(format!("{head}Content-Length: 1000\r\n\r\nx").as_bytes()).await;
        crowd.push(stream);
    }
    assert!(crowd.len() > 600, "more than there are places for: {}", crowd.len());
    target.is_taken("through the crowd").await;
    assert_eq!(target.send_signed(&ransomware("signed", 1).to_string(), 0).await, 202);
    assert!(target.resident() - before < MOST_MORE_MIB, "{before} to {}", target.resident());
}

#[tokio::test]
async fn a_request_that_names_two_hosts_or_none_is_refused_and_so_is_another_protocol() {
    let target = Target::start().await;
    for (version, hosts, expected) in [
        ("1.1", "Host: stanch\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Host: stanch\r\nHost: stanch\r\n", 400),
        ("1.1", "Host: stanch\r\nHost: other\r\n", 400),
        ("1.1", "Host: me@stanch\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: stanch\r\nHost: other\r\n", 400),
    ] {
        let request = format!("GET /healthz HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = target.write(request.as_bytes()).await.replacen("HTTP/1.0", "HTTP/1.1", 1);
        assert_eq!(status(&answer), expected, "{hosts}: {answer}");
    }
    // HTTP/2 with prior knowledge: its preface, and an empty frame of settings.
    let answer = target.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(answer.is_empty() || (400..600).contains(&status(&answer)), "{answer:?}");
}

#[tokio::test]
async fn every_answer_says_that_it_is_what_it_says() {
    let target = Target::start().await;
    for path in
        ["/healthz", "/metrics", "/api/v1/status", "/api/v1/openapi.json", "/hooks/hook", "/nothing", "/sign-in"]
    {
        let answer = target.client.get(format!("http://{}{path}", target.address)).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        assert!(!answer.headers().contains_key("strict-transport-security"), "there is no TLS: {path}");
    }
}

#[tokio::test]
async fn one_who_follows_many_pages_is_told_that_these_are_enough() {
    let target = Target::start().await;
    let client = reqwest::Client::builder().unix_socket(target.app.path("stanch.sock")).build().unwrap();
    let mut followed = Vec::new();
    for _ in 0..16 {
        let answer = client.get("http://stanch/live").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        followed.push(answer);
    }
    assert_eq!(client.get("http://stanch/live").send().await.unwrap().status(), 503);
    drop(followed);
    let again = async || (client.get("http://stanch/live").send().await.unwrap().status() == 200).then_some(());
    target.app.until("there is room again", again).await;
}

#[tokio::test]
async fn garbage_behind_a_good_request_harms_only_itself() {
    let target = Target::start().await;
    let body = ransomware("good", 1).to_string();
    let good = format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len());
    let garbage: [&[u8]; 5] = [
        b"\x00\x01\x02\xff\xfe garbage\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET \xff\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for bytes in garbage {
        let both = [good.as_bytes(), bytes, b"\r\n\r\n"].concat();
        let answer = target.write(&both).await;
        assert_eq!(status(&answer), 202, "{answer}");
        assert!(!answer.contains("HTTP/1.1 5") && answer.matches("HTTP/1.1 202").count() == 1, "{answer}");
        let alone = target.write(&[bytes, b"\r\n\r\n"].concat()).await;
        assert!(status(&alone) < 500, "{alone}");
    }
    target.is_taken("afterwards").await;
    assert_eq!(target.alerts().await.len(), 2);
}

#[tokio::test]
async fn a_signature_that_comes_again_does_nothing_twice_and_an_old_one_nothing() {
    let target = Target::start().await;
    let body = ransomware("signed", 1).to_string();
    for _ in 0..3 {
        assert_eq!(target.send_signed(&body, 10).await, 202);
    }
    assert_eq!(target.send_signed(&body, 290).await, 202);
    for age in [302, 3_600, -302, -3_600] {
        assert_eq!(target.send_signed(&body, age).await, 401, "{age} s old");
    }
    let time = SystemClock.now().as_second();
    for signature in
        ["", "t=,v1=", "v1=00", &format!("t={time},v1={}", "0".repeat(64)), &format!("t={time}"), "t=9e99,v1=00"]
    {
        assert_eq!(target.send_with(signature, &body).await, 401, "{signature}");
    }
    assert_eq!(target.alerts().await, ["signed"]);
    let actions = async || target.api("/api/v1/actions").await.1["items"].as_array().unwrap().len();
    target.app.until("it is decided", async || (actions().await > 0).then_some(())).await;
    assert_eq!(actions().await, 1);
}

#[tokio::test]
async fn a_path_leads_nowhere_but_to_what_is_there() {
    let target = Target::start().await;
    let paths = [
        "/hooks/../hooks/other",
        "/hooks/%2e%2e/metrics",
        "/hooks/..%2f..%2fetc%2fpasswd",
        "/hooks/hook%00",
        "/hooks/%ff",
        "//hooks/hook",
        "/hooks/hook/",
        "/hooks/hook%2f",
        "/hooks/HOOK",
        "/hooks/",
        "/hooks/hook;a=b",
        "/hooks/%68%6f%6f",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/../../hooks/none",
        "*",
        "http://other/hooks/none",
        "/hooks/hook\\..\\x",
    ];
    let body = ransomware("lost", 1).to_string();
    for path in paths {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: stanch\r\nAuthorization: Bearer hook-token\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = target.write(request.as_bytes()).await;
        assert!((400..500).contains(&status(&answer)), "{path}: {answer}");
    }
    let long = format!("POST /hooks/{} HTTP/1.1\r\nHost: stanch\r\nConnection: close\r\n\r\n", "a".repeat(100_000));
    assert!((400..500).contains(&status(&target.write(long.as_bytes()).await)));
    assert_eq!(target.alerts().await.len(), 0);
}

#[tokio::test]
async fn headers_that_contradict_each_other_or_overflow_are_refused() {
    let target = Target::start().await;
    let body = ransomware("odd", 1).to_string();
    let with = |headers: &str, body: &str| format!("{HEAD}Connection: close\r\n{headers}\r\n\r\n{body}").into_bytes();
    let two = with(&format!("Content-Length: {}\r\nContent-Length: 3", body.len()), &body);
    assert_eq!(status(&target.write(&two).await), 400);
    let smuggled = "0\r\n\r\nPOST /hooks/hook HTTP/1.1\r\nHost: stanch\r\nAuthorization: Bearer hook-token\r\n\
                    Content-Length: 14\r\n\r\n{\"id\":\"inner\"}";
    let both = with(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}", smuggled.len()), smuggled);
    let answer = target.write(&both).await;
    assert!((400..500).contains(&status(&answer)) && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    let giant = with(&format!("X-Giant: {}", "x".repeat(1 << 20)), "");
    assert_eq!(status(&target.write(&giant).await), 431);
    let many: Vec<String> = (0..500).map(|n| format!("X-{n}: x")).collect();
    assert_eq!(status(&target.write(&with(&many.join("\r\n"), "")).await), 431);
    for bad in [&b"Authorization: Bearer \xff\xfe"[..], b"Authorization: Bearer", b"Authorization: \xf0\x9f\x92\xa9"] {
        let request = [b"POST /hooks/hook HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", bad, b"\r\n\r\n"].concat();
        assert_eq!(status(&target.write(&request).await), 401, "{bad:?}");
    }
    for bad in [&b"Bad Name: x"[..], b"X: a\x00b", b": x", b"X\x7f: y"] {
        let request = [b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", bad, b"\r\n\r\n"].concat();
        assert_eq!(status(&target.write(&request).await), 400, "{bad:?}");
    }
    assert_eq!(target.alerts().await.len(), 0);
    target.is_taken("afterwards").await;
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_gives_a_page_or_a_no() {
    let target = Target::start().await;
    let alerts: Vec<Value> = (0..5).map(|n| ransomware(&format!("alert-{n}"), 1)).collect();
    let request = target.client.post(format!("http://{}/hooks/hook", target.address)).bearer_auth("hook-token");
    assert_eq!(request.json(&json!(alerts)).send().await.unwrap().status(), 202);
    for list in ["alerts", "actions", "devices", "audit"] {
        let (_, first) = target.api(&format!("/api/v1/{list}?limit=2")).await;
        let cursor = first["next_cursor"].as_str().unwrap_or("2").to_owned();
        let mut tampered: Vec<String> = (0..cursor.len()).map(|end| cursor[..end].to_owned()).collect();
        let odd = [
            "-1",
            "0",
            "9223372036854775807",
            "18446744073709551616",
            "1e9",
            "null",
            "%00",
            "%ff",
            "%27%20OR%201=1--",
            "..%2f",
            "2&cursor=3",
        ];
        tampered.extend(odd.map(str::to_owned));
        tampered.extend([cursor.clone() + "A", cursor.to_uppercase(), "A".repeat(5_000)]);
        for cursor in tampered {
            let (status, answer) = target.api(&format!("/api/v1/{list}?limit=2&cursor={cursor}")).await;
            assert!([200, 400, 404].contains(&status), "{list} {cursor}: {status} {answer}");
        }
        for limit in ["0", "-1", "100000000000000000000", "x", ""] {
            let (status, answer) = target.api(&format!("/api/v1/{list}?limit={limit}")).await;
            assert!([200, 400, 404].contains(&status), "{list} {limit}: {status} {answer}");
            assert!(answer["items"].as_array().is_none_or(|items| items.len() <= 200), "{answer}");
        }
    }
}
