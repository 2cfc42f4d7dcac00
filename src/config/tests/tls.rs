//! `server.tls`: certificates and keys as people have them, made anew for each test.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{LEAST, Scratch};
use crate::diagnostics::Severity;

/// A certificate of the year 2026 and its key, as PEM.
fn made() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// `server.tls` with good files in the folder.
pub(super) fn files_in(scratch: &Scratch) -> String {
    let (certificate, key) = made();
    scratch.write("tls.crt", &certificate, 0o644);
    scratch.secret("tls.key", key);
    scratch.write("ca.crt", certificate, 0o644);
    let path = |name: &str| scratch.path(name).display().to_string();
    let (certificate, key, ca) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
    format!("{{ certificate_file: {certificate}, key_file: {key}, client_ca_file: {ca} }}")
}

fn with(tls: &str, listen: &str) -> String {
    format!("{LEAST}server: {{ listen: \"{listen}\", tls: {{ {tls} }} }}\n")
}

const BOTH: &str = "certificate_file: tls.crt, key_file: tls.key";

#[test]
fn with_tls_the_daemon_may_be_reached_from_elsewhere() {
    let scratch = Scratch::new();
    files_in(&scratch);
    let config = scratch.load(&with(BOTH, "0.0.0.0:8787"), &[]).unwrap().config;
    let tls = config.server.tls.unwrap();
    assert_eq!((tls.key_file.clone(), tls.client_ca_file.clone()), (scratch.path("tls.key"), None));
    assert!(tls.read().unwrap().client_authorities.is_none());
}

#[test]
fn a_chain_and_a_bundle_of_authorities_are_read_whole() {
    let scratch = Scratch::new();
    files_in(&scratch);
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    scratch.write("tls.crt", format!("{}{}", leaf.pem(), authority.pem()), 0o644);
    scratch.secret("tls.key", key.serialize_pem());
    scratch.write("ca.crt", format!("{}{}", authority.pem(), made().0), 0o644);
    let text = with(&format!("{BOTH}, client_ca_file: ca.crt"), "127.0.0.1:1");
    let identity = scratch.load(&text, &[]).unwrap().config.server.tls.unwrap().read().unwrap();
    assert_eq!(identity.certified.cert.len(), 2);
    assert_eq!(identity.client_authorities.unwrap().len(), 2);
}

#[test]
fn files_that_do_not_hold_together_are_told_with_their_mend() {
    let (certificate, key) = made();
    let (_, other_key) = made();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let protected = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cases = [
        (
            certificate.as_str(),
            other_key.as_str(),
            "key_file: tls.key: the key in it is not the key of the certificate",
        ),
        (&certificate, protected, "key_file: tls.key: the key in it is protected by a password"),
        (&certificate, "no key", "key_file: tls.key: holds no private key in PEM form"),
        (&certificate, bad_key, "key_file: tls.key: the key in it is damaged, or of a kind that TLS does not take"),
        (&key, &key, "certificate_file: tls.crt: holds no certificate in PEM form"),
        (damaged, &key, "certificate_file: tls.crt: the certificate in it is damaged"),
        ("", &key, "certificate_file: tls.crt: the file is empty"),
    ];
    let scratch = Scratch::new();
    files_in(&scratch);
    for (certificate, key, expected) in cases {
        scratch.write("tls.crt", certificate, 0o644);
        scratch.secret("tls.key", key);
        let problems = scratch.problems(&with(BOTH, "127.0.0.1:1"), &[]);
        assert!(problems.contains(&format!("server.tls.{expected}")), "{problems}");
        assert!(problems.lines().count() == 1 && problems.contains(" ("), "one, with its mend: {problems}");
    }
}

#[test]
fn what_is_missing_or_misspelt_is_told() {
    let scratch = Scratch::new();
    files_in(&scratch);
    let told = |tls: &str| scratch.problems(&with(tls, "127.0.0.1:1"), &[]);
    let nothing = told("");
    assert!(nothing.contains("server.tls.certificate_file: is needed and missing"), "{nothing}");
    assert!(nothing.contains("server.tls.key_file: is needed and missing"), "{nothing}");
    assert!(told("cert_file: a").contains("cert_file"));
    assert!(
        told("certificate_file: gone, key_file: tls.key").contains("certificate_file: gone: the file cannot be read")
    );
    let ca = told(&format!("{BOTH}, client_ca_file: gone"));
    assert!(ca.contains("server.tls.client_ca_file: gone: the file cannot be read: No such file"), "{ca}");
    scratch.write("tls.key", made().1, 0o644);
    scratch.write("tls.crt", made().0, 0o644);
    assert!(told(BOTH).contains("not the key of the certificate"));
}

#[test]
fn each_certificate_is_judged_by_the_day() {
    let scratch = Scratch::new();
    let tls = files_in(&scratch);
    let text = format!("{LEAST}server: {{ listen: \"127.0.0.1:1\", tls: {tls} }}\n");
    let named = scratch.load(&text, &[]).unwrap().certificates;
    let told = |now: &str| -> Vec<_> {
        named.iter().filter_map(|one| one.at(now.parse().unwrap())).map(|one| (one.severity, one.to_string())).collect()
    };
    assert_eq!(told("2026-06-01T00:00:00Z"), []);
    let over = told("2027-02-01T00:00:00Z");
    assert_eq!(over.len(), 2);
    assert!(over.iter().all(|(severity, _)| *severity == Severity::Error));
    assert!(
        over[0].1.contains("server.tls.certificate_file: ") && over[0].1.contains("put a new certificate"),
        "{over:?}"
    );
    assert!(over[1].1.contains("server.tls.client_ca_file: ") && over[1].1.contains("the authority's"), "{over:?}");
}

#[test]
fn a_changed_file_has_another_fingerprint_and_so_has_one_that_is_gone() {
    let scratch = Scratch::new();
    files_in(&scratch);
    let tls = scratch.load(&with(BOTH, "127.0.0.1:1"), &[]).unwrap().config.server.tls.unwrap();
    let before = tls.fingerprint();
    assert_eq!(before, tls.fingerprint());
    scratch.write("tls.crt", made().0, 0o644);
    let changed = tls.fingerprint();
    std::fs::remove_file(scratch.path("tls.crt")).unwrap();
    assert!(before != changed && changed != tls.fingerprint());
}
