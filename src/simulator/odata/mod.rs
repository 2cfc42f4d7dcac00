//! The part of OData that the service takes: `$filter`, `$top`, `$skip`, and where a collection has them
//! `$expand`, `$orderby`, `$select` and `$count`. All else is refused, so that a test finds a query that the real
//! service might not understand.
//!
//! Sources: the list pages of the API, for what can be filtered; clients in the field, for `in`, `$orderby`
//! and `$count` on machine actions. The expressions are in [`filter`].

mod filter;
mod lexer;

use serde_json::Value;

use crate::model::AlertTime;

use super::answer::Refusal;
pub(super) use filter::Filter;

/// The largest page, and the page of a query without `$top`. Source: "max value is 10,000" on the list pages.
pub(super) const LARGEST_PAGE: usize = 10_000;

/// The type of a property that can be filtered on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Time,
    Number,
}

/// One collection, and what its queries can say.
#[derive(Debug, PartialEq)]
pub(super) struct Collection {
    /// Its name in `@odata.context`.
    pub(super) name: &'static str,
    /// The properties that `$filter` takes.
    pub(super) fields: &'static [(&'static str, Type)],
    /// Whether `$expand=evidence` is taken.
    pub(super) expand: bool,
    /// The properties that `$select` takes beside those.
    pub(super) others: &'static [&'static str],
    /// Whether `$orderby` and `$select` are taken.
    pub(super) order_and_select: bool,
    /// Whether `$count` is taken.
    pub(super) count: bool,
}

pub(super) const ALERTS: Collection = Collection {
    name: "Alerts",
    fields: &[
        ("id", Type::Text),
        ("alertCreationTime", Type::Time),
        ("lastUpdateTime", Type::Time),
        ("lastEventTime", Type::Time),
        ("incidentId", Type::Number),
        ("investigationId", Type::Number),
        ("assignedTo", Type::Text),
        ("detectionSource", Type::Text),
        ("status", Type::Text),
        ("severity", Type::Text),
        ("category", Type::Text),
    ],
    expand: true,
    others: &[
        "classification",
        "determination",
        "investigationState",
        "detectorId",
        "threatFamilyName",
        "title",
        "description",
        "firstEventTime",
        "resolvedTime",
        "machineId",
        "computerDnsName",
        "rbacGroupName",
        "aadTenantId",
        "threatName",
        "mitreTechniques",
        "relatedUser",
        "loggedOnUsers",
        "comments",
        "evidence",
    ],
    order_and_select: true,
    count: false,
};

/// Source: the page "List alerts_v2" of Microsoft Graph. It takes `$count` too, which nobody is known to ask for.
pub(super) const GRAPH_ALERTS: Collection = Collection {
    name: "security/alerts_v2",
    fields: &[
        ("assignedTo", Type::Text),
        ("classification", Type::Text),
        ("determination", Type::Text),
        ("createdDateTime", Type::Time),
        ("lastUpdateDateTime", Type::Time),
        ("severity", Type::Text),
        ("serviceSource", Type::Text),
        ("status", Type::Text),
    ],
    expand: false,
    others: &[],
    order_and_select: false,
    count: false,
};

pub(super) const MACHINES: Collection = Collection {
    name: "Machines",
    fields: &[
        ("id", Type::Text),
        ("computerDnsName", Type::Text),
        ("version", Type::Text),
        ("deviceValue", Type::Text),
        ("aadDeviceId", Type::Text),
        ("lastSeen", Type::Time),
        ("exposureLevel", Type::Text),
        ("onboardingStatus", Type::Text),
        ("lastIpAddress", Type::Text),
        ("healthStatus", Type::Text),
        ("osPlatform", Type::Text),
        ("riskScore", Type::Text),
        ("rbacGroupId", Type::Number),
    ],
    expand: false,
    others: &[
        "mergedIntoMachineId",
        "isPotentialDuplication",
        "isExcluded",
        "exclusionReason",
        "firstSeen",
        "osVersion",
        "osProcessor",
        "lastExternalIpAddress",
        "agentVersion",
        "osBuild",
        "rbacGroupName",
        "isAadJoined",
        "machineTags",
        "osArchitecture",
        "managedBy",
        "managedByStatus",
        "ipAddresses",
        "vmMetadata",
    ],
    order_and_select: true,
    count: false,
};

