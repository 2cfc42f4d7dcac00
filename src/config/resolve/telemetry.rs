//! The log, and where traces go.

use url::Url;

use super::super::key_path::KeyPath;
use super::super::raw::{RawLog, RawTelemetry};
use super::super::report::Report;
use super::super::{LogFormat, Telemetry};
use super::http_url;

/// What is added to a collector's address that names no path. Source: the OTLP specification, OTLP/HTTP.
const PATH_OF_TRACES: &str = "/v1/traces";

pub(super) fn telemetry(report: &mut Report<'_>, raw: RawTelemetry) -> Option<Telemetry> {
    let at = KeyPath::top("telemetry");
    let otlp = raw.otlp.map(|text| collector(report, &at.key("otlp"), &text));
    let log = match report.need(&at.key("log"), raw.log)? {
        RawLog::Text => LogFormat::Text,
        RawLog::Json => LogFormat::Json,
    };
    let otlp = match otlp {
        Some(collector) => Some(collector?),
        None => None,
    };
    Some(Telemetry { log, otlp })
}

/// Traces hold no secret, so a collector in the same network may be reached without TLS.
fn collector(report: &mut Report<'_>, at: &KeyPath, text: &str) -> Option<Url> {
    const HINT: &str = "write it as http://collector:4318";
    let mut url = http_url(report, at, text, HINT)?;
    if url.path() == "/" {
        url.set_path(PATH_OF_TRACES);
    }
    Some(url)
}
