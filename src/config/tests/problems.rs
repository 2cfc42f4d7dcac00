//! What is wrong in a configuration, each with its place, its reason and its mend.

use std::path::Path;

use super::{LEAST, Scratch, variables};
use crate::config::load;

/// Loads `text` with the secret file `secret` beside it, and compares all problems.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(Scratch::new().problems(text, &[]).lines().collect::<Vec<_>>(), expected);
}

/// The same for more keys behind those that are needed, which take 5 lines.
#[track_caller]
fn check_more(text: &str, expected: &[&str]) {
    check(&format!("{LEAST}{text}"), expected);
}

/// The same for one key that the environment sets over a good file.
#[track_caller]
fn check_variable(name: &str, value: &str, expected: &str) {
    assert_eq!(Scratch::new().problems(LEAST, &[(name, value)]), expected);
}

#[test]
fn what_is_needed_is_named_all_at_once() {
    let expected = [
        "stanch.yaml:1:1: tenants: is needed and missing",
        "stanch.yaml:1:1: sources: is needed and missing",
        "stanch.yaml:1:1: store: is needed and missing",
        "stanch.yaml:1:1: rules: is needed and missing",
    ];
    check("", &expected);
    check(
        "tenants:\nsources:\nstore:\nrules:\n",
        &[
            "stanch.yaml:1:1: tenants: is empty (write a value, or remove the key)",
            "stanch.yaml:2:1: sources: is empty (write a value, or remove the key)",
            "stanch.yaml:3:1: store: is empty (write a value, or remove the key)",
            "stanch.yaml:4:1: rules: is empty (write a value, or remove the key)",
        ],
    );
    check(
        "tenants: []\nsources: []\nstore: {}\nrules: {}\n",
        &["stanch.yaml:1:1: tenants: needs at least one tenant", "stanch.yaml:2:1: sources: needs at least one source"],
    );
    check(
        "tenants: [{}]\nsources: [{}]\nstore: {}\nrules: {}\n",
        &[
            "stanch.yaml:1:11: tenants[0].name: is needed and missing",
            "stanch.yaml:1:11: tenants[0].tenant_id: is needed and missing",
            "stanch.yaml:1:11: tenants[0].client_id: is needed and missing",
            "stanch.yaml:1:11: tenants[0].credential: is needed and missing",
            "stanch.yaml:2:11: sources[0].type: is needed and missing",
        ],
    );
}

