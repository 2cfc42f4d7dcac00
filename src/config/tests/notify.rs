//! Channels as people write them.

use secrecy::ExposeSecret as _;

use super::{LEAST, Scratch};
use crate::config::{Channel, ChannelKind};
use crate::model::notice::Word;

const URL: &str = "https://hooks.slack.example:8443/services/T0/B0/hush-hush";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.secret("url", format!("{URL}\n"));
    scratch.secret("local", "http://127.0.0.1:9/hook\n");
    scratch.secret("http", "http://hooks.example/hush-hush\n");
    scratch.secret("words", "hush-hush\n");
    scratch
}

fn with(channel: &str) -> String {
    format!("{LEAST}notify:\n  - {channel}\n")
}

fn channel(text: &str) -> Channel {
    scratch().load(&with(text), &[]).unwrap().config.notify.remove(0)
}

#[test]
fn a_channel_is_told_of_all_but_what_goes_as_it_should() {
    let channel = channel("{ type: slack, url_file: url }");
    assert_eq!((channel.name.as_str(), channel.host.as_str()), ("slack", "hooks.slack.example:8443"));
    assert!(matches!(channel.kind, ChannelKind::Slack));
    assert_eq!(channel.url.expose_secret(), URL);
    assert_eq!(channel.on.len(), 11);
    assert!(!channel.on.contains(&Word::Acted) && !channel.on.contains(&Word::Released));
    assert!(!format!("{channel:?}").contains("hush"), "the address is a secret");
}

#[test]
fn what_is_written_is_what_is_meant() {
    let text = "{ type: webhook, name: night, url_file: local, hmac_file: secret, on: [drill, acted, acted], \
                console_url: \"https://stanch.example/console/\" }";
    let channel = channel(text);
    assert_eq!(channel.name.as_str(), "night");
    assert!(matches!(channel.kind, ChannelKind::Webhook(Some(_))) && channel.is_of_this_machine);
    assert_eq!(channel.on.into_iter().collect::<Vec<_>>(), [Word::Acted, Word::Drill]);
    assert_eq!(channel.console_url.unwrap().as_str(), "https://stanch.example/console");
}

#[test]
fn a_webhook_without_a_key_is_legal_and_likely_not_meant() {
    let loaded = scratch().load(&with("{ type: webhook, url_file: url }"), &[]).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("messages are not signed"), "{warnings:?}");
}

#[test]
fn each_problem_of_a_channel_is_named_and_no_secret_with_it() {
    let cases = [
        ("{ url_file: url }", "notify[0].type: is needed and missing"),
        ("{ type: slack }", "notify[0].url_file: is needed and missing"),
        ("{ type: slak, url_file: url }", "\"slak\" is not one of slack, teams, webhook (did you mean slack?)"),
        ("{ type: slack, url_file: url, on: [helt] }", "(did you mean held?)"),
        ("{ type: slack, url_file: url, name: a b }", "is not 1 to 64 letters, digits, '.', '_' or '-'"),
        (
            "{ type: slack, url: \"https://hush-hush\" }",
            "notify[0].url: a secret is never written here (put it into a file",
        ),
        (
            "{ type: slack, url_file: http }",
            "the file holds an http URL: whoever listens on the way could read it and post (take the https one)",
        ),
        ("{ type: teams, url_file: words }", "notify[0].url_file: what the file holds is no https URL"),
        ("{ type: teams, url_file: url, hmac_file: secret }", "is a key of webhook channels only (remove it)"),
        ("{ type: slack, url_file: url, console_url: stanch }", "notify[0].console_url: is no address of a console"),
        (
            "{ type: slack, url_file: url }\n  - { type: slack, url_file: url }",
            "notify[1].name: a second channel slack (names are unique, and a channel without one is called by its type)",
        ),
    ];
    for (channel, message) in cases {
        let problems = scratch().problems(&with(channel), &[]);
        assert!(problems.contains(message), "{channel}: {problems}");
        assert!(!problems.contains("hush"), "{problems}");
    }
}
