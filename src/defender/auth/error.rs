//! Why a sign-in failed, and how to mend it. Absent: the sign-in.

use std::time::Duration;

/// Why no token could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// What kind of failure it is.
    pub kind: AuthErrorKind,
    /// Entra's code, as `AADSTS7000215`.
    pub code: Option<String>,
    /// Entra's words or the system's, bounded, without the secret.
    pub message: String,
    /// What `Retry-After` asks for.
    pub retry_after: Option<Duration>,
}

/// What kind of failure a sign-in's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// A file of the credential can not be read, or what stands in it can not be used: nothing was sent.
    Credential,
    /// Entra refuses: the same again is of no use until something is changed.
    Refused,
    /// Entra asks to wait.
    Throttled,
    /// DNS, connect or TLS failed.
    Unreachable,
    /// No answer, or one that says that the service is unwell.
    Unanswered,
    /// An answer that is no token and no error of Entra.
    Unreadable,
}

impl AuthError {
    pub(super) const fn new(kind: AuthErrorKind, message: String) -> Self {
        Self { kind, code: None, message, retry_after: None }
    }

    /// Whether the same again may help within seconds.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, AuthErrorKind::Unreachable | AuthErrorKind::Unanswered)
    }

    /// What to do, for what people meet most.
    #[must_use]
    pub fn mend(&self) -> Option<&'static str> {
        let mend_of = |words: &str| MENDS.into_iter().find(|(known, _)| *known == words).map(|(_, mend)| mend);
        match self.code.as_deref() {
            Some(code) => mend_of(code),
            None if self.message.contains(NO_IDENTITY) => mend_of(NO_IDENTITY),
            None => None,
        }
    }
}

/// What the identity endpoint of a machine says when it has none to give.
const NO_IDENTITY: &str = "Identity not found";

/// Sources: the pages "Microsoft Entra authentication & authorization error codes" and "Workload identity
/// federation: error codes"; the identity endpoint's words from its page.
const MENDS: [(&str, &str); 22] = [
    ("AADSTS7000215", "the secret is wrong: take the secret's value, not its id"),
    ("AADSTS7000222", "the secret has expired: make a new one and put it in place"),
    ("AADSTS700016", "this tenant does not know the application: check client_id and tenant_id"),
    ("AADSTS90002", "there is no such tenant: check tenant_id and cloud"),
    ("AADSTS900023", "tenant_id is not a tenant's id: check it"),
    ("AADSTS900382", "the login service of another cloud was asked: check cloud"),
    ("AADSTS500011", "this tenant has no Defender for Endpoint: check tenant_id and cloud"),
    ("AADSTS70011", "the scope does not exist in this cloud: check cloud"),
    ("AADSTS1002012", "the scope does not exist in this cloud: check cloud"),
    ("AADSTS7000112", "the application is disabled in this tenant: enable it"),
    ("AADSTS53003", "conditional access blocks the application: allow it from this machine's address"),
    (
        "AADSTS700027",
        "add this certificate to the app registration (Certificates & secrets), or put the one there in place",
    ),
    ("AADSTS700021", "the token in the file is of another application: check client_id and federated_token_file"),
    ("AADSTS700023", "the login service does not know itself by this address: check login_url and cloud"),
    ("AADSTS700024", "set this machine's clock; of a federated token, see that its file is renewed"),
    ("AADSTS50027", "what stands in the file is no token that Entra can read: check federated_token_file"),
    ("AADSTS50013", "Entra can not check the token's signature: check who issued it, and its issuer in Entra"),
    ("AADSTS70021", "no federated credential of the application fits: check issuer, subject and audience in Entra"),
    ("AADSTS700211", "no federated credential of the application has this issuer: check it in Entra"),
    ("AADSTS700212", "no federated credential of the application has this audience: check it in Entra"),
    ("AADSTS700213", "no federated credential of the application has this subject: check it in Entra"),
    (NO_IDENTITY, "give this machine a managed identity, and name it in client_id if it has several"),
];

impl std::error::Error for AuthError {}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            AuthErrorKind::Credential => "the credential can not be used: ",
            AuthErrorKind::Refused => "the login service refused: ",
            AuthErrorKind::Throttled => "the login service asks to wait: ",
            AuthErrorKind::Unreachable => "the login service can not be reached: ",
            AuthErrorKind::Unanswered => "the login service gave no answer: ",
            AuthErrorKind::Unreadable => "the login service's answer can not be read: ",
        })?;
        match &self.code {
            Some(code) if !self.message.contains(code.as_str()) => write!(f, "{code}: {}", self.message)?,
            _ => f.write_str(&self.message)?,
        }
        match self.mend() {
            Some(mend) => write!(f, " ({mend})"),
            None => Ok(()),
        }
    }
}
