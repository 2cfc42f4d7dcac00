//! Each way to sign in, what goes wrong with it, and how it is mended without a restart.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKey;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use serde_json::{Value, json};
use stanch::model::{State, TenantName};
use stanch::simulator::{Api, Federation, Simulator, Tokens};
use tokio::net::TcpListener;

use crate::support::binary::{Process, stanch};
use crate::support::{TestApp, machine, machine_id, ransomware};

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const CLIENT: &str = "22222222-2222-4222-8222-222222222222";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const SUBJECT: &str = "system:serviceaccount:stanch:stanch";
const ISSUER: &str = "https://oidc.example/contoso/";

/// A certificate that ends so many days from now, and its key.
struct Made {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Made {
    fn days(days: i64) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(vec!["stanch".to_owned()]).unwrap();
        let end = jiff::tz::TimeZone::UTC.to_datetime(TestApp::now() + jiff::SignedDuration::from_hours(24 * days));
        params.not_before = date_time_ymd(2020, 1, 1);
        let (month, day) = (u8::try_from(end.month()).unwrap(), u8::try_from(end.day()).unwrap());
        params.not_after = date_time_ymd(i32::from(end.year()), month, day);
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// Puts both into place, as whoever rotates them does.
    fn put(&self, app: &TestApp) {
        write(&app.path("app.crt"), &self.certificate.pem());
        write(&app.path("app.key"), &self.key.serialize_pem());
    }

    fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Another identity provider.
struct Provider(RsaKey);

impl Provider {
    fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        Self(RsaKey::from_pkcs8(&key.serialize_der()).unwrap())
    }

    fn trusted(&self) -> Federation {
        let public_key = self.0.public_key().as_ref().to_vec();
        let text = str::to_owned;
        Federation { issuer: text(ISSUER), subject: text(SUBJECT), audience: text(AUDIENCE), public_key }
    }

