//! Who may read and write the files of a daemon, with the real binary.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::TestApp;
use crate::support::binary::{Process, output, stanch, wait_for_socket};

/// What the store has beside it while a daemon runs.
const FILES: [&str; 4] = ["stanch.db", "stanch.db-wal", "stanch.db-shm", "stanch.db.lock"];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// `stanch` as a shell runs it with that umask.
fn with_umask(app: &TestApp, umask: &str, arguments: &[&str]) -> Command {
    let inner = stanch(app, arguments);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("umask {umask}; exec \"$@\"")).arg("sh").arg(inner.get_program());
    command.args(inner.get_args()).env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn under_any_umask_the_store_and_its_copies_are_for_their_owner_alone() {
    for umask in ["000", "022", "077"] {
        let app = TestApp::builder().prepare(|_| ()).await;
        let process = Process::spawn(&app, with_umask(&app, umask, &["run"]));
        let socket = app.path("stanch.sock");
        wait_for_socket(&socket);
        for file in FILES {
            assert_eq!(mode(&app.path(file)), 0o600, "{file} under umask {umask}");
        }
        assert_eq!(mode(&socket), 0o660, "the group may use the socket, under umask {umask}");
        let copy = app.path("copy.db");
        let made = with_umask(&app, umask, &["backup", copy.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert_eq!(mode(&copy), 0o600, "the copy under umask {umask}");
        assert!(process.terminate().success());
        let log = fs::read_to_string(app.path("log")).unwrap();
        assert!(!log.contains("other users"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_others_could_use_is_closed_at_the_next_start_and_that_is_said() {
    let app = TestApp::builder().prepare(|_| ()).await;
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    process.kill();
    for file in FILES {
        fs::set_permissions(app.path(file), Permissions::from_mode(0o664)).unwrap();
    }
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    for file in FILES {
        assert_eq!(mode(&app.path(file)), 0o600, "{file}");
    }
    assert!(process.terminate().success());
    let log = fs::read_to_string(app.path("log")).unwrap();
    let said = log.lines().filter(|line| line.contains("other users could use a file of the store"));
    let said: Vec<&str> = said.collect();
    assert!(said.iter().any(|line| line.contains("stanch.db\"") && line.contains("before=\"0664\"")), "{log}");
    assert_eq!(said.len(), FILES.len(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_user_has_is_refused_with_that_users_name() {
    let app = TestApp::builder().prepare(|_| ()).await;
    let mut command = stanch(&app, &["run"]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert_eq!(output(&app, &["check"]).status.code(), Some(0));
        fs::write(app.path("stanch.db.lock"), "").unwrap();
        for path in ["stanch.db.lock", ""] {
            fs::set_permissions(app.path(path), Permissions::from_mode(if path.is_empty() { 0o755 } else { 0o600 }))
                .unwrap();
        }
        command.uid(65_534).gid(65_534);
    } else {
        // A file of root's that others may read.
        command.env("STANCH_STORE__URL", "sqlite:///etc/passwd");
    }
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("belongs to user root") && said.contains("run as that user"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_refused_with_the_process_that_has_it() {
    let app = TestApp::builder().prepare(|_| ()).await;
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let second = output(&app, &["run"]);
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&format!("in use by another stanch run (process {} of user ", process.0.id())), "{said}");
    assert!(process.terminate().success());
}
