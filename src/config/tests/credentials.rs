//! The ways to sign in, with certificates and keys as people have them, made anew for each test.

use std::path::Path;

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};

use super::{LEAST, Scratch};
use crate::config::{Certificate, Credential, Proof, SigningCertificate};
use crate::diagnostics::Severity;

/// A certificate of the year 2026 and its key, as PEM.
fn made() -> (String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(vec!["stanch".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn with_certificate() -> String {
    LEAST.replace("secret_file: secret", "certificate_file: a.crt, key_file: a.key")
}

#[test]
fn there_is_one_way_to_sign_in_and_it_is_whole() {
    let scratch = Scratch::new();
    scratch.secret("token", "a.b.c");
    let cases = [
        (
            "secret_file: secret, certificate_file: a, key_file: b",
            "54: tenants[0].credential: has secret_file and certificate_file, and takes one of them (keep one)",
        ),
        (
            "secret_env: A, key_file: b, federated_token_file: token",
            "54: tenants[0].credential: has secret_env and certificate_file and federated_token_file, and takes one of \
             them (keep one)",
        ),
        (
            "secret_file: secret, managed_identity: true",
            "54: tenants[0].credential: has secret_file and managed_identity, and takes one of them (keep one)",
        ),
        (
            "managed_identity: false",
            "68: tenants[0].credential.managed_identity: can only be true (write true, or remove it and name another \
             way to sign in)",
        ),
        (
            "federated_token_file: nowhere",
            "68: tenants[0].credential.federated_token_file: nowhere: the file cannot be read: No such file or \
             directory (os error 2)",
        ),
    ];
    for (credential, expected) in cases {
        let text = LEAST.replace("secret_file: secret", credential);
        assert_eq!(scratch.problems(&text, &[]), format!("stanch.yaml:2:{expected}"), "{credential}");
    }
    let of_a_machine = LEAST.replace("secret_file: secret", "managed_identity: true").replace("c-1", "'c 1'");
    assert!(scratch.problems(&of_a_machine, &[]).contains("client_id: \"c 1\" is not an id of Entra"));
}

#[test]
fn a_certificate_and_its_key_are_read_whatever_stands_around_them() {
    let (certificate, key) = made();
    let (other, _) = made();
    let scratch = Scratch::new();
    scratch.write("a.crt", format!("subject=CN = stanch\r\n{key}\r\n{certificate}\n{other}"), 0o644);
    scratch.secret("a.key", format!("# the key\n{key}"));

    let loaded = scratch.load(&with_certificate(), &[]).unwrap();

    assert_eq!(loaded.warnings, []);
    let Credential::Application { proof, .. } = &loaded.config.tenants[0].credential else { panic!() };
    assert!(matches!(proof, Proof::Certificate { key_file, .. } if *key_file == scratch.path("a.key")), "{proof:?}");
    let both = SigningCertificate::read(&scratch.path("a.crt"), &scratch.path("a.key")).unwrap();
    assert_eq!(both.certificate.not_before, at("2026-01-01T00:00:00Z"));
    assert!(!format!("{both:?}").contains("private"), "{both:?}");
    let again = Certificate::read(&scratch.path("a.crt")).unwrap();
    assert_eq!(both.certificate.der(), again.der());
}

#[test]
fn the_older_form_of_a_key_is_read_too() {
    let (certificate, key) = made();
    let scratch = Scratch::new();
    scratch.write("a.crt", certificate, 0o644);
    scratch.secret("a.key", pkcs1(&key));
    scratch.load(&with_certificate(), &[]).unwrap();
}

/// A key without the wrapping of PKCS #8, whose head has the same length for every key of this size.
fn pkcs1(key: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let inner = &STANDARD.decode(body).unwrap()[26..];
    format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", STANDARD.encode(inner))
}

#[test]
fn what_gives_no_certificate_is_told_with_its_file_and_its_mend() {
    let (certificate, key) = made();
    let (_, other_key) = made();
    let elliptic = KeyPair::generate().unwrap().serialize_pem();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let protected = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let older = key.replace("PRIVATE KEY", "RSA PRIVATE KEY").replacen(
        '\n',
        "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
        1,
    );
    let cases: [(&str, &str, &str); 8] = [
        (&certificate, &other_key, "93: tenants[0].credential.key_file: a.key: the key in it is not the key of the"),
        (
            &certificate,
            &protected,
            "93: tenants[0].credential.key_file: a.key: the key in it is protected by a password",
        ),
        (&certificate, &older, "93: tenants[0].credential.key_file: a.key: the key in it is protected by a password"),
        (
            &certificate,
            &elliptic,
            "93: tenants[0].credential.key_file: a.key: the key in it is no RSA key of 2,048 bits",
        ),
        (&certificate, "no key", "93: tenants[0].credential.key_file: a.key: holds no private key in PEM form"),
        (&key, &key, "68: tenants[0].credential.certificate_file: a.crt: holds no certificate in PEM form"),
        (damaged, &key, "68: tenants[0].credential.certificate_file: a.crt: the certificate in it is damaged"),
        ("", &key, "68: tenants[0].credential.certificate_file: a.crt: the file is empty"),
    ];
    for (certificate, key, expected) in cases {
        let scratch = Scratch::new();
        scratch.write("a.crt", certificate, 0o644);
        scratch.secret("a.key", key);
        let problems = scratch.problems(&with_certificate(), &[]);
        assert!(problems.starts_with(&format!("stanch.yaml:2:{expected}")), "{problems}");
        assert!(problems.ends_with(')') && problems.lines().count() == 1, "one problem with its mend: {problems}");
    }
}

#[test]
fn files_that_are_no_text_are_told_how_they_become_pem() {
    let scratch = Scratch::new();
    scratch.write("a.crt", b"\x30\x82\xff\xfe", 0o644);
    scratch.secret("a.key", b"\x30\x82\xff\xfe");
    let problems = scratch.problems(&with_certificate(), &[]);
    assert!(problems.contains("a.crt: holds no certificate in PEM form (PEM begins with"), "{problems}");
    assert!(problems.contains("a.key: holds no private key in PEM form (PEM begins with"), "{problems}");
}

#[test]
fn each_of_the_two_files_is_needed_and_each_is_named() {
    let scratch = Scratch::new();
    let cases = [
        (with_certificate(), "certificate_file: a.crt: the file cannot be read: No such file", 2),
        (with_certificate().replace(", key_file: a.key", ""), "key_file: is needed beside certificate_file", 2),
        (with_certificate().replace("certificate_file: a.crt, ", ""), "certificate_file: is needed beside key_file", 2),
    ];
    for (text, expected, count) in cases {
        let problems = scratch.problems(&text, &[]);
        assert!(problems.contains(expected) && problems.lines().count() == count, "{problems}");
    }
}

#[test]
fn a_certificate_is_judged_by_the_day() {
    let (certificate, key) = made();
    let scratch = Scratch::new();
    scratch.write("a.crt", certificate, 0o644);
    scratch.secret("a.key", key);
    let named = scratch.load(&with_certificate(), &[]).unwrap().certificates.remove(0);
    let told = |now: &str| {
        named.at(at(now)).map(|found| {
            let folder = format!("{}/", scratch.path("").display()).replace("//", "/");
            (found.severity, found.to_string().replace(&folder, ""))
        })
    };

    assert_eq!(told("2026-06-01T00:00:00Z"), None);
    assert_eq!(told("2026-12-01T00:00:00Z"), None, "31 days");
    let (severity, text) = told("2026-12-20T12:00:00Z").unwrap();
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.starts_with("stanch.yaml:2:68: tenants[0].credential.certificate_file: a.crt: ")
            && text.contains("expires in 11 days"),
        "{text}"
    );
    let (severity, text) = told("2027-01-01T00:00:01Z").unwrap();
    assert_eq!(severity, Severity::Error);
    assert!(text.contains("has expired at 2027-01-01T00:00:00Z (make a new certificate, "), "{text}");
    let (severity, text) = told("2025-12-31T23:00:00Z").unwrap();
    assert_eq!(severity, Severity::Error);
    assert!(text.contains("is not valid before 2026-01-01T00:00:00Z"), "{text}");
    assert_eq!(SigningCertificate::read(Path::new("/nowhere"), Path::new("/k")).unwrap_err().0, Path::new("/nowhere"));
}
