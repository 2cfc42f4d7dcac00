//! A consistent copy of the store as it is at one moment, made while a daemon works with it.
//!
//! It reads like any other reader, so it never waits for the writer, and the writer never waits for it.
//! Nothing is created, migrated or locked; a store of a newer program is copied as it is. Absent: putting a
//! copy back, which is moving a file (see `docs/guide/backup.md`).

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::BUSY;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its schema: the number of the last migration.
    pub schema: i64,
    /// How many versions of alerts.
    pub alerts: u64,
    /// How many actions.
    pub actions: u64,
}

/// Why there is no copy. Whatever it is, no part of one is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is there already.
    #[error("{path} is there already, and a copy overwrites nothing: name another file", path = .0.display())]
    Exists(PathBuf),
    /// There is nothing to copy.
    #[error("there is no store at {path} to copy: `stanch run` makes it (store.url)", path = .0.display())]
    NoStore(PathBuf),
    /// It is a database, but not one of ours.
    #[error("{path} holds no store of stanch's: see store.url", path = .0.display())]
    NotOurs(PathBuf),
    /// The copy did not come about.
    #[error("the store at {store} can not be copied to {file}", store = .store.display(), file = .file.display())]
    Copy {
        /// The store.
        store: PathBuf,
        /// The copy.
        file: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The file can not be made.
    #[error("{path} can not be written", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The copy is not whole.
    #[error("the copy is damaged and was not kept ({0}): so may be the store, which stanch doctor tells")]
    Damaged(String),
}

/// Copies the store at `store` to `file`, which must not be there yet. The copy shows one moment, is readable by
/// its owner alone, was checked for damage, and is on the disk when this returns.
///
/// # Errors
/// [`BackupError`]. When this future is dropped before its end, nothing is left behind either.
pub async fn backup(store: &Path, file: &Path) -> Result<Backup, BackupError> {
    let write = |source| BackupError::Write { path: file.to_owned(), source };
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    if !store.exists() {
        return Err(BackupError::NoStore(store.to_owned()));
    }
    let beside = Beside::new(file).map_err(write)?;
    let copied = copy(store, &beside.path).await;
    copied.map_err(|source| BackupError::Copy { store: store.to_owned(), file: file.to_owned(), source })?;
    let holds = examine(store, &beside.path).await?;
    beside.keep_as(file).await?;
    Ok(holds)
}

async fn copy(store: &Path, to: &Path) -> Result<(), sqlx::Error> {
    let mut reader = SqliteConnectOptions::new().filename(store).read_only(true).busy_timeout(BUSY).connect().await?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(to.to_str()).execute(&mut reader).await;
    reader.close().await?;
    copied.map(|_| ())
}

/// Whether the copy is whole, and what it holds.
async fn examine(store: &Path, copy: &Path) -> Result<Backup, BackupError> {
    let damaged = |error: sqlx::Error| BackupError::Damaged(error.to_string());
    // Nobody else has the copy yet, so that SQLite needs no files of its own beside it.
    let options = SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
    let mut reader = options.connect().await.map_err(damaged)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut reader).await.map_err(damaged)?;
    if verdict != "ok" {
        return Err(BackupError::Damaged(verdict));
    }
    let Ok(holds) = contents(&mut reader).await else {
        return Err(BackupError::NotOurs(store.to_owned()));
    };
    reader.close().await.map_err(damaged)?;
    Ok(holds)
}

async fn contents(reader: &mut SqliteConnection) -> Result<Backup, sqlx::Error> {
    let (bytes, schema, alerts, actions): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size),
                (SELECT MAX(version) FROM _sqlx_migrations),
                (SELECT COUNT(*) FROM alerts), (SELECT COUNT(*) FROM actions)",
    )
    .fetch_one(reader)
    .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Backup { bytes: count(bytes), schema, alerts: count(alerts), actions: count(actions) })
}

/// The copy under the name that it has until it is complete; taken away unless it is kept.
struct Beside {
    folder: PathBuf,
    path: PathBuf,
}

impl Beside {
    /// An empty file in the folder of `file`, for its owner alone.
    fn new(file: &Path) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        // SQLite would take a relative name that begins with `file:` for a URI.
        let folder = fs::canonicalize(folder)?;
        let mut name = OsString::from(".");
        name.push(file.file_name().ok_or_else(|| io::Error::other("it names no file"))?);
        name.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let path = folder.join(name);
        if path.to_str().is_none() {
            return Err(io::Error::other("its name is not UTF-8 text, which SQLite needs"));
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { folder, path })
    }

    /// Brings the copy to the disk and gives it its name, unless somebody else has taken that meanwhile.
    async fn keep_as(self, file: &Path) -> Result<(), BackupError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(file.to_owned()),
            _ => BackupError::Write { path: file.to_owned(), source },
        };
        sync(&self.path).await.map_err(failed)?;
        // A link is refused where there is a file, which a rename would replace; not every file system has links.
        match fs::hard_link(&self.path, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&self.path, file),
            linked => linked,
        }
        .map_err(failed)?;
        sync(&self.folder).await.map_err(failed)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let mut journal = self.path.clone().into_os_string();
        journal.push("-journal");
        // What is not there need not be taken away.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(journal);
    }
}

async fn sync(path: &Path) -> io::Result<()> {
    tokio::fs::File::open(path).await?.sync_all().await
}
