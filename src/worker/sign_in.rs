//! Signing in: each tenant once at start, and again for as long as it fails.
//!
//! A sick tenant is named with its cause and never ends the daemon. Absent: the exchange itself (see
//! [`crate::defender`]).

use std::time::Duration;

use crate::config::Wire;
use crate::defender::Needs;
use crate::model::TenantName;
use crate::store::Subject;

use super::{TenantWork, Work, chain};

/// The first wait after a failed sign-in; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// Signs in until it works, then waits for a call that could not.
pub async fn run(work: &Work, name: &TenantName, tenant: &TenantWork) {
    let (mut wait, mut failed) = (FIRST, false);
    loop {
        match health(work, name, tenant).await {
            Ok(()) => {
                wait = FIRST;
                if failed {
                    work.board.roles_were_granted(name);
                    failed = false;
                }
                if work.board.tenant(name, Ok(())) {
                    tracing::info!(tenant = %name, "the tenant is signed in");
                }
                work.tenant_stands(name).await;
                if !work.wait_for_trouble(tenant).await {
                    return;
                }
            }
            Err(error) => {
                failed = true;
                if work.board.tenant(name, Err(error.clone())) {
                    tracing::error!(tenant = %name, error, "the tenant can not be worked with");
                }
                work.stands(Subject::Tenant(name), Err(&error)).await;
                sources_are_sick(work, name, &error);
                if !work.pause(wait).await {
                    return;
                }
                wait = (wait * 2).min(LONGEST);
            }
        }
    }
}

impl Work {
    async fn wait_for_trouble(&self, tenant: &TenantWork) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tenant.sign_in.notified() => true,
        }
    }
}

/// Signs in and looks at the roles of the token. Loops start once there is a token for MDE: a role that is missing
/// for one call does not keep the others from working, nor does Graph.
async fn health(work: &Work, name: &TenantName, tenant: &TenantWork) -> Result<(), String> {
    let signed_in = tenant.client.sign_in(Wire::Defender).await.map_err(|error| chain(&error))?;
    tenant.signed_in.send_replace(true);
    let wire = work.config.wire_of(name);
    let needs = if wire == Some(Wire::Defender) { Needs::ActingAndAlerts } else { Needs::Acting };
    let mut missing = signed_in.missing_roles(needs);
    if work.config.reads_graph(name) {
        let of_graph = tenant.client.sign_in(Wire::Graph).await;
        let of_graph = of_graph.map_err(|error| format!("Microsoft Graph: {}", chain(&error)))?;
        missing.extend(of_graph.missing_roles(Needs::GraphAlerts));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the application lacks the role {}: grant it (application permission, admin consent) to the app registration",
        missing.join(" and ")
    ))
}

/// A source of a tenant that can not sign in has had its first poll: it failed.
fn sources_are_sick(work: &Work, name: &TenantName, error: &str) {
    if work.tenants.get(name).is_some_and(|tenant| *tenant.signed_in.borrow()) {
        return;
    }
    for source in work.config.polls().filter(|source| source.tenants.contains(name)) {
        work.board.polled(name, &source.name, Err(format!("the tenant can not sign in: {error}")));
    }
}