#[test]
fn what_is_no_yaml_is_named_with_its_place() {
    check(
        "tenants: [\n",
        &["stanch.yaml:1:11: not YAML: did not find expected node content, while parsing a flow node"],
    );
    check("5", &["stanch.yaml:1:1: must be a mapping, not a number"]);
    check("[tenants]", &["stanch.yaml:1:1: must be a mapping, not a list"]);
    check("a: 1\n---\nb: 2\n", &["stanch.yaml:1:1: the file holds more than one YAML document: take out the line ---"]);
    check("x: 1\nx: 2\n", &["stanch.yaml:1:1: not YAML: duplicate entry with key \"x\""]);
    check_more(
        "limits: { concurrency: 99999999999999999999999 }\n",
        &["stanch.yaml:6:24: limits.concurrency: the number is too large"],
    );
    check(&format!("# {}\n", "x".repeat(256 * 1024)), &["stanch.yaml:1:1: the configuration is longer than 256 KiB"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let scratch = Scratch::new();
    let missing = load(Path::new("/nonexistent/stanch.yaml"), &variables(&[])).unwrap_err().to_string();
    assert_eq!(
        missing,
        "/nonexistent/stanch.yaml:1:1: the configuration cannot be read: No such file or directory (os error 2) \
         (--config PATH names another file)"
    );
    let folder = load(scratch.folder.path(), &variables(&[])).unwrap_err().to_string();
    assert!(folder.contains("Is a directory"), "{folder}");
    scratch.write("latin.yaml", b"# one\n# two \xe9\n", 0o644);
    let latin = load(&scratch.path("latin.yaml"), &variables(&[])).unwrap_err().to_string();
    assert!(latin.ends_with("latin.yaml:2:7: the configuration is not UTF-8 text"), "{latin}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    check_more(
        "server: { listn: 127.0.0.1:1 }\ngaurds:\n  mode: shadow\nguards:\n  blast_radius: { device: 1 }\n  zzz: 1\n1: x\n",
        &[
            "stanch.yaml:6:11: server.listn: unknown key (did you mean listen?)",
            "stanch.yaml:7:1: gaurds: unknown key (did you mean guards?)",
            "stanch.yaml:10:19: guards.blast_radius.device: unknown key (did you mean devices?)",
            "stanch.yaml:11:3: guards.zzz: unknown key (known here: mode, blast_radius, max_alert_age, max_action_age, \
             approval_timeout, machine_timeout)",
            "stanch.yaml:12:1: 1: unknown key, and keys are text",
        ],
    );
}

#[test]
fn a_misspelt_key_that_is_needed_is_not_missing_too() {
    check(
        "tenants:\n  - { nam: contoso, tenant_id: t, client_id: c, credential: { secret_fil: secret } }\n\
         sources: [{ tipe: defender }]\nstor: {}\nrules: {}\n",
        &[
            "stanch.yaml:2:7: tenants[0].nam: unknown key (did you mean name?)",
            "stanch.yaml:2:63: tenants[0].credential.secret_fil: unknown key (did you mean secret_file?)",
            "stanch.yaml:3:13: sources[0].tipe: unknown key (did you mean type?)",
            "stanch.yaml:4:1: stor: unknown key (did you mean store?)",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_kind_says_what_is_wanted() {
    check_more(
        "limits: [1]\ntracking: { every: 10, give_up_after: [4d] }\ninventory: { every: 10x, max_age: 1.5 }\n\
         server: { insecure: maybe, inbox: 1.5, listen: 8787 }\n\
         guards: { mode: observe, blast_radius: { devices: many } }\ntelemetry: { log: { a: 1 } }\n",
        &[
            "stanch.yaml:6:1: limits: must be a mapping, not a list",
            "stanch.yaml:7:13: tracking.every: \"10\" is not a duration: write a whole number and one of ms, s, m, h, d, \
             as 250ms, 10s, 15m, 24h or 7d",
            "stanch.yaml:7:24: tracking.give_up_after: must be a duration as 250ms, 10s, 15m, 24h or 7d, not a list",
            "stanch.yaml:8:14: inventory.every: \"10x\" is not a duration: write a whole number and one of ms, s, m, h, \
             d, as 250ms, 10s, 15m, 24h or 7d",
            "stanch.yaml:8:26: inventory.max_age: \"1.5\" is not a duration: write a whole number and one of ms, s, m, \
             h, d, as 250ms, 10s, 15m, 24h or 7d",
            "stanch.yaml:9:11: server.insecure: must be true or false, not text",
            "stanch.yaml:9:28: server.inbox: must be a whole number, not a fraction",
            "stanch.yaml:9:40: server.listen: must be text, not a number (put it in quotes)",
            "stanch.yaml:10:11: guards.mode: \"observe\" is not one of enforce, shadow",
            "stanch.yaml:10:42: guards.blast_radius.devices: must be a whole number, not text",
            "stanch.yaml:11:14: telemetry.log: must be one word, not a mapping",
        ],
    );
}

#[test]
fn numbers_and_durations_have_bounds() {
    let cases = [
        ("STANCH_LIMITS__CONCURRENCY", "0", "limits.concurrency", "must be 1 to 64, not 0"),
        ("STANCH_LIMITS__CONCURRENCY", "65", "limits.concurrency", "must be 1 to 64, not 65"),
        ("STANCH_LIMITS__RESERVE_PERCENT", "100", "limits.reserve_percent", "must be 0 to 99, not 100"),
        ("STANCH_LIMITS__REQUEST_TIMEOUT", "0s", "limits.request_timeout", "must be longer than zero"),
        (
            "STANCH_GUARDS__BLAST_RADIUS__DEVICES",
            "-1",
            "guards.blast_radius.devices",
            "must be 0 to 4294967295, not -1",
        ),
        (
            "STANCH_GUARDS__BLAST_RADIUS__FLEET_PERCENT",
            "0",
            "guards.blast_radius.fleet_percent",
            "must be 1 to 100, not 0",
        ),
        ("STANCH_GUARDS__MAX_ALERT_AGE", "0h", "guards.max_alert_age", "must be longer than zero"),
        ("STANCH_SERVER__INBOX", "0", "server.inbox", "must be 1 to 1000000000, not 0"),
        ("STANCH_SOURCES__0__EVERY", "0ms", "sources[0].every", "must be longer than zero"),
        ("STANCH_TRACKING__EVERY", "0s", "tracking.every", "must be longer than zero"),
        ("STANCH_LIMITS__READ__0__CALLS", "0", "limits.read[0].calls", "must be 1 to 4294967295, not 0"),
        ("STANCH_LIMITS__READ__1__PER", "0s", "limits.read[1].per", "must be longer than zero"),
        (
            "STANCH_LIMITS__READ__1__PER",
            "1m",
            "limits.read[1].per",
            "an earlier window is as long (keep the one with fewer calls)",
        ),
        ("STANCH_LIMITS__READ", "[]", "limits.read", "must have 1 to 8 windows, not 0 (leave it out for the default)"),
    ];
    for (name, value, key, message) in cases {
        let problems = Scratch::new().problems(LEAST, &[(name, value)]);
        let (place, rest) = problems.split_once(": ").unwrap();
        assert_eq!(rest, format!("{key} (from {name}): {message}"));
        assert!(place.starts_with("stanch.yaml:"), "{place}");
    }
}

#[test]
fn a_collector_is_a_url_without_a_password() {
    let hint = "(write it as http://collector:4318)";
    for (url, why) in [
        ("collector:4318", "is neither https nor http"),
        ("/v1/traces", "is not a URL"),
        ("https://ana:secret@collector", "must not hold a user or a password"),
    ] {
        check_more(
            &format!("telemetry: {{ otlp: \"{url}\" }}\n"),
            &[&format!("stanch.yaml:6:14: telemetry.otlp: {why} {hint}")],
        );
    }
}

#[test]
fn what_is_not_built_yet_is_refused_and_not_called_unknown() {
    check(
        "tenants:\n  - name: a\n    tenant_id: t\n    client_id: c\n    credential: { secret_file: secret }\n\
         sources:\n  - { type: graph, every: 10s }\nstore: { url: \"postgres://user:pass@host/db\" }\nrules: {}\n",
        &["stanch.yaml:8:10: store.url: PostgreSQL is not built yet (write sqlite:///var/lib/stanch/stanch.db)"],
    );
}

#[test]
fn a_tenant_takes_its_alerts_from_one_of_defender_and_graph() {
    let message = "tenant contoso takes its alerts from one of defender and graph, and an earlier source is defender \
                   (both have the same alerts: remove one, or give each source its own tenant)";
    let problems = Scratch::new().problems(LEAST, &[("STANCH_SOURCES__1", "{ type: graph, every: 5s }")]);
    assert_eq!(problems, format!("stanch.yaml:3:1: sources[1] (from STANCH_SOURCES__1): {message}"));
    let second = "{ name: fabrikam, tenant_id: t-2, client_id: c-2, credential: { secret_file: secret } }";
    let apart = [
        ("STANCH_TENANTS__1", second),
        ("STANCH_SOURCES__0__TENANT", "contoso"),
        ("STANCH_SOURCES__1", "{ type: graph, tenant: fabrikam }"),
    ];
    assert!(Scratch::new().load(LEAST, &apart).is_ok());
}

#[test]
fn tokens_for_graph_do_not_go_over_the_wire_unprotected() {
    let problems = Scratch::new().problems(LEAST, &[("STANCH_TENANTS__0__GRAPH_URL", "http://graph.microsoft.com")]);
    assert!(problems.contains("tenants[0].graph_url") && problems.contains("http is refused unless"), "{problems}");
}

/// `LEAST` with a webhook that has `more`.
fn webhook_with(more: &str) -> String {
    LEAST.replace(
        "sources: [{ type: defender }]",
        &format!("sources: [{{ type: webhook, tenant: contoso, auth: {{ bearer_file: secret }}, {more} }}]"),
    )
}

#[test]
fn the_map_of_a_webhook_names_fields_of_an_alert_and_where_they_stand() {
    let cases = [
        ("format: map", "sources[0].map: is needed and missing"),
        ("map: { id: /a }", "sources[0].map: is for the format map only (write format: map, or remove it)"),
        (
            "format: map, map: { title: /a }",
            "sources[0].map: has no id (write where the id of an alert stands, as id: /alertId)",
        ),
        (
            "format: map, map: { id: /a, severty: /b }",
            "sources[0].map.severty: is no field of an alert of MDE (did you mean severity?)",
        ),
        (
            "format: map, map: { id: /a, machine: /b }",
            "sources[0].map.machine: is no field of an alert of MDE (did you mean machineId?)",
        ),
        (
            "format: map, map: { id: a.b }",
            "sources[0].map.id: \"a.b\" is no JSON pointer (write the path with a slash before each step, as /host/id)",
        ),
        (
            "format: map, map: { id: /a~2 }",
            "sources[0].map.id: \"/a~2\" is no JSON pointer (write the path with a slash before each step, as /host/id)",
        ),
        ("format: map, map: { id: [] }", "sources[0].map.id: takes one pointer, or a list of 1 to 16"),
        (
            "format: map, map: { id: [/a, b] }",
            "sources[0].map.id[1]: \"b\" is no JSON pointer (write the path with a slash before each step, as /host/id)",
        ),
        (
            "format: map, map: { id: 5 }",
            "sources[0].map.id: must be a JSON pointer (write the path as text, as /host/id)",
        ),
        (
            "format: map, map: { id: /*/*/*/* }",
            "sources[0].map.id: is too long: a pointer has at most 500 bytes, 32 steps and 3 steps that are *",
        ),
        (
            "format: map, map: { id: /a, items: /b/* }",
            "sources[0].map.items: names one list, and takes no * (name the list itself, as /records)",
        ),
        (
            "format: map, map: { id: /a, where: [/b] }",
            "sources[0].map.where: must be a mapping (write pointers and the words that must stand there, as /kind: Host)",
        ),
        (
            "format: map, map: { id: /a, where: { /kind: {} } }",
            "sources[0].map.where./kind: takes the word that must stand there, or a list of 1 to 32",
        ),
        (
            "format: map, map: { id: /a, machineId: /d/*/id, where: { /e/*/kind: Host } }",
            "sources[0].map.where./e/*/kind: asks about a list that no field goes through (ask about a list that a field \
             goes through, as /devices/*/kind beside machineId: /devices/*/id)",
        ),
        (
            "format: map, map: { id: /a, required: machineId }",
            "sources[0].map.required: must be a list of fields (write required: [machineId])",
        ),
        (
            "format: map, map: { id: /a, machineId: /b, required: [machineid] }",
            "sources[0].map.required[0]: \"machineid\" is no field of the map (did you mean machineId?)",
        ),
    ];
    for (more, message) in cases {
        let problems = Scratch::new().problems(&webhook_with(more), &[]);
        assert!(problems.lines().any(|line| line.ends_with(message)), "{more}: {problems}");
    }
    for good in [
        "format: map, map: { id: /a, machineId: /b~1c/0, evidence: /d }",
        "format: map, map: { id: [/a, /A], machineId: /d/*/id, items: /records, required: [machineId], \
         where: { /kind: [Alert, 7], /d/*/kind: Host } }",
    ] {
        let problems = Scratch::new().load(&webhook_with(good), &[("STANCH_SERVER__LISTEN", "127.0.0.1:0")]);
        assert!(problems.is_ok(), "{:?}", problems.err());
    }
}

#[test]
fn nothing_is_kept_for_so_short_that_it_could_act_again() {
    check_more(
        "guards: { max_alert_age: 7d }\nretention: { alerts: 6d, actions: 5d }\n",
        &[
            "stanch.yaml:7:14: retention.alerts: must not be shorter than guards.max_alert_age, which is 7d (an alert \
             that came again could act a second time)",
            "stanch.yaml:7:26: retention.actions: must not be shorter than retention.alerts, which is 6d (decisions \
             name the actions that they led to)",
        ],
    );
}

#[test]
fn only_the_public_cloud_has_regions() {
    let mistakes = [("STANCH_TENANTS__0__CLOUD", "gcc_high"), ("STANCH_TENANTS__0__REGION", "eu")];
    assert_eq!(
        Scratch::new().problems(LEAST, &mistakes),
        "stanch.yaml:2:5: tenants[0].region (from STANCH_TENANTS__0__REGION): only the public cloud has regions, and \
         cloud is gcc_high (remove it, or write cloud: public)"
    );
}

#[test]
fn tenants_are_told_apart_and_fit_into_urls() {
    check(
        "tenants:\n  - { name: contoso, tenant_id: a/b, client_id: .., credential: { secret_file: secret } }\n\
         \x20 - { name: contoso, tenant_id: t, client_id: c, credential: { secret_file: secret } }\n\
         \x20 - { name: con toso, tenant_id: t, client_id: c, credential: { secret_file: secret }, region: eux }\n\
         sources: [{ type: defender, tenant: cotoso }, { type: defender, name: a/b, tenant: x }]\n\
         store: {}\nrules: {}\n",
        &[
            "stanch.yaml:2:22: tenants[0].tenant_id: \"a/b\" is not an id of Entra (a GUID, as \
             11111111-1111-4111-8111-111111111111)",
            "stanch.yaml:2:38: tenants[0].client_id: \"..\" is not an id of Entra (a GUID, as \
             11111111-1111-4111-8111-111111111111)",
            "stanch.yaml:3:7: tenants[1].name: a second tenant contoso (names are unique)",
            "stanch.yaml:4:7: tenants[2].name: tenant name \"con toso\" is not 1 to 64 letters, digits, '.', '_' or '-'",
            "stanch.yaml:4:88: tenants[2].region: \"eux\" is not one of us, eu, uk, au, swa, ina, aea (did you mean eu?)",
            "stanch.yaml:5:29: sources[0].tenant: there is no tenant \"cotoso\" (did you mean contoso?)",
            "stanch.yaml:5:65: sources[1].name: source name \"a/b\" is not 1 to 64 letters, digits, '.', '_' or '-'",
            "stanch.yaml:5:76: sources[1].tenant: there is no tenant \"x\"",
        ],
    );
}

#[test]
fn an_origin_is_https_and_holds_no_password() {
    const NAME: &str = "STANCH_TENANTS__0__API_URL";
    let hint = "(write it as https://host or https://host/prefix)";
    let cases = [
        ("api.example", format!("is not a URL {hint}")),
        ("ftp://api.example", format!("is neither https nor http {hint}")),
        ("https://user:hunter2@api.example", format!("must not hold a user or a password {hint}")),
        ("https://api.example/?x=1", format!("must end with the host or a path, as paths are appended to it {hint}")),
        (
            "http://api.example",
            "http is refused unless the host is a loopback address: tokens would go over the wire unprotected (write \
             https)"
                .to_owned(),
        ),
    ];
    for (value, message) in cases {
        check_variable(NAME, value, &format!("stanch.yaml:2:5: tenants[0].api_url (from {NAME}): {message}"));
    }
}

#[test]
fn a_secret_is_never_written_in_the_file_and_never_shown() {
    let with = |credential: &str| LEAST.replace("{ secret_file: secret }", credential);
    let scratch = Scratch::new();
    scratch.secret("empty", "\n\r\n");
    scratch.secret("binary", b"\xff\xfe");
    scratch.secret("long", "x".repeat(65 * 1024));
    let at = "stanch.yaml:2";
    let cases = [
        (
            "{ secret: hunter2 }",
            "68: tenants[0].credential.secret: a secret is never written here (put it into a file and name that with \
             secret_file, or name a variable with secret_env)",
        ),
        ("hunter2", "54: tenants[0].credential: must be a mapping, not text"),
        (
            "{}",
            "54: tenants[0].credential: needs secret_file, secret_env, certificate_file with key_file, \
             federated_token_file or managed_identity",
        ),
        (
            "{ secret_file: secret, secret_env: A }",
            "54: tenants[0].credential: has secret_file and secret_env, and takes one of them (keep one)",
        ),
        (
            "{ secret_env: HOME_OF_NOBODY }",
            "68: tenants[0].credential.secret_env: there is no environment variable HOME_OF_NOBODY",
        ),
        (
            "{ secret_env: hunter2~ }",
            "68: tenants[0].credential.secret_env: there is no environment variable of that name",
        ),
        ("{ secret_env: EMPTY }", "68: tenants[0].credential.secret_env: the environment variable EMPTY is empty"),
        (
            "{ secret_file: nowhere }",
            "68: tenants[0].credential.secret_file: nowhere: the file cannot be read: No such file or directory (os error 2)",
        ),
        ("{ secret_file: \"\" }", "68: tenants[0].credential.secret_file: must not be empty"),
        ("{ secret_file: empty }", "68: tenants[0].credential.secret_file: empty: the file is empty"),
        ("{ secret_file: binary }", "68: tenants[0].credential.secret_file: binary: the file is not UTF-8 text"),
        ("{ secret_file: long }", "68: tenants[0].credential.secret_file: long: the file is longer than 64 KiB"),
    ];
    for (credential, expected) in cases {
        let problems = scratch.problems(&with(credential), &[("EMPTY", "\n")]);
        assert!(!problems.contains("hunter2"), "{problems}");
        assert_eq!(problems, format!("{at}:{expected}"), "{credential}");
    }
}

#[test]
fn a_webhook_needs_a_tenant_an_address_and_one_way_to_prove_who_it_is() {
    check(
        "tenants:\n  - { name: contoso, tenant_id: t, client_id: c, credential: { secret_file: secret } }\n\
         sources:\n  - { type: webhook }\n  - { type: webhook, tenant: contoso, every: 1s, format: graph, auth: {} }\n\
         \x20 - { type: webhook, name: b, tenant: contoso, format: map, map: { id: /id }, \
         auth: { bearer: x } }\n\
         \x20 - { type: defender, format: mde, auth: { bearer_file: secret } }\n\
         store: {}\nrules: {}\n",
        &[
            "stanch.yaml:1:1: server.listen: is needed by the webhook source (write listen: 127.0.0.1:8787)",
            "stanch.yaml:4:5: sources[0].tenant: is needed by a webhook, and missing (write tenant: contoso)",
            "stanch.yaml:4:5: sources[0].auth: is needed and missing",
            "stanch.yaml:5:5: sources[1].name: a second source webhook (names are unique, and a source without one is \
             called by its type)",
            "stanch.yaml:5:39: sources[1].every: is a key of defender and graph sources only (remove it)",
            "stanch.yaml:5:65: sources[1].auth: needs bearer_file, hmac_file or client_state_file",
            "stanch.yaml:6:87: sources[2].auth.bearer: a secret is never written here (put it into a file and name that \
             with bearer_file, hmac_file or client_state_file)",
            "stanch.yaml:7:23: sources[3].format: is a key of webhook sources only (remove it)",
            "stanch.yaml:7:36: sources[3].auth: is a key of webhook sources only (remove it)",
        ],
    );
}

#[test]
fn the_address_stays_on_this_machine() {
    let hint = "(write 127.0.0.1, set server.tls, or server.insecure: true if a proxy in front does TLS)";
    check_more(
        "server: { listen: 0.0.0.0:8787 }\n",
        &[&format!(
            "stanch.yaml:6:11: server.listen: 0.0.0.0:8787 is not a loopback address, and there is no TLS {hint}"
        )],
    );
    check_more(
        "server: { listen: \"localhost:1\" }\n",
        &[
            "stanch.yaml:6:11: server.listen: \"localhost:1\" is not an IP address with a port (write it as 127.0.0.1:8787 \
           or \"[::1]:8787\")",
        ],
    );
    check_more(
        &format!("server: {{ socket: /{} }}\n", "s".repeat(107)),
        &["stanch.yaml:6:11: server.socket: the path of a unix socket has at most 107 bytes (choose a shorter one)"],
    );
}

#[test]
fn the_store_is_a_file_without_options() {
    let example = "(write sqlite:///var/lib/stanch/stanch.db)";
    let cases = [
        (
            "sqlite:///srv/a.db?mode=rwc",
            "takes no options: how SQLite is opened is part of what stanch promises (cut it before the ?)".to_owned(),
        ),
        ("/srv/a.db", format!("is not a URL of a SQLite file {example}")),
        ("sqlite://", format!("names no file {example}")),
        ("\"sqlite::memory:\"", format!("a store in memory would forget what was decided {example}")),
    ];
    for (url, message) in cases {
        check_variable(
            "STANCH_STORE__URL",
            url,
            &format!("stanch.yaml:4:10: store.url (from STANCH_STORE__URL): {message}"),
        );
    }
}

#[test]
fn a_problem_of_a_variable_names_the_variable() {
    check_variable(
        "STANCH_SERVER__LISTN",
        "127.0.0.1:1",
        "stanch.yaml:1:1: server.listn (from STANCH_SERVER__LISTN): unknown key (did you mean listen?)",
    );
    check_variable(
        "STANCH_TENANTS__0__NAME",
        "[",
        "stanch.yaml:2:7: tenants[0].name (from STANCH_TENANTS__0__NAME): is not YAML: put quotes around a text with \
         special characters",
    );
    check_variable(
        "STANCH_TENANTS__3__NAME",
        "x",
        "stanch.yaml:1:1: tenants[3].name (from STANCH_TENANTS__3__NAME): names member 3 of a list of 1: members are \
         counted from 0 and added one by one",
    );
    check_variable(
        "STANCH_SOURCES__TYPE",
        "defender",
        "stanch.yaml:3:1: sources.type (from STANCH_SOURCES__TYPE): names the key type of what is no mapping",
    );
    check_variable(
        "STANCH_STORE__0",
        "x",
        "stanch.yaml:4:1: store[0] (from STANCH_STORE__0): names member 0 of what is no list",
    );
}

#[test]
fn nobody_has_to_read_more_than_fifty_problems() {
    let many: String = (0..200).map(|index| format!("odd{index}x: 1\n")).collect();
    assert_eq!(Scratch::new().problems(&many, &[]).lines().count(), 50);
}
