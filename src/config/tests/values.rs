//! What a good configuration means.

use std::path::Path;

use secrecy::ExposeSecret as _;

use super::{LEAST, Scratch};
use crate::config::{Config, Credential, LogFormat, Mode, PollSource, Proof, Source, Start, WebhookAuth, Wire};
use crate::model::Window;

fn config(text: &str, environment: &[(&str, &str)]) -> Config {
    Scratch::new().load(text, environment).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn windows(windows: &[Window]) -> Vec<(u32, &str)> {
    windows.iter().map(|window| (window.calls, window.per.as_str())).collect()
}

fn proof(config: &Config) -> &Proof {
    match &config.tenants[0].credential {
        Credential::Application { proof, .. } => proof,
        Credential::ManagedIdentity { .. } => panic!("a managed identity"),
    }
}

fn defender(config: &Config) -> &PollSource {
    match &config.sources[0] {
        Source::Poll(source) => source,
        Source::Webhook(_) => panic!("a webhook"),
    }
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_contract() {
    let config = config(LEAST, &[]);

    let source = defender(&config);
    assert_eq!(source.name.as_str(), "defender");
    assert_eq!(source.tenants, [config.tenants[0].name.clone()]);
    assert_eq!((source.every.as_str(), source.overlap.as_str()), ("10s", "15m"));
    assert_eq!((source.sweep_every.as_str(), source.sweep_back.as_str()), ("10m", "24h"));
    assert_eq!(source.start, Start::Now);

    assert!(config.rules.watch);
    assert_eq!((config.inventory.every.as_str(), config.inventory.max_age.as_str()), ("10m", "1h"));

    let guards = &config.guards;
    assert_eq!(guards.mode, Mode::Enforce);
    assert_eq!((guards.blast_devices, guards.blast_per.as_str(), guards.fleet_percent), (50, "1h", 5));
    assert_eq!((guards.max_alert_age.as_str(), guards.max_action_age.as_str()), ("24h", "24h"));
    assert_eq!((guards.approval_timeout.as_str(), guards.machine_timeout.as_str()), ("4h", "10m"));

    let limits = &config.limits;
    for lane in [&limits.restrict, &limits.release, &limits.read] {
        assert_eq!(windows(lane), [(100, "60s"), (1500, "1h")]);
    }
    assert_eq!((limits.reserve_percent, limits.concurrency), (1, 8));
    assert_eq!((limits.request_timeout.as_str(), limits.reconcile_grace.as_str()), ("30s", "10s"));

    assert_eq!((config.tracking.every.as_str(), config.tracking.give_up_after.as_str()), ("10s", "4d"));

    assert_eq!(config.server.listen, None);
    assert_eq!(config.server.socket, Path::new("/run/stanch/stanch.sock"));
    assert_eq!(config.server.inbox, 100_000);
    assert_eq!(config.telemetry.log, LogFormat::Text);

    let tenant = &config.tenants[0];
    assert_eq!(tenant.api_url.as_str(), "https://api.securitycenter.microsoft.com/");
    assert_eq!(tenant.login_url.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(tenant.scope, "https://api.securitycenter.microsoft.com/.default");
}

#[test]
fn the_default_guards_are_those_of_the_least_configuration() {
    let guards = Scratch::new().load(LEAST, &[]).unwrap().config.guards;
    assert_eq!(format!("{:?}", crate::config::default_guards().unwrap()), format!("{guards:?}"));
}

#[test]
fn store_and_rules_have_defaults_too_once_they_are_written() {
    let text: String = LEAST
        .lines()
        .map(|line| if line.starts_with("store:") { "store: {}\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let config = config(&text, &[("STANCH_RULES", "{ watch: false }")]);
    assert_eq!(config.store, Path::new("/var/lib/stanch/stanch.db"));
    assert!(config.rules.dir.ends_with("rules"));
    assert!(!config.rules.watch);
}

#[test]
fn a_mapping_in_part_keeps_the_other_defaults_and_a_list_replaces_its_default() {
    let more = "guards: { blast_radius: { devices: 3 } }\nlimits: { restrict: [{ calls: 10, per: 2s }] }\nserver: {}\n";
    let config = config(&format!("{LEAST}{more}"), &[]);
    assert_eq!((config.guards.blast_devices, config.guards.blast_per.as_str()), (3, "1h"));
    assert_eq!(config.guards.max_alert_age.as_str(), "24h");
    assert_eq!(windows(&config.limits.restrict), [(10, "2s")]);
    assert_eq!(windows(&config.limits.release), [(100, "60s"), (1500, "1h")]);
}

#[test]
fn relative_paths_start_from_the_folder_of_the_file() {
    let scratch = Scratch::new();
    let config = scratch.load(&format!("{LEAST}server: {{ socket: run/s.sock }}\n"), &[]).unwrap().config;
    assert_eq!(config.store, scratch.path("stanch.db"));
    assert_eq!(config.rules.dir, scratch.path("rules"));
    assert_eq!(config.server.socket, scratch.path("run/s.sock"));
    assert!(
        matches!(proof(&config), Proof::SecretFile(path) if *path == scratch.path("secret")),
        "{:?}",
        config.tenants
    );
}

#[test]
fn a_store_is_named_in_every_way_that_sqlite_urls_have() {
    let scratch = Scratch::new();
    let cases = [
        ("sqlite:///srv/a.db", "/srv/a.db".into()),
        ("sqlite:/srv/a.db", "/srv/a.db".into()),
        ("sqlite://a.db", scratch.path("a.db")),
        ("sqlite:a.db", scratch.path("a.db")),
        ("sqlite://deep/er/a.db", scratch.path("deep/er/a.db")),
    ];
    for (url, expected) in cases {
        let config = scratch.load(LEAST, &[("STANCH_STORE__URL", url)]).unwrap().config;
        assert_eq!(config.store, expected, "{url}");
    }
}

#[test]
fn regions_and_origins_replace_the_hosts() {
    for region in ["us", "eu", "uk", "au", "swa", "ina", "aea"] {
        let config = config(LEAST, &[("STANCH_TENANTS__0__REGION", region)]);
        let expected = format!("https://{region}.api.security.microsoft.com/");
        assert_eq!(config.tenants[0].api_url.as_str(), expected);
        assert_eq!(config.tenants[0].scope, "https://api.securitycenter.microsoft.com/.default");
    }
    let cases = [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/"),
        ("http://127.8.8.8:9000/", "http://127.8.8.8:9000/"),
        ("http://localhost:9000/mde/", "http://localhost:9000/mde"),
        ("\"http://[::1]:9000/a/b//\"", "http://[::1]:9000/a/b"),
        ("https://proxy.example/mde", "https://proxy.example/mde"),
    ];
    for (written, expected) in cases {
        let both = [("STANCH_TENANTS__0__API_URL", written), ("STANCH_TENANTS__0__LOGIN_URL", written)];
        let config = config(LEAST, &both);
        assert_eq!(config.tenants[0].api_url.as_str(), expected);
        assert_eq!(config.tenants[0].login_url.as_str(), expected);
        assert_eq!(config.tenants[0].scope, "https://api.securitycenter.microsoft.com/.default");
    }
}

#[test]
fn each_cloud_has_its_hosts_and_its_scope() {
    let world = "https://login.microsoftonline.com/";
    let gov = "https://api-gov.securitycenter.microsoft.us/";
    let gov_scope = "https://securitycenter.onmicrosoft.us/windowsatpservice/.default";
    let gcc_scope = "https://securitycenter.onmicrosoft.com/windowsatpservice/.default";
    let cases = [
        ("gcc", "https://api-gcc.securitycenter.microsoft.us/", world, gcc_scope, "https://graph.microsoft.com"),
        ("gcc_high", gov, "https://login.microsoftonline.us/", gov_scope, "https://graph.microsoft.us"),
        ("dod", gov, "https://login.microsoftonline.us/", gov_scope, "https://dod-graph.microsoft.us"),
    ];
    for (cloud, api, login, scope, graph) in cases {
        let tenant = config(LEAST, &[("STANCH_TENANTS__0__CLOUD", cloud)]).tenants.remove(0);
        assert_eq!((tenant.api_url.as_str(), tenant.login_url.as_str()), (api, login), "{cloud}");
        assert_eq!((tenant.scope.as_str(), tenant.graph_host), (scope, graph), "{cloud}");
        assert_eq!(tenant.graph_url.as_str(), format!("{graph}/"), "{cloud}");
        let behind = [
            ("STANCH_TENANTS__0__CLOUD", cloud),
            ("STANCH_TENANTS__0__API_URL", "http://127.0.0.1:1"),
            ("STANCH_TENANTS__0__LOGIN_URL", "http://127.0.0.1:2"),
            ("STANCH_TENANTS__0__GRAPH_URL", "http://127.0.0.1:3"),
        ];
        let tenant = config(LEAST, &behind).tenants.remove(0);
        assert_eq!((tenant.scope.as_str(), tenant.graph_host), (scope, graph), "the scopes stay the cloud's");
        assert_eq!(tenant.graph_url.as_str(), "http://127.0.0.1:3/");
    }
}

#[test]
fn host_and_scope_are_chosen_together() {
    let (unified, legacy) = ("https://api.security.microsoft.com", "https://api.securitycenter.microsoft.com");
    let eu = "https://eu.api.security.microsoft.com";
    let proxy = "https://proxy.example/mde";
    let cases = [
        (vec![], (legacy, legacy), (unified, unified)),
        (vec![("ENDPOINT", "legacy")], (legacy, legacy), (unified, unified)),
        (vec![("ENDPOINT", "unified")], (unified, unified), (legacy, legacy)),
        (vec![("REGION", "eu")], (eu, legacy), (eu, unified)),
        (vec![("REGION", "eu"), ("ENDPOINT", "unified")], (eu, unified), (eu, legacy)),
        (vec![("API_URL", proxy), ("ENDPOINT", "unified")], (proxy, unified), (proxy, legacy)),
    ];
    for (keys, own, other) in cases {
        let names: Vec<(String, &str)> =
            keys.iter().map(|(key, value)| (format!("STANCH_TENANTS__0__{key}"), *value)).collect();
        let environment: Vec<(&str, &str)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let tenant = config(LEAST, &environment).tenants.remove(0);
        let found = |tenant: &crate::config::Tenant| {
            let scope = tenant.scope.strip_suffix("/.default").unwrap().to_owned();
            (tenant.api_url.as_str().trim_end_matches('/').to_owned(), scope)
        };
        let owned = |(host, scope): (&str, &str)| (host.to_owned(), scope.to_owned());
        assert_eq!(found(&tenant), owned(own), "{keys:?}");
        assert_eq!(found(&tenant.at_other_endpoint().unwrap()), owned(other), "{keys:?}");
    }
    let gcc = config(LEAST, &[("STANCH_TENANTS__0__CLOUD", "gcc")]).tenants.remove(0);
    assert!(gcc.at_other_endpoint().is_none(), "no second host is known there");
}

#[test]
fn a_managed_identity_is_the_machines_own_unless_it_is_named() {
    let least = LEAST.replace("{ secret_file: secret }", "{ managed_identity: true }");
    for (text, id) in [(least.clone(), Some("c-1")), (least.replace("client_id: c-1, ", ""), None)] {
        let tenant = config(&text, &[]).tenants.remove(0);
        assert_eq!(tenant.login_url.as_str(), "http://169.254.169.254/");
        let Credential::ManagedIdentity { client_id } = tenant.credential else { panic!("{:?}", tenant.credential) };
        assert_eq!(client_id.as_deref(), id);
    }
    let elsewhere = config(&least, &[("STANCH_TENANTS__0__LOGIN_URL", "http://127.0.0.1:9")]);
    assert_eq!(elsewhere.tenants[0].login_url.as_str(), "http://127.0.0.1:9/");
}

#[test]
fn a_federated_token_is_read_whoever_may_read_it() {
    let scratch = Scratch::new();
    scratch.write("token", "a.b.c", 0o644);
    let least = LEAST.replace("secret_file: secret", "federated_token_file: token");
    let loaded = scratch.load(&least, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert!(matches!(proof(&loaded.config), Proof::FederatedTokenFile(path) if *path == scratch.path("token")));
}

#[test]
fn a_webhook_takes_its_secret_without_a_byte_order_mark_and_the_line_breaks_at_its_end() {
    let scratch = Scratch::new();
    scratch.secret("key", "\u{feff}  k e y \r\n\n");
    for (form, is_hmac) in [("bearer_file", false), ("hmac_file", true)] {
        let hook = format!("{{ type: webhook, name: sentinel, tenant: contoso, auth: {{ {form}: key }} }}");
        let environment = [("STANCH_SOURCES__1", hook.as_str()), ("STANCH_SERVER__LISTEN", "127.0.0.1:0")];
        let config = scratch.load(LEAST, &environment).unwrap().config;
        let Source::Webhook(hook) = &config.sources[1] else { panic!("{:?}", config.sources) };
        assert_eq!(hook.tenant.as_str(), "contoso");
        let (secret, hmac) = match &hook.auth {
            WebhookAuth::Bearer(secret) => (secret, false),
            WebhookAuth::Hmac(secret) => (secret, true),
            WebhookAuth::ClientState(_) => panic!("{:?}", hook.auth),
        };
        assert_eq!((secret.expose_secret(), hmac), ("  k e y ", is_hmac));
    }
}

#[test]
fn a_client_state_is_for_notifications_of_graph_and_no_longer_than_graph_takes() {
    let scratch = Scratch::new();
    scratch.secret("key", "x".repeat(129));
    scratch.secret("good", "x".repeat(128));
    let load = |key: &str, format: &str| {
        let hook = format!(
            "{{ type: webhook, name: told, tenant: contoso, auth: {{ client_state_file: {key} }}, format: {format} }}"
        );
        scratch.load(LEAST, &[("STANCH_SOURCES__1", hook.as_str()), ("STANCH_SERVER__LISTEN", "127.0.0.1:0")])
    };
    let config = load("good", "graph").unwrap().config;
    assert!(config.reads_graph(&config.tenants[0].name), "a token for Graph is needed");
    let refused = |key: &str, format: &str| {
        let problems = load(key, format).unwrap_err().0;
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let at = "sources[1].auth.client_state_file (from STANCH_SOURCES__1):";
    assert_eq!(refused("good", "mde"), [format!("{at} is for change notifications of Microsoft Graph")]);
    assert_eq!(refused("key", "graph"), [format!("{at} has 129 characters, and a clientState has at most 128")]);
}

#[test]
fn a_secret_can_come_from_a_variable() {
    let credential = ("STANCH_TENANTS__0__CREDENTIAL", "{ secret_env: CONTOSO }");
    let config = config(LEAST, &[credential, ("CONTOSO", "s3cret\n")]);
    let Proof::Secret(secret) = proof(&config) else { panic!("{:?}", config.tenants) };
    assert_eq!(secret.expose_secret(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_graph_source_has_the_keys_and_the_defaults_of_a_defender_source() {
    let defender_source = config(LEAST, &[]);
    let graph_source = config(LEAST, &[("STANCH_SOURCES__0__TYPE", "graph")]);
    let (of_defender, of_graph) = (defender(&defender_source), defender(&graph_source));
    assert_eq!((of_graph.wire, of_graph.name.as_str()), (Wire::Graph, "graph"));
    let same = PollSource { wire: Wire::Defender, name: of_defender.name.clone(), ..of_graph.clone() };
    assert_eq!(format!("{same:?}"), format!("{of_defender:?}"));
    assert_eq!(graph_source.wire_of(&graph_source.tenants[0].name), Some(Wire::Graph));
}

#[test]
fn a_source_serves_every_tenant_or_the_one_that_it_names() {
    let second = "{ name: fabrikam, tenant_id: t-2, client_id: c-2, credential: { secret_file: secret } }";
    let both = config(LEAST, &[("STANCH_TENANTS__1", second)]);
    let names = |config: &Config| defender(config).tenants.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&both), ["contoso", "fabrikam"]);
    let one = config(LEAST, &[("STANCH_TENANTS__1", second), ("STANCH_SOURCES__0__TENANT", "fabrikam")]);
    assert_eq!(names(&one), ["fabrikam"]);
}

#[test]
fn the_environment_sets_any_key_over_the_file() {
    let environment = [
        ("STANCH_SERVER__LISTEN", "127.0.0.1:8787"),
        ("STANCH_LIMITS__RESTRICT", "[{ calls: 10, per: 2s }]"),
        ("STANCH_LIMITS__RELEASE__1__CALLS", "7"),
        ("STANCH_LIMITS__RELEASE__2", "{ calls: 9000, per: 1d }"),
        ("STANCH_GUARDS", "{ mode: shadow }"),
        ("STANCH_GUARDS__BLAST_RADIUS__DEVICES", "0"),
        ("STANCH_TENANTS__0__CLIENT_ID", "c-9"),
        ("STANCH_SOURCES__0__START", "7d"),
        ("STANCH_TELEMETRY__LOG", "json"),
        ("STANCH_TOKEN", "not a key of ours"),
        ("STANCH_CONFIG", "/nor/this"),
        ("STANCH_LOG", "stanch=debug"),
        ("STANCH_", "["),
        ("SERVER__LISTEN", "["),
    ];
    let config = config(&format!("{LEAST}guards: {{ machine_timeout: 1m }}\n"), &environment);
    assert_eq!(config.server.listen, Some("127.0.0.1:8787".parse().unwrap()));
    assert_eq!(windows(&config.limits.restrict), [(10, "2s")]);
    assert_eq!(windows(&config.limits.release), [(100, "60s"), (7, "1h"), (9000, "1d")]);
    assert_eq!((config.guards.mode, config.guards.blast_devices), (Mode::Shadow, 0));
    assert_eq!(config.guards.machine_timeout.as_str(), "1m");
    assert_eq!(config.tenants[0].credential.to_string(), "application c-9");
    assert_eq!(defender(&config).start, Start::Back("7d".parse().unwrap()));
    assert_eq!(config.telemetry.log, LogFormat::Json);
}

#[test]
fn the_environment_alone_can_be_the_whole_configuration() {
    let environment = [
        ("STANCH_TENANTS__0__NAME", "contoso"),
        ("STANCH_TENANTS__0__TENANT_ID", "t-1"),
        ("STANCH_TENANTS__0__CLIENT_ID", "c-1"),
        ("STANCH_TENANTS__0__CREDENTIAL__SECRET_FILE", "secret"),
        ("STANCH_SOURCES__0__TYPE", "defender"),
        ("STANCH_STORE__URL", "sqlite://stanch.db"),
        ("STANCH_RULES__DIR", "rules"),
    ];
    assert_eq!(format!("{:?}", config("", &environment).telemetry.log), "Text");
    assert_eq!(defender(&config("# nothing\n", &environment)).every.as_str(), "10s");
}

#[test]
fn beyond_loopback_there_must_be_a_proxy() {
    let cases = [("127.0.0.1:1", false), ("127.9.9.9:1", false), ("\"[::1]:1\"", false), ("0.0.0.0:1", true)];
    for (address, insecure) in cases {
        let insecure = insecure.to_string();
        let environment = [("STANCH_SERVER__LISTEN", address), ("STANCH_SERVER__INSECURE", insecure.as_str())];
        assert!(config(LEAST, &environment).server.listen.is_some(), "{address}");
    }
}

#[test]
fn what_is_legal_but_likely_not_meant_is_a_warning() {
    let scratch = Scratch::new();
    scratch.write("secret", "s3cret", 0o644);
    let loaded = scratch.load(LEAST, &[("STANCH_SOURCES__1", "{ type: defender, name: again }")]).unwrap();
    let folder = format!("{}/", scratch.folder.path().display());
    let warnings: Vec<String> =
        loaded.warnings.iter().map(|warning| warning.to_string().replace(&folder, "")).collect();
    let expected = [
        "stanch.yaml:2:68: tenants[0].credential.secret_file: every user of this machine can read this secret \
         (chmod o-r secret)",
        "stanch.yaml:3:1: sources[1] (from STANCH_SOURCES__1): tenant contoso is polled by an earlier source too \
         (each poll draws on the same quota)",
    ];
    assert_eq!(warnings, expected);
}
