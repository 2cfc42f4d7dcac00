//! Who may do what, and the tokens that say it. A token's secret is not among them: only its hash is kept.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{TokenId, TokenName, hex};
use super::schema::Time;

/// What a caller of the API may do. A greater one may do all that a smaller one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Approves, rejects, cancels, releases, retries, and puts the brake on.
    Operator,
    /// Restricts by hand, takes the brake off, and manages tokens. Whoever may use the unix socket is one.
    Admin,
}

impl Role {
    /// Every role, the smallest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no role of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct NoSuchRole;

impl FromStr for Role {
    type Err = NoSuchRole;

    fn from_str(text: &str) -> Result<Self, NoSuchRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NoSuchRole)
    }
}

/// SHA-256 of the 256 random bits of a token or of a session: what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHash(String);

impl SecretHash {
    /// From the digest.
    #[must_use]
    pub fn from_digest(digest: &[u8]) -> Self {
        Self(hex(digest))
    }

    /// The digest in lower-case hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It does.
    InForce,
    /// Its time is over.
    Expired,
    /// Somebody has revoked it.
    Revoked,
}

impl TokenState {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// An API token, as `token list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    pub id: TokenId,
    /// Its name: of those in force, no other has it. What is done with the token is done by this name.
    pub name: TokenName,
    /// What it may do.
    pub role: Role,
    /// Whether it holds.
    pub state: TokenState,
    /// Since when there is one.
    #[schema(value_type = Time)]
    pub created_at: Timestamp,
    /// Who made it, as `user:ana`.
    pub created_by: String,
    /// From when on it does not hold.
    #[schema(value_type = Time)]
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[schema(value_type = Option<Time>)]
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the hour.
    #[schema(value_type = Option<Time>)]
    pub last_used_at: Option<Timestamp>,
}

/// A token that was just made, with its secret, which is told this once. No `Debug`, for that would tell it too.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewTokenView {
    /// The token.
    #[serde(flatten)]
    pub view: TokenView,
    /// The secret, as it is sent after `Authorization: Bearer`.
    pub token: String,
}

/// Who asks, as `/api/v1/whoami` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallerView {
    /// The user on this machine, or the name of the token.
    pub name: String,
    /// What that caller may do.
    pub role: Role,
    /// Where the request comes from: `socket`, or an address.
    pub from: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_by_what_they_may_and_known_by_their_names() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("Admin".parse::<Role>(), Err(NoSuchRole));
    }
}
