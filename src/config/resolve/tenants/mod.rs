//! `tenants`: who signs in, where, and with what.

use std::collections::BTreeSet;

use url::{Host, Url};

use super::super::key_path::{KeyPath, shown};
use super::super::raw::{Cloud, RawCredential, RawTenant, Region};
use super::super::report::Report;
use super::super::secret::without_line_breaks;
use super::Surroundings;
use crate::config::{Credential, Tenant};
use crate::model::TenantName;

const PUBLIC_API: &str = "https://api.securitycenter.microsoft.com";
const PUBLIC_LOGIN: &str = "https://login.microsoftonline.com";
const PUBLIC_SCOPE: &str = "https://api.securitycenter.microsoft.com/.default";

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
    let client_id = entra_id(report, &at.key("client_id"), raw.client_id);
    let credential = credential(report, around, &at.key("credential"), raw.credential);
    let cloud = cloud(report, &at.key("cloud"), raw.cloud);
    report.not_built(&at.key("graph_url"), raw.graph_url.as_ref());
    let api = raw.region.map_or_else(|| PUBLIC_API.to_owned(), region_api);
    let api_url = origin(report, &at.key("api_url"), &raw.api_url.unwrap_or(api));
    let login_url = origin(report, &at.key("login_url"), raw.login_url.as_deref().unwrap_or(PUBLIC_LOGIN));
    cloud?;
    Some(Tenant {
        name: name?,
        tenant_id: tenant_id?,
        client_id: client_id?,
        credential: credential?,
        api_url: api_url?,
        login_url: login_url?,
        scope: PUBLIC_SCOPE.to_owned(),
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

fn credential(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    raw: Option<RawCredential>,
) -> Option<Credential> {
    let raw = report.need(at, raw)?;
    let unbuilt = [
        ("certificate_file", raw.certificate_file),
        ("key_file", raw.key_file),
        ("federated_token_file", raw.federated_token_file),
        ("managed_identity", raw.managed_identity),
    ];
    let mut refused = false;
    for (key, value) in unbuilt {
        refused |= value.is_some();
        if value.is_some() {
            report.error_with_hint(&at.key(key), "not built yet", "write secret_file or secret_env in its place");
        }
    }
    match (raw.secret_file, raw.secret_env) {
        (Some(path), None) => {
            around.secret(report, &at.key("secret_file"), path).map(|(path, _)| Credential::SecretFile(path))
        }
        (None, Some(name)) => secret_of_variable(report, around, &at.key("secret_env"), &name),
        (Some(_), Some(_)) => {
            report.error(at, "has secret_file and secret_env, and takes one of them");
            None
        }
        (None, None) => {
            if !refused && !report.has_below(at) {
                report.error(at, "needs secret_file or secret_env");
            }
            None
        }
    }
}

/// A name that could be the secret itself, written in the wrong place, is not repeated.
fn secret_of_variable(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    name: &str,
) -> Option<Credential> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let called = if is_name && !name.is_empty() { name } else { "of that name" };
    let Some(value) = around.environment.get(name) else {
        report.error(at, format!("there is no environment variable {called}"));
        return None;
    };
    let secret = without_line_breaks(value);
    if secret.is_none() {
        report.error(at, format!("the environment variable {called} is empty"));
    }
    secret.map(Credential::Secret)
}

fn cloud(report: &mut Report<'_>, at: &KeyPath, raw: Option<Cloud>) -> Option<()> {
    if report.need(at, raw)? == Cloud::Public {
        return Some(());
    }
    report.error_with_hint(at, "clouds other than public are not built yet", "write public, or remove it");
    None
}

fn region_api(region: Region) -> String {
    format!("https://{}.api.security.microsoft.com", region.as_str())
}

/// An origin that paths are appended to. Messages never repeat it, as it may hold a password.
fn origin(report: &mut Report<'_>, at: &KeyPath, text: &str) -> Option<Url> {
    const HINT: &str = "write it as https://host or https://host/prefix";
    let mut refuse = |message: &str, hint: &str| {
        report.error_with_hint(at, message, hint);
        None
    };
    let Ok(mut url) = Url::parse(text) else {
        return refuse("is not a URL", HINT);
    };
    if !matches!(url.scheme(), "https" | "http") {
        return refuse("is neither https nor http", HINT);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user or a password", HINT);
    }
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

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
