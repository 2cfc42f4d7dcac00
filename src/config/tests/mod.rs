//! Configurations as people write them, and what becomes of them.

mod credentials;
mod empty;
mod endpoints;
mod example;
mod notify;
mod problems;
mod random;
mod tls;
mod values;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Loaded, load};
use crate::diagnostics::Problems;

/// A folder with a configuration and its secrets.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().unwrap() };
        scratch.secret("secret", "s3cret\n");
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that its owner alone may read.
    fn secret(&self, name: &str, contents: impl AsRef<[u8]>) {
        self.write(name, contents, 0o600);
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self, text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
        self.write("stanch.yaml", text, 0o644);
        load(&self.path("stanch.yaml"), &variables(environment))
    }

    /// The problems of a configuration, one a line, with the folder taken out.
    fn problems(&self, text: &str, environment: &[(&str, &str)]) -> String {
        let folder = format!("{}/", self.folder.path().display());
        match self.load(text, environment) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string().replace(&folder, ""),
        }
    }
}

fn variables(environment: &[(&str, &str)]) -> BTreeMap<String, String> {
    environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The least that is needed.
const LEAST: &str = "\
tenants:
  - { name: contoso, tenant_id: t-1, client_id: c-1, credential: { secret_file: secret } }
sources: [{ type: defender }]
store: { url: \"sqlite://stanch.db\" }
rules: { dir: rules }
";
