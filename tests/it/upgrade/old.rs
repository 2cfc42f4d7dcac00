//! Stores as programs of earlier schemas left them, by running the steps of `migrations/sqlite` up to theirs.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

/// Each table's columns.
pub type Columns = BTreeMap<String, Vec<String>>;

/// Each table's rows, as JSON.
pub type Rows = BTreeMap<String, Vec<String>>;

async fn steps() -> Vec<Migration> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    Migrator::new(folder).await.unwrap().iter().cloned().collect()
}

/// Every schema that there was, today's too.
pub async fn versions() -> Vec<i64> {
    let versions: Vec<i64> = steps().await.iter().map(|step| step.version).collect();
    assert!(versions.len() >= 2, "{versions:?}");
    versions
}

/// A store read and written past the program.
pub struct OldStore(SqliteConnection);

impl OldStore {
    /// A store of that schema, with the rows of all programs up to its own.
    pub async fn build(path: &Path, version: i64, now: i64) -> Self {
        Self::build_with(path, version, now, version).await
    }

    /// A store of that schema, with the rows of programs up to schema `rows`.
    pub async fn build_with(path: &Path, version: i64, now: i64, rows: i64) -> Self {
        let mut store = Self::open(path).await;
        let mut done = Vec::new();
        for step in steps().await {
            let number = step.version;
            if number > version {
                break;
            }
            done.push(step);
            Migrator::with_migrations(done.clone()).run(&mut store.0).await.unwrap();
            if number <= rows {
                store.fill(number, now).await;
            }
        }
        store
    }

    pub async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true);
        Self(SqliteConnection::connect_with(&options).await.unwrap())
    }

    pub async fn close(self) {
        self.0.close().await.unwrap();
    }

    /// The rows that a program of that schema adds, if it brought anything to keep.
    async fn fill(&mut self, version: i64, now: i64) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/upgrade/{version:04}.sql"));
        let Ok(text) = std::fs::read_to_string(file) else { return };
        self.execute(&text.replace("{now}", &now.to_string())).await;
    }

    pub async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.0).await.unwrap();
    }

    async fn texts(&mut self, sql: String) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.0).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Every table of ours and its columns.
    pub async fn columns(&mut self) -> Columns {
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%sqlx%'";
        let mut columns = Columns::new();
        for table in self.texts(tables.to_owned()).await {
            let names = self.texts(format!("SELECT name FROM pragma_table_info('{table}')")).await;
            columns.insert(table, names);
        }
        columns
    }

    /// All that is in the store.
    pub async fn rows(&mut self) -> Rows {
        let columns = self.columns().await;
        self.rows_of(&columns).await
    }

    /// All that is in these columns.
    pub async fn rows_of(&mut self, columns: &Columns) -> Rows {
        let mut rows = Rows::new();
        for (table, names) in columns {
            let list: Vec<String> = names.iter().map(|name| format!("'{name}', \"{name}\"")).collect();
            let sql = format!("SELECT json_object({}) AS row FROM {table} ORDER BY row", list.join(", "));
            rows.insert(table.clone(), self.texts(sql).await);
        }
        rows
    }

    /// What SQLite finds wrong with the file.
    pub async fn complaints(&mut self) -> Vec<String> {
        let mut found = self.texts("PRAGMA integrity_check".to_owned()).await;
        found.retain(|line| line != "ok");
        let strangers = self.texts("SELECT \"table\" FROM pragma_foreign_key_check".to_owned()).await;
        found.extend(strangers);
        found
    }

    /// Which schema it is of.
    pub async fn version(&mut self) -> i64 {
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut self.0).await.unwrap()
    }
}
