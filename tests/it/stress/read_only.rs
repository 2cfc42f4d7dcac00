//! The store's file or its folder can not be written.
//!
//! Permissions do not bind root, so where the tests run as root the daemon runs as nobody.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::binary::{Process, stanch};
use crate::support::{TestApp, machine, machine_id, ransomware};

const NOBODY: u32 = 65_534;

/// A daemon's folder whose owner is bound by permissions, and how to run commands there as that owner.
struct House {
    app: TestApp,
    root: bool,
}

impl House {
    async fn build() -> Self {
        let app = TestApp::builder()
            .set("STORE__URL", "sqlite:data/stanch.db")
            .prepare(|simulator| {
                for device in 0..2 {
                    simulator.add_machine(machine(device)).unwrap();
                }
                simulator.add_alert(ransomware("alert-0", 0)).unwrap();
            })
            .await;
        fs::create_dir(app.path("data")).unwrap();
        let root = fs::metadata(app.path("data")).unwrap().uid() == 0;
        if root {
            // The program may lie where only root can reach it.
            fs::copy(env!("CARGO_BIN_EXE_stanch"), app.path("program")).unwrap();
            give(&app.path("."));
        }
        Self { app, root }
    }

    fn run(&self) -> Command {
        let stanch = stanch(&self.app, &["run"]);
        if !self.root {
            return stanch;
        }
        let mut command = Command::new(self.app.path("program"));
        command.args(stanch.get_args()).uid(NOBODY).gid(NOBODY);
        command.env_clear().envs(stanch.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn start(&self) -> Process {
        Process(self.run().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    async fn restricted(&self, devices: usize) {
        let ledger = || self.app.simulator.ledger();
        self.app.until("the device is restricted", async || (ledger().restricted.len() == devices).then_some(())).await;
    }

    fn allow(&self, name: &str, mode: u32) {
        fs::set_permissions(self.app.path(name), Permissions::from_mode(mode)).unwrap();
    }
}

/// Makes nobody the owner of all that is in a folder.
fn give(folder: &Path) {
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give(&path);
        } else {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

#[track_caller]
fn refused(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("data/stanch.db can not be"), "{said}");
    assert!(["readonly", "Permission denied", "unable to open"].iter().any(|cause| said.contains(cause)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_can_not_be_written_is_refused_at_the_start_and_used_as_it_was_once_it_can() {
    let house = House::build().await;
    let daemon = house.start();
    house.restricted(1).await;
    assert!(daemon.terminate().success());
    house.app.simulator.add_alert(ransomware("alert-1", 1)).unwrap();

    for (name, read_only, usual) in [("data/stanch.db", 0o444, 0o644), ("data", 0o555, 0o755)] {
        house.allow(name, read_only);
        refused(&house.run().output().unwrap());
        house.allow(name, usual);
    }
    assert_eq!(house.app.simulator.ledger().restricted.len(), 1);

    let daemon = house.start();
    house.restricted(2).await;
    assert!(daemon.terminate().success());
    let expected = (0..2).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(house.app.simulator.ledger().effective_restrictions(), expected);
}
