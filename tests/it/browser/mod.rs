//! The console in a real Chromium, over WebDriver: what people see, click and type, with its screenshots in
//! `target/browser/`. In each story the browser's log and the content policy have nothing to complain of.

mod driver;
mod stories;

use std::path::Path;

use driver::{Browser, Key};

use crate::support::{TestApp, binary};

/// Whether there is a browser to drive. Where there is none the story is left out and says so, unless
/// `TESTS_LEAVE_NOTHING_OUT` is set, as `.ci/run` does.
#[allow(clippy::print_stdout)] // what is left out is said where the tests are run
fn is_at_hand() -> bool {
    let missing: Vec<&str> =
        [driver::CHROMIUM, driver::DRIVER].into_iter().filter(|at| !Path::new(at).exists()).collect();
    assert!(
        missing.is_empty() || std::env::var_os("TESTS_LEAVE_NOTHING_OUT").is_none(),
        "there is no {}",
        missing.join(" and no ")
    );
    if !missing.is_empty() {
        println!("left out: there is no {} (apt-get install chromium chromium-driver)", missing.join(" and no "));
    }
    missing.is_empty()
}

/// A browser at the console of that daemon, before anybody signed in.
async fn browser(app: &TestApp) -> Browser {
    Browser::start(app.hooks().strip_suffix("/hooks/hook").unwrap()).await
}

/// A new token, as `stanch token create` prints it.
fn token(app: &TestApp, name: &str, role: &str) -> String {
    let arguments = ["token", "create", "--name", name, "--role", role, "--why", "a shift"];
    let made = binary::output(app, &arguments);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// Signs in with a new token, as the page asks for it.
async fn sign_in(browser: &Browser, app: &TestApp, name: &str, role: &str) {
    browser.go("/").await;
    assert!(browser.path().await.starts_with("/sign-in"), "nobody sees a page before signing in");
    browser.find("input[name=token]").await.write(&token(app, name, role)).await;
    browser.find("main button").await.click().await;
    browser.until("the page Now is there", async || (browser.path().await == "/").then_some(())).await;
    browser.find("nav a[aria-current=page]").await;
}

/// Writes a reason into the form that a selector names, and presses its button.
async fn do_it(browser: &Browser, form: &str, button: &str, why: &str) {
    browser.find(&format!("{form} [name=why]")).await.write(why).await;
    browser.find(&format!("{form} {button}")).await.click().await;
}
