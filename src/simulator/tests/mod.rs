//! The simulator over real HTTP, as a client sees it.

mod calls;
mod trouble;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::{MachineActionId, MachineId, Span, Window};

use super::*;

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const DEVICE: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Hand {
    fn forward(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A simulator on loopback, and a client that has a token.
struct Stand {
    simulator: Simulator,
    clock: Arc<Hand>,
    address: SocketAddr,
    client: reqwest::Client,
    token: String,
    stop: CancellationToken,
}

impl Stand {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body["value"].as_array().unwrap().clone()
    }

    fn act(&self, machine: &str, name: &str) -> RequestBuilder {
        self.request(Method::POST, &format!("/api/machines/{machine}/{name}")).json(&json!({"Comment": "why"}))
    }

    async fn restrict(&self) -> (StatusCode, Value) {
        answer(self.act(DEVICE, "restrictCodeExecution")).await
    }

    async fn release(&self) -> (StatusCode, Value) {
        answer(self.act(DEVICE, "unrestrictCodeExecution")).await
    }

    async fn cancel(&self, id: &str) -> (StatusCode, Value) {
        let path = format!("/api/machineactions/{id}/cancel");
        answer(self.request(Method::POST, &path).json(&json!({"Comment": "no longer wanted"}))).await
    }

    fn ask_token(&self, secret: &str) -> RequestBuilder {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "22222222-2222-4222-8222-222222222222"),
            ("client_secret", secret),
            ("scope", "https://api.securitycenter.microsoft.com/.default"),
        ];
        self.client.post(format!("http://{}/{TENANT}/oauth2/v2.0/token", self.address)).form(&form)
    }

    async fn log_in(&mut self) {
        let (status, body) = answer(self.ask_token("s3cret")).await;
        assert_eq!(status, 200, "{body}");
        self.token = body["access_token"].as_str().unwrap().to_owned();
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or("no code")
}

fn device() -> MachineId {
    MachineId::new(DEVICE).unwrap()
}

fn id_of(body: &Value) -> MachineActionId {
    MachineActionId::new(body["id"].as_str().unwrap()).unwrap()
}

/// Serves a simulator with one workstation while `story` runs, then stops it.
async fn stand<F: Future<Output = ()>>(options: Options, story: impl FnOnce(Stand) -> F) {
    let clock = Arc::new(Hand(AtomicI64::new(1_767_225_600_000)));
    let simulator = Simulator::new(options, clock.clone()).unwrap();
    simulator.add_machine(json!({"id": DEVICE, "computerDnsName": "pc-1"})).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (simulator, stop) = (simulator.clone(), stop.clone());
        async move { simulator.serve(listener, stop).await.unwrap() }
    });
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let mut stand = Stand { simulator, clock, address, client, token: String::new(), stop: stop.clone() };
    stand.log_in().await;
    story(stand).await;
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
