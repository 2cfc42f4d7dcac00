//! `sources`: where alerts come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::key_path::{KeyPath, shown};
use super::super::raw::{Format, RawAuth, RawSource, SourceType};
use super::super::report::Report;
use super::Surroundings;
use super::field_map::field_map;
use crate::config::{PollSource, Source, Start, WebhookAuth, WebhookFormat, WebhookSource, Wire};
use crate::diagnostics::nearest;
use crate::model::{SourceName, TenantName};

/// The longest `clientState`, in characters.
const LONGEST_CLIENT_STATE: usize = 128;

pub(super) fn sources(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    raw: Option<Vec<RawSource>>,
    tenants: &[TenantName],
) -> Option<Vec<Source>> {
    let at = KeyPath::top("sources");
    let raw = report.need(&at, raw)?;
    if raw.is_empty() {
        report.error(&at, "needs at least one source");
        return None;
    }
    let mut taken = BTreeSet::new();
    let sources: Vec<Option<Source>> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| source(report, around, &at.index(index), raw, tenants, &mut taken))
        .collect();
    look_for_double_polling(report, &at, &sources);
    sources.into_iter().collect()
}

fn source(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    mut raw: RawSource,
    tenants: &[TenantName],
    taken: &mut BTreeSet<SourceName>,
) -> Option<Source> {
    let kind = report.need(&at.key("type"), raw.kind)?;
    let wire = match kind {
        SourceType::Defender => Some(Wire::Defender),
        SourceType::Graph => Some(Wire::Graph),
        SourceType::Webhook => None,
    };
    let word = wire.map_or("webhook", Wire::as_str);
    let name = name(report, &at.key("name"), raw.name.take().unwrap_or_else(|| word.to_owned()), taken);
    let tenant_at = at.key("tenant");
    let tenant = raw.tenant.take().map(|text| tenant(report, &tenant_at, &text, tenants));
    if let Some(wire) = wire {
        let tenants = match tenant {
            None => Some(tenants.to_vec()),
            Some(tenant) => tenant.map(|tenant| vec![tenant]),
        };
        return poll(report, at, raw, (wire, name, tenants)).map(Source::Poll);
    }
    if tenant.is_none() && !report.has(&tenant_at) {
        let hint = tenants.first().map_or_else(String::new, |first| format!("write tenant: {first}"));
        report.error_with_hint(&tenant_at, "is needed by a webhook, and missing", hint);
    }
    webhook(report, around, at, raw, name, tenant.flatten()).map(Source::Webhook)
}

fn name(report: &mut Report<'_>, at: &KeyPath, text: String, taken: &mut BTreeSet<SourceName>) -> Option<SourceName> {
    match SourceName::new(text) {
        Ok(name) if !taken.insert(name.clone()) => {
            let hint = "names are unique, and a source without one is called by its type";
            report.error_with_hint(at, format!("a second source {name}"), hint);
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            report.error(at, error.to_string());
            None
        }
    }
}

fn tenant(report: &mut Report<'_>, at: &KeyPath, text: &str, tenants: &[TenantName]) -> Option<TenantName> {
    let found = tenants.iter().find(|tenant| tenant.as_str() == text).cloned();
    if found.is_some() {
        return found;
    }
    let message = format!("there is no tenant {:?}", shown(text));
    match nearest(text, tenants.iter().map(TenantName::as_str)) {
        Some(near) => report.error_with_hint(at, message, format!("did you mean {near}?")),
        None => report.error(at, message),
    }
    None
}

fn poll(
    report: &mut Report<'_>,
    at: &KeyPath,
    raw: RawSource,
    (wire, name, tenants): (Wire, Option<SourceName>, Option<Vec<TenantName>>),
) -> Option<PollSource> {
    foreign(report, at, SourceType::Webhook, &raw);
    let sweep_at = at.key("sweep");
    let sweep = raw.sweep.unwrap_or_default();
    let every = report.long_span(&at.key("every"), raw.every);
    let overlap = report.span(&at.key("overlap"), raw.overlap);
    let sweep_every = report.long_span(&sweep_at.key("every"), sweep.every);
    let sweep_back = report.span(&sweep_at.key("back"), sweep.back);
    let start = start(report, &at.key("start"), raw.start);
    Some(PollSource {
        wire,
        name: name?,
        tenants: tenants?,
        every: every?,
        overlap: overlap?,
        sweep_every: sweep_every?,
        sweep_back: sweep_back?,
        start: start?,
    })
}

fn start(report: &mut Report<'_>, at: &KeyPath, raw: Option<String>) -> Option<Start> {
    let text = report.need(at, raw)?;
    if text == "now" {
        return Some(Start::Now);
    }
    match text.parse() {
        Ok(back) => Some(Start::Back(back)),
        Err(error) => {
            report.error(at, format!("is neither now nor a duration back: {error}"));
            None
        }
    }
}

