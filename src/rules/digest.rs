//! SHA-256 in hex, which names a rule's text and a set's content.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 of `bytes` as 64 lower-case hex digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
