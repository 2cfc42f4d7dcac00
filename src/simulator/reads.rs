//! The calls that only read: alerts, machines and machine actions, as lists and one by one.

use serde_json::{Map, Value, json};

use crate::model::{AlertTime, MachineId};

use super::answer::{Answer, Refusal};
use super::graph;
use super::odata::{ALERTS, Collection, GRAPH_ALERTS, LARGEST_PAGE, MACHINE_ACTIONS, MACHINES, Query};
use super::route::Operation;
use super::service::{Received, Service};
use super::world::without_evidence;

const CONTEXT: &str = "https://api.securitycenter.microsoft.com/api/$metadata#";
const GRAPH_CONTEXT: &str = "https://graph.microsoft.com/v1.0/$metadata#";

impl Service {
    /// Answers a call that only reads.
    pub(super) fn read(&self, operation: &Operation, received: &Received, now: AlertTime) -> Result<Answer, Refusal> {
        match operation {
            Operation::ListAlerts => self.list_alerts(received, now),
            Operation::ListGraphAlerts => self.list_graph_alerts(received, now),
            Operation::ListMachines => self.list_machines(received),
            Operation::ListMachineActions => self.list_machine_actions(received, now),
            single => self.one(single, received, now),
        }
    }

    fn list_alerts(&self, received: &Received, now: AlertTime) -> Result<Answer, Refusal> {
        let query = Query::parse(received.query.as_deref(), &ALERTS)?;
        let rows = query.select(self.world.shown_alerts(now));
        let expand = query.expand;
        let render = |row: &Value| {
            let row = graph::as_mde_shows(row);
            if expand { row } else { without_evidence(&row) }
        };
        self.page(&ALERTS, &query, &rows, render, received)
    }

    fn list_graph_alerts(&self, received: &Received, now: AlertTime) -> Result<Answer, Refusal> {
        let query = Query::parse(received.query.as_deref(), &GRAPH_ALERTS)?;
        let shown = self.world.shown_alerts(now);
        let alerts: Vec<Value> = shown.into_iter().map(|row| self.graph_alert(row, received)).collect();
        let rows = query.select(&alerts);
        self.page(&GRAPH_ALERTS, &query, &rows, Value::clone, received)
    }

    fn graph_alert(&self, row: &Value, received: &Received) -> Value {
        let name_of = |id: &MachineId| self.world.machine(id).map(|machine| machine.computer_dns_name());
        graph::shown(graph::alert(row, name_of), received.prefer.as_deref())
    }

    /// The newest version of the alert with that id of Graph's.
    fn graph_alert_with(&self, id: &str, received: &Received, now: AlertTime) -> Option<Value> {
        let row = self.world.shown_alerts(now).into_iter().find(|row| graph::id(row) == Some(id))?;
        Some(self.graph_alert(row, received))
    }

    fn list_machines(&self, received: &Received) -> Result<Answer, Refusal> {
        let query = Query::parse(received.query.as_deref(), &MACHINES)?;
        let machines = self.world.machines();
        if machines.is_empty() && self.options.no_machines_is_404 {
            return Err(Refusal::not_found("No recent machines were found"));
        }
        let rows = query.select(machines.values().map(|machine| &machine.record));
        self.page(&MACHINES, &query, &rows, Value::clone, received)
    }

    fn list_machine_actions(&self, received: &Received, now: AlertTime) -> Result<Answer, Refusal> {
        let query = Query::parse(received.query.as_deref(), &MACHINE_ACTIONS)?;
        let records = self.actions.records(now);
        let rows = query.select(&records);
        self.page(&MACHINE_ACTIONS, &query, &rows, Value::clone, received)
    }

