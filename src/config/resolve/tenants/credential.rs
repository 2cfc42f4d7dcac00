//! `client_id` and `credential`: how the application proves who it is. Exactly one way.
//!
//! Files are read here too, so that what can be known before the first sign-in is known at `check`.

use std::path::PathBuf;

use super::super::super::certificate::{Certificate, Purpose, SigningCertificate, read_key};
use super::super::super::key_path::KeyPath;
use super::super::super::raw::RawCredential;
use super::super::super::report::Report;
use super::super::super::secret::bare;
use super::super::{Surroundings, refuse_file, warn_if_anyone_reads};
use super::entra_id;
use crate::config::{Credential, Proof};

const WAYS: &str = "secret_file, secret_env, certificate_file with key_file, federated_token_file or managed_identity";

pub(super) fn credential(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    tenant: &KeyPath,
    client_id: Option<String>,
    raw: Option<RawCredential>,
) -> Option<Credential> {
    let (at, client_at) = (tenant.key("credential"), tenant.key("client_id"));
    if let Some(raw) = raw.as_ref().filter(|raw| raw.managed_identity.is_some()) {
        let managed = managed_identity(report, &at, raw);
        let client_id = match client_id {
            Some(id) => Some(entra_id(report, &client_at, Some(id))?),
            None => None,
        };
        return managed.map(|()| Credential::ManagedIdentity { client_id });
    }
    let client_id = entra_id(report, &client_at, client_id);
    let proof = proof(report, around, &at, raw);
    Some(Credential::Application { client_id: client_id?, proof: proof? })
}

fn managed_identity(report: &mut Report<'_>, at: &KeyPath, raw: &RawCredential) -> Option<()> {
    one_way(report, at, raw)?;
    if raw.managed_identity == Some(true) {
        return Some(());
    }
    let hint = "write true, or remove it and name another way to sign in";
    report.error_with_hint(&at.key("managed_identity"), "can only be true", hint);
    None
}

/// Refuses more than one way to sign in.
fn one_way(report: &mut Report<'_>, at: &KeyPath, raw: &RawCredential) -> Option<()> {
    let ways = [
        ("secret_file", raw.secret_file.is_some()),
        ("secret_env", raw.secret_env.is_some()),
        ("certificate_file", raw.certificate_file.is_some() || raw.key_file.is_some()),
        ("federated_token_file", raw.federated_token_file.is_some()),
        ("managed_identity", raw.managed_identity.is_some()),
    ];
    let given: Vec<&str> = ways.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
    if given.len() < 2 {
        return Some(());
    }
    report.error_with_hint(at, format!("has {}, and takes one of them", given.join(" and ")), "keep one");
    None
}

fn proof(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    raw: Option<RawCredential>,
) -> Option<Proof> {
    let raw = report.need(at, raw)?;
    one_way(report, at, &raw)?;
    if let Some(path) = raw.secret_file {
        return around.secret(report, &at.key("secret_file"), path).map(|(path, _)| Proof::SecretFile(path));
    }
    if let Some(name) = raw.secret_env {
        return secret_of_variable(report, around, &at.key("secret_env"), &name);
    }
    if let Some(path) = raw.federated_token_file {
        let at = at.key("federated_token_file");
        let path = around.path(report, &at, Some(path))?;
        // Who may read it is the business of whoever renews it, which on Kubernetes nobody here can change.
        return around.read_secret(report, &at, &path).map(|_| Proof::FederatedTokenFile(path));
    }
    if raw.certificate_file.is_some() || raw.key_file.is_some() {
        return certificate(report, around, at, raw.certificate_file, raw.key_file);
    }
    if !report.has_below(at) {
        report.error(at, format!("needs {WAYS}"));
    }
    None
}

fn certificate(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    at: &KeyPath,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
) -> Option<Proof> {
    let (certificate_at, key_at) = (at.key("certificate_file"), at.key("key_file"));
    let lonely = |name: &str| format!("is needed beside {name}, and missing");
    if certificate_file.is_none() && !report.has(&certificate_at) {
        report.error_with_hint(&certificate_at, lonely("key_file"), "name the PEM file of the key's certificate");
    }
    if key_file.is_none() && !report.has(&key_at) {
        report.error_with_hint(&key_at, lonely("certificate_file"), "name the PEM file of the certificate's key");
    }
    let certificate_file = certificate_file.and_then(|path| around.path(report, &certificate_at, Some(path)));
    let key_file = key_file.and_then(|path| around.path(report, &key_at, Some(path)));
    let certificate = certificate_file.as_deref().and_then(|path| {
        let read = Certificate::read(path);
        read.map_err(|error| refuse_file(report, &certificate_at, path, &error)).ok()
    });
    let key = key_file.as_deref().and_then(|path| {
        warn_if_anyone_reads(report, &key_at, path);
        read_key(path).map_err(|error| refuse_file(report, &key_at, path, &error)).ok()
    });
    let (certificate_file, key_file) = (certificate_file?, key_file?);
    match SigningCertificate::new(certificate?, key?) {
        Ok(both) => report.names_certificate(&certificate_at, &certificate_file, both.certificate, Purpose::SignIn),
        Err(error) => {
            refuse_file(report, &key_at, &key_file, &error);
            return None;
        }
    }
    Some(Proof::Certificate { certificate_file, key_file })
}

/// A name that could be the secret itself, written in the wrong place, is not repeated.
fn secret_of_variable(report: &mut Report<'_>, around: &Surroundings<'_>, at: &KeyPath, name: &str) -> Option<Proof> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let called = if is_name && !name.is_empty() { name } else { "of that name" };
    let Some(value) = around.environment.get(name) else {
        report.error(at, format!("there is no environment variable {called}"));
        return None;
    };
    if value.contains(char::REPLACEMENT_CHARACTER) {
        report.error(at, format!("the environment variable {called} is not UTF-8 text"));
        return None;
    }
    let secret = bare(value);
    if secret.is_none() {
        report.error(at, format!("the environment variable {called} is empty"));
    }
    secret.map(Proof::Secret)
}
