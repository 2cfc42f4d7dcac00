//! The audit: who did what, when, from where and why, the newest first.
//!
//! Absent: proving the chain, which reads all of it (`stanch audit verify`).

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::form::{Asked, encoded};
use super::layout::{Frame, Page, badge, short, short_action};
use super::{Problem, Web};
use crate::model::view::{self, AuditView};
use crate::model::{Happening, TenantName};
use crate::store::{AuditFilter, Cursor, Seal};

/// Rows of one page.
const MOST_ROWS: u32 = 100;
/// The most characters that are shown of a detail.
const MOST_CHARS: usize = 1_000;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/audit", get(list))
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    asked: Asked,
    tenants: Vec<TenantName>,
    seal: Seal,
    rows: Vec<AuditView>,
    next: Option<String>,
}

async fn list(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<Audit>, Problem> {
    let store = &web.work.store;
    let filter = AuditFilter {
        since: asked.since("since", frame.now)?,
        tenant: asked.parsed("tenant")?,
        device: asked.sought("device")?,
        what: asked.one_of("what", &Happening::ALL, Happening::as_str)?,
        by: asked.sought("by")?,
    };
    let after: Option<Cursor> = asked.parsed("cursor")?;
    let seal = store.audit_seal().await?;
    let view::Page { items: rows, next_cursor } = store.audit(&filter, true, after.as_ref(), MOST_ROWS).await?;
    let next = next_cursor.map(|cursor| format!("/audit{}", asked.with("cursor", &cursor)));
    let tenants = web.work.tenants.keys().cloned().collect();
    Ok(Page(Audit { frame, asked, tenants, seal, rows, next }))
}

impl Audit {
    fn happenings(&self) -> impl Iterator<Item = (&'static str, bool)> {
        Happening::ALL.into_iter().map(|what| (what.as_str(), self.asked.get("what") == Some(what.as_str())))
    }

    fn is_filtered(&self) -> bool {
        ["what", "by", "tenant", "device", "since", "cursor"].iter().any(|key| self.asked.get(key).is_some())
    }
}

/// Where an alert or a device of a row is shown.
fn below(folder: &str, id: &str, row: &AuditView) -> String {
    let tenant = row.tenant.as_deref().map(|tenant| format!("?tenant={}", encoded(tenant))).unwrap_or_default();
    format!("/{folder}/{}{tenant}", encoded(id))
}

/// From which state to which, or the outcome.
fn change(row: &AuditView) -> Vec<&str> {
    [&row.before, &row.after].into_iter().flatten().map(String::as_str).collect()
}

/// Whether the words before and after it are states or outcomes, and no hash or name.
fn is_change(row: &AuditView) -> bool {
    [Happening::Transition.as_str(), Happening::Decision.as_str()].contains(&row.what.as_str())
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests;
