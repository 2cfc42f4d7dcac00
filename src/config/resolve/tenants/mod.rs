//! `tenants`: who signs in and where. With what is in `credential`, Microsoft's clouds in `cloud`.

mod cloud;
mod credential;

use std::collections::BTreeSet;

use url::{Host, Url};

use super::super::key_path::{KeyPath, shown};
use super::super::raw::RawTenant;
use super::super::report::Report;
use super::{Surroundings, http_url};
use crate::config::{Credential, Tenant};
use crate::model::TenantName;

/// Where a machine in Azure asks for the token of its managed identity. Source: the page "How to use
/// managed identities for Azure resources on an Azure VM to acquire an access token".
const IDENTITY_ENDPOINT: &str = "http://169.254.169.254";

/// The names of the tenants that have a good one, whatever else is wrong with them.
pub(super) fn names(raw: &[RawTenant]) -> Vec<TenantName> {
    raw.iter().filter_map(|raw| TenantName::new(raw.name.as_deref()?).ok()).collect()
}

pub(super) fn tenants(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    raw: Option<Vec<RawTenant>>,
) -> Option<Vec<Tenant>> {
    let at = KeyPath::top("tenants");
    let raw = report.need(&at, raw)?;
    if raw.is_empty() {
        report.error(&at, "needs at least one tenant");
        return None;
    }
    let mut taken = BTreeSet::new();
    let tenants: Vec<Option<Tenant>> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| tenant(report, around, &at.index(index), raw, &mut taken))
        .collect();
    tenants.into_iter().collect()
}

fn tenant(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    raw: RawTenant,
    taken: &mut BTreeSet<TenantName>,
) -> Option<Tenant> {
    let name = name(report, &at.key("name"), raw.name, taken);
    let tenant_id = entra_id(report, &at.key("tenant_id"), raw.tenant_id);
    let credential = credential::credential(report, around, at, raw.client_id, raw.credential);
    let hosts = cloud::hosts(report, at, raw.cloud, raw.region);
    let api_url = url(report, &at.key("api_url"), raw.api_url, hosts.as_ref().map(|hosts| hosts.api.as_str()));
    let graph_url = url(report, &at.key("graph_url"), raw.graph_url, hosts.as_ref().map(|hosts| hosts.graph));
    let login = match &credential {
        Some(Credential::ManagedIdentity { .. }) => Some(IDENTITY_ENDPOINT),
        _ => hosts.as_ref().map(|hosts| hosts.login),
    };
    let login_url = url(report, &at.key("login_url"), raw.login_url, login);
    let hosts = hosts?;
    Some(Tenant {
        name: name?,
        tenant_id: tenant_id?,
        credential: credential?,
        api_url: api_url?,
        login_url: login_url?,
        graph_url: graph_url?,
        scope: hosts.scope.to_owned(),
        graph_host: hosts.graph,
    })
}

fn name(
    report: &mut Report<'_>,
    at: &KeyPath,
    raw: Option<String>,
    taken: &mut BTreeSet<TenantName>,
) -> Option<TenantName> {
    match TenantName::new(report.need(at, raw)?) {
        Ok(name) if !taken.insert(name.clone()) => {
            report.error_with_hint(at, format!("a second tenant {name}"), "names are unique");
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            report.error(at, error.to_string());
            None
        }
    }
}

/// An id that goes into a URL as it stands.
fn entra_id(report: &mut Report<'_>, at: &KeyPath, raw: Option<String>) -> Option<String> {
    let id = report.need(at, raw)?;
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let begins = id.starts_with(|first: char| first.is_ascii_alphanumeric());
    if plain && begins && id.len() <= 128 {
        return Some(id);
    }
    let message = format!("{:?} is not an id of Entra", shown(&id));
    report.error_with_hint(at, message, "a GUID, as 11111111-1111-4111-8111-111111111111");
    None
}

/// The origin that is written, or else the cloud's own, which needs no check.
fn url(report: &mut Report<'_>, at: &KeyPath, written: Option<String>, of_cloud: Option<&str>) -> Option<Url> {
    match written {
        Some(text) => origin(report, at, &text),
        None => Url::parse(of_cloud?).ok(),
    }
}

/// An origin that paths are appended to. Messages never repeat it, as it may hold a password.
fn origin(report: &mut Report<'_>, at: &KeyPath, text: &str) -> Option<Url> {
    const HINT: &str = "write it as https://host or https://host/prefix";
    let mut url = http_url(report, at, text, HINT)?;
    let mut refuse = |message: &str, hint: &str| {
        report.error_with_hint(at, message, hint);
        None
    };
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must end with the host or a path, as paths are appended to it", HINT);
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let message =
            "http is refused unless the host is a loopback address: tokens would go over the wire unprotected";
        return refuse(message, "write https");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

/// Whether the host of a URL is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
