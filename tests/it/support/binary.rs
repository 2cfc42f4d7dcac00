//! The real binary, as a child of the test.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::TestApp;

const PATIENCE: Duration = Duration::from_secs(30);

/// `stanch` with the test's configuration and environment.
pub fn stanch(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stanch"));
    command.arg("--config").arg(app.config_path()).args(arguments);
    command.env_clear().env("STANCH_LOG", "warn").envs(app.overrides());
    command
}

/// What `stanch` prints and how it ends.
pub fn output(app: &TestApp, arguments: &[&str]) -> Output {
    stanch(app, arguments).output().unwrap()
}

/// A daemon that is a process of its own; killed when the test ends.
pub struct Process(pub Child);

impl Process {
    pub fn run(app: &TestApp) -> Self {
        Self::spawn(app, stanch(app, &["run"]))
    }

    /// The same of a `stanch run` that was changed before. Its log is kept in the test's folder.
    pub fn spawn(app: &TestApp, mut command: Command) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(app.path("log")).unwrap();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("/bin/kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// SIGTERM, and how it ends.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the daemon does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the daemon takes commands on its socket.
pub fn wait_for_socket(path: &Path) {
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(path).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens on {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
