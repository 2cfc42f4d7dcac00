//! The real binary with its log in memory, spoken to over its socket, and its file read from outside.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::TestApp;
use crate::support::binary::{Process, stanch};

/// A daemon that is a process of its own.
pub struct Daemon {
    process: Process,
    log: Arc<Mutex<Vec<String>>>,
    store: PathBuf,
    client: reqwest::Client,
}

impl Daemon {
    /// Runs the daemon. Where a write meets the limit of a file's size, it gets an error and no signal: the shell
    /// lets the signal be ignored, and that is passed on.
    pub fn run(app: &TestApp) -> Self {
        let stanch = stanch(app, &["run"]);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(stanch.get_program()).args(stanch.get_args());
        command.env_clear().envs(stanch.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let client = reqwest::Client::builder().unix_socket(app.path("stanch.sock")).build().unwrap();
        Self { process: Process(child), log, store: app.path("stanch.db"), client }
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_none()
    }

    pub fn terminate(self) -> ExitStatus {
        self.process.terminate()
    }

    /// How many lines it has logged.
    pub fn lines(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// How long it has worked: `utime` and `stime` of proc_pid_stat(5), in ticks of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends an alert to its webhook.
    pub async fn send(&self, alert: &Value) -> reqwest::Response {
        let request = self.client.post("http://stanch/hooks/hook").bearer_auth("hook-token").json(alert);
        request.send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://stanch{path}")).send().await.unwrap()
    }

    /// One number out of its store.
    pub async fn number(&self, query: &'static str) -> i64 {
        let options = SqliteConnectOptions::new().filename(&self.store).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
    }
}
