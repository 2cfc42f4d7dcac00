//! The pages of a daemon, asked over its socket and over TCP with a session.

use std::time::Duration;

use axum::http::Method;
use jiff::SignedDuration;
use serde_json::json;

use crate::model::{By, Kind, Machine, MachineId, Role, State as Stage, TenantName};
use crate::store::{Incoming, PassEnd};
use crate::web::testing::{Answer, DEVICE, OTHER_DEVICE, Setup, TestDaemon, read};

const PAGES: [&str; 3] = ["/", "/actions", "/devices"];
const HOSTILE: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";

fn tenant() -> TenantName {
    TenantName::new("contoso").unwrap()
}

fn machine() -> MachineId {
    MachineId::new(DEVICE).unwrap()
}

/// Sees to it that this is a page, whole and clean.
#[track_caller]
fn page(answer: &Answer, status: u16) -> &str {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        answer.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'; script-src 'self'")
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
    let text = &answer.text;
    assert!(text.ends_with("</html>"), "{text}");
    for inline in [" style=", "<style", " onclick=", " onload=", "javascript:"] {
        assert!(!text.contains(inline), "{inline}: {text}");
    }
    assert_eq!(text.matches("<script").count(), text.matches("<script src=\"/assets/").count(), "{text}");
    text
}

/// Sends a form over the socket.
async fn send(daemon: &TestDaemon, path: &str, form: &str) -> Answer {
    daemon.post_text(path, form).await
}

/// Where a form led to.
#[track_caller]
fn led_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location")
}

/// Somebody who is signed in by TCP.
struct Session {
    client: reqwest::Client,
    address: String,
    cookie: String,
    csrf: String,
}

impl Session {
    async fn of(daemon: &TestDaemon, role: Role) -> Self {
        let made = daemon.post("/api/v1/tokens", &json!({"name": role, "role": role, "why": "test"})).await;
        let form = format!("token={}", made.body["token"].as_str().unwrap());
        let client = reqwest::Client::builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        let answer = posted(&client, &format!("http://{}/sign-in", daemon.address), "", form).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let mut session = Self { client, address: daemon.address.clone(), cookie, csrf: String::new() };
        let text = session.get("/").await.text;
        session.csrf = text.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert_ne!(session.csrf, "");
        session
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.client.get(format!("http://{}{path}", self.address)).header("cookie", &self.cookie);
        read(request).await
    }

    async fn send(&self, path: &str, form: &str) -> Answer {
        self.send_without_proof(path, &format!("{form}&csrf={}", self.csrf)).await
    }

    async fn send_without_proof(&self, path: &str, form: &str) -> Answer {
        posted(&self.client, &format!("http://{}{path}", self.address), &self.cookie, form.to_owned()).await
    }

    async fn follow(&self) -> Stream {
        let request = self.client.get(format!("http://{}/live", self.address)).header("cookie", &self.cookie);
        Stream { response: request.send().await.unwrap(), text: String::new() }
    }
}

async fn posted(client: &reqwest::Client, url: &str, cookie: &str, form: String) -> Answer {
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded");
    read(request.header("cookie", cookie).body(form)).await
}

