//! The list of this machine's users, read when it is needed.

use tokio::io::AsyncReadExt as _;

use crate::model::users::{MOST_PASSWD_BYTES, PASSWD};

/// The list as it is now. What cannot be read names nobody.
pub(super) async fn passwd() -> String {
    let mut text = Vec::new();
    if let Ok(file) = tokio::fs::File::open(PASSWD).await {
        let _ = file.take(MOST_PASSWD_BYTES).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}
