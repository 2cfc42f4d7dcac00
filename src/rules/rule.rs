//! A rule as the rest of the house sees it.

use std::path::PathBuf;

use jiff::civil::Date;

use super::event::Event;
use super::inline_test::InlineTest;
use super::response::Response;
use crate::config::Mode;
use crate::model::{Level, RuleId, TenantName};

/// Sigma's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Meant for use. A rule without a status counts as this.
    Stable,
    /// Being tried: runs in shadow.
    Test,
    /// New: runs in shadow.
    Experimental,
    /// Replaced by another rule: runs in shadow.
    Deprecated,
    /// Can not be used as it stands: runs in shadow.
    Unsupported,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Stable, Self::Test, Self::Experimental, Self::Deprecated, Self::Unsupported];

    /// Sigma's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Test => "test",
            Self::Experimental => "experimental",
            Self::Deprecated => "deprecated",
            Self::Unsupported => "unsupported",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A rule that restricts or protects.
#[derive(Debug)]
pub struct Rule {
    /// Sigma's `id`; without one, the title.
    pub id: RuleId,
    /// Sigma's `title`.
    pub title: String,
    /// The SHA-256 of the rule's own document, in hex.
    pub hash: String,
    /// Sigma's `level`; without one, `medium`.
    pub level: Level,
    /// Sigma's `status`; without one, `stable`.
    pub status: Status,
    /// What is done when it matches.
    pub response: Response,
    /// Whether its detection reads `machine` or anything in it.
    pub reads_machine: bool,
    /// Its own tests.
    pub tests: Vec<InlineTest>,
    /// The file as the argument led to it.
    pub file: PathBuf,
    /// The line of the rule's title in that file, from 1.
    pub line: usize,
}

impl Rule {
    /// Whether the rule only records what it would have done: by `mode: shadow`, or by any status but
    /// `stable`. Protect rules never are.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.response.is_restrict() && (self.response.mode == Mode::Shadow || self.status != Status::Stable)
    }

    /// Whether the rule speaks for that tenant on that day (in UTC). Its `until` is its last day.
    #[must_use]
    pub fn in_force(&self, today: Date, tenant: &TenantName) -> bool {
        !self.is_over(today) && self.is_for(tenant)
    }

    /// Why the rule does not speak for that tenant on that day (in UTC), if it does not.
    #[must_use]
    pub fn why_not_in_force(&self, today: Date, tenant: &TenantName) -> Option<String> {
        if !self.is_for(tenant) {
            return Some(format!("the rule is not for the tenant {tenant} (tenants)"));
        }
        let until = self.response.until.filter(|_| self.is_over(today))?;
        Some(format!("the rule is out of force: its last day was {until} (until)"))
    }

    fn is_over(&self, today: Date) -> bool {
        self.response.until.is_some_and(|until| today > until)
    }

    fn is_for(&self, tenant: &TenantName) -> bool {
        self.response.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant))
    }

    /// The comment for one event, without our tag. No or a blank one gives [`Rule::default_comment`].
    ///
    /// # Errors
    /// Why it can not be rendered for this event; the caller then uses [`Rule::default_comment`] and says
    /// so.
    pub fn comment(&self, event: &Event<'_>) -> Result<String, String> {
        match self.rendered_comment(event)? {
            Some(comment) => Ok(comment),
            None => Ok(self.default_comment(event.alert_id())),
        }
    }

    /// The comment for one event, without our tag, and what is to be said with the decision where the plain one
    /// stands in: a comment that can not be rendered never disarms a rule.
    #[must_use]
    pub fn comment_or_default(&self, event: &Event<'_>) -> (String, Option<String>) {
        match self.comment(event) {
            Ok(comment) => (comment, None),
            Err(error) => {
                let note = format!("the rule's comment could not be rendered: {error}");
                (self.default_comment(event.alert_id()), Some(note))
            }
        }
    }

    /// `<rule title>: alert <id>`
    #[must_use]
    pub fn default_comment(&self, alert_id: &str) -> String {
        format!("{}: alert {alert_id}", self.title)
    }

    /// What a protect rule that matches says: its name, and its comment when it has one.
    #[must_use]
    pub fn why_protected(&self, event: &Event<'_>) -> String {
        let reason = self.protection();
        // A comment that can not be rendered does not weaken a protection.
        match self.rendered_comment(event) {
            Ok(Some(comment)) => format!("{reason}: {comment}"),
            _ => reason,
        }
    }

    /// How the reason of each decision begins that this protect rule forbade.
    #[must_use]
    pub fn protection(&self) -> String {
        format!("protected by the rule {:?} ({})", self.title, self.id)
    }

    /// The comment for one event; `None` when the rule has none or it renders to nothing.
    pub(super) fn rendered_comment(&self, event: &Event<'_>) -> Result<Option<String>, String> {
        let Some(template) = &self.response.comment else {
            return Ok(None);
        };
        let text = template.render(event, self.id.as_str(), &self.title, self.level)?;
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}
