//! What people look at: actions, alerts and devices, whole and in pages, each answer of one moment.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::operate::revision;
use super::row::{action_id, json, kind, level, millis, outcome, parsed, parsed_opt, state, time, time_opt};
use super::{Result, Store, StoreError};
use crate::model::view::{
    ActionView, AlertState, AlertView, DeviceView, ErrorView, HistoryView, MachineActionView, Page, RestrictedBy,
    Restriction,
};
use crate::model::{ActionId, AlertId, AlertTime, Decision, Kind, MachineId, RemoteStatus, State, TenantName};

/// Where a page ended: the sort key and the id of its last row.
///
/// As text it is sealed: what was changed on its way is none, and nobody is led to build one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) key: i64,
    pub(super) id: String,
}

/// A cursor that no list gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is none that a list gave: leave it out to begin anew")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}.{}", self.key, self.id);
        let sealed = [seal(place.as_bytes()).as_slice(), place.as_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(sealed))
    }
}

/// So many bytes of a SHA-256 tell whether a cursor is as it was given.
const SEAL_BYTES: usize = 6;

fn seal(place: &[u8]) -> Vec<u8> {
    let digest = digest(&SHA256, &[b"stanch cursor ", place].concat());
    digest.as_ref().iter().copied().take(SEAL_BYTES).collect()
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        // None that a list gives is longer.
        let sealed = URL_SAFE_NO_PAD.decode(text.get(..256).unwrap_or(text)).map_err(|_| CursorError)?;
        let (given, place) = sealed.split_at_checked(SEAL_BYTES).ok_or(CursorError)?;
        if given != seal(place) {
            return Err(CursorError);
        }
        let place = std::str::from_utf8(place).map_err(|_| CursorError)?;
        let (key, id) = place.split_once('.').ok_or(CursorError)?;
        Ok(Self { key: key.parse().map_err(|_| CursorError)?, id: id.to_owned() })
    }
}

/// Which actions.
#[derive(Debug, Clone, Default)]
pub struct ActionFilter {
    /// In this state.
    pub state: Option<State>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this tenant.
    pub tenant: Option<TenantName>,
    /// Of the devices of this id or name; `*` in a name stands for anything.
    pub device: Option<String>,
    /// Created at this time or later.
    pub since: Option<Timestamp>,
}

/// Which alerts.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// In this state.
    pub state: Option<AlertState>,
    /// Of this tenant.
    pub tenant: Option<TenantName>,
    /// That name the device of this id or name.
    pub device: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
}

/// Which devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    /// With this restriction; `None`: with any but none.
    pub restriction: Option<Restriction>,
    /// Of this tenant.
    pub tenant: Option<TenantName>,
    /// Of this id or name; `*` in a name stands for anything.
    pub device: Option<String>,
    /// Whose restriction changed at this time or later.
    pub since: Option<Timestamp>,
}

impl Store {
    /// One action, whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn action(&self, id: ActionId) -> Result<Option<ActionView>> {
        let mut reader = self.reader.begin().await?;
        let row = sqlx::query(
            "SELECT a.*, d.name AS device_name, m.status AS remote_status, m.kind AS remote_kind,
                    m.last_update_ticks AS remote_update
             FROM actions a
             LEFT JOIN devices d ON d.tenant = a.tenant AND d.machine_id = a.machine_id
             LEFT JOIN machine_actions m ON m.tenant = a.tenant AND m.id = a.machine_action_id
             WHERE a.id = ?1",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *reader)
        .await?;
        match row {
            Some(row) => Ok(Some(action_view(&mut reader, &row).await?)),
            None => Ok(None),
        }
    }

