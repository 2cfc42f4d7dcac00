//! The form of Slack's incoming webhooks: blocks, and a text for where blocks are not shown.
//!
//! Nothing from outside is set as `mrkdwn`: in `plain_text` Slack reads no formatting, no link and no mention. Sources:
//! docs.slack.dev/reference/block-kit (3,000 characters in a text, 150 in a header, 50 blocks),
//! docs.slack.dev/messaging/formatting-message-text (what is escaped). All blocks together stay far below 13,000
//! characters, beyond which Slack refuses them without saying so in its reference (slackapi/bolt-js issue 2509).

use serde_json::{Value, json};

use super::words::Words;

/// The most characters of a section.
const MOST: usize = 2_900;
/// The most of a line, escaped: names of nothing but `&` must not make a message that Slack refuses.
const MOST_OF_LINE: usize = 600;
/// The most of the header.
const MOST_OF_HEADER: usize = 150;

/// The message.
pub(super) fn message(words: &Words) -> Value {
    let header = escaped(&words.title, MOST_OF_HEADER);
    let mut blocks = vec![json!({ "type": "header", "text": plain(&header) })];
    let items = words.items.iter().map(|item| format!("• {item}")).chain(words.and_more()).collect::<Vec<_>>();
    for lines in [&words.facts, &items, &words.commands] {
        blocks.extend(sections(lines).iter().map(|text| json!({ "type": "section", "text": plain(text) })));
    }
    if let Some(link) = &words.link {
        let text = format!("<{}|Open the console>", escaped(link, MOST));
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } }));
    }
    let text: Vec<String> = words.lines().iter().map(|line| escaped(line, MOST_OF_LINE)).collect();
    json!({
        "text": text.join("\n"),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// The lines in as few texts as hold them.
fn sections(lines: &[String]) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines {
        let line = escaped(line, MOST_OF_LINE);
        match sections.last_mut() {
            Some(last) if last.chars().count() + 1 + line.chars().count() <= MOST => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => sections.push(line),
        }
    }
    sections
}

/// As much of `text`, escaped, as so many characters hold.
fn escaped(text: &str, most: usize) -> String {
    let (mut out, mut length) = (String::with_capacity(text.len()), 0);
    for character in text.chars() {
        let escape = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += escape.len().max(1);
        if length > most {
            break;
        }
        if escape.is_empty() { out.push(character) } else { out.push_str(escape) }
    }
    out
}
