//! `cloud`, `region` and `endpoint`: where Microsoft's API and its login service are, and what a token is asked for.
//!
//! Sources: the pages "Supported Microsoft Defender for Endpoint APIs" and "Microsoft Defender for Endpoint for US
//! Government customers"; of Microsoft Graph, "National cloud deployments". The scopes of the government clouds stand on
//! no page: they are those of `windowsatpservice`, which the clients in use there ask for. No page names a unified host
//! in those clouds.

use super::super::super::key_path::KeyPath;
use super::super::super::raw::{Cloud, Endpoint, Region};
use super::super::super::report::Report;

/// The addresses of a cloud.
pub(super) struct Hosts {
    /// The API as it was chosen.
    pub(super) api: Pair,
    /// The API at the other endpoint, where the cloud has two.
    pub(super) other: Option<Pair>,
    pub(super) endpoint: Endpoint,
    pub(super) login: &'static str,
    pub(super) graph: &'static str,
}

/// A host of the API, and the scope of the tokens that it takes. A host refuses a token that was made for another, so the
/// two are only chosen together.
pub(super) struct Pair {
    pub(super) host: String,
    pub(super) scope: &'static str,
}

const WORLD_LOGIN: &str = "https://login.microsoftonline.com";
const US_LOGIN: &str = "https://login.microsoftonline.us";

/// The pairs that there are.
const PAIRS: [(Cloud, Endpoint, &str, &str); 5] = [
    (
        Cloud::Public,
        Endpoint::Legacy,
        "https://api.securitycenter.microsoft.com",
        "https://api.securitycenter.microsoft.com/.default",
    ),
    (
        Cloud::Public,
        Endpoint::Unified,
        "https://api.security.microsoft.com",
        "https://api.security.microsoft.com/.default",
    ),
    (
        Cloud::Gcc,
        Endpoint::Legacy,
        "https://api-gcc.securitycenter.microsoft.us",
        "https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
    ),
    (
        Cloud::GccHigh,
        Endpoint::Legacy,
        "https://api-gov.securitycenter.microsoft.us",
        "https://securitycenter.onmicrosoft.us/windowsatpservice/.default",
    ),
    (
        Cloud::Dod,
        Endpoint::Legacy,
        "https://api-gov.securitycenter.microsoft.us",
        "https://securitycenter.onmicrosoft.us/windowsatpservice/.default",
    ),
];

/// What a tenant says of where it is.
pub(super) struct Chosen {
    pub(super) cloud: Option<Cloud>,
    pub(super) region: Option<Region>,
    pub(super) endpoint: Option<Endpoint>,
}

pub(super) fn hosts(report: &mut Report<'_>, at: &KeyPath, chosen: Chosen) -> Option<Hosts> {
    let cloud = report.need(&at.key("cloud"), chosen.cloud)?;
    let endpoint = report.need(&at.key("endpoint"), chosen.endpoint)?;
    let region = chosen.region;
    if cloud != Cloud::Public && region.is_some() {
        let message = format!("only the public cloud has regions, and cloud is {}", cloud.as_str());
        report.error_with_hint(&at.key("region"), message, "remove it, or write cloud: public");
        return None;
    }
    let Some(api) = pair(cloud, endpoint, region) else {
        let message = format!("only the public cloud has a unified endpoint, and cloud is {}", cloud.as_str());
        report.error_with_hint(&at.key("endpoint"), message, "remove it, or write endpoint: legacy");
        return None;
    };
    let (login, graph) = match cloud {
        Cloud::Public | Cloud::Gcc => (WORLD_LOGIN, "https://graph.microsoft.com"),
        Cloud::GccHigh => (US_LOGIN, "https://graph.microsoft.us"),
        Cloud::Dod => (US_LOGIN, "https://dod-graph.microsoft.us"),
    };
    Some(Hosts { api, other: pair(cloud, endpoint.other(), region), endpoint, login, graph })
}

/// A region has one host, whose name is the unified one's: the endpoint decides for the scope alone.
fn pair(cloud: Cloud, endpoint: Endpoint, region: Option<Region>) -> Option<Pair> {
    let found = PAIRS.into_iter().find(|(of_cloud, of_endpoint, ..)| (*of_cloud, *of_endpoint) == (cloud, endpoint));
    let (_, _, host, scope) = found?;
    let host = region.map_or_else(|| host.to_owned(), in_region);
    Some(Pair { host, scope })
}

fn in_region(region: Region) -> String {
    format!("https://{}.api.security.microsoft.com", region.as_str())
}

/// The endpoint whose host this is, in the cloud that has two.
pub(super) fn endpoint_of(host: &str) -> Option<Endpoint> {
    let of_public = PAIRS.into_iter().filter(|(cloud, ..)| *cloud == Cloud::Public);
    of_public.into_iter().find_map(|(_, endpoint, origin, _)| {
        origin.strip_prefix("https://").filter(|known| host.eq_ignore_ascii_case(known)).map(|_| endpoint)
    })
}
