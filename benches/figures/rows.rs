//! What a million rows cost: claiming and recognizing a known alert, against a store of a thousand rows, and the
//! memory of a daemon over them.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use stanch::config::Limits;
use stanch::guards::GateVerdict;
use stanch::model::{Kind, Window};
use stanch::store::{Answered, ClaimedAction, Incoming, LaneTrouble, Settlement, Store};

use crate::process::{resident, until_ready};
use crate::support::TestApp;
use crate::support::binary::Process;
use crate::work::{self, full_alert, incoming, queue, scaled, source};
use crate::{Figures, Unit, percentile};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// The devices that the rows are about.
const DEVICES: usize = 50_000;
/// Measurements of each verb on each store.
const TIMES: usize = 300;

pub async fn a_million(figures: &mut Figures) {
    let app = TestApp::builder().without_polling().prepare(|_| {}).await;
    let few = filled(&app.path("few.db"), FEW).await;
    let rows = scaled(MANY);
    let many = filled(&app.path("stanch.db"), rows).await;
    // One after the other, so that whatever else the machine does weighs on both alike.
    let (mut deduped, mut claimed) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for n in 0..TIMES {
        for (store, (deduped, claimed)) in [&few, &many].into_iter().zip(deduped.iter_mut().zip(&mut claimed)) {
            deduped.push(dedup(store, n).await);
            claimed.push(claim(store).await);
        }
    }
    for (verb, [few, many]) in [("recognizing a known alert", &mut deduped), ("claiming", &mut claimed)] {
        let (few, many) = (percentile(few, 50.0), percentile(many, 50.0));
        figures.tell(&format!("{verb} at {FEW} rows, median"), few, Unit::Millis);
        figures.tell(&format!("{verb} at {rows} rows, median"), many, Unit::Millis);
        figures.at_most(&format!("{verb}: {rows} rows ÷ {FEW}"), many / few, 1.5, Unit::Ratio);
    }
    for store in [few, many] {
        store.close().await;
    }
    let process = Process::run(&app);
    until_ready(&app).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    figures.tell(&format!("resident with {rows} stored alerts, after 5 s"), resident(&process), Unit::MiB);
    process.kill();
}

async fn dedup(store: &Store, n: usize) -> f64 {
    let row = [incoming(full_alert(&format!("queued-{}", DEVICES + n), DEVICES + n, "Ransomware"))];
    let Incoming::Alert(mut alert) = row.into_iter().next().unwrap() else { unreachable!() };
    alert.last_update = Some(stanch::model::AlertTime::from_timestamp(TestApp::now()));
    let rows = [Incoming::Alert(alert)];
    store.accept(&TestApp::tenant(), &source(), &rows, None, TestApp::now()).await.unwrap();
    let begun = Instant::now();
    let accepted = store.accept(&TestApp::tenant(), &source(), &rows, None, TestApp::now()).await.unwrap();
    let took = begun.elapsed().as_secs_f64() * 1_000.0;
    assert_eq!(accepted.new, 0);
    took
}

async fn claim(store: &Store) -> f64 {
    let gate = |_: &_| GateVerdict::Pass;
    let begun = Instant::now();
    let claim = store.claim(&TestApp::tenant(), Kind::Restrict, 1, &limits(), &gate, TestApp::now()).await.unwrap();
    let took = begun.elapsed().as_secs_f64() * 1_000.0;
    let refused = Settlement::Refused { code: "no".to_owned(), message: "only measured".to_owned() };
    let claimed = claim.claimed.into_iter().next().unwrap();
    store.settle(&claimed, &refused, Answered::Now, &LaneTrouble::None, TestApp::now(), 0.5).await.unwrap();
    took
}

fn limits() -> Limits {
    work::limits(&[Window { calls: 100_000, per: "1s".parse().unwrap() }])
}

/// A store with so many alerts, a decision and a finished action for each, and a queue of actions.
async fn filled(path: &Path, rows: usize) -> Store {
    let begun = TestApp::now();
    Store::open(path).await.unwrap().close().await;
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.synchronous(SqliteSynchronous::Off).connect().await.unwrap();
    let indexes: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    // Built at the end they are built at once.
    for (name, _) in &indexes {
        run(&mut connection, &format!("DROP INDEX {name}")).await;
    }
    fill(&mut connection, rows, begun.as_millisecond()).await;
    for (_, sql) in &indexes {
        run(&mut connection, sql).await;
    }
    connection.close().await.unwrap();
    let store = Store::open(path).await.unwrap();
    queue(&store, DEVICES..DEVICES + TIMES, begun).await;
    store
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// The rows, the newest an hour old, one for each two seconds.
async fn fill(connection: &mut SqliteConnection, rows: usize, now: i64) {
    let sql = format!(
        "PRAGMA cache_size = -400000;
         BEGIN;
         CREATE TEMP TABLE n (n INTEGER PRIMARY KEY, id TEXT, alert TEXT, machine TEXT, at INTEGER);
         INSERT INTO n WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             SELECT n, printf('%08x-0000-7000-8000-%012x', n, n), printf('alert-%08d', n),
                    printf('%040x', n * 7919 % {DEVICES}), {now} - 3600000 - ({rows} - n) * 2000 FROM c;
         INSERT INTO alerts (seq, tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending,
                             state, due_at)
             SELECT n, 'contoso', alert, at * 10000, 'defender', at,
                    json_object('id', alert, 'machineId', machine, 'category', 'Malware', 'severity', 'High',
                                'status', 'New', 'title', 'Suspicious use of a tool was seen on a device',
                                'description', 'A process reached for something that it has no business with.'),
                    json_array(machine), '[]', 'decided', at FROM n;
         INSERT INTO actions (id, tenant, machine_id, kind, family, state, level, rank, by_operator, by_human, rule_id,
                              comment, created_at, decided_at, queued_at, due_at, sent_at, finished_at, attempts,
                              alert_received_at, machine_action_id, ended_at, released_at)
             SELECT id, 'contoso', machine, 'restrict', 'code_execution', 'succeeded', 3, 3, 0, 0, 'contain',
                    'Restrict code execution', at, at, at, at, at, at, 1, at, id, at, at FROM n;
         INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched,
                                action_id, at)
             SELECT n, 'contoso', alert, machine, 'contain', 'hash', 'acted', 'the rule matches', '[]', id, at FROM n;
         INSERT INTO action_alerts (action_id, alert_id, rule_id, at) SELECT id, alert, 'contain', at FROM n;
         INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
             SELECT id, at, NULL, 'queued', 'rule:contain', 'queued' FROM n;
         DROP TABLE n;
         COMMIT;"
    );
    run(connection, &sql).await;
}
