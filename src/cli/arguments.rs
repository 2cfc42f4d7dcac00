//! Arguments that several commands share, and how their values are read.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::Timestamp;
use url::Url;

use super::socket::DEFAULT_CONFIG;
use crate::model::{AlertTime, RuleId, Span, TenantName};

/// Options that stand before or after the command.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The config file [default: /etc/stanch/stanch.yaml]
    #[arg(long, global = true, value_name = "PATH", env = "STANCH_CONFIG", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Print JSON: one document, or one a line where a list can be long
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Speak to the daemon at this address, with the token in STANCH_TOKEN, instead of over its socket
    #[arg(long, global = true, value_name = "URL", value_parser = address, help_heading = "Global options")]
    pub url: Option<Url>,
}

impl Global {
    /// The config file: the one that was named, or the default one.
    pub(super) fn config_file(&self) -> &Path {
        self.config.as_deref().unwrap_or_else(|| Path::new(DEFAULT_CONFIG))
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}: write it as https://stanch.example.org:8787"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("write it as https://stanch.example.org:8787".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("give the token in STANCH_TOKEN, not in the address".to_owned());
    }
    Ok(url)
}

/// Why a human changes something.
#[derive(Debug, Clone, Args)]
pub(super) struct Why {
    /// Why, in words: it is kept in the history
    #[arg(long, value_name = "TEXT", value_parser = not_blank)]
    pub why: String,
}

fn not_blank(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("say why in words".to_owned()) } else { Ok(text.to_owned()) }
}

/// The tenant of an id that several tenants know.
#[derive(Debug, Clone, Args)]
pub(super) struct Tenant {
    /// Only in this tenant: needed where several know the same id
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<TenantName>,
}

impl Tenant {
    /// The query parameters of it.
    pub(super) fn query(&self) -> Query {
        self.tenant.iter().map(|tenant| ("tenant", tenant.to_string())).collect()
    }
}

/// Query parameters.
pub(super) type Query = Vec<(&'static str, String)>;

/// What every list can be narrowed by.
#[derive(Debug, Clone, Args)]
pub(super) struct Filters {
    /// Only those of this device: its machine id or its name
    #[arg(long, value_name = "DEVICE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub device: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<TenantName>,
    /// Only those since then: a duration back, as 24h, or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroU64>,
}

impl Filters {
    /// The query parameters of it, the limit aside.
    pub(super) fn query(&self, now: Timestamp) -> Query {
        let device = self.device.clone().map(|device| ("device", device));
        let tenant = self.tenant.as_ref().map(|tenant| ("tenant", tenant.to_string()));
        let since = self.since.as_ref().map(|since| ("since", since.resolved(now).to_string()));
        [device, tenant, since].into_iter().flatten().collect()
    }
}

/// A parser of one of `names`: clap names the nearest of them when somebody misspells one.
pub(super) fn one_of<T: Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item = &'static str>,
    from_name: fn(&str) -> Option<T>,
) -> impl clap::builder::TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(move |name| from_name(&name).ok_or("no such word"))
}

/// A time that somebody wrote as a duration back from now, or as a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Since {
    /// So long ago.
    Back(Span),
    /// At that time.
    At(Timestamp),
}

impl Since {
    /// The time that is meant.
    pub(super) fn resolved(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Back(span) => now.checked_sub(span.duration()).unwrap_or(Timestamp::MIN),
            Self::At(time) => *time,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Back(span));
        }
        let time = AlertTime::parse(text)
            .map_err(|_| "write a duration back, as 30m, 24h or 7d, or a time, as 2026-11-24T05:00:00Z")?;
        Ok(Self::At(time.timestamp()))
    }
}

/// Many at once: all of a rule, or all.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct Many {
    /// All of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<RuleId>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_back_or_a_time() {
        let now: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("90s", "2026-11-24T05:58:30Z"),
            ("24h", "2026-11-23T06:00:00Z"),
            ("7d", "2026-11-17T06:00:00Z"),
            ("2026-11-24T05:00:00Z", "2026-11-24T05:00:00Z"),
            ("2026-11-24T05:00:00+02:00", "2026-11-24T03:00:00Z"),
            ("2026-11-24T05:00:00.5", "2026-11-24T05:00:00.5Z"),
        ] {
            assert_eq!(text.parse::<Since>().unwrap().resolved(now).to_string(), expected, "{text}");
        }
        for bad in ["", "yesterday", "24", "-1h", "2026-11-24", "05:00"] {
            assert!(bad.parse::<Since>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_is_http_and_holds_no_password() {
        assert!(address("https://stanch.example.org:8787/prefix").is_ok());
        for bad in ["stanch.example.org", "ftp://a", "unix:/run/x", "https://ana:secret@a"] {
            let refused = address(bad).unwrap_err();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
