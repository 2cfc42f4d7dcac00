//! The one connection that writes, and the commits that writers share.
//!
//! A write opens a transaction, or joins the one that is open. When it is done it queues for the connection once
//! more, behind those that wait already; whoever comes to the front and finds its transaction still open commits it
//! for all that are in it. So nobody waits for others to come, and one fsync serves all who came while the one
//! before was under way. A write that failed or was given up is undone alone. Absent: what is written.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::{Result, StoreError};

/// The connection, while a write has it.
type Held = OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>;

/// How the commit of a transaction ended, once it has.
type Outcome = Arc<OnceLock<Result<(), Arc<sqlx::Error>>>>;

/// A commit under way, with the connection.
type Committing = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send>>;

/// Writes one after the other, and commits what came together at once.
#[derive(Clone)]
pub(super) struct Writer {
    path: Arc<PathBuf>,
    turn: Arc<Mutex<Turn>>,
    /// Only ever taken by whoever has the turn, or by the commit that the turn keeps. `None` once it is closed.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    /// Writes that had to wait for another.
    waited: Arc<AtomicU64>,
}

/// What the writer is at. Whoever has the turn may write; the others queue in the order in which they came.
#[derive(Default)]
struct Turn {
    /// The transaction that is open.
    open: Option<Outcome>,
    /// How the write that has begun and not ended is undone.
    begun: Option<Scope>,
    /// The commit under way: kept here, so that another sees it through when whoever began it gives up.
    committing: Option<Committing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The first write of a transaction.
    Whole,
    /// One that has joined.
    Joined,
}

/// A write that has begun. Dropped before its commit, it is undone before the next one begins.
pub(super) struct Tx {
    writer: Writer,
    turn: OwnedMutexGuard<Turn>,
    connection: Held,
    outcome: Outcome,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Writer {
    pub(super) fn new(path: &Path, connection: SqliteConnection) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            turn: Arc::default(),
            connection: Arc::new(Mutex::new(Some(connection))),
            waited: Arc::default(),
        }
    }

    /// Begins a write once all who came before have written.
    pub(super) async fn begin(&self) -> Result<Tx> {
        if self.turn.try_lock().is_err() {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        let (mut turn, mut connection) = self.turn().await?;
        let scope = if turn.open.is_none() { Scope::Whole } else { Scope::Joined };
        let outcome = Arc::clone(turn.open.get_or_insert_default());
        turn.begun = Some(scope);
        let begun = match scope {
            Scope::Whole => sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await,
            Scope::Joined => sqlx::query("SAVEPOINT joined").execute(&mut *connection).await,
        };
        if let Err(error) = begun {
            turn.undo(&mut connection).await;
            return Err(self.unwritable(Arc::new(error)));
        }
        Ok(Tx { writer: self.clone(), turn, connection, outcome })
    }

    /// How many writes had to wait for another, ever.
    pub(super) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Commits what is open and closes the connection.
    pub(super) async fn close(&self) {
        let turn = match self.turn().await {
            Ok((mut turn, connection)) => {
                turn.commit(connection).await;
                Some(turn)
            }
            Err(_) => None,
        };
        let connection = self.connection.lock().await.take();
        drop(turn);
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store could not be closed well; the next start mends it");
        }
    }

    /// The turn and the connection, with all that others have left brought to its end.
    async fn turn(&self) -> Result<(OwnedMutexGuard<Turn>, Held)> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        // The commit has the connection.
        turn.finish_commit().await;
        let connection = Arc::clone(&self.connection).lock_owned().await;
        let mut connection = OwnedMutexGuard::try_map(connection, Option::as_mut)
            .map_err(|_| self.unwritable(Arc::new(sqlx::Error::PoolClosed)))?;
        turn.undo(&mut connection).await;
        Ok((turn, connection))
    }

    fn unwritable(&self, source: Arc<sqlx::Error>) -> StoreError {
        StoreError::Unwritable { path: PathBuf::clone(&self.path), source }
    }
}

impl Turn {
    /// Commits the open transaction, if there is one.
    async fn commit(&mut self, mut connection: Held) {
        if self.open.is_none() {
            return;
        }
        self.committing = Some(Box::pin(async move {
            let committed = sqlx::query("COMMIT").execute(&mut *connection).await;
            if committed.is_err() {
                // It fails where SQLite has rolled back by itself.
                let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            }
            committed.map(drop)
        }));
        self.finish_commit().await;
    }

