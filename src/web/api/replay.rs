//! What `replay` tries other rules with: the stored alerts as they came, what was done, and machine records.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::value::RawValue;

use super::ask::{Machines, Past};
use super::{Problem, Web};
use crate::model::Role;
use crate::model::replay::{MachineRecords, PastAlert};
use crate::model::schema::Record;
use crate::model::view::Page;
use crate::web::contract::{Doc, Routes, parameters};

pub(super) fn routes() -> Routes {
    let alerts = || {
        Doc::look("replay_alerts", "replay", "Give the stored alerts as they came, with what was decided", Role::Viewer)
            .takes([parameters::since("Only those stored since then."), parameters::of_tenant(), parameters::cursor()])
            .gives_page::<PastAlert<Record>>("A page in the order of receipt, of at most 2000 alerts.")
    };
    let machines = || {
        Doc::look("replay_machines", "replay", "Give machine records of one tenant", Role::Viewer)
            .takes([parameters::tenant_of_machines(), parameters::machine_ids()])
            .gives::<MachineRecords<Record>>("Those that there are, and those that they were merged into.")
    };
    Routes::default().get("/replay/alerts", self::alerts, alerts).get("/replay/machines", self::machines, machines)
}

async fn alerts(
    State(web): State<Arc<Web>>,
    Past { since, tenant, after }: Past,
) -> Result<Json<Page<PastAlert<Box<RawValue>>>>, Problem> {
    Ok(Json(web.work.store.past_alerts(since, tenant.as_ref(), after.as_ref()).await?))
}

