//! Variables of the environment that were meant to set a key.

use std::path::Path;

use super::{LEAST, Scratch, variables};
use crate::config::{Mode, refuse_slips, store_of};

fn refused(name: &str, meant: &str) -> String {
    format!(
        "stanch.yaml:1:1: {name} sets no key of the configuration, and looks as if it should (write {meant}, or give a \
         variable of another program another name)"
    )
}

#[test]
fn a_misspelt_variable_does_not_leave_the_mode_at_enforce() {
    for name in ["STANCH_GAURDS__MODE", "STANCH_GUARDS_MODE", "STANCH__GUARDS__MODE", "stanch_guards__mode"] {
        let problems = Scratch::new().problems(LEAST, &[(name, "shadow")]);
        assert_eq!(problems, refused(name, "STANCH_GUARDS__MODE"));
    }
}

#[test]
fn a_mapping_in_a_variable_leaves_the_keys_of_the_file_that_it_does_not_name() {
    let text = format!("{LEAST}guards: {{ mode: shadow, blast_radius: {{ devices: 9, fleet_percent: 7 }} }}\n");
    let variable = ("STANCH_GUARDS", "{ max_alert_age: 12h, blast_radius: { devices: 3 } }");
    let guards = Scratch::new().load(&text, &[variable]).unwrap().config.guards;
    assert_eq!((guards.mode, guards.blast_devices, guards.fleet_percent), (Mode::Shadow, 3, 7));
}

#[test]
fn variables_of_kubernetes_and_of_the_program_itself_are_no_problem() {
    let pod = [
        ("STANCH_PORT", "tcp://10.0.0.1:8787"),
        ("STANCH_PORT_8787_TCP_ADDR", "10.0.0.1"),
        ("STANCH_SERVICE_HOST", "10.0.0.1"),
        ("STANCH_SERVICE_PORT", ""),
        ("STANCH_CONFIG", ""),
        ("STANCH_TOKEN", ""),
        ("STANCH_LOG", "debug"),
        ("STANCH_CRASH_AT", "x"),
    ];
    let loaded = Scratch::new().load(LEAST, &pod).unwrap();
    assert_eq!(loaded.variables, [""; 0]);
}

#[test]
fn a_variable_that_holds_a_secret_is_called_as_its_owner_likes() {
    let text = LEAST.replace("secret_file: secret", "secret_env: STANCH_TENANT_SECRET");
    let secret = ("STANCH_TENANT_SECRET", "s3cret");
    assert!(Scratch::new().load(&text, &[secret]).is_ok());
    let problems = Scratch::new().problems(LEAST, &[("STANCH_TENANTS_SECRET", "s3cret")]);
    assert_eq!(problems, refused("STANCH_TENANTS_SECRET", "STANCH_TENANTS__SECRET"));
}

#[test]
fn the_names_of_what_took_effect_are_known() {
    let environment = [("STANCH_GUARDS__MODE", "shadow"), ("STANCH_SERVER__LISTEN", "127.0.0.1:0"), ("OTHER", "x")];
    let loaded = Scratch::new().load(LEAST, &environment).unwrap();
    assert_eq!(loaded.variables, ["STANCH_GUARDS__MODE", "STANCH_SERVER__LISTEN"]);
}

#[test]
fn a_value_that_is_no_text_and_a_key_that_is_set_twice_are_refused() {
    let odd = Scratch::new().problems(LEAST, &[("STANCH_RULES__DIR", "r\u{fffd}")]);
    assert_eq!(odd, "stanch.yaml:5:10: rules.dir (from STANCH_RULES__DIR): is not UTF-8 text");
    let both = [("STANCH_GUARDS__MODE", "shadow"), ("STANCH_guards__mode", "enforce")];
    let twice = Scratch::new().problems(LEAST, &both);
    assert!(twice.ends_with("STANCH_GUARDS__MODE sets it too: keep one of them"), "{twice}");
}

#[test]
fn a_store_is_looked_for_by_its_own_key_alone() {
    let scratch = Scratch::new();
    scratch.write("stanch.yaml", format!("{LEAST}guards:\n"), 0o644);
    let file = scratch.path("stanch.yaml");
    let others = variables(&[("STANCH_GAURDS__MODE", "shadow"), ("STANCH_GUARDS__MODE", "")]);
    assert_eq!(store_of(&file, &others).unwrap(), scratch.path("stanch.db"));
    for (name, value) in [("STANCH_STROE__URL", "sqlite://other.db"), ("STANCH_STORE__URL", ""), ("STANCH_STORE", "")] {
        assert!(store_of(&file, &variables(&[(name, value)])).is_err(), "{name}");
    }
    assert!(store_of(Path::new("/nonexistent"), &variables(&[])).is_err());
}

#[test]
fn a_socket_is_not_looked_for_at_the_default_when_its_variable_is_misspelt() {
    let misspelt = variables(&[("STANCH_SERVER_SOCKET", "/tmp/a.sock")]);
    let said = refuse_slips(&misspelt, "server").unwrap_err();
    assert!(
        said.starts_with("STANCH_SERVER_SOCKET sets no key") && said.contains("write STANCH_SERVER__SOCKET"),
        "{said}"
    );
    assert_eq!(refuse_slips(&misspelt, "guards"), Ok(()));
}
