//! `server.tls`: what its files hold, if they hold together.
//!
//! Absent: the protocol itself (see [`crate::web`]), and the time now.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::pem::{Error as PemError, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, RootCertStore, crypto};

use super::certificate::{Certificate, CertificateError, pem_of};
use super::secret::read_secret;

/// The PEM files of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The server's certificate, followed by those between it and its authority.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The authorities whose certificates a sender to `/hooks` may show; absent, none is asked for.
    pub client_ca_file: Option<PathBuf>,
}

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// `certificate_file`
    Certificate,
    /// `key_file`
    Key,
    /// `client_ca_file`
    ClientCa,
}

/// What the files hold.
pub struct TlsIdentity {
    /// The chain and the key.
    pub certified: Arc<CertifiedKey>,
    /// The server's own certificate.
    pub certificate: Certificate,
    /// The authorities of clients.
    pub client_authorities: Option<Arc<RootCertStore>>,
    /// Their certificates.
    pub client_certificates: Vec<Certificate>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What tells whether the files have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl ServerTls {
    /// The path of one of the files.
    #[must_use]
    pub fn path(&self, file: TlsFile) -> &Path {
        match file {
            TlsFile::Certificate => &self.certificate_file,
            TlsFile::Key => &self.key_file,
            TlsFile::ClientCa => self.client_ca_file.as_deref().unwrap_or_else(|| Path::new("")),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The file at fault and why; a mismatch is the key's fault.
    pub fn read(&self) -> Result<TlsIdentity, (TlsFile, CertificateError)> {
        let chain = certificates(&self.certificate_file).map_err(|error| (TlsFile::Certificate, error))?;
        let first = chain.first().ok_or((TlsFile::Certificate, CertificateError::NoCertificate))?;
        let certificate = Certificate::from_der(first).map_err(|error| (TlsFile::Certificate, error))?;
        let key = private_key(&self.key_file).map_err(|error| (TlsFile::Key, error))?;
        let provider = crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(fault)?;
        let authorities = self.client_ca_file.as_deref().map(authorities).transpose();
        let authorities = authorities.map_err(|error| (TlsFile::ClientCa, error))?;
        let (client_authorities, client_certificates) =
            authorities.map_or((None, Vec::new()), |(store, all)| (Some(Arc::new(store)), all));
        Ok(TlsIdentity { certified: Arc::new(certified), certificate, client_authorities, client_certificates })
    }

    /// What the files are like now, readable or not.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        let paths = [Some(&self.certificate_file), Some(&self.key_file), self.client_ca_file.as_ref()];
        for path in paths.into_iter().flatten() {
            let text = read_secret(path);
            let seen = text.as_ref().map_or_else(|error| error.in_full(), |text| text.expose_secret().to_owned());
            context.update(&(seen.len() as u64).to_be_bytes());
            context.update(seen.as_bytes());
        }
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Fingerprint(fingerprint)
    }
}

/// Every certificate in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = pem_of(path, CertificateError::NoCertificate)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
    let all = all.map_err(|_| CertificateError::Damaged)?;
    if all.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = pem_of(path, CertificateError::NoKey)?;
    let text = text.expose_secret();
    if text.contains("ENCRYPTED") {
        return Err(CertificateError::Protected);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => CertificateError::NoKey,
        _ => CertificateError::UnusableKey,
    })
}

fn authorities(path: &Path) -> Result<(RootCertStore, Vec<Certificate>), CertificateError> {
    let mut store = RootCertStore::empty();
    let mut all = Vec::new();
    for certificate in certificates(path)? {
        all.push(Certificate::from_der(&certificate)?);
        store.add(certificate).map_err(|_| CertificateError::Damaged)?;
    }
    Ok((store, all))
}

fn fault(error: Error) -> (TlsFile, CertificateError) {
    match error {
        Error::InconsistentKeys(_) => (TlsFile::Key, CertificateError::Mismatch),
        Error::InvalidCertificate(_) => (TlsFile::Certificate, CertificateError::Damaged),
        _ => (TlsFile::Key, CertificateError::UnusableKey),
    }
}