pub(super) const MACHINE_ACTIONS: Collection = Collection {
    name: "MachineActions",
    fields: &[
        ("id", Type::Text),
        ("status", Type::Text),
        ("machineId", Type::Text),
        ("type", Type::Text),
        ("requestor", Type::Text),
        ("creationDateTimeUtc", Type::Time),
    ],
    expand: false,
    others: &[
        "title",
        "requestorComment",
        "requestSource",
        "scope",
        "externalId",
        "computerDnsName",
        "lastUpdateDateTimeUtc",
        "cancellationRequestor",
        "cancellationComment",
        "cancellationDateTimeUtc",
        "errorHResult",
        "commands",
        "relatedFileInfo",
        "troubleshootInfo",
    ],
    order_and_select: true,
    count: true,
};

/// A query on a collection, read and checked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) filter: Option<Filter>,
    pub(super) top: Option<usize>,
    pub(super) skip: usize,
    pub(super) expand: bool,
    pub(super) count: bool,
    pub(super) order: Option<Order>,
    pub(super) select: Option<Vec<String>>,
}

/// What rows are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    field: &'static str,
    of: Type,
    descending: bool,
}

impl Query {
    /// The query in the part of a URL after `?`.
    ///
    /// # Errors
    /// 400 for an unknown or doubled option, and for a value that the option does not take.
    pub(super) fn parse(text: Option<&str>, collection: &Collection) -> Result<Self, Refusal> {
        let mut query = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if seen.iter().any(|known| *known == name) {
                return Err(Refusal::odata(format!("The query option '{name}' is given more than once.")));
            }
            query.set(&name, &value, collection)?;
            seen.push(name.into_owned());
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str, collection: &Collection) -> Result<(), Refusal> {
        match name {
            "$filter" => self.filter = Some(Filter::parse(value, collection.fields).map_err(Refusal::odata)?),
            "$top" => self.top = Some(top(value)?),
            "$skip" => self.skip = number(name, value)?,
            "$expand" if collection.expand && value == "evidence" => self.expand = true,
            "$count" if collection.count && matches!(value, "true" | "false") => self.count = value == "true",
            "$orderby" if collection.order_and_select => self.order = Some(Order::parse(value, collection.fields)?),
            "$select" if collection.order_and_select => self.select = Some(selected(value, collection)?),
            _ => return Err(unsupported(name, value, collection)),
        }
        Ok(())
    }

    /// `record` with the properties alone that the query selects.
    pub(super) fn selected(&self, record: Value) -> Value {
        match (&self.select, record) {
            (Some(names), Value::Object(mut record)) => {
                record.retain(|key, _| names.iter().any(|name| name == key));
                Value::Object(record)
            }
            (_, record) => record,
        }
    }

    /// The rows that the filter takes, in the order that the query asks for.
    pub(super) fn select<'a>(&self, rows: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
        let taken = |row: &&Value| self.filter.as_ref().is_none_or(|filter| filter.takes(row));
        let mut rows: Vec<&Value> = rows.into_iter().filter(taken).collect();
        if let Some(order) = &self.order {
            order.sort(&mut rows);
        }
        rows
    }
}

/// The properties in a `$select`, each one that the collection has.
fn selected(value: &str, collection: &Collection) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    let is_known = |name: &String| {
        collection.fields.iter().any(|(field, _)| field == name) || collection.others.iter().any(|other| other == name)
    };
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(names),
        Some(name) => {
            let shown: String = name.chars().take(80).collect();
            Err(Refusal::odata(format!("Could not find a property named '{shown}' on {}.", collection.name)))
        }
    }
}

fn top(value: &str) -> Result<usize, Refusal> {
    let top = number("$top", value)?;
    if top > LARGEST_PAGE {
        let message = format!("The limit of '{LARGEST_PAGE}' for Top query has been exceeded: the value was '{top}'.");
        return Err(Refusal::odata(message));
    }
    Ok(top)
}

fn number(name: &str, value: &str) -> Result<usize, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if digits { value.parse().ok() } else { None };
    parsed.ok_or_else(|| Refusal::odata(format!("The value of '{name}' is not a whole number of at least 0.")))
}

