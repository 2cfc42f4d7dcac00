//! `notify`: the channels that messages to people go through.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::super::key_path::KeyPath;
use super::super::raw::{ChannelType, RawChannel};
use super::super::report::Report;
use super::Surroundings;
use super::tenants::is_loopback;
use crate::config::{Channel, ChannelKind};
use crate::model::ChannelName;
use crate::model::notice::Word;

/// More channels than anybody reads.
const MOST_CHANNELS: usize = 32;
/// The longest URL of a channel, in bytes: those of Teams have some three hundred.
const LONGEST_URL: usize = 4_096;

pub(super) fn notify(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    raw: Option<Vec<RawChannel>>,
) -> Option<Vec<Channel>> {
    let (at, raw) = (KeyPath::top("notify"), raw.unwrap_or_default());
    if raw.len() > MOST_CHANNELS {
        report.error(&at, format!("has {} channels, and may have {MOST_CHANNELS}", raw.len()));
        return None;
    }
    let mut taken = BTreeSet::new();
    let channels: Vec<Option<Channel>> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| channel(report, around, &at.index(index), raw, &mut taken))
        .collect();
    channels.into_iter().collect()
}

fn channel(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    raw: RawChannel,
    taken: &mut BTreeSet<ChannelName>,
) -> Option<Channel> {
    let kind = report.need(&at.key("type"), raw.kind);
    let name = kind.and_then(|kind| {
        let text = raw.name.unwrap_or_else(|| kind.as_str().to_owned());
        name(report, &at.key("name"), text, taken)
    });
    let url_at = at.key("url_file");
    let url = report.need(&url_at, raw.url_file).and_then(|path| around.secret(report, &url_at, path));
    let url = url.and_then(|(_, url)| address(report, &url_at, url));
    let signed = raw.hmac_file.is_some();
    let key = raw.hmac_file.map(|path| around.secret(report, &at.key("hmac_file"), path));
    let console_url = raw.console_url.map(|text| console(report, &at.key("console_url"), &text));
    let on = on(report, &at.key("on"), raw.on);
    let kind = match kind? {
        ChannelType::Webhook => {
            if !signed {
                let hint = "name a file with a key with hmac_file; the receiver checks X-Stanch-Signature with it";
                report.warn(at, "messages are not signed, so whoever knows the URL can make them up", hint);
            }
            ChannelKind::Webhook(transposed(key)?.map(|(_, key)| key))
        }
        kind => {
            if signed {
                report.error_with_hint(&at.key("hmac_file"), "is a key of webhook channels only", "remove it");
            }
            if kind == ChannelType::Slack { ChannelKind::Slack } else { ChannelKind::Teams }
        }
    };
    let (url, host, is_of_this_machine) = url?;
    let console_url = transposed(console_url)?;
    Some(Channel { name: name?, kind, url, host, is_of_this_machine, on: on?, console_url })
}

/// What was not written is no problem; what was written and is none is one.
fn transposed<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    written.map_or(Some(None), |value| value.map(Some))
}

fn on(report: &mut Report<'_>, at: &KeyPath, words: Option<Vec<Word>>) -> Option<BTreeSet<Word>> {
    match words {
        Some(words) if words.is_empty() => {
            let hint = "write at least one word, or remove the key for the default";
            report.error_with_hint(at, "names nothing, so the channel would never be told of anything", hint);
            None
        }
        Some(words) => Some(words.into_iter().collect()),
        None => Some(Word::ALL.into_iter().filter(|word| word.is_told_by_default()).collect()),
    }
}

fn name(report: &mut Report<'_>, at: &KeyPath, text: String, taken: &mut BTreeSet<ChannelName>) -> Option<ChannelName> {
    match ChannelName::new(text) {
        Ok(name) if !taken.insert(name.clone()) => {
            let hint = "names are unique, and a channel without one is called by its type";
            report.error_with_hint(at, format!("a second channel {name}"), hint);
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            report.error(at, error.to_string());
            None
        }
    }
}

/// The URL in a secret, its host, and whether that is this machine. Whoever has the URL may post, so no message repeats
/// anything of it.
fn address(report: &mut Report<'_>, at: &KeyPath, secret: SecretString) -> Option<(SecretString, String, bool)> {
    const HINT: &str = "put the whole address into the file, as https://host/path, and nothing else";
    let text = secret.expose_secret().trim();
    let url = (text.len() <= LONGEST_URL).then(|| Url::parse(text).ok()).flatten();
    let Some(url) = url.filter(|url| url.has_host() && matches!(url.scheme(), "https" | "http")) else {
        report.error_with_hint(at, "what the file holds is no https URL", HINT);
        return None;
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        let message = "the file holds an http URL: whoever listens on the way could read it and post";
        report.error_with_hint(at, message, "take the https one");
        return None;
    }
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let is_of_this_machine = is_loopback(&url);
    Some((SecretString::from(url.as_str()), host, is_of_this_machine))
}

/// The address of the console. Links begin with it, so it must be one that a browser takes.
fn console(report: &mut Report<'_>, at: &KeyPath, text: &str) -> Option<Url> {
    let is_plain = |url: &Url| {
        let is_web = matches!(url.scheme(), "https" | "http") && url.has_host();
        let has_user = !url.username().is_empty() || url.password().is_some();
        is_web && !has_user && url.query().is_none() && url.fragment().is_none()
    };
    let Some(mut url) = Url::parse(text).ok().filter(is_plain) else {
        let hint = "write where people open the console, as https://stanch.example";
        report.error_with_hint(at, "is no address of a console", hint);
        return None;
    };
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}