    /// A page of actions, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn actions(&self, filter: &ActionFilter, after: Option<&Cursor>, limit: u32) -> Result<Page<ActionView>> {
        let mut reader = self.reader.begin().await?;
        let rows = sqlx::query(
            "SELECT a.*, d.name AS device_name, m.status AS remote_status, m.kind AS remote_kind,
                    m.last_update_ticks AS remote_update
             FROM actions a
             LEFT JOIN devices d ON d.tenant = a.tenant AND d.machine_id = a.machine_id
             LEFT JOIN machine_actions m ON m.tenant = a.tenant AND m.id = a.machine_action_id
             WHERE (?1 IS NULL OR a.state = ?1) AND (?2 IS NULL OR a.kind = ?2) AND (?3 IS NULL OR a.tenant = ?3)
             AND (?4 IS NULL OR a.machine_id = lower(?4) OR d.name LIKE ?9 ESCAPE '!')
             AND (?5 IS NULL OR a.created_at >= ?5)
             AND (?6 IS NULL OR (a.created_at, a.id) < (?6, ?7))
             ORDER BY a.created_at DESC, a.id DESC LIMIT ?8",
        )
        .bind(filter.state.map(State::as_str))
        .bind(filter.kind.map(Kind::as_str))
        .bind(filter.tenant.as_ref().map(TenantName::as_str))
        .bind(&filter.device)
        .bind(filter.since.map(millis))
        .bind(after.map(|cursor| cursor.key))
        .bind(after.map(|cursor| cursor.id.as_str()))
        .bind(i64::from(limit) + 1)
        .bind(filter.device.as_deref().map(name_pattern))
        .fetch_all(&mut *reader)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows.iter().take(limit as usize) {
            items.push(action_view(&mut reader, row).await?);
        }
        let next_cursor = (rows.len() > items.len())
            .then(|| {
                items.last().map(|last| Cursor { key: millis(last.created_at), id: last.id.to_string() }.to_string())
            })
            .flatten();
        Ok(Page { items, next_cursor })
    }

    /// The newest version of an alert with the decisions of all; one for each tenant that knows the id, or an alert
    /// whose other id it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alert(&self, id: &AlertId, tenant: Option<&TenantName>) -> Result<Vec<AlertView>> {
        let mut views = self.alert_stored_as(id, tenant).await?;
        for (tenant, id) in self.behind_alias(id, tenant).await? {
            if !views.iter().any(|view| view.tenant == tenant) {
                views.extend(self.alert_stored_as(&id, Some(&tenant)).await?);
            }
        }
        Ok(views)
    }

    async fn alert_stored_as(&self, id: &AlertId, tenant: Option<&TenantName>) -> Result<Vec<AlertView>> {
        let mut reader = self.reader.begin().await?;
        let rows = sqlx::query(
            "SELECT * FROM alerts a WHERE alert_id = ?1 AND (?2 IS NULL OR tenant = ?2)
             AND seq = (SELECT seq FROM alerts n WHERE n.tenant = a.tenant AND n.alert_id = a.alert_id
                        ORDER BY n.malformed IS NULL DESC, n.last_update_ticks DESC LIMIT 1)
             ORDER BY tenant",
        )
        .bind(id.as_str())
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&mut *reader)
        .await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in &rows {
            views.push(alert_view(&mut reader, row).await?);
        }
        Ok(views)
    }

    /// A page of alerts, each once by its newest version, the last received first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alerts(&self, filter: &AlertFilter, after: Option<&Cursor>, limit: u32) -> Result<Page<AlertView>> {
        let mut reader = self.reader.begin().await?;
        let rows = sqlx::query(
            "SELECT a.* FROM alerts a
             WHERE seq = (SELECT seq FROM alerts n WHERE n.tenant = a.tenant AND n.alert_id = a.alert_id
                          ORDER BY n.malformed IS NULL DESC, n.last_update_ticks DESC LIMIT 1)
             AND (?1 IS NULL OR a.state = ?1) AND (?2 IS NULL OR a.tenant = ?2)
             AND (?3 IS NULL OR EXISTS (
                 SELECT 1 FROM json_each(a.machine_ids) j
                 LEFT JOIN devices d ON d.tenant = a.tenant AND d.machine_id = j.value
                 WHERE j.value = lower(?3) OR d.name = ?3 COLLATE NOCASE))
             AND (?4 IS NULL OR a.received_at >= ?4) AND (?5 IS NULL OR a.seq < ?5)
             ORDER BY a.seq DESC LIMIT ?6",
        )
        .bind(filter.state.map(AlertState::as_str))
        .bind(filter.tenant.as_ref().map(TenantName::as_str))
        .bind(&filter.device)
        .bind(filter.since.map(millis))
        .bind(after.map(|cursor| cursor.key))
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut *reader)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows.iter().take(limit as usize) {
            last = Some(row.try_get::<i64, _>("seq")?);
            items.push(alert_view(&mut reader, row).await?);
        }
        let next_cursor =
            last.filter(|_| rows.len() > items.len()).map(|key| Cursor { key, id: "0".to_owned() }.to_string());
        Ok(Page { items, next_cursor })
    }

    /// One device; one for each tenant that knows the id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device(&self, id: &MachineId, tenant: Option<&TenantName>) -> Result<Vec<DeviceView>> {
        let rows = sqlx::query(
            "SELECT * FROM device_states WHERE machine_id = ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY tenant",
        )
        .bind(id.as_str())
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(device_view).collect()
    }

    /// A page of devices by id: those with a restriction, unless the filter asks for others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn devices(&self, filter: &DeviceFilter, after: Option<&Cursor>, limit: u32) -> Result<Page<DeviceView>> {
        let rows = sqlx::query(
            "SELECT * FROM device_states
             WHERE (CASE WHEN ?1 IS NULL THEN restriction <> 'none' OR ?3 IS NOT NULL ELSE restriction = ?1 END)
             AND (?2 IS NULL OR tenant = ?2) AND (?3 IS NULL OR machine_id = lower(?3) OR name LIKE ?7 ESCAPE '!')
             AND (?4 IS NULL OR since >= ?4) AND (?5 IS NULL OR machine_id || tenant > ?5)
             ORDER BY machine_id || tenant LIMIT ?6",
        )
        .bind(filter.restriction.map(Restriction::as_str))
        .bind(filter.tenant.as_ref().map(TenantName::as_str))
        .bind(&filter.device)
        .bind(filter.since.map(millis))
        .bind(after.map(|cursor| cursor.id.as_str()))
        .bind(i64::from(limit) + 1)
        .bind(filter.device.as_deref().map(name_pattern))
        .fetch_all(&self.reader)
        .await?;
        let items: Vec<DeviceView> = rows.iter().take(limit as usize).map(device_view).collect::<Result<_>>()?;
        let next_cursor = items
            .last()
            .filter(|_| rows.len() > items.len())
            .map(|last| Cursor { key: 0, id: format!("{}{}", last.machine_id, last.tenant) }.to_string());
        Ok(Page { items, next_cursor })
    }
}

