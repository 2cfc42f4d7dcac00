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
/// How often a folder is listed, at the most, because a file went away between its listing and its reading.
const MOST_LISTINGS: usize = 10;

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
    /// A folder whose files go away while they are read is listed again, ten times at the most.
    ///
    /// # Errors
    /// [`Problems`], all at once: what can not be read, is no regular file, is not UTF-8, is over 1 MiB, or
    /// is more than 4,096 files or 64 MiB in total.
    pub fn read(path: &Path) -> Result<Vec<RuleFile>, Problems> {
        for _ in 1..MOST_LISTINGS {
            let (reading, vanished) = read_once(path);
            if !vanished {
                return reading;
            }
        }
        read_once(path).0
    }
}

/// One listing and reading, and whether a file that was listed was not there any more.
fn read_once(path: &Path) -> (Result<Vec<RuleFile>, Problems>, bool) {
    let mut walk = Walk::default();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => walk.folder(path, 0),
        Ok(_) => walk.found.push(path.to_owned()),
        Err(error) => walk.refuse(path, &unreadable(&error)),
    }
    walk.found.sort();
    let files = walk.read_all();
    let vanished = walk.vanished;
    (if walk.problems.is_empty() { Ok(files) } else { Err(Problems(walk.problems)) }, vanished)
}

#[derive(Default)]
struct Walk {
    found: Vec<PathBuf>,
    folders_seen: HashSet<PathBuf>,
    problems: Vec<Diagnostic>,
    too_many: bool,
    vanished: bool,
}

impl Walk {
    fn refuse(&mut self, path: &Path, why: &str) {
        self.problems.push(Diagnostic::error(path, Place::START, why));
    }

    /// What was listed but can not be read is refused, unless it is simply not there any more. A link that leads
    /// nowhere is there.
    fn refuse_listed(&mut self, path: &Path, error: &io::Error) {
        let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if error.kind() == io::ErrorKind::NotFound && !is_link() {
            self.vanished = true;
        } else {
            self.refuse(path, &unreadable(error));
        }
    }

    /// The same of a folder; the outermost was not listed, and must be there.
    fn refuse_folder(&mut self, path: &Path, depth: usize, error: &io::Error) {
        if depth > 0 { self.refuse_listed(path, error) } else { self.refuse(path, &unreadable(error)) }
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
            Err(error) => return self.refuse_folder(path, depth, &error),
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.refuse_folder(path, depth, &error),
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
            Err(error) => self.refuse_listed(path, &error),
        }
    }

    fn read_all(&mut self) -> Vec<RuleFile> {
        let mut files = Vec::with_capacity(self.found.len());
        let mut total: u64 = 0;
        for path in std::mem::take(&mut self.found) {
            match read_text(&path) {
                Ok(text) => {
                    total = total.saturating_add(text.len() as u64);
                    files.push(RuleFile { path, text });
                }
                Err(Unread::Io(error)) => self.refuse_listed(&path, &error),
                Err(Unread::NoText(why)) => self.refuse(&path, &why),
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
        files
    }
}

/// Why a file gives no text.
enum Unread {
    Io(io::Error),
    NoText(String),
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

fn read_text(path: &Path) -> Result<String, Unread> {
    // Asked before opening: opening a named pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(Unread::Io)?;
    if !metadata.is_file() {
        return Err(Unread::NoText("is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(Unread::Io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unread::NoText(format!("is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)));
    }
    String::from_utf8(bytes)
        .map_err(|error| Unread::NoText(format!("is not UTF-8: byte {}", error.utf8_error().valid_up_to())))
}
