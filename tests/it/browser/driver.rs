//! A small WebDriver client: one Chromium for each test, with its log and what its content policy refused.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// The key under which WebDriver names an element. Source: <https://www.w3.org/TR/webdriver2/#elements>.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keeps what the content policy refuses, over all pages of the console.
const LISTENER: &str = "addEventListener('securitypolicyviolation', event => {
    const kept = JSON.parse(sessionStorage.getItem('refused') || '[]');
    kept.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`);
    sessionStorage.setItem('refused', JSON.stringify(kept));
});";
/// Asks nothing of the network by itself, and forgets all.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--hide-scrollbars",
    "--window-size=1280,900",
];

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A browser at a console.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    origin: String,
    log: Vec<String>,
    _driver: Running,
    _profile: TempDir,
}

/// Where Debian puts them.
pub const CHROMIUM: &str = "/usr/bin/chromium";
pub const DRIVER: &str = "/usr/bin/chromedriver";

/// A thing on the page.
pub struct Element<'b> {
    browser: &'b Browser,
    id: String,
}

impl Browser {
    /// A new browser whose paths are below `origin`.
    pub async fn start(origin: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start_driver(profile.path());
        let http = reqwest::Client::builder().timeout(PATIENCE * 2).tls_certs_only([]).build().unwrap();
        let data = format!("--user-data-dir={}", profile.path().join("data").display());
        let arguments: Vec<&str> = FLAGS.into_iter().chain([data.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let made = ask(http.post(&base).json(&wanted)).await.unwrap();
        let session = format!("{base}/{}", made["sessionId"].as_str().unwrap());
        let origin = origin.to_owned();
        let browser = Self { http, session, origin, log: Vec::new(), _driver: driver, _profile: profile };
        browser.developer("Page.enable", json!({})).await;
        browser.developer("Page.addScriptToEvaluateOnNewDocument", json!({ "source": LISTENER })).await;
        browser
    }

    /// Goes to a path of the console.
    pub async fn go(&self, path: &str) {
        self.post("url", json!({ "url": format!("{}{path}", self.origin) })).await;
    }

    /// The path of the page that is shown, with its query.
    pub async fn path(&self) -> String {
        self.run("return location.pathname + location.search").await.as_str().unwrap().to_owned()
    }

    /// What a script on the page returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The first thing that a CSS selector names; waits until there is one.
    pub async fn find(&self, css: &str) -> Element<'_> {
        self.until(&format!("there is {css}"), async || self.look_for(css).await).await
    }

    /// The first thing that a CSS selector names, if there is one now.
    pub async fn look_for(&self, css: &str) -> Option<Element<'_>> {
        let found = self.try_post("element", json!({ "using": "css selector", "value": css })).await.ok()?;
        Some(Element { browser: self, id: found[ELEMENT].as_str()?.to_owned() })
    }

    /// How many things a CSS selector names now.
    pub async fn count(&self, css: &str) -> usize {
        let found = self.post("elements", json!({ "using": "css selector", "value": css })).await;
        found.as_array().unwrap().len()
    }

    /// All the text that is shown.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// Waits until the page shows this text.
    pub async fn shows(&self, text: &str) {
        self.until(&format!("the page shows {text:?}"), async || self.text().await.contains(text).then_some(())).await;
    }

    /// Presses a key on whatever has the focus. Source of the code points:
    /// <https://www.w3.org/TR/webdriver2/#keyboard-actions>.
    pub async fn press(&self, key: Key) {
        let key = key.code();
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.post("actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})).await;
    }

    /// Waits for something that must come, by looking again and again.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                self.screenshot("in-vain").await;
                panic!("waited in vain until {what}; {} shows: {}", self.path().await, self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As for people who like it dark, or not.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.developer("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A screen of that many CSS pixels.
    pub async fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.developer("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Keeps the whole page as `target/browser/<name>.png`, however long it is.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let taken = self.developer("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()).unwrap();
        path
    }

    /// Sees to it that no page had anything to complain of so far.
    pub async fn is_clean(&mut self) {
        let rows = self.post("se/log", json!({ "type": "browser" })).await;
        let grave = rows.as_array().unwrap().iter().filter(|row| row["level"] == "SEVERE" || row["level"] == "WARNING");
        self.log.extend(grave.map(|row| row["message"].as_str().unwrap().to_owned()));
        assert_eq!(self.log, Vec::<String>::new(), "the browser's log");
        let refused = self.run("return sessionStorage.getItem('refused')").await;
        assert_eq!(refused, Value::Null, "the content policy");
    }

    /// A command of the browser's developer protocol.
    pub async fn developer(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_post(&self, path: &str, body: Value) -> Result<Value, String> {
        ask(self.http.post(format!("{}/{path}", self.session)).json(&body)).await
    }

    /// Ends the browser in good order.
    pub async fn quit(self) {
        ask(self.http.delete(&self.session)).await.unwrap();
    }
}

impl Element<'_> {
    /// Clicks on it, as a person with a mouse would: it must be visible and nothing before it.
    pub async fn click(&self) {
        self.post("click", json!({})).await;
    }

    /// Writes into it.
    pub async fn write(&self, text: &str) {
        self.post("value", json!({ "text": text })).await;
    }

    async fn post(&self, verb: &str, body: Value) {
        self.browser.post(&format!("element/{}/{verb}", self.id), body).await;
    }
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    Tab,
    Enter,
}

impl Key {
    const fn code(self) -> &'static str {
        match self {
            Self::Tab => "\u{e004}",
            Self::Enter => "\u{e007}",
        }
    }
}

/// Starts the driver on a port that it chooses, and reads which.
fn start_driver(folder: &Path) -> (Running, u16) {
    let mut child = Command::new(DRIVER)
        .arg("--port=0")
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Debian's chromium-driver is installed");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let driver = Running(child);
    for line in lines.map_while(Result::ok) {
        let port = line.split_once("started successfully on port ").map(|(_, port)| port.trim_end_matches('.').parse());
        if let Some(Ok(port)) = port {
            return (driver, port);
        }
    }
    panic!("the driver does not say its port");
}

/// The value of an answer, or the driver's error.
async fn ask(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let good = response.status().is_success();
    let mut answer: Value = response.json().await.map_err(|error| error.to_string())?;
    if good { Ok(answer["value"].take()) } else { Err(answer["value"]["message"].to_string()) }
}