fn webhook(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    raw: RawSource,
    name: Option<SourceName>,
    tenant: Option<TenantName>,
) -> Option<WebhookSource> {
    foreign(report, at, SourceType::Defender, &raw);
    let format = format(report, at, raw.format, raw.map);
    let auth = auth(report, around, &at.key("auth"), raw.auth);
    if let (Some(auth), Some(format)) = (&auth, &format) {
        look_at_client_state(report, at, auth, format);
    }
    Some(WebhookSource { name: name?, tenant: tenant?, auth: auth?, format: format? })
}

fn format(
    report: &mut Report<'_>,
    at: &KeyPath,
    format: Option<Format>,
    map: Option<BTreeMap<String, serde_yaml::Value>>,
) -> Option<WebhookFormat> {
    let (format, map_at) = (report.need(&at.key("format"), format)?, at.key("map"));
    if format != Format::Map && map.is_some() {
        report.error_with_hint(&map_at, "is for the format map only", "write format: map, or remove it");
        return None;
    }
    match format {
        Format::Mde => Some(WebhookFormat::Mde),
        Format::Graph => Some(WebhookFormat::Graph),
        Format::Map => field_map(report, &map_at, map).map(WebhookFormat::Map),
    }
}

/// What a secret is used as.
type AuthForm = fn(SecretString) -> WebhookAuth;

fn auth(report: &mut Report<'_>, around: &Surroundings<'_>, at: &KeyPath, raw: Option<RawAuth>) -> Option<WebhookAuth> {
    let raw = report.need(at, raw)?;
    let forms: [(&str, Option<PathBuf>, AuthForm); 3] = [
        ("bearer_file", raw.bearer_file, WebhookAuth::Bearer),
        ("hmac_file", raw.hmac_file, WebhookAuth::Hmac),
        ("client_state_file", raw.client_state_file, WebhookAuth::ClientState),
    ];
    let mut written = forms.into_iter().filter_map(|(key, path, form)| Some((key, path?, form)));
    match (written.next(), written.next()) {
        (Some((key, path, form)), None) => around.secret(report, &at.key(key), path).map(|(_, secret)| form(secret)),
        (Some((one, ..)), Some((other, ..))) => {
            report.error(at, format!("has {one} and {other}, and takes one of them"));
            None
        }
        (None, _) => {
            if !report.has_below(at) {
                report.error(at, "needs bearer_file, hmac_file or client_state_file");
            }
            None
        }
    }
}

/// Graph's change notifications name alerts of Graph, and their `clientState` is one that Graph takes.
///
/// Source: `clientState` of the subscription resource of Microsoft Graph, at most 128 characters.
fn look_at_client_state(report: &mut Report<'_>, at: &KeyPath, auth: &WebhookAuth, format: &WebhookFormat) {
    let WebhookAuth::ClientState(secret) = auth else { return };
    let key = at.key("auth").key("client_state_file");
    if *format != WebhookFormat::Graph {
        report.error_with_hint(&key, "is for change notifications of Microsoft Graph", "write format: graph");
    }
    let length = secret.expose_secret().chars().count();
    if length > LONGEST_CLIENT_STATE {
        let message = format!("has {length} characters, and a clientState has at most {LONGEST_CLIENT_STATE}");
        report.error_with_hint(&key, message, "make another secret for the subscription");
    }
}

/// Refuses the keys that only sources of the type `owner` have.
fn foreign(report: &mut Report<'_>, at: &KeyPath, owner: SourceType, raw: &RawSource) {
    let (owner, keys) = match owner {
        SourceType::Webhook => (
            "webhook",
            vec![("auth", raw.auth.is_some()), ("format", raw.format.is_some()), ("map", raw.map.is_some())],
        ),
        SourceType::Defender | SourceType::Graph => (
            "defender and graph",
            vec![
                ("every", raw.every.is_some()),
                ("overlap", raw.overlap.is_some()),
                ("sweep", raw.sweep.is_some()),
                ("start", raw.start.is_some()),
            ],
        ),
    };
    for (key, written) in keys {
        if written {
            report.error_with_hint(&at.key(key), format!("is a key of {owner} sources only"), "remove it");
        }
    }
}

/// Two sources that poll one list for one tenant are legal, but each alert is read twice. Of the two lists a tenant has
/// one: they name the same alerts, and each would have versions of its own of them.
fn look_for_double_polling(report: &mut Report<'_>, at: &KeyPath, sources: &[Option<Source>]) {
    let mut polled: BTreeMap<&TenantName, Wire> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let Some(Source::Poll(source)) = source else {
            continue;
        };
        for tenant in &source.tenants {
            match polled.insert(tenant, source.wire) {
                None => {}
                Some(wire) if wire == source.wire => {
                    let message = format!("tenant {tenant} is polled by an earlier source too");
                    report.warn(&at.index(index), &message, "each poll draws on the same quota");
                }
                Some(wire) => {
                    let message = format!(
                        "tenant {tenant} takes its alerts from one of defender and graph, and an earlier source is {}",
                        wire.as_str()
                    );
                    let hint = "both have the same alerts: remove one, or give each source its own tenant";
                    report.error_with_hint(&at.index(index), message, hint);
                }
            }
        }
    }
}
