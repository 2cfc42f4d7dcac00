//! The simulator as a person starts it.

use std::io::{self, Write};

use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    setup: Setup,
}

fn setup(words: &str) -> Result<Setup, String> {
    let words = std::iter::once("simulate").chain(words.split_whitespace());
    Line::try_parse_from(words).map(|line| line.setup).map_err(|error| error.to_string())
}

/// A writer that hands each write on, and tells how often it was flushed.
struct Pipe(mpsc::UnboundedSender<Option<String>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Some(String::from_utf8(bytes.to_vec()).unwrap())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.send(None).map_err(io::Error::other)
    }
}

/// What was printed up to the next flush.
async fn flushed(printed: &mut mpsc::UnboundedReceiver<Option<String>>) -> String {
    let mut text = String::new();
    while let Some(Some(more)) = printed.recv().await {
        text.push_str(&more);
    }
    text
}

/// Simulates while `story` runs with the address, and gives what was printed before and after.
async fn simulated(words: &str, json: bool, story: impl AsyncFnOnce(&str)) -> (String, String) {
    let setup = setup(&format!("--listen 127.0.0.1:0 {words}")).unwrap();
    let (pipe, mut printed) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel::<()>();
    let mut pipe = Pipe(pipe);
    let mut out = Screen::new(&mut pipe, false, None);
    let person = async {
        let welcome = flushed(&mut printed).await;
        let url = welcome.split(['"', ' ', '\n', ':']).find(|word| word.starts_with("//127")).unwrap();
        let port = welcome.split(url).nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).nth(1).unwrap();
        story(&format!("http:{url}:{port}")).await;
        end.send(()).unwrap();
        welcome
    };
    let stop = async { ended.await.unwrap() };
    let (exit, welcome) = tokio::join!(simulate(&setup, json, &mut out, stop), person);
    assert_eq!(exit.unwrap(), Exit::Done);
    out.flush().unwrap();
    (welcome, flushed(&mut printed).await)
}

async fn read_ledger(url: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{url}/simulator/ledger")).send().await.unwrap();
    assert_eq!(client.get(format!("{url}/api/machines")).send().await.unwrap().status(), 401);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_with_what_it_saw() {
    let mut address = String::new();
    let (welcome, farewell) = simulated("--devices 3", false, async |url| {
        assert_eq!(read_ledger(url).await["calls"], json!([]));
        address = url.to_owned();
    })
    .await;
    insta::assert_snapshot!(welcome.replace(&address, "URL"), @r#"
    listening on URL: 3 devices, scenario outbreak, seed 1

    In the config, for a tenant
        api_url: URL
        login_url: URL
        graph_url: URL
      tenant_id is any GUID, client_id anything, and every secret, certificate and token is taken

    What it has seen
      URL/simulator/ledger

    Ctrl-C or SIGTERM ends it
    "#);
    assert_eq!(farewell, "calls: machines 1; devices restricted: 0; 429s of the simulator's own: 0\n");
}

#[tokio::test]
async fn json_is_a_line_at_the_start_and_one_at_the_end() {
    let mut address = String::new();
    let (welcome, farewell) = simulated("--devices 3", true, async |url| {
        read_ledger(url).await;
        address = url.to_owned();
    })
    .await;
    assert_eq!(welcome, format!("{{\"listening\":\"{address}\"}}\n"));
    let summary = json!({"calls": {"machines": 1}, "calls_no_longer_kept": 0, "restricted": 0, "genuine_429s": 0});
    assert_eq!(serde_json::from_str::<Value>(&farewell).unwrap(), json!({ "summary": summary }));
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let setup = setup(&format!("--listen {address}")).unwrap();
    let mut out = Vec::new();
    let error = simulate(&setup, false, &mut Screen::new(&mut out, false, None), std::future::pending()).await;
    assert_eq!(error.unwrap_err().to_string(), format!("can not listen on {address}"));
    assert_eq!(out, b"");
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_design() {
    let setup = setup("").unwrap();
    assert_eq!((setup.listen.to_string().as_str(), setup.devices, setup.seed), ("127.0.0.1:8788", 200, 1));
    assert_eq!((setup.scenario, setup.latency), (Scenario::Outbreak, Duration::ZERO));
    assert!(setup.faults.is_empty());
    assert!((setup.options().time_scale - 1.0).abs() < f64::EPSILON);
}

#[test]
fn faults_add_up_and_latency_has_a_unit_or_none() {
    let setup = setup("--fault throttle=0.5 --fault cut_after=0.1 --latency 50 --scenario empty --seed 7").unwrap();
    assert_eq!(setup.options().faults, [(Fault::Throttle, 0.5), (Fault::CutAfter, 0.1)]);
    assert_eq!((setup.options().latency, setup.options().seed), (Duration::from_millis(50), 7));
    assert_eq!(setup.scenario, Scenario::Empty);
    assert_eq!(latency("2s").unwrap(), Duration::from_secs(2));
}

#[test]
fn what_can_not_be_meant_is_refused_with_the_mend() {
    for (words, mend) in [
        ("--listen 0.0.0.0:8788", "loopback"),
        ("--listen 192.0.2.7:8788", "loopback"),
        ("--listen 8788", "127.0.0.1:8788"),
        ("--listen localhost", "127.0.0.1:8788"),
        ("--scenario outbrake", "'outbreak'"),
        ("--fault trottle=0.1", "throttle"),
        ("--fault throttle=2", "0 to 1"),
        ("--latency=-5", "50ms"),
        ("--latency soon", "50ms"),
        ("--time-scale 0", "0.001"),
        ("--time-scale NaN", "0.001"),
        ("--devices many", "--devices"),
    ] {
        let refused = setup(words).unwrap_err();
        assert!(refused.contains(mend), "{words}: {refused}");
    }
}
