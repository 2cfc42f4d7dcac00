//! Any header and body of a webhook: only the right signature passes.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use stanch::intake::signature::{verify_bearer, verify_hmac};

fuzz_target!(|input: (&str, &[u8])| {
    let (header, body) = input;
    let secret = SecretString::from("a secret of which the fuzzer knows nothing");
    let now = Timestamp::UNIX_EPOCH;
    assert!(!verify_hmac(Some(header), body, &secret, now));
    assert!(!verify_bearer(Some(header), &secret));
});