    /// A token of `subject` that ends so many seconds from now.
    fn token(&self, subject: &str, seconds: i64) -> String {
        let now = TestApp::now().as_second();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": AUDIENCE, "iat": now - 7_200, "exp": now + seconds
        });
        let text = format!("{}.{}", part(json!({ "alg": "RS256", "kid": "1" })), part(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A simulator with an alert on a device, and a configuration that signs in so.
async fn signing_in_by(credential: &str, tell: impl FnOnce(&Simulator)) -> TestApp {
    let builder = TestApp::builder().set("TENANTS__0__CREDENTIAL", credential);
    let prepared = builder.prepare(|simulator| {
        simulator.add_machine(machine(1)).unwrap();
        simulator.add_alert(ransomware("1234", 1)).unwrap();
        tell(simulator);
    });
    prepared.await
}

const BY_CERTIFICATE: &str = "{ certificate_file: app.crt, key_file: app.key }";
const BY_FEDERATION: &str = "{ federated_token_file: token }";

/// Runs the real daemon until the device is restricted, with one sign-in for all its loops.
async fn contains_the_device(app: &TestApp) {
    let daemon = Process::run(app);
    app.until("the device is restricted", async || {
        app.simulator.ledger().restricted.contains(&machine_id(1)).then_some(())
    })
    .await;
    assert_eq!(app.simulator.ledger().of(Api::Token).count(), 1);
    daemon.kill();
}

async fn printed(app: &TestApp, arguments: &[&str]) -> (i32, String) {
    let mut command = stanch(app, arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

/// Why the tenant can not be worked with, once that is known and is about `words`.
async fn sick_with(app: &TestApp, words: &str) -> String {
    app.until(&format!("the tenant is sick with {words}"), async || {
        let tenant = app
            .work()
            .board
            .tenants(app.work().steady())
            .into_iter()
            .find(|tenant| tenant.name == TestApp::tenant())?;
        tenant.error.filter(|error| error.contains(words))
    })
    .await
}

async fn well(app: &TestApp) {
    app.until("the tenant is well", async || {
        let tenants = app.work().board.tenants(app.work().steady());
        tenants.iter().any(|tenant| tenant.name == TestApp::tenant() && tenant.ready).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_signs_in() {
    let made = Made::days(300);
    let app = signing_in_by(BY_CERTIFICATE, |simulator| {
        simulator.accept_certificate(CLIENT, made.der()).unwrap();
    })
    .await;
    made.put(&app);
    contains_the_device(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_signs_in() {
    let provider = Provider::new();
    let app = signing_in_by(BY_FEDERATION, |simulator| {
        simulator.accept_federation(CLIENT, provider.trusted());
    })
    .await;
    write(&app.path("token"), &provider.token(SUBJECT, 3_600));
    contains_the_device(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_identity_signs_in() {
    let app = signing_in_by("{ managed_identity: true }", |simulator| {
        simulator.assign_identity(TENANT, "another");
        simulator.assign_identity(TENANT, CLIENT);
    })
    .await;
    contains_the_device(&app).await;
    let ledger = app.simulator.ledger();
    let asked = ledger.of(Api::Token).next().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/metadata/identity/oauth2/token"));
    let requestor = &ledger.actions[0].comment;
    assert!(requestor.contains("alert 1234"), "{requestor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_rotated_without_a_restart() {
    let (first, second) = (Made::days(300), Made::days(300));
    let mut app = signing_in_by(BY_CERTIFICATE, |simulator| {
        simulator.accept_certificate(CLIENT, first.der()).unwrap();
    })
    .await;
    first.put(&app);
    app.start_daemon().await;
    app.action_in(State::Succeeded).await;

    second.put(&app);
    app.simulator.revoke_tokens();
    let unknown = sick_with(&app, "AADSTS700027").await;
    assert!(unknown.contains("add this certificate to the app registration"), "{unknown}");

    write(&app.path("app.key"), &first.key.serialize_pem());
    let torn = sick_with(&app, "is not the key of the certificate").await;
    assert!(torn.contains("app.key"), "{torn}");

    second.put(&app);
    app.simulator.accept_certificate(CLIENT, second.der()).unwrap();
    well(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_that_is_wrong_is_told_and_its_renewal_is_seen() {
    let provider = Provider::new();
    let mut app = signing_in_by(BY_FEDERATION, |simulator| {
        simulator.accept_federation(CLIENT, provider.trusted());
    })
    .await;
    write(&app.path("token"), &provider.token("system:serviceaccount:default:default", 3_600));
    app.start_daemon().await;
    assert!(sick_with(&app, "AADSTS700213").await.contains("has this subject"));
    write(&app.path("token"), &provider.token(SUBJECT, -3_600));
    sick_with(&app, "AADSTS700024").await;
    write(&app.path("token"), &provider.token(SUBJECT, 3_600));
    app.action_in(State::Succeeded).await;
    well(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_an_identity_is_told_so() {
    let mut app = signing_in_by("{ managed_identity: true }", |_| {}).await;
    app.start_daemon().await;
    assert!(sick_with(&app, "Identity not found").await.contains("give this machine a managed identity"));
    app.simulator.assign_identity(TENANT, CLIENT);
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_secret_is_told_by_its_code_and_a_new_one_is_taken_up() {
    let mut app = signing_in_by("{ secret_file: secret }", |_| {}).await;
    app.start_daemon().await;
    app.action_in(State::Succeeded).await;

    app.simulator.accept_client(CLIENT, "the next secret");
    app.simulator.revoke_tokens();
    let error = sick_with(&app, "AADSTS7000215").await;
    assert_eq!(error.matches("take the secret's value").count(), 1, "{error}");
    assert!(!error.contains("a secret"), "{error}");

    write(&app.path("secret"), "the next secret\n");
    well(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_missing_is_named_before_the_first_alert_and_its_grant_is_seen() {
    let roles = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let mut app = signing_in_by("{ secret_file: secret }", |simulator| {
        let tokens = Tokens { roles: roles(&["Machine.Read.All", "Alert.Read.All"]), ..Tokens::default() };
        simulator.set_tokens(tokens);
    })
    .await;
    app.start_daemon().await;
    let error = sick_with(&app, "lacks the role Machine.RestrictExecution").await;
    assert!(!error.contains("Machine.Read.All"), "{error}");
    app.simulator.set_tokens(Tokens::default());
    well(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_login_hangs_slows_no_other() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hanging.local_addr().unwrap();
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let never_answers = tokio::spawn(async move {
        loop {
            called.send(hanging.accept().await.unwrap()).unwrap();
        }
    });
    let second = format!(
        "{{ name: fabrikam, tenant_id: {TENANT}, client_id: {CLIENT}, credential: {{ secret_file: secret }}, \
         api_url: 'http://{address}', login_url: 'http://{address}' }}"
    );
    let mut app = TestApp::builder()
        .set("TENANTS__1", &second)
        .set("LIMITS__REQUEST_TIMEOUT", "1h")
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
        })
        .await;
    let open = calls.recv().await.unwrap();

    app.simulator.add_alert(ransomware("1234", 1)).unwrap();
    app.action_in(State::Succeeded).await;

    let fabrikam = TenantName::new("fabrikam").unwrap();
    let sick =
        app.work().board.tenants(app.work().steady()).into_iter().find(|tenant| tenant.name == fabrikam).unwrap();
    assert!(!sick.ready, "it hangs still");
    assert!(calls.try_recv().is_err(), "and is asked once, not again and again");
    app.stop_daemon().await;
    drop(open);
    never_answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_shows_how_a_tenant_signs_in_and_until_when() {
    let made = Made::days(10);
    let app = signing_in_by(BY_CERTIFICATE, |simulator| {
        simulator.accept_certificate(CLIENT, made.der()).unwrap();
    })
    .await;
    made.put(&app);

    let (code, text) = printed(&app, &["doctor"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("note     contoso credential: the certificate in "), "{text}");
    assert!(text.contains("app.crt, which expires in 9 days, at ") && text.contains("mend: make a new"), "{text}");
    assert!(text.contains(&format!("contoso login: signed in as application {CLIENT}")), "{text}");
    assert!(text.contains("contoso token: carries Machine.RestrictExecution"), "{text}");
    let (code, text) = printed(&app, &["check"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: ") && text.contains("expires in 9 days"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_is_a_problem_at_check_and_makes_one_tenant_sick() {
    let made = Made::days(-1);
    let mut app = signing_in_by(BY_CERTIFICATE, |_| {}).await;
    made.put(&app);

    let (code, text) = printed(&app, &["check"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("tenants[0].credential.certificate_file") && text.contains("has expired at"), "{text}");
    let (code, text) = printed(&app, &["doctor"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("finding  contoso credential: ") && text.contains("finding  contoso login: "), "{text}");

    app.start_daemon().await;
    sick_with(&app, "has expired at").await;
    assert_eq!(app.simulator.ledger().of(Api::Token).count(), 0, "nobody is asked in vain");
    let renewed = Made::days(300);
    renewed.put(&app);
    app.simulator.accept_certificate(CLIENT, renewed.der()).unwrap();
    app.action_in(State::Succeeded).await;
}