/// A name as what LIKE takes, which knows no case.
fn name_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '*' => pattern.push('%'),
            '%' | '_' | '!' => pattern.extend(['!', letter]),
            _ => pattern.push(letter),
        }
    }
    pattern
}

async fn action_view(reader: &mut SqliteConnection, row: &SqliteRow) -> Result<ActionView> {
    let id = action_id(row)?;
    let alert_ids = sqlx::query(
        "SELECT alert_id FROM action_alerts WHERE action_id = ?1 GROUP BY alert_id ORDER BY MIN(at), alert_id",
    )
    .bind(id.to_string())
    .fetch_all(&mut *reader)
    .await?;
    let history = sqlx::query("SELECT * FROM action_history WHERE action_id = ?1 ORDER BY id")
        .bind(id.to_string())
        .fetch_all(&mut *reader)
        .await?;
    let error_code: Option<String> = row.try_get("error_code")?;
    let error_message: Option<String> = row.try_get("error_message")?;
    let stage = state(row)?;
    let revision = if stage == State::Held { Some(revision(reader, id).await?) } else { None };
    Ok(ActionView {
        id,
        tenant: parsed(row, "tenant")?,
        machine_id: parsed(row, "machine_id")?,
        device_name: row.try_get("device_name")?,
        kind: kind(row)?,
        state: stage,
        level: level(row)?,
        comment: row.try_get("comment")?,
        rule_id: parsed_opt(row, "rule_id")?,
        rule_hash: row.try_get("rule_hash")?,
        alert_ids: alert_ids.iter().map(|row| parsed(row, "alert_id")).collect::<Result<_>>()?,
        created_at: time(row, "created_at")?,
        sent_at: time_opt(row, "sent_at")?,
        finished_at: time_opt(row, "finished_at")?,
        expires_at: time_opt(row, "expires_at")?,
        attempts: row.try_get("attempts")?,
        hold_reason: row.try_get("hold_reason")?,
        revision,
        machine_action: machine_action_view(row)?,
        error: error_code.map(|code| ErrorView { code, message: error_message.unwrap_or_default() }),
        retry_of: parsed_opt(row, "retry_of")?,
        undoes: parsed_opt(row, "undoes")?,
        history: history.iter().map(history_view).collect::<Result<_>>()?,
    })
}