    /// The page of `rows` that `query` asks for.
    ///
    /// # Errors
    /// 400 when it skips too many.
    fn page(
        &self,
        collection: &Collection,
        query: &Query,
        rows: &[&Value],
        render: impl Fn(&Value) -> Value,
        received: &Received,
    ) -> Result<Answer, Refusal> {
        let most = self.options.most_skipped;
        if query.skip > most {
            let message =
                format!("The limit of '{most}' for Skip query has been exceeded: the value was '{}'.", query.skip);
            return Err(Refusal::odata(message));
        }
        let top = query.top.unwrap_or(LARGEST_PAGE);
        let size = self.options.server_page.map_or(top, |page| page.max(1).min(top));
        let value: Vec<Value> =
            rows.iter().skip(query.skip).take(size).map(|row| query.selected(render(row))).collect();
        let mut page = Map::new();
        let context = if *collection == GRAPH_ALERTS { GRAPH_CONTEXT } else { CONTEXT };
        page.insert("@odata.context".to_owned(), json!(format!("{context}{}", collection.name)));
        if query.count {
            page.insert("@odata.count".to_owned(), json!(rows.len()));
        }
        let more = query.skip.saturating_add(size) < rows.len() && size < top;
        if more && self.options.server_page.is_some() {
            let host = self.options.link_host.as_deref().or(received.host.as_deref()).unwrap_or("localhost");
            page.insert("@odata.nextLink".to_owned(), json!(next_link(query, size, received, host)));
        }
        page.insert("value".to_owned(), Value::Array(value));
        Ok(Answer::json(200, &Value::Object(page)))
    }

    fn one(&self, operation: &Operation, received: &Received, now: AlertTime) -> Result<Answer, Refusal> {
        let (collection, kind, id, found) = match operation {
            Operation::GetAlert(id) => (&ALERTS, "Alert", id, self.world.shown_alert(id, now).map(graph::as_mde_shows)),
            Operation::GetGraphAlert(id) => (&GRAPH_ALERTS, "Alert", id, self.graph_alert_with(id, received, now)),
            Operation::GetMachine(id) => (&MACHINES, "Machine", id, self.machine_named(id)),
            Operation::GetMachineAction(id) => (&MACHINE_ACTIONS, "Machine action", id, self.actions.record(id, now)),
            _ => return Err(Refusal::bad_request("The call is not one that reads")),
        };
        let query = Query::parse(received.query.as_deref(), collection)?;
        let on_one = Query { expand: query.expand, select: query.select.clone(), ..Query::default() };
        if query != on_one {
            return Err(Refusal::odata("The query options of lists are not supported on a single resource."));
        }
        let shown: String = id.chars().take(80).collect();
        let record = found.ok_or_else(|| Refusal::not_found(format!("{kind} {shown} was not found")))?;
        Ok(Answer::json(200, &entity(collection.name, query.selected(record))))
    }

    /// The machine with that id, or else that computer name.
    fn machine_named(&self, text: &str) -> Option<Value> {
        if let Ok(id) = MachineId::new(text) {
            return self.world.machine(&id).map(|machine| machine.record.clone());
        }
        let named = |record: &&Value| record.get("computerDnsName").and_then(Value::as_str) == Some(text);
        self.world.machines().values().map(|machine| &machine.record).find(named).cloned()
    }
}

/// `record` as a single resource is answered.
pub(super) fn entity(collection: &str, record: Value) -> Value {
    match record {
        Value::Object(mut keys) => {
            keys.insert("@odata.context".to_owned(), json!(format!("{CONTEXT}{collection}/$entity")));
            Value::Object(keys)
        }
        other => other,
    }
}

/// The address of the page after this one.
fn next_link(query: &Query, size: usize, received: &Received, host: &str) -> String {
    let mut link = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(received.query.as_deref().unwrap_or_default().as_bytes()) {
        if name != "$skip" && name != "$top" {
            link.append_pair(&name, &value);
        }
    }
    link.append_pair("$skip", &query.skip.saturating_add(size).to_string());
    if let Some(top) = query.top {
        link.append_pair("$top", &top.saturating_sub(size).to_string());
    }
    format!("http://{host}{}?{}", received.path, link.finish())
}
