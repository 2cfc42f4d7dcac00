//! What the environment of the real binary does to its configuration.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

const CONFIG: &str = "\
tenants:
  - { name: contoso, tenant_id: t-1, client_id: c-1, credential: { secret_file: secret } }
sources: [{ type: defender }]
store: { url: \"sqlite://stanch.db\" }
rules: { dir: rules }
guards: { mode: shadow }
";

const RULE: &str = "\
title: Contain ransomware
detection: { ransomware: { category: Ransomware }, condition: ransomware }
response: { action: restrict }
tests: [{ name: it matches, alert: { category: Ransomware }, expect: acted }]
";

/// Runs `stanch` over that configuration, with these variables and no others.
fn stanch(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    for (name, text) in [("stanch.yaml", CONFIG), ("secret", "s3cret"), ("rules/a.yml", RULE)] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_stanch"));
    command.env_clear().arg("--config").arg(folder.path().join("stanch.yaml")).args(arguments);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_daemon_does_not_start_in_enforce_because_a_variable_is_empty_or_misspelt() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("STANCH_GUARDS__MODE", b"", "guards.mode (from STANCH_GUARDS__MODE): is empty"),
        ("STANCH_GUARDS__MODE", b"shad\xffow", "guards.mode (from STANCH_GUARDS__MODE): is not UTF-8 text"),
        ("STANCH_GAURDS__MODE", b"shadow", "write STANCH_GUARDS__MODE"),
        ("STANCH_GUARDS_MODE", b"shadow", "write STANCH_GUARDS__MODE"),
    ];
    for (name, value, expected) in cases {
        for (command, code) in [("run", 2), ("check", 1)] {
            let output = stanch(&[command], &[(name, OsStr::from_bytes(value))]);
            assert_eq!(output.status.code(), Some(code), "{name}: {}", both(&output));
            assert!(both(&output).contains(expected), "{name}: {}", both(&output));
        }
    }
}

#[test]
fn check_names_the_variables_that_took_effect_and_none_of_their_values() {
    let variables = [
        ("STANCH_SERVER__LISTEN", OsStr::new("127.0.0.1:8799")),
        ("STANCH_TENANTS__0__CLIENT_ID", OsStr::new("c-77")),
        ("STANCH_PORT", OsStr::new("tcp://10.0.0.1:8787")),
        ("STANCH_LOG", OsStr::new("warn")),
    ];
    let output = stanch(&["check"], &variables);
    let said = both(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let line = "set by the environment: STANCH_SERVER__LISTEN, STANCH_TENANTS__0__CLIENT_ID\n";
    assert!(said.contains(line), "{said}");
    assert!(!said.contains("8799") && !said.contains("c-77"), "{said}");
    assert!(!both(&stanch(&["check"], &[])).contains("set by the environment"));
}

#[test]
fn a_command_does_not_ask_the_default_socket_because_a_variable_is_empty_or_misspelt() {
    for (name, value) in [("STANCH_SERVER__SOCKET", ""), ("STANCH_SERVER_SOCKET", "/tmp/none.sock")] {
        let output = stanch(&["status"], &[(name, OsStr::new(value))]);
        assert_eq!(output.status.code(), Some(2), "{}", both(&output));
        assert!(both(&output).contains(name), "{}", both(&output));
    }
}
