//! One tenant: its credential, its login, the roles of its token, and each API read once.
//!
//! Every call is bounded by `limits.request_timeout`. Absent: any call that changes a device, so that
//! restricting itself is judged by its role alone.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::clock::Skew;
use super::endpoint;
use super::report::{Check, Report};
use crate::clock::SystemClock;
use crate::config::{CertificateError, Config, Credential, ENDS_SOON_DAYS, Proof, SigningCertificate, Tenant, Wire};
use crate::defender::{Ask, AuthError, AuthErrorKind, Client, Needs, Page, ROWS, ReadError, SignedIn};
use crate::model::AlertTime;

/// How far back machine actions are read.
const BACK: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What nobody sees who reads Graph alone. Source: the page "List alerts_v2" of Microsoft Graph.
const LEFT_OUT_BY_GRAPH: &str = "alerts_v2 leaves out alerts that tuning suppressed, standalone alerts, and alerts of a \
                                 Sentinel workspace that is not connected to Defender: rules never see those";

pub(super) async fn examine(
    tenant: &Tenant,
    config: &Config,
    skew: &mut Skew<'_>,
    report: &mut Report<'_>,
) -> io::Result<()> {
    report.add(credential(tenant, skew.now()).of(&tenant.name))?;
    let timeout = config.limits.request_timeout.duration();
    // The time in it only tells when a token ends, which is long after this.
    let client = match Client::new(tenant, timeout, Arc::new(SystemClock), Arc::new(|_| {})) {
        Ok(client) => client,
        Err(error) => return report.add(Check::finding("login", crate::worker::chain(&error)).of(&tenant.name)),
    };
    let signed_in = match client.sign_in(Wire::Defender).await {
        Ok(signed_in) => signed_in,
        Err(error) => {
            report.add(no_login("login", tenant, &error))?;
            if endpoint::may_help(error.code.as_deref()) {
                compare_endpoints(tenant, false, timeout, skew, report).await?;
            }
            let unasked = "roles and APIs were not looked at, as that takes a token";
            return report.add(Check::note("api", unasked).of(&tenant.name));
        }
    };
    report.add(Check::well("login", format!("signed in as {}", tenant.credential)).of(&tenant.name))?;
    let wire = config.wire_of(&tenant.name);
    let needs = if wire == Some(Wire::Defender) { Needs::ActingAndAlerts } else { Needs::Acting };
    let roles = roles("roles", &signed_in, needs, &grant(tenant, Wire::Defender));
    for check in [token("token", &signed_in), roles] {
        report.add(check.of(&tenant.name))?;
    }
    let mut apis = Apis { tenant, skew, report };
    if wire == Some(Wire::Defender) {
        apis.alerts(&client, Wire::Defender).await?;
    }
    if config.reads_graph(&tenant.name) {
        apis.graph(&client).await?;
    }
    apis.machines(&client).await?;
    let works = apis.machine_actions(&client).await?;
    compare_endpoints(tenant, works, timeout, skew, report).await
}

/// `works`: whether the endpoint in use could be read.
async fn compare_endpoints(
    tenant: &Tenant,
    works: bool,
    timeout: std::time::Duration,
    skew: &Skew<'_>,
    report: &mut Report<'_>,
) -> io::Result<()> {
    match endpoint::compare(tenant, works, timeout, skew.now()).await {
        Some(check) => report.add(check),
        None => Ok(()),
    }
}

/// How the application proves who it is, and until when it can.
fn credential(tenant: &Tenant, now: Timestamp) -> Check {
    let well = |detail: String| Check::well("credential", detail);
    let proof = match &tenant.credential {
        Credential::ManagedIdentity { .. } => return well(tenant.credential.to_string()),
        Credential::Application { proof, .. } => proof,
    };
    match proof {
        Proof::Secret(_) => well("a client secret from the environment".to_owned()),
        Proof::SecretFile(path) => well(format!("the client secret in {}", path.display())),
        Proof::FederatedTokenFile(path) => well(format!("the federated token in {}", path.display())),
        Proof::Certificate { certificate_file, key_file } => certificate(certificate_file, key_file, now),
    }
}

