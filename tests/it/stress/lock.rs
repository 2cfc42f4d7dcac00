//! Another process holds the store's lock for longer than the daemon waits for it.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::{all_is_done_once, nothing_moves, with_an_action_that_will_be_due};

#[tokio::test(flavor = "multi_thread")]
async fn while_another_program_locks_the_store_nothing_is_sent_or_lost() {
    let (app, mut daemon) = with_an_action_that_will_be_due().await;
    let options = SqliteConnectOptions::new().filename(app.path("stanch.db"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    nothing_moves(&app, &mut daemon).await;
    lock.rollback().await.unwrap();
    all_is_done_once(&app, daemon).await;
}
