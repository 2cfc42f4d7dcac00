//! A key of a response that is present and empty is refused and not taken for its default.

use super::load;
use super::refusals::check;

/// A rule with that response, from line 4 on.
fn with(response: &str) -> String {
    format!("title: A rule\ndetection: {{ s: {{ severity: High }}, condition: s }}\nresponse:\n{response}\n")
}

#[test]
fn a_key_that_is_empty_is_not_its_default() {
    for key in ["mode", "approval", "expires_after", "cooldown", "limit", "tenants", "until", "match_all"] {
        for empty in ["", " ~", " null"] {
            let text = with(&format!("  {key}:{empty}\n  action: restrict"));
            check(&text, &format!("4:3: {key} is empty (write a value, or remove the key)"));
        }
    }
    check(&with("  action:"), "4:3: action is empty (write a value, or remove the key)");
    check(&with("  action: protect\n  mode:"), "5:3: mode is empty (write a value, or remove the key)");
}

#[test]
fn a_limit_that_is_empty_is_not_no_limit() {
    let hint = "is empty (write a value, or remove the key)";
    check(&with("  action: restrict\n  limit: { devices: , per: 1h }"), &format!("5:12: devices {hint}"));
    check(&with("  action: restrict\n  limit: { devices: 1, per: }"), &format!("5:24: per {hint}"));
    check(
        &with("  action: restrict\n  tenants: []"),
        "5:3: tenants must be a list of at least one name (tenants: [contoso])",
    );
}

#[test]
fn a_comment_may_be_blank() {
    for blank in ["", " ~", " ''", " '  '"] {
        assert!(load(&with(&format!("  comment:{blank}\n  action: restrict"))).is_ok(), "{blank:?}");
    }
}
