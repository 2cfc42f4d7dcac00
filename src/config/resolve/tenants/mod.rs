//! `tenants`: who signs in and where. With what is in `credential`, Microsoft's clouds in `cloud`.

mod cloud;
mod credential;

use std::collections::BTreeSet;

use url::{Host, Url};

use super::super::key_path::{KeyPath, shown};
use super::super::raw::{Endpoint, RawTenant};
use super::super::report::Report;
use super::{Surroundings, http_url};
use crate::config::{Credential, OtherEndpoint, Tenant};
use crate::model::TenantName;
use cloud::Chosen;

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
    let chosen = Chosen { cloud: raw.cloud, region: raw.region, endpoint: raw.endpoint };
    let hosts = cloud::hosts(report, at, chosen);
    let api_at = at.key("api_url");
    let api_written = raw.api_url.is_some();
    let api_url = url(report, &api_at, raw.api_url, hosts.as_ref().map(|hosts| hosts.api.host.as_str()), &API_ENDS);
    let graph_url =
        url(report, &at.key("graph_url"), raw.graph_url, hosts.as_ref().map(|hosts| hosts.graph), &GRAPH_ENDS);
    let login = match &credential {
        Some(Credential::ManagedIdentity { .. }) => Some(IDENTITY_ENDPOINT),
        _ => hosts.as_ref().map(|hosts| hosts.login),
    };
    let own_end = tenant_id.as_ref().map(|id| format!("/{}", id.to_lowercase())).unwrap_or_default();
    let login_ends: Vec<&str> = LOGIN_ENDS.into_iter().chain([own_end.as_str()]).collect();
    let login_url = url(report, &at.key("login_url"), raw.login_url, login, &login_ends);
    let (hosts, api_url) = (hosts?, api_url?);
    warn_of_another_endpoint(report, &api_at, &api_url, hosts.endpoint);
    let other_endpoint = hosts.other.and_then(|other| {
        let api_url = if api_written { api_url.clone() } else { Url::parse(&other.host).ok()? };
        Some(OtherEndpoint { api_url, scope: other.scope.to_owned() })
    });
    Some(Tenant {
        name: name?,
        tenant_id: tenant_id?,
        credential: credential?,
        api_url,
        login_url: login_url?,
        graph_url: graph_url?,
        scope: hosts.api.scope.to_owned(),
        endpoint: hosts.endpoint,
        other_endpoint,
        graph_host: hosts.graph,
    })
}

/// Whoever changes only the host gets 403 for every call, as the tokens are for the other one.
fn warn_of_another_endpoint(report: &mut Report<'_>, at: &KeyPath, api_url: &Url, endpoint: Endpoint) {
    let host = api_url.host_str().unwrap_or_default();
    let Some(of_host) = cloud::endpoint_of(host).filter(|of_host| *of_host != endpoint) else {
        return;
    };
    let (of_host, own) = (of_host.as_str(), endpoint.as_str());
    let message = format!("{host} is the endpoint {of_host}, and the tokens of this tenant are for {own}");
    report.warn(at, &message, &format!("remove it, and write endpoint: {of_host}"));
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

/// The origin that is written, or else the cloud's own, which needs no check. `ends`: what is appended to it, and so does
/// not belong there.
fn url(
    report: &mut Report<'_>,
    at: &KeyPath,
    written: Option<String>,
    of_cloud: Option<&str>,
    ends: &[&str],
) -> Option<Url> {
    let Some(text) = written else {
        return Url::parse(of_cloud?).ok();
    };
    let url = origin(report, at, &text)?;
    look_for_what_is_appended(report, at, &url, ends).then_some(url)
}

/// Paths that are appended to an origin, in small letters.
const API_ENDS: [&str; 3] = ["/api", "/api/v1.0", "/api/v1"];
const GRAPH_ENDS: [&str; 2] = ["/v1.0", "/beta"];
const LOGIN_ENDS: [&str; 3] = ["/oauth2/v2.0/token", "/oauth2/token", "/oauth2/v2.0"];

/// Says so when an origin ends in what is appended to it. Microsoft's own hosts know no such path; a proxy may.
fn look_for_what_is_appended(report: &mut Report<'_>, at: &KeyPath, url: &Url, ends: &[&str]) -> bool {
    let path = url.path().to_lowercase();
    let Some(end) = ends.iter().find(|end| end.len() > 1 && path.ends_with(**end)) else {
        return true;
    };
    let message = format!("ends in {end}, and that is appended to it: it would be asked for twice");
    let host = url.host_str().unwrap_or_default();
    if MICROSOFT.iter().any(|domain| host.ends_with(domain)) {
        report.error_with_hint(at, message, format!("cut it before {end}"));
        return false;
    }
    report.warn(at, &message, &format!("cut it before {end}, unless a proxy wants it twice"));
    true
}

/// The domains of Microsoft's hosts.
const MICROSOFT: [&str; 5] =
    [".microsoft.com", ".microsoft.us", ".microsoftonline.com", ".microsoftonline.us", ".windows.com"];

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
