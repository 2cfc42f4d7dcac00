//! What a command that speaks to a running daemon works with.

use jiff::Timestamp;
use secrecy::SecretString;

use super::arguments::Global;
use super::client::Client;
use super::exit::Exit;
use super::output::Screen;
use super::surroundings::Surroundings;
use super::{screen, socket};
use crate::config;

/// What a command that speaks to a running daemon works with.
pub(super) struct Session<'a> {
    /// The daemon.
    pub client: Client,
    /// Where data goes.
    pub out: Screen<'a>,
    /// Where remarks go that are no data.
    pub notes: Screen<'a>,
    /// Whether data is printed as JSON.
    pub json: bool,
    /// The time when the command began.
    pub now: Timestamp,
}

/// Runs `command` against the daemon that `global` names.
///
/// # Errors
/// When it is not known where the daemon is, and those of `command`.
pub(super) fn with_daemon<C>(global: &Global, around: &mut Surroundings<'_>, command: C) -> anyhow::Result<Exit>
where
    C: AsyncFnOnce(&mut Session<'_>) -> anyhow::Result<Exit>,
{
    let mut session = Session {
        client: client(global, around)?,
        out: screen(around.out, around.out_terminal),
        notes: screen(around.err, around.err_terminal),
        json: global.json,
        now: around.clock.now(),
    };
    super::block_on(&mut tokio::runtime::Builder::new_current_thread(), command(&mut session))
}

/// Speaks to the daemon that `global` names.
///
/// # Errors
/// When it is not known where the daemon is.
pub(super) fn client(global: &Global, around: &Surroundings<'_>) -> anyhow::Result<Client> {
    match &global.url {
        Some(url) => Client::over_network(url.clone(), token(around)),
        None => {
            config::refuse_slips(&(around.variables)(), "server").map_err(anyhow::Error::msg)?;
            Client::over_socket(&socket::find(global.config.as_deref(), around.environment)?)
        }
    }
}

fn token(around: &Surroundings<'_>) -> Option<SecretString> {
    (around.environment)("STANCH_TOKEN").filter(|token| !token.is_empty()).map(SecretString::from)
}
