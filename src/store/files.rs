//! The store's files: for their owner alone under any umask, and for one process at a time.
//!
//! SQLite gives the files beside the store the mode that the store has, so it is the store that is made first. What an
//! older program or somebody else left open is closed at each start. Absent: copies (see [`super::backup()`]).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Result, StoreError};
use crate::model::users::{MOST_PASSWD_BYTES, PASSWD, name_of};

/// Its owner reads and writes it.
const MODE: u32 = 0o600;

/// What everybody else may do with a file.
const OTHERS: u32 = 0o077;

/// What the lock says of who holds it is no longer, in bytes.
const MOST_HOLDER_BYTES: u64 = 200;

/// What SQLite and we keep beside the store.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", LOCK];

const LOCK: &str = ".lock";

/// Takes the store for this process. The lock is the operating system's, so a killed process leaves none behind.
///
/// # Errors
/// [`StoreError::InUse`], [`StoreError::OfAnother`] or [`StoreError::Unavailable`].
pub(super) fn lock(path: &Path) -> Result<File> {
    let name = beside(path, LOCK);
    let mut file = open(&name).map_err(|source| refused(path, &name, "opened", source))?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever finds the store in use. Without it the store is in use all the same.
            let _ =
                file.set_len(0).and_then(|()| write!(file, "process {} of user {}", std::process::id(), this_user()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned(), holder: holder(&name) }),
        Err(TryLockError::Error(source)) => Err(refused(path, &name, "opened", source)),
    }
}

/// Makes the store if it is not there, and sees to it that nobody but its owner may use it or what is beside it. A file
/// that may not be written is refused: SQLite would open it for reading.
///
/// # Errors
/// [`StoreError::OfAnother`] or [`StoreError::Unavailable`].
pub(super) fn secure(path: &Path) -> Result<()> {
    open(path).map_err(|source| refused(path, path, "written", source))?;
    for file in [path.to_owned()].into_iter().chain(BESIDE.map(|end| beside(path, end))) {
        tighten(&file);
    }
    Ok(())
}

/// Opens a file for writing, and makes it for its owner alone if it is not there.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(path)
}

/// Takes a file away from everybody but its owner. What cannot be changed is warned of: some file systems know no modes.
fn tighten(path: &Path) {
    let Ok(before) = mode(path) else { return };
    if before & OTHERS == 0 {
        return;
    }
    let file = path.display().to_string();
    let changed = fs::set_permissions(path, Permissions::from_mode(before & !OTHERS));
    match changed.and_then(|()| mode(path)) {
        Ok(after) if after & OTHERS == 0 => {
            let before = format!("{before:04o}");
            tracing::warn!(file, before, "other users could use a file of the store: it is for its owner alone now");
        }
        Ok(_) => {
            tracing::warn!(
                file,
                "other users can use a file of the store, and its file system keeps no modes: move it"
            );
        }
        Err(error) => {
            tracing::warn!(file, error = %error, "other users can use a file of the store, which cannot be changed: run chmod 600 as its owner");
        }
    }
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Why a file of the store cannot be used. That it is another user's is said by name.
fn refused(store: &Path, file: &Path, doing: &'static str, source: io::Error) -> StoreError {
    // A lock that is not there yet can be made by nobody else in the owner's folder.
    let metadata = fs::metadata(file).or_else(|_| fs::metadata(store));
    let owner = metadata.map(|metadata| metadata.uid()).ok().filter(|owner| this_uid() != Some(*owner));
    match owner {
        Some(owner) if source.kind() == ErrorKind::PermissionDenied => {
            StoreError::OfAnother { path: store.to_owned(), file: file.to_owned(), owner: user(owner) }
        }
        _ => StoreError::Unavailable { path: store.to_owned(), doing, source: sqlx::Error::Io(source) },
    }
}

/// Who holds the lock, as the lock says.
fn holder(lock: &Path) -> String {
    let mut text = String::new();
    let read = File::open(lock).and_then(|file| file.take(MOST_HOLDER_BYTES).read_to_string(&mut text));
    match read {
        Ok(length) if length > 0 => text,
        _ => "another process".to_owned(),
    }
}

/// The user of this process; Linux says it by the owner of its folder.
fn this_uid() -> Option<u32> {
    fs::metadata("/proc/self").map(|metadata| metadata.uid()).ok()
}

fn this_user() -> String {
    this_uid().map_or_else(|| "unknown".to_owned(), user)
}

/// A user's name, or the number of one without a name.
fn user(uid: u32) -> String {
    let mut list = Vec::new();
    // What cannot be read names nobody.
    let _ = File::open(PASSWD).and_then(|file| file.take(MOST_PASSWD_BYTES).read_to_end(&mut list));
    name_of(uid, &String::from_utf8_lossy(&list)).map_or_else(|| uid.to_string(), str::to_owned)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_named_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("stanch.db");
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        // The system's own file is ours only where the tests run as root: then take one of nobody's.
        let error = match this_uid() {
            Some(0) => {
                fs::write(&store, "").unwrap();
                std::os::unix::fs::chown(&store, Some(65_534), None).unwrap();
                refused(&store, &store, "written", denied())
            }
            _ => refused(&store, Path::new(PASSWD), "written", denied()),
        };
        let StoreError::OfAnother { owner, .. } = &error else { panic!("{error:?}") };
        assert!(!owner.is_empty());
        let words = error.to_string();
        assert!(words.contains("belongs to user") && words.contains("run as that user"), "{words}");
    }

    #[test]
    fn what_is_wrong_otherwise_is_no_matter_of_owners() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stanch.db");
        fs::write(&file, "").unwrap();
        for kind in [ErrorKind::PermissionDenied, ErrorKind::StorageFull] {
            let error = refused(&file, &file, "written", kind.into());
            assert!(matches!(error, StoreError::Unavailable { doing: "written", .. }), "{error:?}");
        }
    }

    #[test]
    fn who_has_the_store_is_named_to_who_wants_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stanch.db");
        let _held = lock(&path).unwrap();
        let words = lock(&path).unwrap_err().to_string();
        assert!(words.contains(&format!("process {} of user {}", std::process::id(), this_user())), "{words}");
    }
}
