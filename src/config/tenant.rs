//! A tenant: where its APIs are, and how to sign in to it.
//!
//! Absent: the clouds that there are (see `resolve`).

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::raw::Endpoint;
use crate::model::TenantName;

/// One Entra tenant and how to sign in to it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Our name of it.
    pub name: TenantName,
    /// Entra's id of it.
    pub tenant_id: String,
    /// Who signs in, and with what.
    pub credential: Credential,
    /// The origin of the MDE API, without a trailing slash; `/api/...` is appended.
    pub api_url: Url,
    /// The origin of the login service; `/{tenant_id}/oauth2/v2.0/token` is appended.
    pub login_url: Url,
    /// The origin of Microsoft Graph; `/v1.0/...` is appended.
    pub graph_url: Url,
    /// The OAuth scope of the MDE API.
    pub scope: String,
    /// Which of the public cloud's endpoints `api_url` and `scope` are of.
    pub endpoint: Endpoint,
    /// The other one, which `doctor` tries; only the public cloud has two.
    pub other_endpoint: Option<OtherEndpoint>,
    /// The origin of the cloud's own Graph host, whatever `graph_url` is; with `/.default` it is the OAuth scope of
    /// Microsoft Graph.
    pub graph_host: &'static str,
}

impl Tenant {
    /// The same tenant at its other endpoint.
    #[must_use]
    pub fn at_other_endpoint(&self) -> Option<Self> {
        let other = self.other_endpoint.clone()?;
        let (endpoint, api_url, scope) = (self.endpoint.other(), other.api_url, other.scope);
        Some(Self { endpoint, api_url, scope, other_endpoint: None, ..self.clone() })
    }
}

/// The API endpoint that a tenant does not use.
#[derive(Debug, Clone)]
pub struct OtherEndpoint {
    /// Its origin; where the configuration names one, that.
    pub api_url: Url,
    /// The OAuth scope of the tokens that it takes.
    pub scope: String,
}

/// Who signs in, and with what.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An app registration.
    Application {
        /// Its id.
        client_id: String,
        /// How it proves who it is.
        proof: Proof,
    },
    /// The managed identity of the Azure machine that this runs on; [`Tenant::login_url`] is the origin of
    /// that machine's identity endpoint.
    ManagedIdentity {
        /// Which of its identities; absent, the machine has one only.
        client_id: Option<String>,
    },
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { client_id, .. } => write!(f, "application {client_id}"),
            Self::ManagedIdentity { client_id: Some(id) } => write!(f, "managed identity {id}"),
            Self::ManagedIdentity { client_id: None } => f.write_str("the managed identity of this machine"),
        }
    }
}

/// How an app registration proves who it is. Files are read anew for each sign-in, so that they can be
/// rotated.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A client secret in a file.
    SecretFile(PathBuf),
    /// A client secret from the environment, read at start.
    Secret(SecretString),
    /// A certificate and its key, both PEM files.
    Certificate {
        /// The certificate.
        certificate_file: PathBuf,
        /// Its private key.
        key_file: PathBuf,
    },
    /// A file with a token of another identity provider that Entra trusts.
    FederatedTokenFile(PathBuf),
}
