//! Two tenants of one daemon: whatever ails the one, the other's alerts are acted on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use stanch::clock::SystemClock;
use stanch::model::{SourceName, State, TenantName};
use stanch::simulator::{Api, Fault, Options, Simulator};
use tokio_util::sync::CancellationToken;

use crate::support::{TestApp, machine, machine_id, ransomware};

const TENANT: &str = "33333333-3333-4333-8333-333333333333";
const CLIENT: &str = "44444444-4444-4444-8444-444444444444";

/// Another tenant's Microsoft.
struct Neighbour {
    simulator: Simulator,
    origin: String,
    stop: CancellationToken,
}

impl Neighbour {
    async fn new(faults: &[Fault]) -> Self {
        let options = Options {
            faults: faults.iter().map(|fault| (*fault, 1.0)).collect(),
            slow_by: Duration::from_secs(3_600),
            ..Options::default()
        };
        let simulator = Simulator::new(options, Arc::new(SystemClock)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (serving, stopping) = (simulator.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, stopping).await.unwrap() });
        simulator.add_machine(machine(1)).unwrap();
        simulator.add_alert(ransomware("of-fabrikam", 1)).unwrap();
        Self { simulator, origin, stop }
    }

    fn called(&self, api: Api) -> usize {
        self.simulator.ledger().of(api).count()
    }

    /// A daemon that serves contoso and, beside it, this tenant. What hangs hangs for an hour.
    async fn beside_contoso(&self) -> TestApp {
        let second = format!(
            "{{ name: fabrikam, tenant_id: {TENANT}, client_id: {CLIENT}, credential: {{ secret_file: secret }}, \
             api_url: '{origin}', login_url: '{origin}' }}",
            origin = self.origin
        );
        TestApp::builder()
            .set("TENANTS__1", &second)
            .set("LIMITS__REQUEST_TIMEOUT", "1h")
            .start(|simulator| {
                for device in 0..3 {
                    simulator.add_machine(machine(device)).unwrap();
                }
            })
            .await
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn fabrikam() -> TenantName {
    TenantName::new("fabrikam").unwrap()
}

/// Why fabrikam's alerts can not be read, once that is known.
async fn source_error(app: &TestApp) -> String {
    let source: SourceName = "defender".parse().unwrap();
    app.until("fabrikam's source is sick", async || app.work().board.source_error(&fabrikam(), &source)).await
}

/// Three alerts of contoso, one after the other, each come to their end.
async fn contoso_is_well(app: &TestApp) {
    for device in 0..3 {
        app.simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
        app.until("contoso's device is restricted", async || {
            app.simulator.ledger().restricted.contains(&machine_id(device)).then_some(())
        })
        .await;
    }
    app.until("each is followed to its end", async || {
        let actions = app.actions().await;
        (actions.iter().filter(|action| action.state == State::Succeeded).count() == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_login_is_refused_slows_no_other() {
    let neighbour = Neighbour::new(&[]).await;
    neighbour.simulator.accept_client(CLIENT, "another secret");
    let app = neighbour.beside_contoso().await;
    assert!(source_error(&app).await.contains("AADSTS7000215"));
    contoso_is_well(&app).await;
    assert_eq!(neighbour.called(Api::Alerts), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_api_fails_slows_no_other_and_is_not_hammered() {
    let neighbour = Neighbour::new(&[Fault::ErrorBefore]).await;
    let app = neighbour.beside_contoso().await;
    assert!(source_error(&app).await.contains("The service is unavailable"));
    contoso_is_well(&app).await;
    app.until("its lane rests after five failures in a row", async || {
        let quota = app.store().quota(&fabrikam(), &app.work().config.limits, TestApp::now()).await.unwrap();
        quota.iter().any(|window| window.paused_until.is_some()).then_some(())
    })
    .await;
    assert_eq!(neighbour.called(Api::Restrict), 0, "nothing is sent before its machine actions were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_api_hangs_slows_no_other() {
    let neighbour = Neighbour::new(&[Fault::Slow]).await;
    let app = neighbour.beside_contoso().await;
    app.until("its lists are asked for", async || {
        [Api::Alerts, Api::Machines, Api::MachineActions].iter().all(|api| neighbour.called(*api) == 1).then_some(())
    })
    .await;
    contoso_is_well(&app).await;
    let asked = [Api::Token, Api::Alerts, Api::Machines, Api::MachineActions].map(|api| neighbour.called(api));
    assert_eq!(asked, [1; 4], "nothing is asked for twice while it hangs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_posts_hang_slows_no_other() {
    let neighbour = Neighbour::new(&[]).await;
    neighbour.simulator.next_fault(Api::Restrict, Fault::Slow);
    let app = neighbour.beside_contoso().await;
    app.until("its POST is on the wire", async || (neighbour.called(Api::Restrict) == 1).then_some(())).await;
    contoso_is_well(&app).await;
    assert_eq!(neighbour.called(Api::Restrict), 1);
}
