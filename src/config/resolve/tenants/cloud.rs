//! `cloud` and `region`: where Microsoft's API and its login service are, and what a token is asked for.
//!
//! Source: the pages "Supported Microsoft Defender for Endpoint APIs" and "Microsoft Defender for Endpoint
//! for US Government customers"; of Microsoft Graph, "National cloud deployments". The scopes of the government clouds stand on no page: they are those of
//! `windowsatpservice`, which the clients in use there ask for.

use super::super::super::key_path::KeyPath;
use super::super::super::raw::{Cloud, Region};
use super::super::super::report::Report;

/// The addresses of a cloud, and its scope.
pub(super) struct Hosts {
    pub(super) api: String,
    pub(super) login: &'static str,
    pub(super) scope: &'static str,
    pub(super) graph: &'static str,
}

const WORLD_LOGIN: &str = "https://login.microsoftonline.com";
const US_LOGIN: &str = "https://login.microsoftonline.us";
const WORLD_GRAPH: &str = "https://graph.microsoft.com";

pub(super) fn hosts(
    report: &mut Report<'_>,
    at: &KeyPath,
    cloud: Option<Cloud>,
    region: Option<Region>,
) -> Option<Hosts> {
    let cloud = report.need(&at.key("cloud"), cloud)?;
    if cloud != Cloud::Public && region.is_some() {
        let message = format!("only the public cloud has regions, and cloud is {}", cloud.as_str());
        report.error_with_hint(&at.key("region"), message, "remove it, or write cloud: public");
        return None;
    }
    let (api, login, scope, graph) = match cloud {
        Cloud::Public => (
            "https://api.securitycenter.microsoft.com",
            WORLD_LOGIN,
            "https://api.securitycenter.microsoft.com/.default",
            WORLD_GRAPH,
        ),
        Cloud::Gcc => (
            "https://api-gcc.securitycenter.microsoft.us",
            WORLD_LOGIN,
            "https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
            WORLD_GRAPH,
        ),
        Cloud::GccHigh | Cloud::Dod => (
            "https://api-gov.securitycenter.microsoft.us",
            US_LOGIN,
            "https://securitycenter.onmicrosoft.us/windowsatpservice/.default",
            if cloud == Cloud::Dod { "https://dod-graph.microsoft.us" } else { "https://graph.microsoft.us" },
        ),
    };
    let api = region.map_or_else(|| api.to_owned(), in_region);
    Some(Hosts { api, login, scope, graph })
}

fn in_region(region: Region) -> String {
    format!("https://{}.api.security.microsoft.com", region.as_str())
}
