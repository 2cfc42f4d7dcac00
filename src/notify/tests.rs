//! Messages as a person or a program gets them.

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::body;
use crate::config::{Channel, ChannelKind};
use crate::intake::signature::verify_hmac;
use crate::model::notice::{Case, Item, MOST_ITEMS, Outbreak, Word};
use crate::model::{ActionId, Kind, MachineId};

/// All that an attacker may choose: the name of a device, the title of an alert, the words of a comment.
const HOSTILE: &str = "<!channel> <https://evil.test|mend> @everyone [mend](https://evil.test) **a** & {{DATE(1)}}";

fn channel(kind: ChannelKind) -> Channel {
    Channel {
        name: "night".parse().unwrap(),
        kind,
        url: SecretString::from("https://hooks.example/T0"),
        host: "hooks.example".to_owned(),
        is_of_this_machine: false,
        on: Word::ALL.into_iter().collect(),
        console_url: Some("https://stanch.example".parse().unwrap()),
    }
}

fn at() -> Timestamp {
    "2026-11-24T03:12:07Z".parse().unwrap()
}

fn action_id() -> ActionId {
    "0197a000-0000-7000-8000-000000000001".parse().unwrap()
}

fn item(name: &str) -> Item {
    Item {
        at: at(),
        machine_id: Some(MachineId::numbered(1)),
        device_name: Some(name.to_owned()),
        action_id: Some(action_id()),
        kind: Some(Kind::Restrict),
        alert_id: Some("da1".parse().unwrap()),
        alert_title: Some("Suspicious file encryption".to_owned()),
        by: "rule:contain-ransomware".to_owned(),
        reason: "approval: the rule asks for one".to_owned(),
    }
}

fn held(count: u64, items: Vec<Item>) -> Outbreak {
    Outbreak {
        id: "0197a000-0000-7000-8000-00000000000f".to_owned(),
        case: Case::Held,
        tenant: Some("contoso".parse().unwrap()),
        rule_id: Some("contain-ransomware".parse().unwrap()),
        first_at: at(),
        last_at: at(),
        count,
        fresh: count,
        items,
        told: 0,
        tries: 0,
        owed_since: at(),
    }
}

fn sent(kind: ChannelKind, outbreak: &Outbreak) -> Value {
    let body = body(&channel(kind), outbreak, Some("Contain ransomware"), at());
    // Teams takes some 28 KB.
    assert!(body.bytes.len() < 27_000, "{}", body.bytes.len());
    serde_json::from_slice(&body.bytes).unwrap()
}

fn text(outbreak: &Outbreak) -> String {
    sent(ChannelKind::Webhook(None), outbreak)["text"].as_str().unwrap().to_owned()
}

/// Every text anywhere in a message.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|member| texts(member, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

