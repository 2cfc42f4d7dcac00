//! The store: the only SQL. It offers verbs of the domain and never rows.
//!
//! Every write is short and kept whole or not at all, none spans the network, and uniqueness is the
//! schema's. Deciding, judging and the gate are pure functions that a transaction is handed, so that
//! they see what is true when it commits. Absent: the network, the clock, and loops over any of this
//! (see [`crate::worker`]).

mod accept;
mod access;
mod again;
mod aliases;
mod apply;
mod audit;
mod backup;
mod cancel;
mod changes;
mod claim;
mod console;
mod containment;
mod decide;
mod devices;
mod drill;
mod explain;
mod facts;
mod files;
mod finished;
mod fit;
mod idempotency;
mod inspect;
mod lanes;
mod looks;
mod measure;
mod notices;
mod operate;
mod owed;
mod parts;
mod protections;
mod read;
mod recall;
mod release;
mod replay;
mod requests;
mod retention;
mod row;
mod settle;
mod timeline;
mod transition;
mod undecided;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor, Sqlite, SqliteConnection};

pub use accept::{Accepted, Incoming, Reached};
pub use access::{Holder, NewToken, Presented};
pub use apply::Applied;
pub use audit::{AuditFilter, Entry, Subject};
pub use backup::{Backup, BackupError, backup};
pub use cancel::{CancelDue, CancelEnd};
pub use claim::{Claim, ClaimedAction, GateAlert, GateContext};
pub use console::{ProtectedFor, RuleHits, Seal, Stretch, Stretches, SubmitTimes};
pub use containment::ByRule;
pub use decide::{Choice, DecidedPair, Deciding, Made};
pub use devices::{MachineKnowledge, PassEnd};
pub use drill::Sealed;
pub use finished::Finished;
pub use fit::Misfit;
pub use idempotency::{KeptAnswer, Keyed, Known};
pub use inspect::inspect;
pub use lanes::{Answered, CallSlot, LaneTrouble, Took};
pub use looks::{Doubt, LookEnd, LookPlan};
pub use measure::{Measures, Totals};
pub use operate::{Answers, Bulk, OperateError, WhichHeld};
pub use protections::{ProtectionsChange, RulesTaken};
pub use read::{ActionFilter, AlertFilter, Cursor, DeviceFilter};
pub use recall::Recalled;
pub use release::Timed;
pub use requests::AlertRequest;
pub use retention::{Keep, Place, Removed};
pub use settle::Settlement;
pub use undecided::Undecided;

use writer::{Tx, Writer};

/// What keeps the store from doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite could not; the work may be tried again.
    #[error("the store at {path} can not be {doing}", path = .path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// Opened, read or written.
        doing: &'static str,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// It takes no writes now, or what was written could not be kept.
    #[error("the store at {path} can not be written", path = .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What SQLite says, to everybody whose writes were to be kept together.
        source: Arc<sqlx::Error>,
    },
    /// A statement failed.
    #[error("the store failed at a statement")]
    Statement(#[from] sqlx::Error),
    /// Another `run` has it.
    #[error(
        "the store at {path} is in use by another stanch run ({holder}): stop that one first, or give this one a store.url of its own",
        path = .path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Which process.
        holder: String,
    },
    /// A file of it belongs to a user that this process is not.
    #[error(
        "the store at {path} belongs to user {owner}, and {file} cannot be opened: run as that user, or let that user give the store's files away",
        path = .path.display(),
        file = .file.display()
    )]
    OfAnother {
        /// The store.
        path: PathBuf,
        /// What cannot be opened.
        file: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// It was written by a newer program.
    #[error(
        "the store at {path} was written by a newer stanch (schema {schema}): run that version, or restore a copy made before the upgrade",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: i64,
    },
    /// A schema change failed.
    #[error("the schema of the store at {path} can not be brought up to date", path = .path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// A row holds what no program of ours writes.
    #[error("the store holds {0}, which no stanch writes: run stanch doctor")]
    Corrupt(String),
    /// A state and an event that do not go together.
    #[error(transparent)]
    Impossible(#[from] crate::model::action::Impossible),
}

impl StoreError {
    /// Whether it is about the store as a whole, whatever was asked of it: it is locked, the disk is full or fails, it
    /// can not be written. It may be over the next time.
    #[must_use]
    pub fn is_of_the_whole_store(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unwritable { .. } => true,
            Self::Statement(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)) => true,
            Self::Statement(source) => sqlite_code(source).is_some_and(|code| WHOLE.contains(&code)),
            _ => false,
        }
    }
}

