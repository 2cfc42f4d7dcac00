//! Where the daemon's socket is, by its config file.
//!
//! Only `server.socket` is looked at, and nothing else is checked: who may use the socket need not be
//! able to read the secrets that the rest of the file refers to. `check` and `run` judge the file.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_yaml::Value;

/// The config file when nobody names one.
pub(super) const DEFAULT_CONFIG: &str = "/etc/stanch/stanch.yaml";

const DEFAULT_SOCKET: &str = "/run/stanch/stanch.sock";

/// The variable that overrides the file, as for every key of it.
const VARIABLE: &str = "STANCH_SERVER__SOCKET";

/// A config file is a page or two; what is larger is some other file.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// The socket of the daemon that runs with the config file `named`, or with the default one.
///
/// # Errors
/// When a named file does not exist, or a file can not be read or holds no path there.
pub(super) fn find(named: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<PathBuf> {
    let file = named.unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
    if named.is_some() && matches!(file.try_exists(), Ok(false)) {
        bail!("the config file {} does not exist: name another with --config or STANCH_CONFIG", file.display());
    }
    let written = match environment(VARIABLE) {
        Some(value) => from_environment(value)?,
        None => from_file(file)?.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
    };
    Ok(file.parent().map_or_else(|| written.clone(), |folder| folder.join(&written)))
}

/// Values in the environment are YAML: quotes around a path are not part of it.
fn from_environment(value: String) -> anyhow::Result<PathBuf> {
    match serde_yaml::from_str(&value) {
        Ok(Value::Null) => bail!("{VARIABLE} is empty: give it a path, or unset it"),
        Ok(Value::String(path)) if path.is_empty() => bail!("{VARIABLE} is empty: give it a path, or unset it"),
        Ok(Value::String(path)) => Ok(PathBuf::from(path)),
        _ => Ok(PathBuf::from(value)),
    }
}

fn from_file(file: &Path) -> anyhow::Result<Option<PathBuf>> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what =
                format!("can not read {} to learn where the socket is (or set {VARIABLE} to its path)", file.display());
            return Err(anyhow::Error::from(error).context(what));
        }
    };
    let config: Value =
        serde_yaml::from_str(&text).with_context(|| format!("{} is no YAML, see `stanch check`", file.display()))?;
    let Some(server) = config.get("server") else { return Ok(None) };
    if server.is_null() {
        bail!("{}: server is empty, see `stanch check`", file.display());
    }
    match server.get("socket") {
        None => Ok(None),
        Some(Value::String(path)) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
        Some(_) => bail!("{}: server.socket is no path", file.display()),
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_CONFIG_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, variable: Option<&str>) -> anyhow::Result<(PathBuf, tempfile::TempDir)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stanch.yaml");
        std::fs::write(&file, config).unwrap();
        let environment = |name: &str| variable.filter(|_| name == VARIABLE).map(str::to_owned);
        Ok((find(Some(&file), &environment)?, folder))
    }

    #[test]
    fn the_socket_is_where_the_config_says() {
        for (config, expected) in [
            ("server: { socket: /tmp/a.sock }", "/tmp/a.sock"),
            ("server: { listen: 127.0.0.1:1 }", DEFAULT_SOCKET),
            ("server: {}\nother: [1, 2]", DEFAULT_SOCKET),
            ("", DEFAULT_SOCKET),
        ] {
            assert_eq!(found(config, None).unwrap().0, Path::new(expected), "{config}");
        }
    }

    #[test]
    fn a_relative_socket_is_relative_to_the_config() {
        let (socket, folder) = found("server: { socket: run/a.sock }", None).unwrap();
        assert_eq!(socket, folder.path().join("run/a.sock"));
    }

    #[test]
    fn the_environment_outranks_the_file() {
        for value in ["/tmp/b.sock", "\"/tmp/b.sock\""] {
            assert_eq!(found("server: { socket: /a }", Some(value)).unwrap().0, Path::new("/tmp/b.sock"));
        }
    }

    #[test]
    fn a_named_file_must_exist_and_be_yaml_with_a_path_in_that_place() {
        let missing = find(Some(Path::new("/nonexistent/x.yaml")), &|_| None).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/x.yaml does not exist"), "{missing}");
        for bad in ["server: { socket: 7 }", "server: { socket: [a] }", "a: [", "server: { socket: '' }"] {
            assert!(found(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_socket_is_refused_and_not_the_default() {
        for bad in ["server:\n", "server: { socket: }", "server: { socket: ~ }"] {
            assert!(found(bad, None).is_err(), "{bad}");
        }
        for empty in ["", " ", "~", "\"\""] {
            let refused = found("server: { socket: /a }", Some(empty)).unwrap_err().to_string();
            assert_eq!(refused, "STANCH_SERVER__SOCKET is empty: give it a path, or unset it", "{empty:?}");
        }
    }
}
