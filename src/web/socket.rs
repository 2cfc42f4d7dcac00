//! Making the unix socket: what a dead process left is replaced, anything else is left alone.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The owner and the group may use the socket: that is the key to the API.
const MODE: u32 = 0o660;

/// The mode of the folder in which it is made, and its name there.
const DRAFT_MODE: u32 = 0o700;
const DRAFT: &str = "s";

/// The longest path of a socket, in bytes. Source: unix(7), `sun_path` with its final null.
const MOST_PATH_BYTES: usize = 107;

/// Listens on a unix socket at `path` that its owner and group may use. A socket there that nobody answers
/// on is replaced.
///
/// # Errors
/// When the folder is missing, something else is at `path`, somebody answers there, or it can not be made.
/// The message says what to do.
pub fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() > MOST_PATH_BYTES {
        let why = format!("a socket's path has at most {MOST_PATH_BYTES} bytes: set server.socket to a shorter one");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    refuse_what_is_in_use(path)?;
    // In a folder of its own until it has its mode: under no umask does anybody else get in before, and the rename
    // replaces what is stale in one step.
    let folder = draft_of(path)?;
    remove_stale(&folder);
    let made = DirBuilder::new().mode(DRAFT_MODE).create(&folder).and_then(|()| bind_in(&folder, path));
    // The first error is the one to tell.
    remove_stale(&folder);
    made.map_err(|error| can_not_be_made(path, &error))
}

fn bind_in(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let draft = folder.join(DRAFT);
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(MODE))?;
    fs::rename(&draft, path)?;
    Ok(listener)
}

fn refuse_what_is_in_use(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return refuse_missing_folder(path),
        Err(error) => return Err(can_not_be_made(path, &error)),
    };
    if !metadata.file_type().is_socket() {
        let why = "something that is no socket is there: move it away, or set server.socket to another path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, why));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let why = "another process answers there: stop it, or set server.socket to another path";
            Err(io::Error::new(ErrorKind::AddrInUse, why))
        }
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(can_not_be_made(path, &error)),
    }
}

fn refuse_missing_folder(path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    let why = format!("there is no folder {}: make it, or set server.socket to a path in one", folder.display());
    Err(io::Error::new(ErrorKind::NotFound, why))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A folder beside `path` that is this process's alone. It is short, so that it fits where `path` does.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let draft = folder_of(path).join(format!(".{:x}", std::process::id()));
    match path.file_name() {
        Some(_) => Ok(draft),
        None => Err(io::Error::new(ErrorKind::InvalidInput, "server.socket is a folder: name a file in it")),
    }
}

/// A process of the same id may have died between making its socket and naming it. What cannot be removed is an error when
/// the folder is made.
fn remove_stale(folder: &Path) {
    for socket in [folder.join(DRAFT), folder.to_owned()] {
        if fs::symlink_metadata(&socket).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            let _ = fs::remove_file(&socket);
        }
    }
    let _ = fs::remove_dir(folder);
}

fn can_not_be_made(path: &Path, error: &io::Error) -> io::Error {
    let why = format!("{} can not be made: {error}", path.display());
    io::Error::new(error.kind(), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> (ErrorKind, String) {
        let error = bind_socket(path).unwrap_err();
        (error.kind(), error.to_string())
    }

    #[tokio::test]
    async fn a_new_socket_is_for_its_owner_and_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stanch.sock");
        let _listener = bind_socket(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stanch.sock");
        drop(bind_socket(&path).unwrap());
        assert!(path.exists());
        let _listener = bind_socket(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn what_is_in_use_or_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stanch.sock");
        let _first = bind_socket(&path).unwrap();
        let (kind, why) = refused(&path);
        assert!(kind == ErrorKind::AddrInUse && why.contains("another process"), "{why}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one still listens");

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let (kind, why) = refused(&file);
        assert!(kind == ErrorKind::AlreadyExists && why.contains("no socket"), "{why}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(refused(folder.path()).0, ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn a_missing_folder_and_a_path_that_is_too_long_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("run");
        let (kind, why) = refused(&missing.join("stanch.sock"));
        assert!(kind == ErrorKind::NotFound && why.contains(missing.to_str().unwrap()), "{why}");
        let (kind, why) = refused(&folder.path().join("x".repeat(120)));
        assert!(kind == ErrorKind::InvalidInput && why.contains("107 bytes"), "{why}");
    }
}
