//! The way into the demo's console: an address, and a token that is gone with the demo.

use std::net::SocketAddr;
use std::path::Path;

use crate::cli::arguments::Query;
use crate::cli::client::Client;
use crate::cli::token::Wanted;
use crate::model::access::NewTokenView;
use crate::model::{Role, TokenName};

/// Where the console is, and what to sign in with.
pub(super) struct Console {
    pub(super) url: String,
    pub(super) token: String,
}

impl Console {
    /// Has the daemon make a token, as `stanch token create` does.
    ///
    /// # Errors
    /// When it can not be asked, or makes none.
    pub(super) async fn open(socket: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let name = TokenName::new("demo")?;
        let wanted = Wanted { name: &name, role: Role::Admin, expires_in: None, why: "to watch the demo" };
        let client = Client::over_socket(socket)?;
        let made = client.post(&["api", "v1", "tokens"], &Query::new(), &wanted).await?;
        let NewTokenView { token, .. } = made.read()?;
        Ok(Self { url: format!("http://{address}/"), token })
    }
}