    async fn finish_commit(&mut self) {
        let Some(committing) = &mut self.committing else { return };
        let ended = committing.await;
        self.committing = None;
        self.end(ended.map_err(Arc::new));
    }

    /// Undoes the write that began and did not end.
    async fn undo(&mut self, connection: &mut SqliteConnection) {
        match self.begun {
            None => {}
            Some(Scope::Whole) => {
                // It fails where SQLite has rolled back by itself.
                let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
                self.open = None;
            }
            Some(Scope::Joined) => {
                if let Err(error) = back_to_savepoint(connection).await
                    && !is_open(connection).await
                {
                    // A full disk makes SQLite give up the transaction with all that is in it.
                    let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
                    self.end(Err(Arc::new(error)));
                }
            }
        }
        self.begun = None;
    }

    /// Tells everybody in the transaction how it ended.
    fn end(&mut self, ended: Result<(), Arc<sqlx::Error>>) {
        if let Some(outcome) = self.open.take() {
            let _ = outcome.set(ended);
        }
    }
}

/// Whether the transaction is there still. Then the savepoint is not there because it was let go, or never made, by a
/// write that was given up while it asked for that: all of it is in, or nothing.
async fn is_open(connection: &mut SqliteConnection) -> bool {
    match sqlx::query("BEGIN IMMEDIATE").execute(connection).await {
        Ok(_) => false,
        Err(error) => error.as_database_error().is_some_and(|error| error.message().contains("within a transaction")),
    }
}

async fn back_to_savepoint(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("ROLLBACK TO joined").execute(&mut *connection).await?;
    sqlx::query("RELEASE joined").execute(connection).await?;
    Ok(())
}

