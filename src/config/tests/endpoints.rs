//! Addresses that lead to nowhere, or to a host that takes other tokens.

use super::{LEAST, Scratch};

/// The warnings about one key of the tenant.
fn warnings(key: &str, value: &str) -> Vec<String> {
    let name = format!("STANCH_TENANTS__0__{key}");
    let loaded = Scratch::new().load(LEAST, &[(&name, value)]).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.warnings.iter().map(|warning| warning.message.replace(&format!(" (from {name})"), "")).collect()
}

#[test]
fn an_address_that_ends_in_what_is_appended_to_it_is_said_so() {
    let cases = [
        ("API_URL", "https://proxy.example/api", "tenants[0].api_url: ends in /api, "),
        ("API_URL", "https://proxy.example/api/", "tenants[0].api_url: ends in /api, "),
        ("API_URL", "http://127.0.0.1:9000/mde/API/v1.0", "tenants[0].api_url: ends in /api/v1.0, "),
        ("GRAPH_URL", "https://proxy.example/v1.0", "tenants[0].graph_url: ends in /v1.0, "),
        ("LOGIN_URL", "https://proxy.example/t-1", "tenants[0].login_url: ends in /t-1, "),
        (
            "LOGIN_URL",
            "https://proxy.example/t-1/oauth2/v2.0/token",
            "tenants[0].login_url: ends in /oauth2/v2.0/token, ",
        ),
    ];
    for (key, value, expected) in cases {
        let said = warnings(key, value);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{value}: {said:?}");
    }
    for (key, value) in [("API_URL", "https://proxy.example/mde"), ("API_URL", "https://proxy.example/myapi")] {
        assert_eq!(warnings(key, value), [""; 0], "{value}");
    }
}

#[test]
fn no_proxy_stands_before_a_host_of_microsoft() {
    let name = "STANCH_TENANTS__0__API_URL";
    let problems = Scratch::new().problems(LEAST, &[(name, "https://api.security.microsoft.com/api")]);
    let expected = "tenants[0].api_url (from STANCH_TENANTS__0__API_URL): ends in /api, and that is appended to it: it would \
                    be asked for twice (cut it before /api)";
    assert!(problems.ends_with(expected), "{problems}");
}

#[test]
fn a_host_that_takes_the_tokens_of_the_other_endpoint_is_said_so() {
    let said = warnings("API_URL", "https://api.security.microsoft.com");
    let expected = "tenants[0].api_url: api.security.microsoft.com is the endpoint unified, and the tokens of this tenant \
                    are for legacy";
    assert_eq!(said, [expected]);
    assert_eq!(warnings("API_URL", "https://api.securitycenter.microsoft.com"), [""; 0]);
}

#[test]
fn only_the_public_cloud_has_a_unified_endpoint() {
    for cloud in ["gcc", "gcc_high", "dod"] {
        let both = [("STANCH_TENANTS__0__CLOUD", cloud), ("STANCH_TENANTS__0__ENDPOINT", "unified")];
        let expected = format!(
            "stanch.yaml:2:5: tenants[0].endpoint (from STANCH_TENANTS__0__ENDPOINT): only the public cloud has a unified \
             endpoint, and cloud is {cloud} (remove it, or write endpoint: legacy)"
        );
        assert_eq!(Scratch::new().problems(LEAST, &both), expected);
    }
}
