//! The store as every run finds it. It is made once and copied, since making it costs more than a run.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::at;
use super::daemon::Daemon;

/// A store with its schema and its machines, and nothing else.
pub struct Blank(PathBuf);

impl Blank {
    pub async fn make(folder: &Path, devices: usize) -> Self {
        let path = folder.join("blank.db");
        let daemon = Daemon::start(&path).await;
        daemon.learn_machines(devices, at(0)).await;
        daemon.store.close().await;
        Self(path)
    }

    pub fn copy_to(&self, path: &Path) {
        std::fs::copy(&self.0, path).unwrap();
    }
}

/// A folder in memory where there is one: what is kept on a disk is another test's matter.
pub fn folder() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() }.unwrap()
}
