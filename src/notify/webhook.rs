//! The form of a plain webhook: JSON with the facts as they are, and a text that can be shown. `docs/guide/notifications.md`
//! has each field.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::words::Words;
use crate::model::ids::hex;
use crate::model::notice::{Item, Outbreak};

/// The message.
pub(super) fn message(outbreak: &Outbreak, rule_title: Option<&str>, words: &Words) -> Value {
    json!({
        "id": format!("{}-{}", outbreak.id, u64::from(outbreak.told) + 1),
        "outbreak": outbreak.id,
        "event": outbreak.case.word().as_str(),
        "case": outbreak.case.as_str(),
        "tenant": outbreak.tenant,
        "rule_id": outbreak.rule_id,
        "rule_title": rule_title,
        "count": outbreak.count,
        "new": outbreak.fresh,
        "first_at": outbreak.first_at,
        "last_at": outbreak.last_at,
        "devices": each(outbreak, |item| {
            item.device_name.clone().or_else(|| item.machine_id.as_ref().map(|id| id.as_str().to_owned()))
        }),
        "action_ids": each(outbreak, |item| item.action_id.map(|id| id.to_string())),
        "alert_ids": each(outbreak, |item| item.alert_id.as_ref().map(|id| id.as_str().to_owned())),
        "items": outbreak.items,
        "title": words.title,
        "text": words.lines().join("\n"),
        "link": words.link,
    })
}

/// Each value of the things once, in their order.
fn each(outbreak: &Outbreak, value: impl Fn(&Item) -> Option<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    outbreak.items.iter().filter_map(value).filter(|value| seen.insert(value.clone())).collect()
}

/// The value of `X-Stanch-Signature`, as our own webhooks want it: HMAC-SHA256 over `<t>.<body>`.
pub(super) fn signature(body: &[u8], key: &SecretString, now: Timestamp) -> String {
    let time = now.as_second().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    format!("t={time},v1={}", hex(context.sign().as_ref()))
}