#[test]
fn one_held_action_says_why_and_what_can_be_done() {
    insta::assert_snapshot!(text(&held(1, vec![item("pc-1.contoso.test")])), @r#"
    Held for a human: pc-1.contoso.test
    Tenant: contoso
    Rule: Contain ransomware (contain-ransomware)
    At: 2026-11-24 03:12:07 UTC
    - pc-1.contoso.test: approval: the rule asks for one; alert da1 "Suspicious file encryption"; action 0197a000-0000-7000-8000-000000000001
    stanch actions approve 0197a000-0000-7000-8000-000000000001 --why 'your reason'
    stanch actions reject 0197a000-0000-7000-8000-000000000001 --why 'your reason'
    https://stanch.example/actions/0197a000-0000-7000-8000-000000000001
    "#);
}

#[test]
fn a_growing_outbreak_says_how_many_and_how_many_are_new() {
    let items: Vec<Item> = (0..MOST_ITEMS).map(|n| item(&format!("pc-{n}"))).collect();
    let growing =
        Outbreak { fresh: 123, told: 1, last_at: at() + jiff::SignedDuration::from_secs(63), ..held(1_000, items) };
    let text = text(&growing);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Held for a human: 1000 actions, 123 since the last message");
    assert_eq!(lines[3], "From 2026-11-24 03:12:07 UTC to 2026-11-24 03:13:10 UTC");
    assert!(lines[4].starts_with("- pc-0: approval"), "{text}");
    assert_eq!(lines[14], "and 113 more");
    assert_eq!(lines[15], "stanch actions list --state held");
    assert_eq!(lines[16], "stanch actions approve --rule contain-ransomware --why 'your reason'");
    assert_eq!(lines[18], "https://stanch.example/actions?state=held");
    let message = sent(ChannelKind::Webhook(None), &growing);
    assert_eq!((&message["count"], &message["new"]), (&1_000.into(), &123.into()));
    assert_eq!(message["id"], "0197a000-0000-7000-8000-00000000000f-2");
    assert_eq!(message["devices"].as_array().unwrap().len(), MOST_ITEMS);
    assert_eq!(message["event"], "held");
}

#[test]
fn every_case_has_a_title_and_what_to_do_next() {
    let mut titles = Vec::new();
    for case in Case::ALL {
        let one = Outbreak { case, ..held(1, vec![item("pc-1")]) };
        let many = Outbreak { case, told: 2, ..held(7, vec![item("pc-1"), item("pc-2")]) };
        for outbreak in [one, many] {
            let message = sent(ChannelKind::Webhook(None), &outbreak);
            assert!(message["text"].as_str().unwrap().lines().any(|line| line.starts_with("stanch ")), "{case:?}");
            titles.push(message["title"].as_str().unwrap().to_owned());
        }
    }
    insta::assert_snapshot!(titles.join("\n"), @"
    Restricting: pc-1
    Restricting: 7 devices, 7 since the last message
    Held for a human: pc-1
    Held for a human: 7 actions, 7 since the last message
    Given up before it was sent: pc-1
    Given up before it was sent: 7 actions, 7 since the last message
    Failed to restrict pc-1
    Failed: 7 actions, 7 since the last message
    Released: pc-1
    Released: 7 devices, 7 since the last message
    Undone by a person: pc-1
    Undone by a person: 7 devices, 7 since the last message
    No machine record: pc-1
    No machine record: 7 devices, 7 since the last message
    Tenant contoso can not be worked with
    Tenant contoso can not be worked with, 7 since the last message
    Tenant contoso works again
    Tenant contoso works again, 7 since the last message
    A source of contoso can not be read
    A source of contoso can not be read, 7 since the last message
    A source of contoso can be read again
    A source of contoso can be read again, 7 since the last message
    Paused: nothing is sent to any device
    Paused: nothing is sent to any device, 7 since the last message
    Resumed: actions are sent again
    Resumed: actions are sent again, 7 since the last message
    New rules can not be loaded, the old ones go on
    New rules can not be loaded, the old ones go on, 7 since the last message
    A protection is lost: devices that it kept may be restricted
    7 protections are lost: devices that they kept may be restricted, 7 since the last message
    The fire drill failed
    The fire drill failed, 7 since the last message
    ");
}

#[test]
fn slack_gets_blocks_and_a_text_for_where_none_are_shown() {
    let outbreak = held(1, vec![item("pc-1")]);
    let message = sent(ChannelKind::Slack, &outbreak);
    let blocks = message["blocks"].as_array().unwrap().iter();
    let blocks: Vec<String> = blocks
        .map(|block| {
            format!("{} {}: {}", block["type"], block["text"]["type"], block["text"]["text"].as_str().unwrap())
        })
        .collect();
    insta::assert_snapshot!(blocks.join("\n"), @r#"
    "header" "plain_text": Held for a human: pc-1
    "section" "plain_text": Tenant: contoso
    Rule: Contain ransomware (contain-ransomware)
    At: 2026-11-24 03:12:07 UTC
    "section" "plain_text": • pc-1: approval: the rule asks for one; alert da1 "Suspicious file encryption"; action 0197a000-0000-7000-8000-000000000001
    "section" "plain_text": stanch actions approve 0197a000-0000-7000-8000-000000000001 --why 'your reason'
    stanch actions reject 0197a000-0000-7000-8000-000000000001 --why 'your reason'
    "section" "mrkdwn": <https://stanch.example/actions/0197a000-0000-7000-8000-000000000001|Open the console>
    "#);
    assert_eq!(message["text"], text(&outbreak));
    assert_eq!((&message["unfurl_links"], &message["mrkdwn"]), (&false.into(), &false.into()));
}

#[test]
fn teams_gets_a_message_with_an_adaptive_card() {
    let mut message = sent(ChannelKind::Teams, &held(1, vec![item("pc-1")]));
    assert_eq!(message["type"], "message");
    let attachment = message["attachments"][0].take();
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&"AdaptiveCard".into(), &"1.4".into()));
    let runs = card["body"].as_array().unwrap().iter().map(|block| {
        assert_eq!(block["type"], "RichTextBlock");
        block["inlines"].to_string()
    });
    insta::assert_snapshot!(runs.collect::<Vec<_>>().join("\n"), @r#"
    [{"size":"Large","text":"Held for a human: pc-1","type":"TextRun","weight":"Bolder"}]
    [{"isSubtle":true,"text":"Tenant: contoso","type":"TextRun"}]
    [{"isSubtle":true,"text":"Rule: Contain ransomware (contain-ransomware)","type":"TextRun"}]
    [{"isSubtle":true,"text":"At: 2026-11-24 03:12:07 UTC","type":"TextRun"}]
    [{"text":"• pc-1: approval: the rule asks for one; alert da1 \"Suspicious file encryption\"; action 0197a000-0000-7000-8000-000000000001","type":"TextRun"}]
    [{"fontType":"Monospace","text":"stanch actions approve 0197a000-0000-7000-8000-000000000001 --why 'your reason'","type":"TextRun"}]
    [{"fontType":"Monospace","text":"stanch actions reject 0197a000-0000-7000-8000-000000000001 --why 'your reason'","type":"TextRun"}]
    "#);
    assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
    assert_eq!(card["actions"][0]["url"], format!("https://stanch.example/actions/{}", action_id()));
}

#[test]
fn nothing_from_outside_calls_people_or_leads_them_away() {
    let hostile = Item {
        alert_title: Some(HOSTILE.to_owned()),
        reason: HOSTILE.to_owned(),
        by: format!("user:{HOSTILE}"),
        ..item(HOSTILE)
    };
    let outbreak = held(1, vec![hostile.clone()]);
    for kind in [ChannelKind::Slack, ChannelKind::Teams] {
        let mut found = Vec::new();
        let message = sent(kind.clone(), &outbreak);
        texts(&message, &mut found);
        for text in found.iter().filter(|text| text.contains("mend")) {
            for sign in ["@everyone", "](", "{{", "://evil"] {
                assert!(!text.contains(sign), "{kind:?}: {text}");
            }
            let is_slack = matches!(kind, ChannelKind::Slack);
            assert!(!is_slack || !text.contains(['<', '>']), "{text}");
        }
        // Where Slack and Teams read formatting, nothing stands but what is ours.
        let message = message.to_string();
        assert!(!message.contains("\"TextBlock\"") && message.matches("mrkdwn\":\"").count() == 0, "{message}");
    }
    let slack = sent(ChannelKind::Slack, &outbreak);
    let formatted: Vec<&Value> =
        slack["blocks"].as_array().unwrap().iter().filter(|block| block["text"]["type"] == "mrkdwn").collect();
    assert_eq!(formatted.len(), 1);
    assert_eq!(
        formatted[0]["text"]["text"],
        format!("<https://stanch.example/actions/{}|Open the console>", action_id())
    );
    let webhook = sent(ChannelKind::Webhook(None), &outbreak);
    assert_eq!(webhook["items"][0]["device_name"], HOSTILE, "programs get what there is");
    assert!(!webhook["text"].as_str().unwrap().contains("@everyone"));
}

#[test]
fn the_longest_names_make_no_message_that_is_refused() {
    let longest = |character: &str| Item {
        device_name: Some(character.repeat(100)),
        alert_title: Some(character.repeat(300)),
        reason: character.repeat(300),
        ..item("")
    };
    for character in ["&", "<", "\"", "\\", "日", "👩‍👩‍👧‍👦", "@", "\u{202e}"] {
        let outbreak = held(1_000, vec![longest(character); MOST_ITEMS]);
        let slack = sent(ChannelKind::Slack, &outbreak);
        let blocks = slack["blocks"].as_array().unwrap();
        let lengths: Vec<usize> =
            blocks.iter().map(|block| block["text"]["text"].as_str().unwrap().chars().count()).collect();
        assert!(lengths[0] <= 150 && lengths.iter().all(|length| (1..=3_000).contains(length)), "{lengths:?}");
        assert!(blocks.len() <= 50 && lengths.iter().sum::<usize>() < 13_000, "{lengths:?}");
        sent(ChannelKind::Teams, &outbreak);
    }
}

#[test]
fn a_signature_is_what_our_own_webhooks_want() {
    let key = SecretString::from("hunter2");
    let body = body(&channel(ChannelKind::Webhook(Some(key.clone()))), &held(1, vec![item("pc-1")]), None, at());
    let signature = body.signature.unwrap();
    assert!(verify_hmac(Some(&signature), &body.bytes, &key, at()));
    assert!(!verify_hmac(Some(&signature), &[&body.bytes[..], b" "].concat(), &key, at()));
}

#[test]
fn a_rule_that_a_shell_could_obey_stands_in_no_command() {
    for rule in ["a; rm -rf /", "$(reboot)", "-rf", "two words"] {
        let outbreak = Outbreak { rule_id: rule.parse().ok(), ..held(2, vec![item("pc-1"), item("pc-2")]) };
        assert!(!text(&outbreak).contains("--rule"), "{rule}");
    }
}
