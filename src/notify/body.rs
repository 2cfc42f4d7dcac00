//! An outbreak as the body of a request, in the form that a channel wants.

use jiff::Timestamp;

use super::webhook::signature;
use super::words::words;
use super::{slack, teams, webhook};
use crate::config::{Channel, ChannelKind};
use crate::model::notice::Outbreak;

/// What is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// JSON.
    pub bytes: Vec<u8>,
    /// The value of `X-Stanch-Signature`.
    pub signature: Option<String>,
}

/// What a channel is sent of an outbreak. `rule_title`: of its rule, if that is loaded. `now`: by the clock, for the
/// signature.
#[must_use]
pub fn body(channel: &Channel, outbreak: &Outbreak, rule_title: Option<&str>, now: Timestamp) -> Body {
    let words = words(outbreak, rule_title, channel.console_url.as_ref());
    let message = match &channel.kind {
        ChannelKind::Slack => slack::message(&words),
        ChannelKind::Teams => teams::message(&words),
        ChannelKind::Webhook(_) => webhook::message(outbreak, rule_title, &words),
    };
    let bytes = message.to_string().into_bytes();
    let signature = match &channel.kind {
        ChannelKind::Webhook(Some(key)) => Some(signature(&bytes, key, now)),
        _ => None,
    };
    Body { bytes, signature }
}
