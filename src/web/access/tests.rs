//! The doors, over real connections.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{Row as _, SqlitePool};

use super::failures::MOST_OF_AN_ADDRESS;
use crate::web::testing::{Answer, DEVICE, Log, TestDaemon};

/// No token is this one.
const WRONG: &str = "stanch_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl TestDaemon {
    /// Makes a token over the socket, and gives its document.
    async fn made(&self, name: &str, role: &str) -> Value {
        self.post("/api/v1/tokens", &json!({"name": name, "role": role, "why": "a test"})).await.ok()
    }

    async fn token(&self, name: &str, role: &str) -> String {
        self.made(name, role).await["token"].as_str().unwrap().to_owned()
    }

    async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.request(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    async fn post_as(&self, token: &str, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, &[("authorization", &format!("Bearer {token}"))], body.to_string()).await
    }

    async fn form(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        self.request(Method::POST, path, &[&kind, headers].concat(), form.to_owned()).await
    }

    /// Signs in, and gives the cookie.
    async fn signed_in(&self, token: &str) -> String {
        let answer = self.form("/sign-in", &[], &format!("token={token}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// The proof that the page of a session carries in its forms.
    async fn proof(&self, cookie: &str) -> String {
        let page = self.request(Method::GET, "/", &[("cookie", cookie)], "").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let field = page.text.split_once("name=\"csrf\" value=\"").expect("a form").1;
        field.split('"').next().unwrap().to_owned()
    }

    /// What the audit has of these: who, from where, and why.
    async fn audit(&self, what: &str) -> Vec<(String, Option<String>, String)> {
        let store = SqlitePool::connect(&format!("sqlite:{}", self.work.config.store.display())).await.unwrap();
        let rows = sqlx::query("SELECT by, origin, detail FROM audit WHERE what = ?1 ORDER BY seq").bind(what);
        let rows = rows.fetch_all(&store).await.unwrap();
        rows.iter().map(|row| (row.get("by"), row.get("origin"), row.get("detail"))).collect()
    }
}

fn local() -> Option<String> {
    Some("127.0.0.1".to_owned())
}

#[tokio::test]
async fn each_role_may_do_its_own_and_what_the_smaller_ones_may() {
    let daemon = TestDaemon::start().await;
    let [viewer, operator, admin] = [
        daemon.token("vera", "viewer").await,
        daemon.token("otto", "operator").await,
        daemon.token("ana", "admin").await,
    ];
    let held = daemon.held("contoso", DEVICE).await;
    let (why, approve) = (json!({"why": "seen"}), format!("/api/v1/actions/{held}/approve"));
    for token in [&viewer, &operator, &admin] {
        assert_eq!(daemon.get_as(token, "/api/v1/status").await.status, 200);
        assert_eq!(daemon.get_as(token, "/api/v1/alerts").await.header("cache-control"), "no-store");
    }
    let no = daemon.post_as(&viewer, &approve, why.clone()).await;
    assert_eq!(no.problem(403), "this needs the role operator, and vera is viewer");
    let action = daemon.post_as(&operator, &approve, why.clone()).await.ok();
    assert_eq!(action["history"][1]["by"], "token:otto");

    assert_eq!(daemon.post_as(&operator, "/api/v1/pause", why.clone()).await.status, 200);
    let no = daemon.post_as(&operator, "/api/v1/resume", why.clone()).await;
    assert_eq!(no.problem(403), "this needs the role admin, and otto is operator");
    assert!(daemon.work.store.brake().await.unwrap().is_some());
    assert_eq!(daemon.post_as(&admin, "/api/v1/resume", why.clone()).await.status, 200);
    assert_eq!(daemon.audit("paused").await, [("token:otto".to_owned(), local(), "seen".to_owned())]);
    assert_eq!(daemon.audit("resumed").await, [("token:ana".to_owned(), local(), "seen".to_owned())]);

    let restrict = format!("/api/v1/devices/{DEVICE}/restrict");
    daemon.post_as(&operator, &restrict, why.clone()).await.problem(403);
    for token in [&viewer, &operator] {
        daemon.get_as(token, "/api/v1/tokens").await.problem(403);
        daemon.post_as(token, "/api/v1/tokens", json!({"name": "x", "role": "viewer", "why": "x"})).await.problem(403);
        daemon.post_as(token, "/api/v1/tokens/ana/revoke", why.clone()).await.problem(403);
    }
    assert_eq!(daemon.get_as(&admin, "/api/v1/tokens").await.ok()["items"].as_array().unwrap().len(), 3);
    let me = json!({"name": "vera", "role": "viewer", "from": "127.0.0.1"});
    assert_eq!(daemon.get_as(&viewer, "/api/v1/whoami").await.ok(), me);
    let me = daemon.get("/api/v1/whoami").await.ok();
    assert_eq!((&me["role"], &me["from"]), (&json!("admin"), &json!("socket")));
}

#[tokio::test]
async fn without_a_token_there_is_nothing_and_what_is_open_stays_open() {
    let daemon = TestDaemon::start().await;
    for path in ["/api/v1/status", "/api/v1/whoami", "/api/v1/nothing", "/api/v1/pause", "/api/v1/actions/x/approve"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = daemon.request(method, path, &[], "{}").await;
            answer.problem(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    let token = daemon.token("vera", "viewer").await;
    daemon.get_as(&token, "/api/v1/nothing").await.problem(404);
    daemon.get_as(&token, "/api/v1/pause").await.problem(405);
    assert_eq!(daemon.get_tcp("/healthz").await.status, 200);
    assert_eq!(daemon.get_tcp("/metrics").await.status, 200);
    assert_eq!(daemon.audit("sign_in_refused").await, [], "nothing was presented");
}

#[tokio::test]
async fn a_token_ends_at_once_when_it_expires_or_is_revoked_and_so_do_its_sessions() {
    let daemon = TestDaemon::start().await;
    let short = json!({"name": "brief", "role": "admin", "expires_in": "1h", "why": "an hour's work"});
    let made = daemon.post("/api/v1/tokens", &short).await.ok();
    let brief = made["token"].as_str().unwrap();
    let (ana, bob) = (daemon.token("ana", "admin").await, daemon.token("bob", "viewer").await);
    let cookies = [daemon.signed_in(brief).await, daemon.signed_in(&ana).await];
    let status = async |cookie: &str| daemon.request(Method::GET, "/api/v1/status", &[("cookie", cookie)], "").await;
    for cookie in &cookies {
        assert_eq!(status(cookie).await.status, 200);
    }
    daemon.clock.advance(Duration::from_secs(3_600));
    let told = daemon.get_as(brief, "/api/v1/status").await;
    assert!(told.problem(401).starts_with("the token has expired"), "{}", told.text);
    status(&cookies[0]).await.problem(401);
    assert_eq!(status(&cookies[1]).await.status, 200);

    let revoked = daemon.post("/api/v1/tokens/ana/revoke", &json!({"why": "left the company"})).await.ok();
    assert_eq!((&revoked["state"], revoked.get("token")), (&json!("revoked"), None));
    let told = daemon.get_as(&ana, "/api/v1/status").await;
    assert!(told.problem(401).starts_with("the token was revoked"), "{}", told.text);
    status(&cookies[1]).await.problem(401);
    assert!(daemon.form("/sign-in", &[], &format!("token={ana}")).await.header("location").contains("refused=1"));
    assert_eq!(daemon.get_as(&bob, "/api/v1/status").await.status, 200, "the others go on");

    let again = daemon.post("/api/v1/tokens/ana/revoke", &json!({"why": "x"})).await;
    assert!(again.problem(409).contains("was revoked already"), "{}", again.text);
    for unknown in ["nobody", "0197a000-0000-7000-8000-000000000001", "%2e%2e%2fana", "ANA"] {
        daemon.post(&format!("/api/v1/tokens/{unknown}/revoke"), &json!({"why": "x"})).await.problem(404);
    }
    daemon.post("/api/v1/tokens/bob/revoke", &json!({})).await.problem(400);
    let refused = daemon.audit("sign_in_refused").await;
    let of = |name: &str, why: &str| (format!("token:{name}"), local(), why.to_owned());
    let revoked = of("ana", "the token was revoked");
    assert_eq!(refused, [of("brief", "the token has expired"), revoked.clone(), revoked]);
    assert_eq!(daemon.audit("token_revoked").await[0].2, "ana (admin): left the company");
}

#[tokio::test]
async fn a_name_is_one_tokens_and_free_again_when_that_has_ended() {
    let daemon = TestDaemon::start().await;
    let first = daemon.made("ana", "viewer").await;
    let same = json!({"name": "ana", "role": "admin", "why": "x"});
    let no = daemon.post("/api/v1/tokens", &same).await;
    assert!(no.problem(409).contains("a token ana is in force"), "{}", no.text);
    daemon.post(&format!("/api/v1/tokens/{}/revoke", first["id"].as_str().unwrap()), &json!({"why": "x"})).await.ok();
    daemon.made("ana", "viewer").await;
    daemon.clock.advance(Duration::from_secs(90 * 86_400));
    let third = daemon.made("ana", "admin").await;
    let listed = daemon.get("/api/v1/tokens?limit=2").await.ok();
    assert_eq!(listed["items"][0]["id"], third["id"]);
    assert_eq!(listed["items"][1]["state"], "expired");
    let rest = daemon.get(&format!("/api/v1/tokens?cursor={}", listed["next_cursor"].as_str().unwrap())).await.ok();
    assert_eq!((&rest["items"][0]["id"], &rest["next_cursor"]), (&first["id"], &Value::Null));
    let ended = daemon.post("/api/v1/tokens/ana/revoke", &json!({"why": "x"})).await.ok();
    assert_eq!(ended["id"], third["id"], "a name is that of the one in force");
}

#[tokio::test]
async fn what_is_asked_for_has_to_make_sense() {
    let daemon = TestDaemon::start().await;
    let good = json!({"name": "ana", "role": "viewer", "expires_in": "400d", "why": "x"});
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    for bad in [
        with("name", json!("Ana")),
        with("name", json!("user:root")),
        with("name", json!("")),
        with("name", json!("a".repeat(65))),
        with("role", json!("root")),
        with("expires_in", json!("401d")),
        with("expires_in", json!("0s")),
        with("expires_in", json!("-1d")),
        with("expires_in", json!(3_600)),
        with("why", json!("  ")),
        with("more", json!(1)),
        json!([]),
    ] {
        daemon.post("/api/v1/tokens", &bad).await.problem(400);
    }
    daemon.get("/api/v1/tokens?state=x").await.problem(400);
    daemon.get("/api/v1/tokens?limit=x").await.problem(400);
    assert_eq!(daemon.get("/api/v1/tokens").await.ok()["items"], json!([]));
    daemon.post("/api/v1/tokens", &good).await.ok();
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_once_an_hour() {
    let daemon = TestDaemon::start().await;
    let token = daemon.token("ana", "viewer").await;
    let used = async || daemon.get("/api/v1/tokens").await.ok()["items"][0]["last_used_at"].clone();
    assert_eq!(used().await, Value::Null);
    daemon.get_as(&token, "/api/v1/status").await.ok();
    let first = used().await;
    assert_eq!(first, json!(daemon.work.now()));
    daemon.clock.advance(Duration::from_secs(3_599));
    daemon.get_as(&token, "/api/v1/status").await.ok();
    assert_eq!(used().await, first);
    daemon.clock.advance(Duration::from_secs(1));
    daemon.get_as(&token, "/api/v1/status").await.ok();
    assert_eq!(used().await, json!(daemon.work.now()));
}

#[tokio::test]
async fn who_guesses_is_refused_without_a_look_and_the_audit_stays_short() {
    let daemon = TestDaemon::start().await;
    let good = daemon.token("ana", "viewer").await;
    let cookie = daemon.signed_in(&good).await;
    for _ in 0..MOST_OF_AN_ADDRESS {
        daemon.get_as(WRONG, "/api/v1/status").await.problem(401);
    }
    for _ in 0..20 {
        let limited = daemon.get_as(WRONG, "/api/v1/status").await;
        assert!(limited.problem(429).contains("try again in 60 s"), "{}", limited.text);
        assert_eq!(limited.header("retry-after"), "60");
    }
    daemon.get_as(&good, "/api/v1/status").await.ok();
    assert_eq!(daemon.form("/sign-in", &[], &format!("token={good}")).await.status, 303, "who holds one is let in");
    daemon.form("/sign-in", &[], &format!("token={WRONG}")).await.refusal_page(429);
    let page = daemon.request(Method::GET, "/api/v1/status", &[("cookie", &cookie)], "").await;
    assert_eq!(page.status, 200, "who is signed in goes on");
    assert_eq!(daemon.get("/api/v1/status").await.status, 200, "and so does the socket");
    let refused = daemon.audit("sign_in_refused").await;
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert_eq!(refused[0], ("token:?".to_owned(), local(), "there is no such token".to_owned()));
    assert!(refused[3].2.contains("10 failures within a minute"), "{refused:?}");

    daemon.clock.advance(Duration::from_secs(60));
    assert_eq!(daemon.get_as(&good, "/api/v1/status").await.status, 200);
}

#[tokio::test]
async fn headers_that_are_bent_open_nothing() {
    let daemon = TestDaemon::start().await;
    let token = daemon.token("ana", "admin").await;
    let two = format!(
        "GET /api/v1/status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut latin = b"GET /api/v1/status HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer ".to_vec();
    latin.extend([0xff, 0xfe, b'\r', b'\n', b'\r', b'\n']);
    for raw in [two.as_bytes(), &latin] {
        let answer = daemon.write_raw(raw).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    daemon.clock.advance(Duration::from_secs(60));
    let long = format!("Bearer {}", "x".repeat(10_000));
    for bent in [
        "",
        "Bearer",
        "Bearer ",
        &format!("Basic {token}"),
        &format!("Token {token}"),
        &format!("Bearer {token}, Bearer {token}"),
        &format!("Bearer {}", token.to_lowercase()),
        &format!("Bearer {}", token.trim_start_matches("stanch_")),
        &long,
    ] {
        let answer = daemon.request(Method::GET, "/api/v1/status", &[("authorization", bent)], "").await;
        answer.problem(401);
        assert!(!answer.text.contains(token.trim_start_matches("stanch_")), "{}", answer.text);
    }
    daemon.clock.advance(Duration::from_secs(60));
    let forwarded = [("authorization", format!("bearer {token}")), ("x-forwarded-for", "10.9.8.7".to_owned())];
    let headers: Vec<(&str, &str)> = forwarded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let me = daemon.request(Method::GET, "/api/v1/whoami", &headers, "").await.ok();
    assert_eq!(me["from"], "127.0.0.1", "nobody says by himself where he is");
}

#[tokio::test]
async fn a_token_that_is_wrong_is_not_mended_by_a_session() {
    let daemon = TestDaemon::start().await;
    let cookie = daemon.signed_in(&daemon.token("ana", "admin").await).await;
    let wrong = format!("Bearer {WRONG}");
    let headers = [("cookie", cookie.as_str()), ("authorization", &wrong)];
    daemon.request(Method::GET, "/api/v1/status", &headers, "").await.problem(401);
}

#[tokio::test]
async fn somebody_signs_in_looks_around_and_signs_out() {
    let daemon = TestDaemon::start().await;
    let token = daemon.token("ana", "operator").await;
    let asked = daemon.get_tcp("/?x=%22&y=a%26b").await;
    assert_eq!((asked.status, asked.header("location")), (303, "/sign-in?next=%2F%3Fx%3D%2522%26y%3Da%2526b"));

    let no = daemon.form("/sign-in", &[], &format!("token={WRONG}&next=%2Factions")).await;
    assert_eq!((no.status, no.header("location")), (303, "/sign-in?refused=1&next=%2Factions"));
    assert_eq!(no.header("set-cookie"), "");
    for elsewhere in ["https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let yes = daemon.form("/sign-in", &[], &format!("token={token}&next={elsewhere}")).await;
        assert_eq!((yes.status, yes.header("location")), (303, "/"), "{elsewhere}");
    }
    let yes = daemon.form("/sign-in", &[], &format!("token=+{token}%0A&next=%2Factions%3Fstate%3Dheld")).await;
    assert_eq!((yes.status, yes.header("location")), (303, "/actions?state=held"));
    let set = yes.header("set-cookie").to_owned();
    assert!(set.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"), "{set}");
    let cookie = set.split(';').next().unwrap();

    let page = daemon.request(Method::GET, "/", &[("cookie", cookie)], "").await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"), "{}", page.text);
    assert!(page.text.contains("ana") && !page.text.contains(cookie.split_once('=').unwrap().1));

    let proof = daemon.proof(cookie).await;
    daemon.form("/sign-out", &[("cookie", cookie)], "").await.refusal_page(403);
    let out = daemon.form("/sign-out", &[("cookie", cookie)], &format!("csrf={proof}&then=%2F")).await;
    assert_eq!((out.status, out.header("location")), (303, "/sign-in"), "{}", out.text);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(daemon.request(Method::GET, "/", &[("cookie", cookie)], "").await.status, 303);
    assert_eq!(daemon.form("/sign-out", &[("cookie", cookie)], "").await.status, 303, "once more changes nothing");

    let ana = "token:ana".to_owned();
    assert_eq!(daemon.audit("signed_in").await.len(), 4);
    assert!(daemon.audit("signed_in").await.iter().all(|(by, from, _)| *by == ana && *from == local()));
    assert_eq!(daemon.audit("signed_out").await, [(ana, local(), "signed out".to_owned())]);
}

#[tokio::test]
async fn a_session_lasts_for_a_shift_and_not_longer_than_its_token() {
    let daemon = TestDaemon::start().await;
    let cookie = daemon.signed_in(&daemon.token("ana", "viewer").await).await;
    daemon.clock.advance(Duration::from_secs(12 * 3_600 - 1));
    assert_eq!(daemon.request(Method::GET, "/", &[("cookie", &cookie)], "").await.status, 200);
    daemon.clock.advance(Duration::from_secs(1));
    assert_eq!(daemon.request(Method::GET, "/", &[("cookie", &cookie)], "").await.status, 303);

    let short = json!({"name": "brief", "role": "viewer", "expires_in": "10m", "why": "x"});
    let made = daemon.post("/api/v1/tokens", &short).await.ok();
    let answer = daemon.form("/sign-in", &[], &format!("token={}", made["token"].as_str().unwrap())).await;
    assert!(answer.header("set-cookie").contains("; Max-Age=600"), "{}", answer.header("set-cookie"));
}

#[tokio::test]
async fn another_site_can_not_use_who_is_signed_in() {
    let daemon = TestDaemon::start().await;
    let cookie = daemon.signed_in(&daemon.token("ana", "admin").await).await;
    let other = daemon.signed_in(&daemon.token("bob", "admin").await).await;
    let (proof, foreign_proof) = (daemon.proof(&cookie).await, daemon.proof(&other).await);
    let body = json!({"why": "x"}).to_string();
    let pause = async |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], headers].concat();
        daemon.request(Method::POST, "/api/v1/pause", &headers, body.clone()).await
    };
    for wrong in [&[][..], &[("x-csrf-token", "")], &[("x-csrf-token", &foreign_proof)]] {
        pause(wrong).await.problem(403);
    }
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        pause(&[("x-csrf-token", &proof), foreign]).await.problem(403);
    }
    assert!(daemon.work.store.brake().await.unwrap().is_none());
    let origin = format!("http://{}", daemon.address);
    let own = [("x-csrf-token", proof.as_str()), ("origin", &origin), ("sec-fetch-site", "same-origin")];
    assert_eq!(pause(&own).await.status, 200);

    // Neither signs another site anybody in, nor out, nor does it send a form of the console.
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    daemon.form("/sign-in", &foreign, &format!("token={WRONG}")).await.refusal_page(403);
    daemon.form("/sign-out", &foreign, &format!("csrf={proof}")).await.refusal_page(403);
    assert_eq!(daemon.form("/theme", &foreign, &format!("csrf={proof}&theme=dark")).await.status, 403);
    let ours = [("cookie", cookie.as_str())];
    assert_eq!(daemon.form("/theme", &ours, &format!("csrf={foreign_proof}&theme=dark")).await.status, 403);
    assert_eq!(daemon.form("/theme", &ours, &format!("csrf={proof}&theme=dark")).await.status, 303);
}

#[tokio::test]
async fn a_link_from_elsewhere_is_asked_again_from_here_and_a_script_is_not_led_away() {
    let daemon = TestDaemon::start().await;
    let path = "/?device=%22%3E%3Cscript%3E&x='<";
    let answer = daemon.request(Method::GET, path, &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("http-equiv=\"refresh\""), "{}", answer.text);
    assert!(!answer.text.contains("<script"), "{}", answer.text);
    let from_here = daemon.request(Method::GET, "/", &[("sec-fetch-site", "same-origin")], "").await;
    assert_eq!(from_here.header("location"), "/sign-in?next=%2F");
    daemon.request(Method::GET, "/", &[("accept", "text/event-stream")], "").await.problem(401);
    let posted = daemon.form("/theme", &[], "theme=dark").await;
    assert_eq!((posted.status, posted.header("location")), (303, "/sign-in"));
}

#[tokio::test]
async fn a_form_that_is_none_or_too_long_is_refused_without_its_words() {
    let daemon = TestDaemon::start().await;
    for form in ["", "next=%2F", "tok"] {
        let answer = daemon.form("/sign-in", &[], form).await;
        assert!(answer.refusal_page(422).contains("the field token"), "{}", answer.text);
    }
    let long = daemon.form("/sign-in", &[], &format!("token={}", "x".repeat(100_000))).await;
    assert!(long.status == 413 && !long.text.contains("xxx"), "{}", long.text);
    let text = daemon.request(Method::POST, "/sign-in", &[], format!("token={WRONG}")).await;
    assert!(!text.text.contains(WRONG), "{}", text.text);
    text.refusal_page(415);
}

#[tokio::test]
async fn no_secret_is_kept_or_told_again() {
    let daemon = TestDaemon::start().await;
    let (log, _guard) = Log::collect();
    let token = daemon.token("ana", "admin").await;
    let cookie = daemon.signed_in(&token).await;
    let proof = daemon.proof(&cookie).await;
    daemon.form("/sign-out", &[("cookie", &cookie)], &format!("csrf={proof}")).await;
    daemon.get_as(&token, "/api/v1/status").await.ok();
    daemon.get_as(WRONG, "/api/v1/status").await.problem(401);
    let listed = daemon.get_as(&token, "/api/v1/tokens").await.text;
    let (store, log) = (daemon.work.config.store.clone(), log.text());
    assert!(log.contains("an API token was made"), "{log}");
    let mut kept = [listed, log, format!("{:?}", daemon.work)].concat().into_bytes();
    daemon.work.store.close().await;
    for file in std::fs::read_dir(store.parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            kept.extend(std::fs::read(path).unwrap());
        }
    }
    let secrets = [token.trim_start_matches("stanch_"), cookie.split_once('=').unwrap().1, &proof];
    for secret in secrets.into_iter().chain([WRONG.trim_start_matches("stanch_")]) {
        assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    assert!(kept.windows(3).any(|window| window == b"ana"), "it was looked at");
}