/// Events as they come.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    /// `None` at the end.
    async fn next_event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let bytes = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn every_page_is_there_with_and_without_something_to_show() {
    let daemon = TestDaemon::start().await;
    for path in PAGES {
        let answer = daemon.get(path).await;
        let text = page(&answer, 200);
        assert!(text.contains("aria-current=\"page\""), "{path}");
    }
    let id = daemon.held("contoso", DEVICE).await;
    for path in PAGES.into_iter().filter(|path| *path != "/devices") {
        let answer = daemon.get(path).await;
        assert!(page(&answer, 200).contains(&format!("href=\"/actions/{id}\"")), "{path}");
    }
    let show = daemon.get(&format!("/actions/{id}")).await;
    let text = page(&show, 200);
    for part in ["alert-1e5b", "Timeline", "rule:rule-1", "rule-1", "because", ">Approve<", ">Reject<"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let show = daemon.get(&format!("/devices/{DEVICE}?tenant=contoso")).await;
    let text = page(&show, 200);
    for part in ["pc-1e5b", "Windows11", "alert-1e5b", ">Restrict<"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_understood_is_a_page_that_says_so() {
    let daemon = TestDaemon::start().await;
    let unknown = "0199a000-0000-7000-8000-000000000000";
    for (path, status, says) in [
        (format!("/actions/{unknown}"), 404, "there is no action"),
        ("/actions/nonsense".to_owned(), 400, "id"),
        (format!("/devices/{OTHER_DEVICE}"), 404, "nothing is known of device"),
        ("/devices/..%2f..".to_owned(), 400, "id"),
        ("/actions?state=broken".to_owned(), 400, "state is one of held, queued"),
        ("/actions?kind=x".to_owned(), 400, "kind is one of"),
        ("/actions?tenant=%3Cb%3E".to_owned(), 400, "tenant"),
        ("/actions?since=tomorrow".to_owned(), 400, "24h"),
        ("/actions?cursor=1;DROP".to_owned(), 400, "the cursor is none that a list gave"),
        ("/devices?state=x".to_owned(), 400, "state is one of none"),
        (format!("/devices?device={}", "a".repeat(300)), 400, "at most 255"),
    ] {
        let answer = daemon.get(&path).await;
        assert!(page(&answer, status).contains(says), "{path}: {}", answer.text);
        assert!(answer.text.contains("<nav aria-label=\"Pages\">"), "{path}");
    }
}

#[tokio::test]
async fn whatever_a_name_a_title_or_a_word_holds_is_shown_as_text() {
    let daemon = TestDaemon::start().await;
    let id = daemon.held("contoso", DEVICE).await;
    let (store, now) = (&daemon.work.store, daemon.work.now());
    let record = json!({"id": DEVICE, "computerDnsName": HOSTILE, "osPlatform": "Windows11", "machineTags": [HOSTILE]});
    let device = Machine::from_record(record.as_object().unwrap().clone()).unwrap();
    store.save_machines(&tenant(), &[device], now).await.unwrap();
    store.finish_inventory(&tenant(), PassEnd { began: now, fleet: 1 }, now).await.unwrap();
    let alert = json!({"id": "alert-1e5b", "machineId": DEVICE, "title": HOSTILE, "severity": HOSTILE, "lastUpdateTime": "2026-11-24T06:00:00Z"});
    let alert = Incoming::Alert(crate::intake::parse_mde(alert).unwrap());
    store.accept(&tenant(), &"sentinel".parse().unwrap(), &[alert], None, now).await.unwrap();
    store.reject(id, &By::user("ana"), HOSTILE, now).await.unwrap();
    store.pause(&By::user("ana"), HOSTILE, now).await.unwrap();
    let paths = [
        "/".to_owned(),
        "/actions".to_owned(),
        "/devices?device=script".to_owned(),
        format!("/actions/{id}"),
        format!("/devices/{DEVICE}?x=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
        "/actions?device=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&since=1h".to_owned(),
        "/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
    ];
    for path in paths {
        let answer = daemon.get(&path).await;
        let text = page(&answer, 200);
        assert!(!text.contains("<script>") && !text.contains("<img"), "{path}: {text}");
        assert!(text.contains("script"), "{path}: it is shown: {text}");
    }
}

#[tokio::test]
async fn forms_do_what_they_say_and_lead_back_to_a_page_that_tells_it() {
    let daemon = TestDaemon::start().await;
    let id = daemon.held("contoso", DEVICE).await;
    let store = &daemon.work.store;
    let refused = send(&daemon, &format!("/actions/{id}/approve"), "why=+").await;
    assert!(page(&refused, 400).contains("say why"));
    assert_eq!(store.action(id).await.unwrap().unwrap().state, Stage::Held);

    let approved = send(&daemon, &format!("/actions/{id}/approve"), "why=seen+it&then=/actions%3Fstate%3Dheld").await;
    assert_eq!(led_to(&approved), "/actions?state=held&done=approved");
    let action = store.action(id).await.unwrap().unwrap();
    assert_eq!((action.state, action.history.last().unwrap().detail.as_str()), (Stage::Queued, "seen it"));
    let told = daemon.get("/actions?state=held&done=approved").await;
    assert!(page(&told, 200).contains("role=\"status\">Approved."));
    assert!(!daemon.get("/actions?done=%3Cb%3E").await.text.contains("id=\"done\""));

    let again = send(&daemon, &format!("/actions/{id}/approve"), "why=twice").await;
    page(&again, 409);
    let cancelled = send(&daemon, &format!("/actions/{id}/cancel"), "why=no&then=//evil.example").await;
    assert_eq!(led_to(&cancelled), format!("/actions/{id}?done=cancelled"), "it leads to nowhere else");
    let retried = send(&daemon, &format!("/actions/{id}/retry"), "why=yes").await;
    let new = led_to(&retried).strip_suffix("?done=retried").unwrap().to_owned();
    assert!(page(&daemon.get(&new).await, 200).contains("Tries again"));

    assert_eq!(led_to(&send(&daemon, "/pause", "why=drill").await), "/?done=paused");
    assert!(page(&daemon.get("/").await, 200).contains("<b>Paused.</b>"));
    assert_eq!(led_to(&send(&daemon, "/resume", "why=over").await), "/?done=resumed");
    assert!(store.brake().await.unwrap().is_none());
}

#[tokio::test]
async fn many_that_are_held_are_answered_at_once_and_many_devices_released() {
    let daemon = TestDaemon::start().await;
    let (one, two) = (daemon.held("contoso", DEVICE).await, daemon.held("contoso", OTHER_DEVICE).await);
    let store = &daemon.work.store;
    assert!(page(&daemon.get("/actions").await, 200).contains("rule-1 (2)"));
    page(&send(&daemon, "/actions/approve", "why=x").await, 400);
    page(&send(&daemon, "/actions/approve", "why=x&rule=other").await, 404);
    assert_eq!(led_to(&send(&daemon, "/actions/approve", "why=x&rule=rule-1").await), "/actions?done=approved");
    for id in [one, two] {
        assert_eq!(store.action(id).await.unwrap().unwrap().state, Stage::Queued);
    }
    page(&send(&daemon, "/devices/release", "why=x&ticked=1").await, 400);
    page(&send(&daemon, "/devices/release", "why=x&ticked=1&device=contoso").await, 400);
    page(&send(&daemon, "/devices/release", &format!("why=x&ticked=1&device=other/{DEVICE}")).await, 404);
    let ticked = format!("why=x&ticked=1&device=contoso/{DEVICE}");
    assert_eq!(led_to(&send(&daemon, "/devices/release", &ticked).await), "/devices?done=released");
    assert_eq!(store.action(one).await.unwrap().unwrap().state, Stage::Cancelled);
    assert_eq!(store.action(two).await.unwrap().unwrap().state, Stage::Queued);
    assert_eq!(led_to(&send(&daemon, "/devices/release", "why=x&all=1").await), "/devices?done=released");
    assert_eq!(store.action(two).await.unwrap().unwrap().state, Stage::Cancelled);
}

#[tokio::test]
async fn a_restriction_in_force_gets_a_new_expiry_and_nothing_else_does() {
    let daemon = TestDaemon::start().await;
    let path = format!("/devices/{DEVICE}/extend");
    daemon.knows("contoso", DEVICE, "Windows11").await;
    assert!(page(&send(&daemon, &path, "why=x&for=1h").await, 409).contains("it is not restricted"));
    daemon.restricted("contoso", DEVICE).await;
    assert!(page(&daemon.get("/devices").await, 200).contains("rule-1"));
    let store = &daemon.work.store;
    let expiry = async || store.device(&machine(), None).await.unwrap()[0].expires_at;

    assert_eq!(
        led_to(&send(&daemon, &path, "why=x&for=4h").await),
        format!("/devices/{DEVICE}?tenant=contoso&done=extended")
    );
    let now = daemon.work.now();
    assert_eq!(expiry().await, Some(now + SignedDuration::from_hours(4)));
    send(&daemon, &path, "why=x&for=4h&until=2027-01-01T00:00:00Z").await;
    assert_eq!(expiry().await, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    for bad in ["why=x&until=2020-01-01T00:00:00Z", "why=x&until=soon", "why=x", "for=1h", "why=x&for=long"] {
        let refused = send(&daemon, &path, bad).await;
        assert!([400, 409].contains(&refused.status), "{bad}: {}", refused.text);
    }
    assert_eq!(expiry().await, Some("2027-01-01T00:00:00Z".parse().unwrap()));

    let api = format!("/api/v1{path}");
    daemon.post(&api, &json!({"why": "x", "never": true})).await.ok();
    assert_eq!(expiry().await, None);
    daemon.post(&api, &json!({"why": "x", "for": "2h"})).await.ok();
    assert_eq!(expiry().await, Some(now + SignedDuration::from_hours(2)));
    for body in [
        json!({"why": "x"}),
        json!({"why": "x", "for": "1h", "never": true}),
        json!({"for": "1h"}),
        json!({"why": "x", "until": "soon"}),
    ] {
        daemon.post(&api, &body).await.problem(400);
    }
    store.release_device(&tenant(), &machine(), &By::user("ana"), "x", now).await.unwrap();
    assert!(daemon.post(&api, &json!({"why": "x", "for": "1h"})).await.problem(409).contains("being released"));
}

#[tokio::test]
async fn who_may_not_do_a_thing_is_not_offered_it_and_is_refused_when_asking_all_the_same() {
    let daemon = TestDaemon::start().await;
    let id = daemon.held("contoso", DEVICE).await;
    let viewer = Session::of(&daemon, Role::Viewer).await;
    let operator = Session::of(&daemon, Role::Operator).await;
    let show = format!("/actions/{id}");
    let device = format!("/devices/{DEVICE}");

    let text = viewer.get(&show).await.text;
    assert!(!text.contains(">Approve<") && text.contains("needs the role operator"), "{text}");
    assert!(viewer.get(&device).await.text.contains("needs the role admin"));
    let text = operator.get(&show).await.text;
    assert!(text.contains(">Approve<") && text.contains(">Sign out<"), "{text}");
    assert!(operator.get(&device).await.text.contains("needs the role admin"));

    let refused = viewer.send(&format!("{show}/approve"), "why=x").await;
    assert!(page(&refused, 403).contains("this needs the role operator"));
    page(&operator.send(&format!("{device}/restrict"), "why=x").await, 403);
    page(&operator.send_without_proof(&format!("{show}/approve"), "why=x").await, 403);
    assert_eq!(daemon.work.store.action(id).await.unwrap().unwrap().state, Stage::Held);
    assert_eq!(operator.send(&format!("{show}/approve"), "why=x").await.status, 303);
}

#[tokio::test]
async fn a_theme_is_remembered_and_files_are_kept_for_good() {
    let daemon = TestDaemon::start().await;
    let chosen = send(&daemon, "/theme", "theme=dark&then=/actions").await;
    assert_eq!(led_to(&chosen), "/actions");
    assert!(chosen.header("set-cookie").starts_with("stanch_theme=dark; Path=/; Max-Age="));
    page(&send(&daemon, "/theme", "theme=pink").await, 400);
    let text = daemon.get("/").await.text;
    for end in [".css", ".js"] {
        let name = text.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(end)).unwrap();
        let file = daemon.get_tcp(name).await;
        assert_eq!(file.status, 200);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
    }
    assert_eq!(daemon.get_tcp("/assets/0.css").await.status, 404);
}

#[tokio::test]
async fn the_sign_in_page_says_what_a_token_is_and_what_became_of_the_last_one() {
    let daemon = TestDaemon::start().await;
    let first = daemon.get_tcp("/sign-in?next=/actions").await;
    let text = page(&first, 200);
    assert!(text.contains("type=\"password\"") && text.contains("stanch token create"), "{text}");
    assert!(text.contains("name=\"next\" value=\"/actions\"") && !text.contains("role=\"alert\""), "{text}");
    assert!(page(&daemon.get_tcp("/sign-in?refused=1").await, 200).contains("does not hold"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut last = daemon.request(Method::POST, "/sign-in", &form, "token=wrong").await;
    for _ in 0..10 {
        last = daemon.request(Method::POST, "/sign-in", &form, "token=wrong").await;
    }
    assert!(page(&last, 429).contains("too many"), "{}", last.text);
    assert_ne!(last.header("retry-after"), "");
}

#[tokio::test]
async fn a_page_is_told_when_something_changed_and_the_stream_ends_with_the_daemon() {
    let daemon = TestDaemon::start().await;
    let mut stream = Session::of(&daemon, Role::Viewer).await.follow().await;
    assert!(stream.next_event().await.unwrap().contains("event: hello"));
    let id = daemon.held("contoso", DEVICE).await;
    assert!(stream.next_event().await.unwrap().contains("event: changed"));
    daemon.work.store.reject(id, &By::user("ana"), "x", daemon.work.now()).await.unwrap();
    assert!(stream.next_event().await.unwrap().contains("event: changed"));
    daemon.stop().await;
    assert!(stream.next_event().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_with_the_session() {
    let daemon = TestDaemon::start().await;
    let viewer = Session::of(&daemon, Role::Viewer).await;
    let mut stream = viewer.follow().await;
    assert!(stream.next_event().await.unwrap().contains("event: hello"));
    daemon.clock.advance(Duration::from_secs(13 * 3_600));
    while let Some(event) = stream.next_event().await {
        assert!(!event.contains("event: changed"), "{event}");
    }
}

#[tokio::test]
async fn a_device_is_found_by_a_part_of_its_name() {
    let daemon = TestDaemon::start().await;
    let id = daemon.held("contoso", DEVICE).await;
    for (sought, found) in [
        ("1E5B", true),
        ("pc-1*", true),
        (DEVICE, true),
        ("*5b", true),
        ("pc_1", false),
        ("%25", false),
        ("5b*", false),
    ] {
        let text = daemon.get(&format!("/actions?kind={}&device={sought}", Kind::Restrict)).await.text;
        assert_eq!(text.contains(&id.to_string()), found, "{sought}");
    }
}

#[tokio::test]
async fn a_rule_is_named_by_its_title_as_long_as_it_is_in_force() {
    let rules = "\ntitle: Contain <i>it</i>\nid: rule-1\nlevel: high\n\
                 detection: { s: { category: Ransomware }, condition: s }\nresponse: { action: restrict }\n";
    for (rules, shown) in [(rules, "Contain &#60;i&#62;it&#60;/i&#62;"), ("", "rule-1")] {
        let daemon = TestDaemon::with(Setup { rules, ..Setup::default() }).await;
        daemon.held("contoso", DEVICE).await;
        let named = format!("<span title=\"Rule rule-1\">{shown}</span>");
        for path in ["/", "/actions"] {
            assert!(page(&daemon.get(path).await, 200).contains(&named), "{path}");
        }
    }
}