/// SQLite's BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL and CANTOPEN. Source: <https://sqlite.org/rescode.html>.
const WHOLE: [u32; 7] = [5, 6, 7, 8, 10, 13, 14];

/// SQLite's primary result code: the last byte of an extended one.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// The result of a verb.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for a lock that another process holds, such as a copy being made.
const BUSY: Duration = Duration::from_secs(10);

/// Connections that read at once.
const READERS: u32 = 3;

/// How long the write-ahead log may get, in pages of 4 KiB, before a commit folds it into the file by itself.
/// Pages that the writer keeps in memory, as far as it has use for them: 16 MiB. What is claimed next to a million rows
/// is spread over many.
const CACHE: &str = "-16384";

/// [`Store::checkpoint`] does so long before, and in nobody's way.
const LONGEST_LOG: &str = "16384";

/// A SQLite file: one writer, several readers, and one that folds the write-ahead log into the file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    writer: Writer,
    reader: SqlitePool,
    folder: SqlitePool,
    /// The name of this process in rows that it claimed.
    instance: String,
    /// See [`Store::came_in`].
    came_in: AtomicU64,
    /// Whether an alert has an alias: this process alone writes, so it knows. Where none has, nobody looks for one.
    has_aliases: AtomicBool,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store for a daemon: takes the file for itself, creates it if it is not there, brings its schema up
    /// to date. A file that may not be written is refused.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::OfAnother`], [`StoreError::Newer`], [`StoreError::Migrate`] or
    /// [`StoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self> {
        let lock = files::lock(path)?;
        files::secure(path)?;
        let unavailable = |source| StoreError::Unavailable { path: path.to_owned(), doing: "opened", source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .statement_cache_capacity(256);
        let folder = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
        let mut writer = options
            .clone()
            .pragma("wal_autocheckpoint", LONGEST_LOG)
            .pragma("cache_size", CACHE)
            .connect()
            .await
            .map_err(unavailable)?;
        migrate(path, &mut writer).await?;
        let writer = Writer::new(path, writer);
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .test_before_acquire(false)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(unavailable)?;
        let instance = uuid::Uuid::now_v7().to_string();
        let has_aliases = AtomicBool::new(aliases::are_there(&reader).await?);
        let came_in = AtomicU64::new(0);
        Ok(Self { path: path.to_owned(), writer, reader, folder, instance, came_in, has_aliases, _lock: lock })
    }

    /// Closes every connection, so that the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.folder.close().await;
        self.writer.close().await;
    }

    /// Whether a write succeeds now. It is made and committed: nothing reaches the disk before. Nothing is left of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn probe_writable(&self) -> Result<()> {
        let unavailable = |source| StoreError::Unavailable { path: self.path.clone(), doing: "written", source };
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO operations (at, by, what, why) VALUES (0, 'stanch', 'probe', '')")
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        sqlx::query("DELETE FROM operations WHERE id = last_insert_rowid()")
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        tx.commit().await
    }

    /// Folds the write-ahead log into the file, as far as readers let it, while others read and write.
    ///
    /// # Errors
    /// [`StoreError::Statement`]; the log only gets longer then.
    pub async fn checkpoint(&self) -> Result<()> {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.folder).await?;
        Ok(())
    }

    /// How many writes had to wait for another since the store was opened. Who has a long write to make can tell by it
    /// whether others want to write too, and make it in pieces.
    #[must_use]
    pub fn writes_that_waited(&self) -> u64 {
        self.writer.waited()
    }

    /// How many alerts are to be decided because of what sources have yielded since the store was opened: the count of
    /// the undecided has not grown by more.
    #[must_use]
    pub fn came_in(&self) -> u64 {
        self.came_in.load(Ordering::Acquire)
    }

    async fn begin(&self) -> Result<Tx> {
        self.writer.begin().await
    }
}

async fn refuse_newer<'c>(path: &Path, store: impl Executor<'c, Database = Sqlite>) -> Result<()> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let applied: Option<i64> =
        match sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(store).await {
            Ok(applied) => applied,
            // A file without that table is new, or none of ours: the migrations say so.
            Err(sqlx::Error::Database(_)) => None,
            Err(source) => return Err(StoreError::Unavailable { path: path.to_owned(), doing: "read", source }),
        };
    match applied {
        Some(schema) if schema > known => Err(StoreError::Newer { path: path.to_owned(), schema }),
        _ => Ok(()),
    }
}

async fn migrate(path: &Path, store: &mut SqliteConnection) -> Result<()> {
    refuse_newer(path, &mut *store).await?;
    MIGRATIONS
        .run(store)
        .await
        .map_err(|source| StoreError::Migrate { path: path.to_owned(), source: Box::new(source) })
}
