//! The form that a workflow of Teams takes: a message with one Adaptive Card.
//!
//! All text stands in text runs of rich text blocks, which know no Markdown, unlike text blocks (source:
//! learn.microsoft.com/adaptive-cards/create/textfeatures). A message may have some 28 KB (source:
//! learn.microsoft.com/connectors/teams, "Message size limitation"), which ten lines stay far below.

use serde_json::{Value, json};

use super::words::Words;

/// The message.
pub(super) fn message(words: &Words) -> Value {
    let mut body = vec![rich(&json!({ "text": words.title, "size": "Large", "weight": "Bolder" }))];
    body.extend(words.facts.iter().map(|fact| rich(&json!({ "text": fact, "isSubtle": true }))));
    body.extend(words.items.iter().map(|item| rich(&json!({ "text": format!("• {item}") }))));
    body.extend(words.and_more().map(|more| rich(&json!({ "text": more, "weight": "Bolder" }))));
    body.extend(words.commands.iter().map(|command| rich(&json!({ "text": command, "fontType": "Monospace" }))));
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": words.title,
        "msteams": { "width": "Full" },
        "body": body,
    });
    if let (Some(link), Some(card)) = (&words.link, card.as_object_mut()) {
        let open = json!([{ "type": "Action.OpenUrl", "title": "Open the console", "url": link }]);
        card.insert("actions".to_owned(), open);
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}

fn rich(run: &Value) -> Value {
    let mut run = run.clone();
    if let Some(run) = run.as_object_mut() {
        run.insert("type".to_owned(), "TextRun".into());
    }
    json!({ "type": "RichTextBlock", "inlines": [run] })
}
