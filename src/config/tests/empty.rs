//! Nothing that is present and empty stands for its default.

use super::{LEAST, Scratch};

/// The problems of `text` with these variables, all of them without their places.
fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let scratch = Scratch::new();
    scratch.secret("void", "");
    scratch.secret("blank", " \t\n");
    scratch.secret("url", "https://hooks.example/T1/B1\n");
    let all = scratch.problems(text, environment);
    all.lines().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
}

/// `LEAST` with one of its values, or with another key behind them.
fn with(from: &str, to: &str) -> String {
    let changed = LEAST.replace(from, to);
    assert!(from.is_empty() || changed != LEAST, "{from}");
    if from.is_empty() { format!("{LEAST}{to}\n") } else { changed }
}

const OF_FILE: &str = "is empty (write a value, or remove the key)";
const OF_VARIABLE: &str = "is empty (give the variable a value, or unset it)";

#[test]
fn an_empty_variable_over_shadow_does_not_enforce() {
    let text = format!("{LEAST}guards: {{ mode: shadow }}\n");
    for value in ["", " ", "~", "null", "# off"] {
        let expected = format!("guards.mode (from STANCH_GUARDS__MODE): {OF_VARIABLE}");
        assert_eq!(problems(&text, &[("STANCH_GUARDS__MODE", value)]), [expected], "{value:?}");
    }
}

#[test]
fn a_key_that_is_present_and_empty_is_an_error_wherever_it_stands() {
    let hook = "sources: [{ type: webhook, tenant: contoso, format: map, auth: { bearer_file: secret }, map: MAP }]";
    let hook_with = |map: &str| {
        format!(
            "{}server: {{ listen: 127.0.0.1:0 }}\n",
            with("sources: [{ type: defender }]", &hook.replace("MAP", map))
        )
    };
    let cases = [
        (with("", "guards:"), "guards"),
        (with("", "guards: ~"), "guards"),
        (with("", "guards: null"), "guards"),
        (with("", "guards: !x"), "guards"),
        (with("", "guards: { mode: }"), "guards.mode"),
        (with("", "guards: { mode: ~ }"), "guards.mode"),
        (with("", "guards: { mode: !shadow }"), "guards.mode"),
        (with("", "guards: { blast_radius: }"), "guards.blast_radius"),
        (with("", "guards: { blast_radius: { devices: } }"), "guards.blast_radius.devices"),
        (with("", "guards: { machine_timeout: }"), "guards.machine_timeout"),
        (with("", "limits: { read: }"), "limits.read"),
        (with("", "limits: { read: [~] }"), "limits.read[0]"),
        (with("", "limits: { read: [{ calls: , per: 1s }] }"), "limits.read[0].calls"),
        (with("", "limits: { reserve_percent: }"), "limits.reserve_percent"),
        (with("", "inventory:"), "inventory"),
        (with("", "tracking: { every: }"), "tracking.every"),
        (with("", "server: { socket: }"), "server.socket"),
        (with("", "server: { listen: }"), "server.listen"),
        (with("", "server: { tls: }"), "server.tls"),
        (with("", "server: { insecure: }"), "server.insecure"),
        (with("", "telemetry: { log: }"), "telemetry.log"),
        (with("", "telemetry: { otlp: }"), "telemetry.otlp"),
        (with("", "retention: { alerts: }"), "retention.alerts"),
        (with("", "notify:"), "notify"),
        (with("", "notify: [~]"), "notify[0]"),
        (with("", "notify: [{ type: , url_file: url }]"), "notify[0].type"),
        (with("", "notify: [{ type: slack, url_file: url, on: }]"), "notify[0].on"),
        (with("", "notify: [{ type: slack, url_file: url, on: [held, ~] }]"), "notify[0].on[1]"),
        (with("", "notify: [{ type: slack, url_file: url, name: }]"), "notify[0].name"),
        (with("", "notify: [{ type: slack, url_file: url, console_url: }]"), "notify[0].console_url"),
        (with("{ type: defender }", "{ type: defender, start: }"), "sources[0].start"),
        (with("{ type: defender }", "{ type: defender, tenant: ~ }"), "sources[0].tenant"),
        (with("{ type: defender }", "{ type: defender, sweep: }"), "sources[0].sweep"),
        (with("{ type: defender }", "{ type: defender, sweep: { back: } }"), "sources[0].sweep.back"),
        (with("{ type: defender }", "~, { type: defender }"), "sources[0]"),
        (with("{ type: defender }", "{ type: }"), "sources[0].type"),
        (hook_with("{ id: /a, title: }"), "sources[0].map.title"),
        (hook_with(""), "sources[0].map"),
        (with("client_id: c-1", "client_id: c-1, region: ~"), "tenants[0].region"),
        (with("client_id: c-1", "client_id: c-1, cloud: "), "tenants[0].cloud"),
        (with("client_id: c-1", "client_id: "), "tenants[0].client_id"),
        (with("client_id: c-1", "client_id: c-1, api_url: "), "tenants[0].api_url"),
        (with("{ secret_file: secret }", "~"), "tenants[0].credential"),
        (with("{ secret_file: secret }", "{ secret_file: }"), "tenants[0].credential.secret_file"),
        (with("{ secret_file: secret }", "{ secret_file: secret, secret_env: }"), "tenants[0].credential.secret_env"),
        (with("url: \"sqlite://stanch.db\"", "url:"), "store.url"),
        (with("dir: rules", "dir:"), "rules.dir"),
        (with("dir: rules", "dir: rules, watch: "), "rules.watch"),
    ];
    for (text, key) in cases {
        assert_eq!(problems(&text, &[]), [format!("{key}: {OF_FILE}")], "{text}");
    }
}

