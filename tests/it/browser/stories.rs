//! What people do at the console.

use serde_json::{Value, json};
use stanch::model::State;
use stanch::model::view::Restriction;
use stanch::simulator::Scenario;
use stanch::store::DeviceFilter;

use super::{Browser, Key, browser, do_it, is_at_hand, sign_in};
use crate::support::{TestApp, machine, machine_id, ransomware};

const WORKSTATIONS: &str = include_str!("../../../config/rules/ransomware-on-workstations.yml");
const SERVERS: &str = include_str!("../../../config/rules/protect-servers.yml");
const WITH_APPROVAL: &str = "
title: Contain ransomware once somebody agrees
id: contain-with-approval
level: critical
detection: { ransomware: { category: Ransomware }, condition: ransomware }
response: { action: restrict, approval: required }
";
const HOSTILE: &str = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>";
const PAGES: [&str; 6] = ["/", "/actions", "/devices", "/alerts", "/rules", "/audit"];

/// How many devices the page Now says are restricted.
async fn restricted_on_page(browser: &Browser) -> usize {
    let script = "return document.querySelector('.figures a[href=\"/devices\"] b').textContent";
    browser.run(script).await.as_str().unwrap().trim().parse().unwrap()
}

async fn restricted_in_store(app: &TestApp) -> usize {
    let filter = DeviceFilter { restriction: Some(Restriction::Restricted), ..DeviceFilter::default() };
    app.store().devices(&filter, None, 1_000).await.unwrap().items.len()
}