async fn machines(
    State(web): State<Arc<Web>>,
    Machines { tenant, ids }: Machines,
) -> Result<Json<MachineRecords<Box<RawValue>>>, Problem> {
    Ok(Json(web.work.store.machine_records(&tenant, &ids).await?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Map, Value, json};

    use crate::model::replay::PastAlert;
    use crate::model::view::Page;
    use crate::model::{Machine, MachineId, TenantName};
    use crate::store::{Incoming, PassEnd};
    use crate::web::testing::{DEVICE, OTHER_DEVICE, Setup, TestDaemon};

    const TWO: Setup = Setup { tenants: &["contoso", "fabrikam"], inbox: 100_000, rules: "" };

    async fn alert(daemon: &TestDaemon, tenant: &str, alert: Value) {
        let incoming = Incoming::Alert(crate::intake::parse_mde(alert).unwrap());
        let (tenant, source) = (TenantName::new(tenant).unwrap(), "sentinel".parse().unwrap());
        daemon.work.store.accept(&tenant, &source, &[incoming], None, daemon.work.now()).await.unwrap();
    }

    /// Every page that `query` leads to, each as the ids on it.
    async fn pages(daemon: &TestDaemon, query: &str) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let document = daemon.get(&format!("/api/v1/replay/alerts?{query}{cursor}")).await.ok();
            let page: Page<PastAlert<Map<String, Value>>> = serde_json::from_value(document).unwrap();
            let Some(next) = page.next_cursor else { return pages };
            pages.push(page.items.into_iter().map(|alert| alert.id.to_string()).collect());
            cursor = format!("&cursor={next}");
        }
    }

    #[tokio::test]
    async fn alerts_come_in_the_order_of_their_receipt_with_what_was_decided() {
        let daemon = TestDaemon::with(TWO).await;
        daemon.held("contoso", DEVICE).await;
        daemon.clock.advance(Duration::from_secs(60));
        let since = daemon.work.now();
        alert(&daemon, "fabrikam", json!({"id": "b", "machineId": DEVICE, "title": "Ransomware"})).await;
        let malformed = crate::intake::parse_mde(json!({"id": "c", "machineId": "pc-1"})).unwrap_err();
        let (tenant, source) = (TenantName::new("contoso").unwrap(), "sentinel".parse().unwrap());
        let row = Incoming::Malformed(malformed.id.clone().unwrap(), malformed);
        daemon.work.store.accept(&tenant, &source, &[row], None, daemon.work.now()).await.unwrap();

        let document = daemon.get("/api/v1/replay/alerts").await.ok();
        let first = &document["items"][0];
        assert_eq!(first["decisions"], json!([{"machine_id": DEVICE, "rule_id": "rule-1", "outcome": "held"}]));
        assert_eq!(
            (&first["tenant"], &first["decided"], &first["malformed"]),
            (&json!("contoso"), &json!(true), &json!(null))
        );
        assert_eq!(first["body"]["machineId"], DEVICE);
        assert_eq!(
            (&document["items"][1]["body"]["title"], &document["items"][1]["decided"]),
            (&json!("Ransomware"), &json!(false))
        );
        assert!(document["items"][2]["malformed"].as_str().unwrap().contains("40 hex digits"));

        assert_eq!(pages(&daemon, &format!("since={since}")).await, [["b", "c"]]);
        assert_eq!(pages(&daemon, &format!("since={since}&tenant=contoso")).await, [["c"]]);
        daemon.clock.advance(Duration::from_secs(60));
        assert_eq!(pages(&daemon, &format!("since={}", daemon.work.now())).await, Vec::<Vec<String>>::new());
    }

    #[tokio::test]
    async fn a_page_ends_where_it_holds_enough_and_the_next_begins_there() {
        let daemon = TestDaemon::start().await;
        for id in ["a", "b", "c"] {
            alert(&daemon, "contoso", json!({"id": id, "title": "x".repeat(5 << 20)})).await;
        }
        assert_eq!(pages(&daemon, "").await, [vec!["a", "b"], vec!["c"]]);
        for small in 0..2_001 {
            alert(&daemon, "contoso", json!({"id": format!("{small}")})).await;
        }
        let lengths: Vec<usize> = pages(&daemon, "").await.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2_000, 2]);
    }

    #[tokio::test]
    async fn machine_records_come_with_those_that_they_were_merged_into() {
        let daemon = TestDaemon::with(TWO).await;
        daemon.knows("contoso", OTHER_DEVICE, "Windows11").await;
        let merged = json!({"id": DEVICE, "mergedIntoMachineId": OTHER_DEVICE});
        let merged = Machine::from_record(merged.as_object().unwrap().clone()).unwrap();
        let (tenant, now) = (TenantName::new("contoso").unwrap(), daemon.work.now());
        daemon.work.store.save_machines(&tenant, &[merged], now).await.unwrap();
        daemon.work.store.finish_inventory(&tenant, PassEnd { began: now, fleet: 7 }, now).await.unwrap();

        let unknown = MachineId::new(&"a".repeat(40)).unwrap();
        let ask = async |tenant: &str| {
            let path = format!("/api/v1/replay/machines?tenant={tenant}&ids={DEVICE},{unknown}");
            daemon.get(&path).await.ok()
        };
        let known = ask("contoso").await;
        let mut ids: Vec<&str> =
            known["items"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!((ids, &known["fleet"]), (vec![DEVICE, OTHER_DEVICE], &json!(7)));
        assert_eq!(ask("fabrikam").await, json!({"items": [], "fleet": null}));
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused() {
        let daemon = TestDaemon::start().await;
        for (query, word) in [
            ("alerts?since=yesterday", "RFC 3339"),
            ("alerts?cursor=x", "cursor"),
            ("alerts?state=decided", "state"),
            ("machines?tenant=contoso&ids=pc-1", "40 hex digits"),
            ("machines?ids=", "tenant"),
        ] {
            let answer = daemon.get(&format!("/api/v1/replay/{query}")).await;
            assert!(answer.problem(400).contains(word), "{query}: {}", answer.text);
        }
        let many = vec![DEVICE; 301].join(",");
        let answer = daemon.get(&format!("/api/v1/replay/machines?tenant=contoso&ids={many}")).await;
        assert!(answer.problem(400).contains("at most 300"));
        daemon.get(&format!("/api/v1/replay/machines?tenant=contoso&ids={}", &many[..300 * 41 - 1])).await.ok();
    }
}
