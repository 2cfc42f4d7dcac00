//! Which of the two endpoints of the API take this application's tokens, and what to write.
//!
//! Absent: the clouds and hosts that there are (see [`crate::config`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::report::Check;
use crate::clock::SystemClock;
use crate::config::{Tenant, Wire};
use crate::defender::{Ask, Client};
use crate::model::AlertTime;

/// Refusals of a sign-in that are about what a token was asked for. Source: the page "Microsoft Entra authentication &
/// authorization error codes".
const OF_THE_SCOPE: [&str; 5] = ["AADSTS500011", "AADSTS500014", "AADSTS650057", "AADSTS70011", "AADSTS1002012"];

/// Whether another scope may sign in where this one was refused with that code.
pub(super) fn may_help(code: Option<&str>) -> bool {
    code.is_some_and(|code| OF_THE_SCOPE.contains(&code))
}

/// Compares the endpoint in use, which `works` or not, with the other one, which is signed in to and read once.
pub(super) async fn compare(tenant: &Tenant, works: bool, timeout: Duration, now: Timestamp) -> Option<Check> {
    let other = tenant.at_other_endpoint()?;
    let tried = read_once(&other, timeout, AlertTime::from_timestamp(now)).await;
    Some(verdict(tenant, works, &other, tried))
}

async fn read_once(tenant: &Tenant, timeout: Duration, now: AlertTime) -> Result<(), String> {
    let client = Client::new(tenant, timeout, Arc::new(SystemClock), Arc::new(|_| {}));
    let client = client.map_err(|error| crate::worker::chain(&error))?;
    client.sign_in(Wire::Defender).await.map_err(|error| error.to_string())?;
    let read = client.machine_actions(Ask::first(Some(now), 1)).await;
    read.map(drop).map_err(|error| crate::worker::chain(&error))
}

fn verdict(tenant: &Tenant, works: bool, other: &Tenant, tried: Result<(), String>) -> Check {
    let (own, new) = (described(tenant), described(other));
    let write = format!("write endpoint: {} for tenant {}", other.endpoint.as_str(), tenant.name);
    let check = match (works, tried) {
        (true, Ok(())) => Check::well("endpoint", format!("{own} works, and so does {new}")),
        (true, Err(why)) => Check::well("endpoint", format!("{own} works, and {new} does not: {why}")),
        (false, Ok(())) => Check::finding("endpoint", format!("{own} does not work, and {new} does")).mend(write),
        (false, Err(why)) => Check::note("endpoint", format!("neither {own} nor {new} works: {why}")),
    };
    check.of(&tenant.name)
}

fn described(tenant: &Tenant) -> String {
    let (url, scope) = (tenant.api_url.as_str().trim_end_matches('/'), &tenant.scope);
    let audience = scope.strip_suffix("/.default").unwrap_or(scope);
    let endpoint = tenant.endpoint.as_str();
    if url == audience { format!("{endpoint} ({url})") } else { format!("{endpoint} ({url}, tokens for {audience})") }
}