fn certificate(certificate_file: &Path, key_file: &Path, now: Timestamp) -> Check {
    let wrong = |path: &Path, error: &CertificateError| {
        let detail = format!("{}: {}", path.display(), error.in_full());
        Check::finding("credential", detail).mend(error.mend())
    };
    let certificate = match SigningCertificate::read(certificate_file, key_file) {
        Ok(both) => both.certificate,
        Err((path, error)) => return wrong(path, &error),
    };
    if let Err(error) = certificate.valid_at(now) {
        return wrong(certificate_file, &error);
    }
    let (path, days) = (certificate_file.display(), certificate.days_left(now));
    let detail = format!("the certificate in {path}, which expires in {days} days, at {}", certificate.not_after);
    match days {
        ..ENDS_SOON_DAYS => {
            Check::note("credential", detail).mend(CertificateError::Expired(certificate.not_after).mend())
        }
        _ => Check::well("credential", detail),
    }
}

fn no_login(name: &'static str, tenant: &Tenant, error: &AuthError) -> Check {
    let text = error.to_string();
    let known = error.mend();
    let bare = known.and_then(|mend| text.strip_suffix(&format!(" ({mend})"))).unwrap_or(&text);
    let of_machine = matches!(tenant.credential, Credential::ManagedIdentity { .. });
    let mend = match (known, error.kind) {
        (Some(mend), _) => mend.to_owned(),
        (None, AuthErrorKind::Credential) => {
            "check the credential of this tenant and who may read its files".to_owned()
        }
        (None, AuthErrorKind::Unreachable | AuthErrorKind::Unanswered) if of_machine => {
            "run it on a machine in Azure that has a managed identity, or sign in another way".to_owned()
        }
        (None, AuthErrorKind::Refused) => {
            "check tenant_id, client_id and credential against the app registration in Entra".to_owned()
        }
        (None, AuthErrorKind::Throttled) => "wait, then run doctor again".to_owned(),
        (None, AuthErrorKind::Unreachable) => {
            format!("check DNS, firewall and proxy from here to {}", tenant.login_url)
        }
        (None, AuthErrorKind::Unanswered) => {
            format!("run doctor again; if it stays so, check the way to {}", tenant.login_url)
        }
        (None, AuthErrorKind::Unreadable) => {
            format!("check login_url: what answers at {} is no login service", tenant.login_url)
        }
    };
    Check::finding(name, bare).mend(mend).of(&tenant.name)
}

fn token(name: &'static str, signed_in: &SignedIn) -> Check {
    match signed_in.roles.as_deref() {
        None => Check::note(name, "opaque: its roles can not be seen from here"),
        Some([]) => Check::well(name, "carries no role"),
        Some(roles) => Check::well(name, format!("carries {}", roles.join(", "))),
    }
}

fn roles(name: &'static str, signed_in: &SignedIn, needs: Needs, grant: &str) -> Check {
    let missing = signed_in.missing_roles(needs);
    let refused = if needs == Needs::GraphAlerts { "reading alerts" } else { "restricting" };
    match (&signed_in.roles, missing.as_slice()) {
        (None, _) => Check::note(name, format!("not known, as the token is opaque: {refused} may still be refused")),
        (Some(_), []) => Check::well(name, "all that are needed"),
        (Some(_), missing) => {
            let detail = format!("the application lacks the role {}", missing.join(" and the role "));
            Check::finding(name, detail).mend(grant)
        }
    }
}

/// How a role is granted. The portal has no page for those of a managed identity.
fn grant(tenant: &Tenant, wire: Wire) -> String {
    let api = match wire {
        Wire::Defender => "WindowsDefenderATP",
        Wire::Graph => "Microsoft Graph",
    };
    match &tenant.credential {
        Credential::Application { client_id, .. } => format!(
            "grant it in Entra (API permissions of {api}, application permission, admin consent) to the \
             app registration {client_id}"
        ),
        Credential::ManagedIdentity { .. } => {
            format!(
                "assign it as an app role of {api} to {}, with New-MgServicePrincipalAppRoleAssignment",
                tenant.credential
            )
        }
    }
}

/// Each API of a tenant, read once.
struct Apis<'r, 'a, 'o> {
    tenant: &'r Tenant,
    skew: &'r mut Skew<'a>,
    report: &'r mut Report<'o>,
}