/// Waits until nothing is to be decided or sent. What was sent to a device that is switched off goes on waiting.
async fn all_sent(app: &TestApp) {
    app.until("all is sent", async || {
        let undecided = app.store().undecided_count().await.unwrap();
        let waiting = [State::Queued, State::Sending, State::Uncertain];
        let waits = app.actions().await.iter().any(|action| waiting.contains(&action.state));
        (undecided == 0 && !waits).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbreak_is_watched_live() {
    if !is_at_hand() {
        return;
    }
    let builder = TestApp::builder().rules(&[WORKSTATIONS, SERVERS]).set("LIMITS__RESTRICT", "[{ calls: 5, per: 1s }]");
    let app = builder.simulator(|options| {
        options.scenario = Scenario::Outbreak;
        options.devices = 60;
        options.time_scale = 5.0;
    });
    let app = app.start(|_| {}).await;
    app.store().pause(&TestApp::operator(), "until somebody looks", TestApp::now()).await.unwrap();
    let mut browser = browser(&app).await;
    sign_in(&browser, &app, "ana", "viewer").await;
    browser.shows("Paused").await;
    browser.screenshot("outbreak-1-paused").await;
    browser.run("window.isTheSamePage = true").await;
    let before = restricted_on_page(&browser).await;

    app.store().resume(&TestApp::operator(), "go", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    let mut seen = before;
    for more in [1, 8, 15] {
        let grown = browser.until("the number grows", async || {
            Some(restricted_on_page(&browser).await).filter(|now| *now >= before + more)
        });
        let now = grown.await;
        assert!(now >= seen);
        seen = now;
        browser.screenshot(&format!("outbreak-2-after-{more}")).await;
    }
    all_sent(&app).await;
    let all = restricted_in_store(&app).await;
    browser.until("all are shown", async || (restricted_on_page(&browser).await >= all).then_some(())).await;
    assert_eq!(browser.run("return window.isTheSamePage").await, Value::Bool(true), "it was never loaded anew");
    browser.screenshot("outbreak-3-contained").await;
    for page in PAGES.into_iter().skip(1) {
        browser.go(page).await;
        browser.screenshot(&format!("outbreak-4{}", page.replace('/', "-"))).await;
    }
    browser.find("main tbody a").await;
    browser.go("/alerts").await;
    browser.find("main tbody a[href^='/alerts/']").await.click().await;
    browser.shows("Decisions").await;
    browser.screenshot("outbreak-5-alert").await;
    browser.find("a[href*='/explanation']").await.click().await;
    browser.shows("What each rule and guard says now").await;
    browser.screenshot("outbreak-6-explanation").await;
    browser.is_clean().await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_action_is_approved_with_a_reason_and_the_device_becomes_restricted() {
    if !is_at_hand() {
        return;
    }
    let app = TestApp::builder().rules(&[WITH_APPROVAL]).start(|simulator| {
        simulator.add_machine(machine(1)).unwrap();
        simulator.add_alert(ransomware("da1", 1)).unwrap();
    });
    let app = app.await;
    let action = app.action_in(State::Held).await;
    let mut browser = browser(&app).await;
    sign_in(&browser, &app, "ana", "operator").await;
    browser.shows("Waiting for a human").await;
    browser.screenshot("held-1-waits").await;

    let form = format!("form[action='/actions/{}/approve']", action.id);
    browser.find(&format!("{form} button:not([formaction])")).await.click().await;
    let why_is_missing = format!("return document.querySelector(\"{form} [name=why]\").validity.valueMissing");
    assert_eq!(browser.run(&why_is_missing).await, Value::Bool(true), "nothing is sent without a reason");
    assert_eq!(app.actions().await[0].state, State::Held);

    do_it(&browser, &form, "button:not([formaction])", "seen on two screens").await;
    browser.shows("Approved.").await;
    browser.screenshot("held-2-approved").await;
    let done = app.action_in(State::Succeeded).await;
    let approval = done.history.iter().find(|step| step.by == "token:ana").unwrap();
    assert!(approval.detail.contains("seen on two screens"), "{approval:?}");
    browser.go("/devices").await;
    browser.shows("pc-1.contoso.test").await;
    browser.find("main .badge.is-restricted").await;
    browser.screenshot("held-3-restricted").await;
    browser.go("/audit").await;
    browser.shows("seen on two screens").await;
    browser.is_clean().await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_released_from_the_list() {
    if !is_at_hand() {
        return;
    }
    let app = TestApp::builder().start(|simulator| {
        simulator.add_machine(machine(1)).unwrap();
        simulator.add_alert(ransomware("da1", 1)).unwrap();
    });
    let app = app.await;
    app.action_in(State::Succeeded).await;
    let mut browser = browser(&app).await;
    sign_in(&browser, &app, "ben", "operator").await;
    browser.go("/devices").await;
    browser.find("tbody input[name=device]").await.click().await;
    browser.screenshot("release-1-ticked").await;
    do_it(&browser, "form[action='/devices/release']", "button", "it is clean again").await;
    browser.shows("Released, or a release is queued").await;
    app.until("the device is free at Microsoft's", async || {
        let rows = app.simulator.machine_actions(&machine_id(1));
        let free = |row: &&Value| row["type"] == "UnrestrictCodeExecution" && row["status"] == "Succeeded";
        rows.iter().any(|row| free(&row)).then_some(())
    })
    .await;
    browser.shows("No device is restricted").await;
    browser.screenshot("release-2-free").await;
    assert_eq!(restricted_in_store(&app).await, 0);
    browser.is_clean().await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_look_sees_no_buttons_and_hostile_words_are_text() {
    if !is_at_hand() {
        return;
    }
    let app = TestApp::builder().start(|simulator| {
        let mut hostile = machine(1);
        hostile["computerDnsName"] = json!(HOSTILE);
        simulator.add_machine(hostile).unwrap();
        let mut alert = ransomware("da1", 1);
        alert["title"] = json!(HOSTILE);
        simulator.add_alert(alert).unwrap();
    });
    let app = app.await;
    app.action_in(State::Succeeded).await;
    let mut browser = browser(&app).await;
    sign_in(&browser, &app, "vera", "viewer").await;
    for page in PAGES.into_iter().chain(["/alerts/da1", "/alerts/da1/explanation"]) {
        browser.go(page).await;
        browser.find("main h1").await;
        assert_eq!(browser.count("main form[method=post] button").await, 0, "{page}");
        assert_eq!(browser.run("return window.owned === undefined").await, Value::Bool(true), "{page}");
    }
    browser.go("/alerts").await;
    assert!(browser.text().await.contains("<script>window.owned"), "{}", browser.text().await);
    browser.screenshot("viewer-1-hostile").await;

    for (name, dark, width) in [("light-narrow", false, 400), ("dark-wide", true, 1280), ("dark-narrow", true, 400)] {
        browser.dark(dark).await;
        browser.size(width, 900).await;
        for page in PAGES.into_iter().chain(["/alerts/da1"]) {
            browser.go(page).await;
            let file = format!("viewer-2-{name}{}", page.replace('/', "-"));
            browser.screenshot(&file).await;
            let wide = browser.run("return document.documentElement.scrollWidth").await.as_u64().unwrap();
            assert!(wide <= u64::from(width), "{page} is {wide} wide on a screen of {width}");
        }
    }
    browser.is_clean().await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_leads_to_the_page_and_to_the_others() {
    if !is_at_hand() {
        return;
    }
    let app = TestApp::builder().start(|_| {}).await;
    let mut browser = browser(&app).await;
    sign_in(&browser, &app, "kim", "viewer").await;
    browser.go("/rules").await;
    browser.press(Key::Tab).await;
    assert_eq!(browser.run("return document.activeElement.className").await, json!("skip"));
    browser.screenshot("keyboard-1-skip").await;
    browser.press(Key::Enter).await;
    let in_main = async || (browser.run("return document.activeElement.id").await == json!("main")).then_some(());
    browser.until("the page itself has the focus", in_main).await;

    browser.go("/rules").await;
    let mut stops = Vec::new();
    for _ in 0..12 {
        browser.press(Key::Tab).await;
        let text = browser.run("return document.activeElement.textContent").await.as_str().unwrap().trim().to_owned();
        if text == "Alerts" {
            break;
        }
        stops.push(text);
    }
    browser.screenshot("keyboard-2-focus").await;
    browser.press(Key::Enter).await;
    let there = async || (browser.path().await == "/alerts").then_some(());
    browser.until(&format!("the page Alerts is there; before it: {stops:?}"), there).await;
    browser.is_clean().await;
    browser.quit().await;
}
