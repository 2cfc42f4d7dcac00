//! A certificate and its private key, from two files in PEM form.
//!
//! What can be known without asking Microsoft is known here: that they can be read, that they belong
//! together, and from when to when the certificate is valid. Absent: signing, and the time now.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rsa::KeyPair as RsaKey;
use aws_lc_rs::signature::KeyPair as _;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use x509_cert::der::Decode as _;

use super::secret::{SecretError, read_secret};
use crate::diagnostics::{Diagnostic, Place};

/// The days before a certificate's end in which people are told of it.
pub const ENDS_SOON_DAYS: i64 = 30;

/// Why files give no certificate that can be signed in with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file gives no text.
    #[error(transparent)]
    File(#[from] SecretError),
    /// No PEM block `CERTIFICATE` stands in it.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// What stands in the block is no X.509 certificate.
    #[error("the certificate in it is damaged")]
    Damaged,
    /// No PEM block of a private key stands in it.
    #[error("holds no private key in PEM form")]
    NoKey,
    /// The key is encrypted.
    #[error("the key in it is protected by a password")]
    Protected,
    /// Entra takes no other keys for `PS256`.
    #[error("the key in it is no RSA key of 2,048 bits or more")]
    NotRsa,
    /// TLS can not be done with the key.
    #[error("the key in it is damaged, or of a kind that TLS does not take")]
    UnusableKey,
    /// The key belongs to another certificate.
    #[error("the key in it is not the key of the certificate")]
    Mismatch,
    /// It is over.
    #[error("the certificate in it has expired at {0}")]
    Expired(Timestamp),
    /// It has not begun.
    #[error("the certificate in it is not valid before {0}")]
    NotYet(Timestamp),
}

impl CertificateError {
    /// The error and what the system says of it.
    #[must_use]
    pub fn in_full(&self) -> String {
        match self {
            Self::File(error) => error.in_full(),
            _ => self.to_string(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::File(_) => "check the path and who may read it",
            Self::NoCertificate | Self::Damaged => {
                "PEM begins with -----BEGIN CERTIFICATE-----; openssl x509 -inform der -in OLD -out NEW makes it of DER"
            }
            Self::NoKey => "PEM begins with -----BEGIN PRIVATE KEY-----; openssl pkey -in OLD -out NEW makes it",
            Self::Protected => "take the password off with openssl pkey -in OLD -out NEW, and guard the file",
            Self::NotRsa => "make a certificate with an RSA key: Entra takes no other",
            Self::UnusableKey => "make a key with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Self::Mismatch => "put the key and the certificate in place that were made together",
            Self::Expired(_) => "make a new certificate, add it to the app registration, and put it in place",
            Self::NotYet(_) => "wait, or check this machine's clock",
        }
    }
}

impl CertificateError {
    /// What to do about a certificate or key of a server.
    #[must_use]
    pub const fn mend_of_a_server(&self) -> &'static str {
        match self {
            Self::Expired(_) => Purpose::Server.renewal(),
            _ => self.mend(),
        }
    }
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    public_key: Vec<u8>,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

impl Certificate {
    /// The first certificate in a file.
    ///
    /// # Errors
    /// [`CertificateError`] when there is none.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let text = pem_of(path, CertificateError::NoCertificate)?;
        let der = CertificateDer::from_pem_slice(text.expose_secret().as_bytes())
            .map_err(|_| CertificateError::NoCertificate)?;
        Self::from_der(&der)
    }

    /// A certificate in DER form.
    ///
    /// # Errors
    /// [`CertificateError::Damaged`].
    pub(super) fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let der = der.to_vec();
        let certificate = x509_cert::Certificate::from_der(&der).map_err(|_| CertificateError::Damaged)?;
        let body = certificate.tbs_certificate();
        let key = body.subject_public_key_info().subject_public_key.raw_bytes().to_vec();
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
            seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(CertificateError::Damaged)
        };
        let (not_before, not_after) = (time(body.validity().not_before)?, time(body.validity().not_after)?);
        Ok(Self { der, public_key: key, not_before, not_after })
    }

    /// The certificate in DER form.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it is valid at `now`.
    ///
    /// # Errors
    /// [`CertificateError::Expired`] and [`CertificateError::NotYet`].
    pub fn valid_at(&self, now: Timestamp) -> Result<(), CertificateError> {
        if now > self.not_after {
            return Err(CertificateError::Expired(self.not_after));
        }
        if now < self.not_before {
            return Err(CertificateError::NotYet(self.not_before));
        }
        Ok(())
    }

    /// The whole days that are left of it at `now`; below zero when it has expired.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_hours().div_euclid(24)
    }
}

