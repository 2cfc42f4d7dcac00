//! What is on this machine: config, rules and store. Absent: the network.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::report::{Check, Report};
use crate::cli::check;
use crate::config::{Config, Loaded};
use crate::diagnostics::{Diagnostic, Problems, alike};
use crate::store::{self, StoreError};

/// The config, unless it has problems.
pub(super) fn config(
    file: &Path,
    loaded: Result<Loaded, Problems>,
    report: &mut Report<'_>,
) -> io::Result<Option<Config>> {
    match loaded {
        Ok(Loaded { config, warnings, .. }) => {
            report.add(Check::well("config", file.display().to_string()))?;
            tell(&warnings, &|detail| Check::note("config", detail), report)?;
            Ok(Some(config))
        }
        Err(Problems(problems)) => {
            tell(&problems, &|detail| Check::finding("config", detail), report)?;
            Ok(None)
        }
    }
}

/// The rules, for the tenants that there are.
pub(super) fn rules(config: &Config, now: Timestamp, report: &mut Report<'_>) -> io::Result<()> {
    let rules = check::of_config(std::slice::from_ref(&config.rules.dir), config, now);
    if rules.set.is_some() {
        report.add(Check::well("rules", format!("{}, from {}", rules.counted(), config.rules.dir.display())))?;
    }
    tell(&rules.warnings, &|detail| Check::note("rules", detail), report)?;
    tell(&rules.problems, &|detail| Check::finding("rules", detail), report)
}

fn tell(diagnostics: &[Diagnostic], as_check: &dyn Fn(String) -> Check, report: &mut Report<'_>) -> io::Result<()> {
    for line in alike(diagnostics) {
        let check = as_check(line.without_hint());
        report.add(match &line.first().hint {
            Some(hint) => check.mend(hint),
            None => check,
        })?;
    }
    Ok(())
}

/// The store: whether `run` could open it, also while one has it.
pub(super) async fn store(config: &Config, report: &mut Report<'_>) -> io::Result<()> {
    let (path, patience) = (&config.store, config.limits.request_timeout.duration());
    if let Err(check) = can_be_written(path) {
        return report.add(*check);
    }
    report.add(match tokio::time::timeout(patience, store::inspect(path)).await {
        Ok(Ok(false)) => Check::well("store", format!("{} is not there yet: run makes it", path.display())),
        Ok(Ok(true)) => Check::well("store", path.display().to_string()),
        Ok(Err(error)) => unfit(path, &error),
        Err(_) => {
            let size = fs::metadata(path).map_or(0, |found| found.len()) >> 20;
            let path = path.display();
            let detail = format!("{path} has {size} MiB, and looking for damage was ended after {patience:?}");
            Check::note("store", detail).mend("stanch backup FILE makes a copy, and looks for damage in all of that")
        }
    })
}

/// Whether this user may write it, without writing to it. SQLite makes files beside it, so the folder
/// counts as well: an empty file is made there and taken away again.
fn can_be_written(path: &Path) -> Result<(), Box<Check>> {
    const MEND: &str = "let the user that the daemon runs as own it, and run doctor as that user";
    let refused = |what: &Path, error: &io::Error| {
        let detail = format!("{} can not be written by this user: {error}", what.display());
        Box::new(Check::finding("store", detail).mend(MEND))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if !folder.is_dir() {
        let detail = format!("there is no folder {} to make it in", folder.display());
        let check = Check::finding("store", detail);
        return Err(Box::new(check.mend("make it, owned by the user that the daemon runs as, or change store.url")));
    }
    let probe = folder.join(format!(".stanch-doctor-{}", std::process::id()));
    File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| refused(folder, &error))?;
    if path.exists() {
        OpenOptions::new().append(true).open(path).map_err(|error| refused(path, &error))?;
    }
    Ok(())
}

fn unfit(path: &Path, error: &StoreError) -> Check {
    let corrupt = |what: &str| Check::finding("store", format!("{} is damaged: {what}", path.display()));
    match error {
        StoreError::Corrupt(what) => corrupt(what).mend(
            "stop the daemon, then put the newest copy that stanch backup made in its place, or save what can be read \
             with sqlite3's .recover: docs/guide/backup.md",
        ),
        StoreError::Unavailable { .. } | StoreError::Unwritable { .. } => {
            Check::finding("store", crate::worker::chain(error))
                .mend("check that it is a SQLite file and who may read it, or name another in store.url")
        }
        StoreError::Newer { .. } => Check::finding("store", error.to_string()),
        _ => Check::finding("store", crate::worker::chain(error)),
    }
}
