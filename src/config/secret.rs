//! Secrets that stand in files: read with a bound, and never shown.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;

/// No secret that this program uses is longer.
const MOST_BYTES: u64 = 64 * 1024;

/// Why a file gives no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// Nothing stands in it but blanks and line breaks.
    #[error("the file is empty")]
    Empty,
    /// It is longer than any secret.
    #[error("the file is longer than 64 KiB")]
    TooLong,
    /// It is not text.
    #[error("the file is not UTF-8 text")]
    NotText,
}

impl SecretError {
    /// The error and what the system says of it.
    #[must_use]
    pub fn in_full(&self) -> String {
        match self {
            Self::Unreadable(cause) => format!("{self}: {cause}"),
            Self::Empty | Self::TooLong | Self::NotText => self.to_string(),
        }
    }
}

/// The secret in a file, without a byte-order mark before it and the line breaks at its end.
///
/// # Errors
/// [`SecretError`] when the file gives none; no message repeats anything of the contents.
pub fn read_secret(path: &Path) -> Result<SecretString, SecretError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(SecretError::Unreadable)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(SecretError::Unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(SecretError::TooLong);
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText)?;
    bare(&text).ok_or(SecretError::Empty)
}

/// A text as a secret, without a byte-order mark before it and the line breaks at its end; none when nothing is left but
/// blanks.
pub(super) fn bare(text: &str) -> Option<SecretString> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n']);
    (!text.trim().is_empty()).then(|| SecretString::from(text))
}