fn machine_action_view(row: &SqliteRow) -> Result<Option<MachineActionView>> {
    let Some(id) = parsed_opt(row, "machine_action_id")? else {
        return Ok(None);
    };
    let own_kind = kind(row)?;
    let remote_kind: Option<&str> = row.try_get("remote_kind")?;
    let remote_kind = remote_kind.and_then(Kind::from_name).unwrap_or(own_kind);
    let status: Option<&str> = row.try_get("remote_status")?;
    let update: Option<i64> = row.try_get("remote_update")?;
    Ok(Some(MachineActionView {
        id,
        status: RemoteStatus::from_text(status.unwrap_or("Pending")),
        kind: remote_kind.spec().microsoft_type.to_owned(),
        last_update: update.map(AlertTime::from_ticks),
    }))
}

fn history_view(row: &SqliteRow) -> Result<HistoryView> {
    let named = |column: &'static str| -> Result<Option<State>> {
        let text: Option<&str> = row.try_get(column)?;
        text.map(|text| State::from_name(text).ok_or_else(|| StoreError::Corrupt(format!("a state {text:?}"))))
            .transpose()
    };
    let to = named("to_state")?.ok_or_else(|| StoreError::Corrupt("a history row without a state".to_owned()))?;
    Ok(HistoryView {
        at: time(row, "at")?,
        from: named("from_state")?,
        to,
        by: row.try_get("by")?,
        detail: row.try_get("detail")?,
    })
}

async fn alert_view(reader: &mut SqliteConnection, row: &SqliteRow) -> Result<AlertView> {
    let id: AlertId = parsed(row, "alert_id")?;
    let tenant: TenantName = parsed(row, "tenant")?;
    let decisions = sqlx::query("SELECT * FROM decisions WHERE tenant = ?1 AND alert_id = ?2 ORDER BY id")
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_all(reader)
        .await?;
    let state: &str = row.try_get("state")?;
    let body: serde_json::Map<String, serde_json::Value> = json(row, "body")?;
    let text = |key: &str| body.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(AlertView {
        id,
        tenant,
        source: parsed(row, "source")?,
        title: text("title"),
        severity: text("severity"),
        last_update: AlertTime::from_ticks(row.try_get("last_update_ticks")?),
        received_at: time(row, "received_at")?,
        state: AlertState::from_name(state).ok_or_else(|| StoreError::Corrupt(format!("an alert {state:?}")))?,
        machine_ids: json(row, "machine_ids")?,
        malformed: row.try_get("malformed")?,
        decisions: decisions.iter().map(decision).collect::<Result<_>>()?,
    })
}

fn decision(row: &SqliteRow) -> Result<Decision> {
    let reason: String = row.try_get("reason")?;
    let superseded: Option<String> = row.try_get("superseded_why")?;
    Ok(Decision {
        rule_id: parsed(row, "rule_id")?,
        rule_hash: row.try_get("rule_hash")?,
        machine_id: parsed(row, "machine_id")?,
        outcome: outcome(row)?,
        reason: match superseded {
            Some(why) => format!("{reason}; no longer holds: {why}"),
            None => reason,
        },
        matched: json(row, "matched")?,
        action_id: parsed_opt(row, "action_id")?,
        at: time(row, "at")?,
    })
}

fn device_view(row: &SqliteRow) -> Result<DeviceView> {
    let restriction: &str = row.try_get("restriction")?;
    let restriction = [Restriction::None, Restriction::Pending, Restriction::Restricted, Restriction::Releasing]
        .into_iter()
        .find(|known| known.as_str() == restriction)
        .unwrap_or(Restriction::None);
    let by_us: Option<bool> = row.try_get("by_us")?;
    Ok(DeviceView {
        machine_id: parsed(row, "machine_id")?,
        tenant: parsed(row, "tenant")?,
        device_name: row.try_get("name")?,
        os_platform: row.try_get("os_platform")?,
        restriction,
        since: time_opt(row, "since")?,
        expires_at: time_opt(row, "expires_at")?,
        by: by_us.map(|us| if us { RestrictedBy::Stanch } else { RestrictedBy::Human }),
        action_id: parsed_opt(row, "action_id")?,
    })
}