impl Tx {
    /// Ends the write, and comes back once it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] when nothing of it is.
    pub(super) async fn commit(mut self) -> Result<()> {
        if self.turn.begun == Some(Scope::Joined) {
            let released = sqlx::query("RELEASE joined").execute(&mut *self.connection).await;
            released.map_err(|error| self.writer.unwritable(Arc::new(error)))?;
        }
        self.turn.begun = None;
        let Self { writer, turn, connection, outcome } = self;
        drop(connection);
        drop(turn);
        // Behind all who wait already, so that they come along.
        if let Ok((mut turn, connection)) = writer.turn().await
            && outcome.get().is_none()
        {
            turn.commit(connection).await;
        }
        match outcome.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(writer.unwritable(Arc::clone(error))),
            None => Err(writer.unwritable(Arc::new(sqlx::Error::PoolClosed))),
        }
    }

    /// Undoes the write.
    pub(super) async fn rollback(mut self) {
        self.turn.undo(&mut self.connection).await;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

    use super::*;

    struct Fixture {
        writer: Writer,
        reader: SqliteConnection,
        _dir: tempfile::TempDir,
    }

    impl Fixture {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("writer.db");
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let options = options.journal_mode(SqliteJournalMode::Wal);
            let mut connection = options.connect().await.unwrap();
            sqlx::query("CREATE TABLE kept (n INTEGER PRIMARY KEY)").execute(&mut connection).await.unwrap();
            let reader = options.connect().await.unwrap();
            Self { writer: Writer::new(&path, connection), reader, _dir: dir }
        }

        async fn kept(&mut self) -> Vec<i64> {
            sqlx::query_scalar("SELECT n FROM kept ORDER BY n").fetch_all(&mut self.reader).await.unwrap()
        }
    }

    async fn insert(tx: &mut SqliteConnection, n: i64) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO kept VALUES (?1)").bind(n).execute(tx).await.map(drop)
    }

    async fn write(writer: &Writer, n: i64) -> Result<()> {
        let mut tx = writer.begin().await?;
        insert(&mut tx, n).await?;
        tx.commit().await
    }

    /// Polls once: what can go on at once does.
    macro_rules! begin_to_wait {
        ($future:expr) => {
            tokio::select! { biased; _ = &mut $future => panic!("it had to wait"), () = std::future::ready(()) => {} }
        };
    }

    #[tokio::test]
    async fn writers_that_wait_together_share_a_commit_and_one_that_fails_is_undone_alone() {
        let mut fixture = Fixture::new().await;
        let writer = fixture.writer.clone();
        let mut first = writer.begin().await.unwrap();
        insert(&mut first, 1).await.unwrap();
        let (mut second, mut fails, mut third) =
            (Box::pin(write(&writer, 2)), Box::pin(write(&writer, 1)), Box::pin(write(&writer, 3)));
        begin_to_wait!(second);
        begin_to_wait!(fails);
        begin_to_wait!(third);
        let outcome = Arc::clone(&first.outcome);
        let (first, second, fails, third) = tokio::join!(first.commit(), second, fails, third);
        first.unwrap();
        second.unwrap();
        third.unwrap();
        assert!(matches!(fails, Err(StoreError::Statement(_))), "{fails:?}");
        assert!(matches!(outcome.get(), Some(Ok(()))));
        assert_eq!(fixture.kept().await, [1, 2, 3]);
    }

    #[tokio::test]
    async fn nobody_is_told_of_a_commit_before_all_who_joined_are_in_it() {
        let mut fixture = Fixture::new().await;
        let writer = fixture.writer.clone();
        let first = {
            let mut first = writer.begin().await.unwrap();
            insert(&mut first, 1).await.unwrap();
            first
        };
        let mut begins = Box::pin(writer.begin());
        begin_to_wait!(begins);
        let mut commits = Box::pin(first.commit());
        let mut second =
            tokio::select! { biased; _ = &mut commits => panic!("it had to wait"), tx = &mut begins => tx.unwrap() };
        insert(&mut second, 2).await.unwrap();
        assert_eq!(fixture.kept().await, [0i64; 0]);
        let (first, second) = tokio::join!(commits, second.commit());
        first.unwrap();
        second.unwrap();
        assert_eq!(fixture.kept().await, [1, 2]);
    }

    #[tokio::test]
    async fn a_write_that_is_given_up_is_undone_whether_it_came_first_or_joined() {
        let mut fixture = Fixture::new().await;
        let writer = fixture.writer.clone();
        let mut given_up = writer.begin().await.unwrap();
        insert(&mut given_up, 1).await.unwrap();
        drop(given_up);
        let mut first = writer.begin().await.unwrap();
        insert(&mut first, 2).await.unwrap();
        let mut joins = Box::pin(writer.begin());
        begin_to_wait!(joins);
        let mut commits = Box::pin(first.commit());
        let mut joined =
            tokio::select! { biased; _ = &mut commits => panic!("it had to wait"), tx = &mut joins => tx.unwrap() };
        insert(&mut joined, 3).await.unwrap();
        drop(joined);
        commits.await.unwrap();
        assert_eq!(fixture.kept().await, [2]);
    }

    #[tokio::test]
    async fn a_commit_whose_beginner_gave_up_is_seen_through_by_the_next() {
        let mut fixture = Fixture::new().await;
        let writer = fixture.writer.clone();
        let mut first = writer.begin().await.unwrap();
        insert(&mut first, 1).await.unwrap();
        let outcome = Arc::clone(&first.outcome);
        let mut commits = Box::pin(first.commit());
        begin_to_wait!(commits);
        drop(commits);
        write(&writer, 2).await.unwrap();
        assert!(matches!(outcome.get(), Some(Ok(()))));
        assert_eq!(fixture.kept().await, [1, 2]);
    }

    #[tokio::test]
    async fn when_sqlite_gives_up_the_transaction_everybody_in_it_is_told() {
        let mut fixture = Fixture::new().await;
        let writer = fixture.writer.clone();
        let mut first = writer.begin().await.unwrap();
        insert(&mut first, 1).await.unwrap();
        let mut joins = Box::pin(writer.begin());
        begin_to_wait!(joins);
        let mut commits = Box::pin(first.commit());
        let mut joined =
            tokio::select! { biased; _ = &mut commits => panic!("it had to wait"), tx = &mut joins => tx.unwrap() };
        // As SQLite does by itself when the disk is full.
        sqlx::query("ROLLBACK").execute(&mut *joined).await.unwrap();
        assert!(joined.commit().await.is_err());
        assert!(matches!(commits.await, Err(StoreError::Unwritable { .. })));
        assert_eq!(fixture.kept().await, [0i64; 0]);
        write(&writer, 3).await.unwrap();
        assert_eq!(fixture.kept().await, [3]);
    }

    #[tokio::test]
    async fn what_is_written_when_the_store_is_closed_is_kept_and_nothing_can_be_written_later() {
        let mut fixture = Fixture::new().await;
        write(&fixture.writer, 1).await.unwrap();
        fixture.writer.close().await;
        fixture.writer.close().await;
        assert!(matches!(write(&fixture.writer, 2).await, Err(StoreError::Unwritable { .. })));
        assert_eq!(fixture.kept().await, [1]);
    }
}
