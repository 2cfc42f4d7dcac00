//! Which protections a set holds on a day, and why one that was expected is not among them.
//!
//! A protection is a protect rule in force for a tenant. What it matches is not compared: whether an edited condition
//! keeps fewer devices cannot be told from the rules. Absent: what was in force before (the store keeps it).

use jiff::civil::Date;

use super::RuleSet;
use super::report::shorten;
use super::response::ResponseAction;
use crate::model::protection::ProtectionInForce;
use crate::model::{RuleId, TenantName};

impl RuleSet {
    /// Whether the files hold no rule at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.loaded() == 0
    }

    /// The protect rules in force on that day (in UTC), for each of these tenants.
    #[must_use]
    pub fn protections(&self, today: Date, tenants: &[TenantName]) -> Vec<ProtectionInForce> {
        let protecting = self.rules().iter().filter(|rule| rule.response.action == ResponseAction::Protect);
        let of_rule = protecting.flat_map(|rule| {
            let served = tenants.iter().filter(|tenant| rule.in_force(today, tenant));
            served.map(|tenant| ProtectionInForce {
                rule_id: rule.id.clone(),
                title: shorten(&rule.title),
                tenant: tenant.clone(),
            })
        });
        of_rule.collect()
    }

    /// Why the rule of that id does not protect that tenant on that day (in UTC), in words.
    #[must_use]
    pub fn why_unprotected(&self, id: &RuleId, today: Date, tenant: &TenantName) -> String {
        let Some(rule) = self.rule(id) else {
            return "no rule of this id protects any more".to_owned();
        };
        if rule.response.is_restrict() {
            return "the rule of this id restricts now".to_owned();
        }
        rule.why_not_in_force(today, tenant).unwrap_or_else(|| "the rule is not in force".to_owned())
    }
}