impl Apis<'_, '_, '_> {
    async fn alerts(&mut self, client: &Client, wire: Wire) -> io::Result<()> {
        let since = AlertTime::from_timestamp(self.skew.now());
        let (name, ask) = (if wire == Wire::Graph { "graph_alerts" } else { "alerts" }, Ask::first(Some(since), 1));
        self.read(name, wire, client.alerts(wire, ask), |_| Check::well(name, "can be read")).await.map(drop)
    }

    /// Microsoft Graph, which takes a token and a role of its own.
    async fn graph(&mut self, client: &Client) -> io::Result<()> {
        let signed_in = match client.sign_in(Wire::Graph).await {
            Ok(signed_in) => signed_in,
            Err(error) => return self.report.add(no_login("graph_login", self.tenant, &error)),
        };
        let login = Check::well("graph_login", format!("signed in as {}", self.tenant.credential));
        let grant = grant(self.tenant, Wire::Graph);
        let roles = roles("graph_roles", &signed_in, Needs::GraphAlerts, &grant);
        for check in [login, token("graph_token", &signed_in), roles] {
            self.report.add(check.of(&self.tenant.name))?;
        }
        self.alerts(client, Wire::Graph).await?;
        self.report.add(Check::note("graph_coverage", LEFT_OUT_BY_GRAPH).of(&self.tenant.name))
    }

    async fn machines(&mut self, client: &Client) -> io::Result<()> {
        self.read("machines", Wire::Defender, client.machines(None), |page| match (page.rows.len(), &page.next) {
            (0, _) => Check::note("machines", "can be read, and there are none")
                .mend("check that devices are onboarded, and that this is their tenant"),
            (count, None) => Check::well("machines", format!("can be read: {count}")),
            (count, Some(_)) => Check::well("machines", format!("can be read: {count} on the first page")),
        })
        .await
        .map(drop)
    }

    async fn machine_actions(&mut self, client: &Client) -> io::Result<bool> {
        let since = AlertTime::from_timestamp(self.skew.now()).saturating_sub(BACK);
        let call = client.machine_actions(Ask::first(Some(since), ROWS));
        self.read("machine_actions", Wire::Defender, call, |page| {
            Check::well("machine_actions", format!("can be read: {} in the last hour", page.rows.len()))
        })
        .await
    }

    /// Makes one call and tells what came of it; gives whether it was answered.
    async fn read<T>(
        &mut self,
        name: &'static str,
        wire: Wire,
        call: impl Future<Output = Result<Page<T>, ReadError>>,
        told: impl FnOnce(&Page<T>) -> Check,
    ) -> io::Result<bool> {
        let before = self.skew.now();
        match call.await {
            Ok(page) => {
                self.skew.learn(before, page.date, self.report)?;
                let check = match page.unreadable {
                    0 => told(&page),
                    count => Check::note(name, format!("can be read, but for {count} rows that are not as documented")),
                };
                self.report.add(check.of(&self.tenant.name))?;
                Ok(true)
            }
            Err(error) => {
                let check = Check::finding(name, crate::worker::chain(&error)).of(&self.tenant.name);
                self.report.add(check.mend(mend(self.tenant, wire, &error)))?;
                Ok(false)
            }
        }
    }
}

/// What to do when a read fails.
fn mend(tenant: &Tenant, wire: Wire, error: &ReadError) -> String {
    let (key, url) = match wire {
        Wire::Defender => ("api_url", &tenant.api_url),
        Wire::Graph => ("graph_url", &tenant.graph_url),
    };
    match error {
        ReadError::Forbidden { missing_roles: true, .. } => grant(tenant, wire),
        ReadError::Unauthorized { .. } | ReadError::Forbidden { .. } | ReadError::Refused { .. } => {
            format!("check {key}, and that this tenant has an active licence of Defender for Endpoint")
        }
        ReadError::Throttled { .. } => {
            "wait, then run doctor again; other software with this client_id shares the quota".to_owned()
        }
        ReadError::NotSent { .. } => format!("check DNS, firewall and proxy from here to {url}"),
        ReadError::Unanswered { .. }
        | ReadError::Astray { .. }
        | ReadError::TooLarge { .. }
        | ReadError::TooManyPages { .. }
        | ReadError::TooManyAtOnce { .. } => {
            format!("run doctor again; if it stays so, check the way to {url}")
        }
        ReadError::Unreadable { .. } => {
            format!("check {key}: what answers at {url} is not the API, or a proxy changes it")
        }
        ReadError::Auth(_) => "run doctor again: the login worked a moment ago".to_owned(),
    }
}
