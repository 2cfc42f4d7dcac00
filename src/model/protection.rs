//! Protections: what a protect rule in force is to a tenant, and what is said when it is lost.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{RuleId, TenantName};
use super::schema::Time;

/// A protect rule that is in force for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionInForce {
    /// The rule.
    pub rule_id: RuleId,
    /// Its title.
    pub title: String,
    /// The tenant.
    pub tenant: TenantName,
}

/// A protect rule that was in force and no longer is, while no operator has acknowledged that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostProtection {
    /// The rule.
    pub rule_id: RuleId,
    /// The title that it had.
    pub title: String,
    /// The tenants that it no longer protects.
    pub tenants: Vec<TenantName>,
    /// Since when.
    #[schema(value_type = Time)]
    pub since: Timestamp,
    /// How it was lost, in words.
    pub why: String,
}

impl LostProtection {
    /// The tenants, as a message names them.
    #[must_use]
    pub fn tenant_names(&self) -> String {
        self.tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// What an operator has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledged {
    /// The protections that were lost.
    pub protections: Vec<LostProtection>,
}