#[test]
fn each_variable_that_is_empty_is_named() {
    let cases = [
        ("STANCH_GUARDS", "", "guards"),
        ("STANCH_GUARDS", "{ mode: }", "guards.mode"),
        ("STANCH_GUARDS__BLAST_RADIUS", "~", "guards.blast_radius"),
        ("STANCH_LIMITS__READ__0__CALLS", "", "limits.read[0].calls"),
        ("STANCH_LIMITS__READ__2", "", "limits.read[2]"),
        ("STANCH_NOTIFY", "", "notify"),
        ("STANCH_SOURCES__0__TYPE", "", "sources[0].type"),
        ("STANCH_TENANTS__0__REGION", "", "tenants[0].region"),
        ("STANCH_SERVER__LISTEN", "", "server.listen"),
    ];
    for (name, value, key) in cases {
        assert_eq!(problems(LEAST, &[(name, value)]), [format!("{key} (from {name}): {OF_VARIABLE}")]);
    }
    // What is empty in the file stays an error of the file, whatever is laid over it.
    let text = format!("{LEAST}guards:\n");
    for over in [("STANCH_GUARDS", "{ mode: shadow }"), ("STANCH_GUARDS__MODE", "shadow")] {
        assert_eq!(problems(&text, &[over]), [format!("guards: {OF_FILE}")], "{over:?}");
    }
}

#[test]
fn empty_texts_and_lists_are_what_an_owner_would_expect() {
    let hint = "write at least one word, or remove the key for the default";
    let slack = |more: &str| with("", &format!("notify: [{{ type: slack, url_file: url, {more} }}]"));
    let cases = [
        (with("", "notify: []"), None),
        (with("", "guards: {}"), None),
        (with("", "guards: { blast_radius: {} }"), None),
        (with("dir: rules", ""), None),
        (with("[{ type: defender }]", "[]"), Some("sources: needs at least one source".to_owned())),
        (with("", "limits: { read: [] }"), Some("limits.read: must have 1 to 8 windows, not 0 (leave it out for the default)".to_owned())),
        (
            slack("on: []"),
            Some(format!("notify[0].on: names nothing, so the channel would never be told of anything ({hint})")),
        ),
        (slack("name: \"\""), Some("notify[0].name: channel name \"\" is not 1 to 64 letters, digits, '.', '_' or '-'".to_owned())),
        (
            with("", "server: { listen: \"\" }"),
            Some("server.listen: \"\" is not an IP address with a port (write it as 127.0.0.1:8787 or \"[::1]:8787\")".to_owned()),
        ),
        (with("", "server: { socket: \" \" }"), Some("server.socket: must not be empty".to_owned())),
        (with("dir: rules", "dir: \"\""), Some("rules.dir: must not be empty".to_owned())),
        (with("secret_file: secret", "secret_file: void"), Some("tenants[0].credential.secret_file: void: the file is empty".to_owned())),
        (with("secret_file: secret", "secret_file: blank"), Some("tenants[0].credential.secret_file: blank: the file is empty".to_owned())),
        (
            with("{ secret_file: secret }", "{}"),
            Some("tenants[0].credential: needs secret_file, secret_env, certificate_file with key_file, federated_token_file or managed_identity".to_owned()),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&text, &[]), expected.into_iter().collect::<Vec<_>>(), "{text}");
    }
    let blank = with("{ secret_file: secret }", "{ secret_env: CONTOSO }");
    let expected = "tenants[0].credential.secret_env: the environment variable CONTOSO is empty";
    assert_eq!(problems(&blank, &[("CONTOSO", " \n")]), [expected]);
}

#[test]
fn a_file_without_a_key_is_not_a_file_with_empty_keys() {
    for text in ["", "# nothing\n", "~\n"] {
        let all = problems(text, &[]);
        assert!(all.iter().all(|problem| problem.ends_with("is needed and missing")) && all.len() == 4, "{all:?}");
    }
}