/// A certificate together with its private key.
pub struct SigningCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Its private key.
    pub key: RsaKey,
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl SigningCertificate {
    /// The two, if they belong together.
    ///
    /// # Errors
    /// [`CertificateError::Mismatch`].
    pub fn new(certificate: Certificate, key: RsaKey) -> Result<Self, CertificateError> {
        // Both are the PKCS #1 form of the public key (RFC 8017, appendix A.1.1).
        if certificate.public_key != key.public_key().as_ref() {
            return Err(CertificateError::Mismatch);
        }
        Ok(Self { certificate, key })
    }

    /// The two, read from their files.
    ///
    /// # Errors
    /// The file at fault and why; a mismatch is the key's fault.
    pub fn read<'p>(certificate: &'p Path, key: &'p Path) -> Result<Self, (&'p Path, CertificateError)> {
        let read = Certificate::read(certificate).map_err(|error| (certificate, error))?;
        let key_read = read_key(key).map_err(|error| (key, error))?;
        Self::new(read, key_read).map_err(|error| (key, error))
    }
}

/// The text in a file. What is no text is DER or a PFX file, and then `none` knows the mend.
pub(super) fn pem_of(path: &Path, none: CertificateError) -> Result<SecretString, CertificateError> {
    read_secret(path).map_err(|error| match error {
        SecretError::NotText => none,
        error => error.into(),
    })
}

/// The private key in a file.
///
/// # Errors
/// [`CertificateError`] when there is none that Entra takes.
pub(super) fn read_key(path: &Path) -> Result<RsaKey, CertificateError> {
    let text = pem_of(path, CertificateError::NoKey)?;
    let text = text.expose_secret();
    // `BEGIN ENCRYPTED PRIVATE KEY` of PKCS #8, `Proc-Type: 4,ENCRYPTED` of the older form.
    if text.contains("ENCRYPTED") {
        return Err(CertificateError::Protected);
    }
    match PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| CertificateError::NoKey)? {
        PrivateKeyDer::Pkcs8(key) => RsaKey::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKey::from_der(key.secret_pkcs1_der()),
        _ => return Err(CertificateError::NotRsa),
    }
    .map_err(|_| CertificateError::NotRsa)
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Signing in at Entra.
    SignIn,
    /// TLS of this daemon.
    Server,
    /// Certificates of those who send.
    ClientAuthority,
}

impl Purpose {
    /// What to do once it is over.
    const fn renewal(self) -> &'static str {
        match self {
            Self::SignIn => CertificateError::Expired(Timestamp::UNIX_EPOCH).mend(),
            Self::Server => "put a new certificate and its key in place: no restart is needed",
            Self::ClientAuthority => "put the authority's new certificate in place, or take it out of the file",
        }
    }
}

/// A certificate that the configuration names, and where: whether it is valid is a question of the day.
#[derive(Debug, Clone)]
pub struct NamedCertificate {
    pub(super) config: PathBuf,
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) certificate: Certificate,
    pub(super) purpose: Purpose,
}

impl NamedCertificate {
    /// What is wrong with it at `now`, or soon will be.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<Diagnostic> {
        let Self { config, place, key, path, certificate, purpose } = self;
        let file = path.display();
        if let Err(error) = certificate.valid_at(now) {
            let diagnostic = Diagnostic::error(config, *place, format!("{key}: {file}: {error}"));
            let is_over = matches!(error, CertificateError::Expired(_));
            return Some(diagnostic.with_hint(if is_over { purpose.renewal() } else { error.mend() }));
        }
        let days = certificate.days_left(now);
        (days < ENDS_SOON_DAYS).then(|| {
            let message = format!("{key}: {file}: the certificate in it expires in {days} days");
            Diagnostic::warning(config, *place, message).with_hint(purpose.renewal())
        })
    }
}