fn unsupported(name: &str, value: &str, collection: &Collection) -> Refusal {
    let value: String = value.chars().take(100).collect();
    let name: String = name.chars().take(100).collect();
    Refusal::odata(format!("The query option '{name}={value}' is not supported on {}.", collection.name))
}

impl Order {
    fn parse(value: &str, fields: &'static [(&'static str, Type)]) -> Result<Self, Refusal> {
        let mut words = value.split_ascii_whitespace();
        let (name, direction, end) = (words.next().unwrap_or_default(), words.next(), words.next());
        let known = fields.iter().find(|(field, _)| *field == name);
        let descending = match direction {
            None | Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => None,
        };
        match (known, descending, end) {
            (Some((field, of)), Some(descending), None) => Ok(Self { field, of: *of, descending }),
            _ => Err(Refusal::odata("The value of '$orderby' is not one property with 'asc' or 'desc'.")),
        }
    }

    fn sort(&self, rows: &mut [&Value]) {
        match self.of {
            Type::Time => rows.sort_by_key(|row| {
                row.get(self.field).and_then(Value::as_str).and_then(|text| AlertTime::parse(text).ok())
            }),
            Type::Number => rows.sort_by_key(|row| row.get(self.field).and_then(Value::as_i64)),
            Type::Text => rows.sort_by(|a, b| text(a, self.field).cmp(text(b, self.field))),
        }
        if self.descending {
            rows.reverse();
        }
    }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(query: &str, collection: &Collection) -> String {
        let refusal = Query::parse(Some(query), collection).unwrap_err();
        assert_eq!(refusal.status, 400, "{query}");
        refusal.message
    }

    #[test]
    fn a_query_is_read_with_plus_or_percent_for_spaces() {
        let text = "$filter=lastUpdateTime+ge+2026-01-01T00:00:00Z&$top=100&$skip=200&$expand=evidence";
        let query = Query::parse(Some(text), &ALERTS).unwrap();
        assert_eq!((query.top, query.skip, query.expand), (Some(100), 200, true));
        let percent = text.replace('+', "%20").replace('$', "%24");
        assert_eq!(Query::parse(Some(&percent), &ALERTS).unwrap(), query);
        assert_eq!(Query::parse(None, &ALERTS).unwrap(), Query::default());
    }

    #[test]
    fn what_the_service_does_not_take_is_named() {
        assert!(refused("$top=10001", &ALERTS).contains("10001"));
        assert!(refused("$select=id", &GRAPH_ALERTS).contains("$select"));
        assert!(refused("$select=id,nothing", &ALERTS).contains("'nothing'"));
        assert!(refused("$select=", &ALERTS).contains("''"));
        assert!(refused("$expand=evidence", &MACHINES).contains("$expand"));
        assert!(refused("$orderby=lastUpdateDateTime", &GRAPH_ALERTS).contains("$orderby"));
        assert!(refused("$top=1&$top=2", &ALERTS).contains("more than once"));
        assert!(refused("filter=x", &ALERTS).contains("filter"));
        refused("$top=-1", &ALERTS);
        refused("$skip=", &ALERTS);
        refused("$orderby=creationDateTimeUtc down", &MACHINE_ACTIONS);
        refused("$orderby=title", &MACHINE_ACTIONS);
    }

    #[test]
    fn a_record_has_the_properties_that_are_selected() {
        let query = Query::parse(Some("$select=id, title&$orderby=severity desc"), &ALERTS).unwrap();
        let record = json!({"id": "a", "title": "t", "severity": "High"});
        assert_eq!(query.selected(record.clone()), json!({"id": "a", "title": "t"}));
        assert_eq!(Query::default().selected(record.clone()), record);
    }

    #[test]
    fn rows_are_sorted_by_time_and_not_by_text() {
        let rows = [
            json!({"creationDateTimeUtc": "2026-01-01T00:00:00.5Z"}),
            json!({"creationDateTimeUtc": "2026-01-01T00:00:00Z"}),
        ];
        let query = Query::parse(Some("$orderby=creationDateTimeUtc desc"), &MACHINE_ACTIONS).unwrap();
        assert_eq!(query.select(&rows), [&rows[0], &rows[1]]);
        let query = Query::parse(Some("$orderby=creationDateTimeUtc"), &MACHINE_ACTIONS).unwrap();
        assert_eq!(query.select(&rows), [&rows[1], &rows[0]]);
    }
}
