//! Rule files from disk: the room's only I/O.
//!
//! Absent: any look at what the files say. Next: [`super::document`].

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::RuleSet;
use crate::diagnostics::{Diagnostic, Place, Problems};

/// A larger file is no rule file.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// More bytes than this in one folder are no rules.
const MAX_TOTAL_BYTES: u64 = 64 * 1024 * 1024;
/// More files than this in one folder are no rules.
const MAX_FILES: usize = 4096;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// A rule file and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// The file as the argument led to it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl RuleSet {
    /// Reads the rule files at `path`: the file itself, or all files below a folder that end in `.yml` or
    /// `.yaml` and are not hidden, in the order of their paths. Symbolic links are followed, each folder
    /// once, so that Kubernetes ConfigMaps (`rule.yml` → `..data/rule.yml`) are read.
    ///
    /// # Errors
    /// [`Problems`], all at once: what can not be read, is no regular file, is not UTF-8, is over 1 MiB, or
    /// is more than 4,096 files or 64 MiB in total.
    pub fn read(path: &Path) -> Result<Vec<RuleFile>, Problems> {
        let mut walk = Walk::default();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk.folder(path, 0),
            Ok(_) => walk.found.push(path.to_owned()),
            Err(error) => walk.refuse(path, &unreadable(&error)),
        }
        walk.found.sort();
        walk.read_all()
    }
}

#[derive(Default)]
struct Walk {
    found: Vec<PathBuf>,
    folders_seen: HashSet<PathBuf>,
    problems: Vec<Diagnostic>,
    too_many: bool,
}

impl Walk {
    fn refuse(&mut self, path: &Path, why: &str) {
        self.problems.push(Diagnostic::error(path, Place::START, why));
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            self.refuse(path, &format!("folders are nested more than {MAX_DEPTH} deep"));
            return;
        }
        // A link back to a folder above would never end, and a second way to one would double its rules.
        match path.canonicalize().map(|real| self.folders_seen.insert(real)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.refuse(path, &unreadable(&error)),
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, &unreadable(&error)),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), depth),
                Err(error) => self.refuse(path, &unreadable(&error)),
            }
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        if self.too_many || is_hidden(path) {
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, depth + 1),
            _ if !is_yaml(path) => {}
            Ok(_) if self.found.len() >= MAX_FILES => {
                self.too_many = true;
                self.refuse(path, &format!("more than {MAX_FILES} rule files"));
            }
            Ok(_) => self.found.push(path.to_owned()),
            Err(error) => self.refuse(path, &unreadable(&error)),
        }
    }

    fn read_all(mut self) -> Result<Vec<RuleFile>, Problems> {
        let mut files = Vec::with_capacity(self.found.len());
        let mut total: u64 = 0;
        for path in std::mem::take(&mut self.found) {
            match read_text(&path) {
                Ok(text) => {
                    total = total.saturating_add(text.len() as u64);
                    files.push(RuleFile { path, text });
                }
                Err(why) => self.refuse(&path, &why),
            }
            if total > MAX_TOTAL_BYTES {
                self.problems.push(Diagnostic::error(
                    files.last().map_or(PathBuf::new(), |file| file.path.clone()),
                    Place::START,
                    format!("the rule files hold more than {} MiB in total", MAX_TOTAL_BYTES / 1024 / 1024),
                ));
                break;
            }
        }
        if self.problems.is_empty() { Ok(files) } else { Err(Problems(self.problems)) }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

fn unreadable(error: &io::Error) -> String {
    format!("can not be read: {error}")
}

fn read_text(path: &Path) -> Result<String, String> {
    // Asked before opening: opening a named pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024));
    }
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: byte {}", error.utf8_error().valid_up_to()))
}
