//! The audit: a page of what happened.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tokio::sync::Mutex;

use super::ask::{Followed, Part};
use super::{Problem, Web};
use crate::model::Role;
use crate::model::view::{AuditComparison, AuditView, Page};
use crate::web::contract::{Doc, Routes, parameters};

pub(super) fn routes() -> Routes {
    let list = || {
        Doc::look("audit_export", "audit", "List what happened, in the order of its commits", Role::Viewer)
            .about("What the filters leave out is missing in the chain of hashes: to verify it, ask for all.")
            .takes(parameters::of_the_audit())
            .gives_page::<AuditView>("A page, the oldest row first unless it is asked for otherwise.")
    };
    let comparison = || {
        Doc::look(
            "audit_comparison",
            "audit",
            "Tell whether the tokens and the histories of actions follow from the audit",
            Role::Viewer,
        )
        .about("Every row is read, one such request after the other: of a large store, ask for part after part.")
        .takes([parameters::part()])
        .gives::<AuditComparison>("What was compared, and what does not follow.")
    };
    Routes::default().get("/audit", self::list, list).get("/audit/comparison", self::comparison, comparison)
}

/// Reading all of the store many times at once would leave nobody else a place.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn comparison(State(web): State<Arc<Web>>, Part(part): Part) -> Result<Json<AuditComparison>, Problem> {
    let _turn = ONE_AT_A_TIME.lock().await;
    Ok(Json(web.work.store.compare_with_audit(part).await?))
}

async fn list(State(web): State<Arc<Web>>, asked: Followed) -> Result<Json<Page<AuditView>>, Problem> {
    let Followed { filter, newest_first, after, limit } = asked;
    Ok(Json(web.work.store.audit(&filter, newest_first, after.as_ref(), limit).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::web::testing::{DEVICE, OTHER_DEVICE, Setup, TestDaemon};

    async fn listed(daemon: &TestDaemon, query: &str) -> Vec<Value> {
        let page = daemon.get(&format!("/api/v1/audit{query}")).await.ok();
        page["items"].as_array().unwrap().clone()
    }

    #[tokio::test]
    async fn rows_have_every_key_of_the_contract_and_are_found_by_each_filter() {
        let daemon = TestDaemon::with(Setup { tenants: &["contoso", "fabrikam"], inbox: 100_000, rules: "" }).await;
        daemon.held("contoso", DEVICE).await;
        daemon.held("fabrikam", OTHER_DEVICE).await;
        let before = daemon.work.now();
        daemon.clock.advance(std::time::Duration::from_secs(60));
        daemon.post("/api/v1/pause", &json!({"why": "an exercise"})).await.ok();
        while daemon.work.store.seal().await.unwrap() > 0 {}

        let rows = listed(&daemon, "").await;
        let mut keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
        let contract = "seq at what by from tenant machine_id action_id alert_id rule_id before after detail hash";
        let mut contract: Vec<&str> = contract.split(' ').collect();
        contract.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, contract);
        let last = rows.last().unwrap();
        assert_eq!(
            (&last["what"], &last["from"], &last["detail"]),
            (&json!("paused"), &json!("socket"), &json!("an exercise"))
        );
        assert_eq!(last["hash"].as_str().map(str::len), Some(64));

        let newest = listed(&daemon, "?order=newest&limit=1").await;
        assert_eq!(newest.as_slice(), std::slice::from_ref(last));
        for (query, key, value) in [
            ("?tenant=fabrikam".to_owned(), "tenant", "fabrikam"),
            (format!("?device={OTHER_DEVICE}"), "machine_id", OTHER_DEVICE),
            (format!("?device=pc-{}", &DEVICE[..4]), "machine_id", DEVICE),
            ("?what=decision".to_owned(), "what", "decision"),
            ("?by=rule:rule-1".to_owned(), "by", "rule:rule-1"),
        ] {
            let found = listed(&daemon, &query).await;
            let expected = rows.iter().filter(|row| row[key] == value).count();
            assert!(
                found.iter().all(|row| row[key] == value) && found.len() == expected && expected > 0,
                "{query}: {found:#?}"
            );
        }
        let since = before + jiff::SignedDuration::from_secs(1);
        assert_eq!(listed(&daemon, &format!("?since={since}")).await.as_slice(), std::slice::from_ref(last));
        let page = daemon.get("/api/v1/audit?limit=2").await.ok();
        let cursor = page["next_cursor"].as_str().unwrap();
        assert_eq!(listed(&daemon, &format!("?limit=1&cursor={cursor}")).await, rows[2..3]);
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused_by_name() {
        let daemon = TestDaemon::start().await;
        for (query, name) in [
            ("order=up", "order"),
            ("what=nothing", "what"),
            ("since=yesterday", "since"),
            ("limit=many", "limit"),
            ("cursor=x", "cursor"),
            ("tenant=a%20b", "tenant"),
            ("device=", "device"),
            ("state=held", "state"),
        ] {
            let answer = daemon.get(&format!("/api/v1/audit?{query}")).await;
            assert!(answer.problem(400).contains(name), "{query}: {}", answer.text);
        }
        for part in ["17", "-1", "x", ""] {
            let answer = daemon.get(&format!("/api/v1/audit/comparison?part={part}")).await;
            assert!(answer.problem(400).contains("part is a number from 0 to 16"), "{part}: {}", answer.text);
        }
    }
}
