//! One request for a token, by each way to prove who we are.
//!
//! Sources: Entra's page on the OAuth 2.0 client credentials flow, with its three cases of a secret, a
//! certificate and a federated credential; the page "How to use managed identities for Azure resources on an
//! Azure VM to acquire an access token". Absent: sending it (see [`super`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::{AuthError, AuthErrorKind};
use super::{assertion, claims};
use crate::config::{Credential, ENDS_SOON_DAYS, Proof, SigningCertificate, Tenant, read_secret};
use crate::defender::door::below;
use crate::defender::http::Http;
use crate::defender::message::shown;
use crate::model::TenantName;

/// Who is asked for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Entra.
    Entra,
    /// The identity endpoint of a machine in Azure.
    Machine,
}

/// A request, and what in it must never be shown.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) builder: reqwest::RequestBuilder,
    pub(super) proof: SecretString,
}

/// What the requests of one application in one tenant are made of.
#[derive(Debug)]
pub(super) struct Requests {
    url: Url,
    /// Our name of the tenant, for the log.
    pub(super) tenant: TenantName,
    tenant_id: String,
    scope: String,
    credential: Credential,
    /// The days of the certificate that were left when people were last told.
    told_days_left: AtomicI64,
}

impl Requests {
    /// `None` when nothing can be appended to the login service's address.
    pub(super) fn new(tenant: &Tenant, scope: &str) -> Option<Self> {
        let path = match &tenant.credential {
            Credential::Application { .. } => [tenant.tenant_id.as_str(), "oauth2", "v2.0", "token"],
            Credential::ManagedIdentity { .. } => ["metadata", "identity", "oauth2", "token"],
        };
        Some(Self {
            url: below(&tenant.login_url, &path)?,
            tenant: tenant.name.clone(),
            tenant_id: tenant.tenant_id.clone(),
            scope: scope.to_owned(),
            credential: tenant.credential.clone(),
            told_days_left: AtomicI64::new(i64::MAX),
        })
    }

    pub(super) const fn asks(&self) -> Asks {
        match self.credential {
            Credential::Application { .. } => Asks::Entra,
            Credential::ManagedIdentity { .. } => Asks::Machine,
        }
    }

    /// The next request. Files are read for each, as they may have been rotated.
    pub(super) async fn next(&self, http: &Http) -> Result<Request, AuthError> {
        match &self.credential {
            Credential::Application { client_id, proof } => self.of_application(http, client_id, proof).await,
            Credential::ManagedIdentity { client_id } => Ok(self.of_machine(http, client_id.as_deref())),
        }
    }

    async fn of_application(&self, http: &Http, client_id: &str, proof: &Proof) -> Result<Request, AuthError> {
        const ASSERTION_TYPE: (&str, &str) =
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let (name, proof, of_assertion) = match proof {
            Proof::Secret(secret) => ("client_secret", secret.clone(), None),
            Proof::SecretFile(path) => ("client_secret", text_of(path.clone()).await?, None),
            Proof::FederatedTokenFile(path) => ("client_assertion", text_of(path.clone()).await?, Some(ASSERTION_TYPE)),
            Proof::Certificate { certificate_file, key_file } => {
                let files = (certificate_file.clone(), key_file.clone());
                let signed = self.signed(files, client_id, http.now()).await?;
                ("client_assertion", signed, Some(ASSERTION_TYPE))
            }
        };
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            (name, proof.expose_secret()),
            ("scope", self.scope.as_str()),
        ];
        form.extend(of_assertion);
        let builder = http.post(self.url.clone()).form(&form);
        Ok(Request { builder, proof })
    }

    async fn signed(
        &self,
        (certificate_file, key_file): (PathBuf, PathBuf),
        client_id: &str,
        now: Timestamp,
    ) -> Result<SecretString, AuthError> {
        let both = blocking(move || {
            let read = SigningCertificate::read(&certificate_file, &key_file)
                .map_err(|(path, error)| refused(path, &format!("{} ({})", error.in_full(), error.mend())))?;
            let valid = read.certificate.valid_at(now);
            valid.map_err(|error| refused(&certificate_file, &format!("{error} ({})", error.mend())))?;
            Ok(read)
        })
        .await?;
        self.tell_of_its_end(both.certificate.days_left(now));
        let signed = assertion::signed(&both, self.url.as_str(), client_id, now);
        signed.ok_or_else(|| AuthError::new(AuthErrorKind::Credential, "the key can not sign".to_owned()))
    }

    /// Once a day of the last days.
    fn tell_of_its_end(&self, days: i64) {
        if days < ENDS_SOON_DAYS && self.told_days_left.swap(days, Ordering::Relaxed) != days {
            tracing::warn!(
                tenant = %self.tenant,
                days,
                "the certificate that signs in expires soon: make a new one, add it to the app registration, and put \
                 it in place"
            );
        }
    }

    fn of_machine(&self, http: &Http, client_id: Option<&str>) -> Request {
        let mut url = self.url.clone();
        // This endpoint knows resources, as the older one of Entra did, and no scopes.
        let resource = self.scope.strip_suffix("/.default").unwrap_or(&self.scope);
        url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
        if let Some(id) = client_id {
            url.query_pairs_mut().append_pair("client_id", id);
        }
        Request { builder: http.get(url).header("Metadata", "true"), proof: SecretString::default() }
    }

    /// Refuses the token of a machine that belongs to another tenant: nobody said that devices of that one
    /// may be restricted. Entra itself is asked by tenant.
    pub(super) fn belongs_here(&self, token: &str) -> Result<(), AuthError> {
        let Some(tenant) = claims::tenant(token).filter(|_| self.asks() == Asks::Machine) else { return Ok(()) };
        if tenant.eq_ignore_ascii_case(&self.tenant_id) {
            return Ok(());
        }
        let message =
            format!("the managed identity is of the tenant {}, and tenant_id is {}", shown(&tenant), self.tenant_id);
        Err(AuthError::new(AuthErrorKind::Credential, message))
    }
}

/// The text in a file, without the line breaks at its end.
async fn text_of(path: PathBuf) -> Result<SecretString, AuthError> {
    blocking(move || read_secret(&path).map_err(|error| refused(&path, &error.in_full()))).await
}

fn refused(path: &Path, why: &str) -> AuthError {
    AuthError::new(AuthErrorKind::Credential, format!("{}: {why}", path.display()))
}

/// Reads files away from the loops: a network drive that hangs must hold up its own tenant only.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| {
        let message = "its files could not be read to the end".to_owned();
        Err(AuthError::new(AuthErrorKind::Credential, message))
    })
}
