//! `token create|list|revoke`: who reaches the daemon over the network, and as what.

use std::io::Write as _;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::arguments::{Query, Why, one_of};
use super::exit::Exit;
use super::listing::Listing;
use super::output::{Tone, flowing, part, plain, time, whole};
use super::session::Session;
use crate::model::access::{NewTokenView, TokenState, TokenView};
use crate::model::{Role, Span, TokenName};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token. Its secret is printed this once, alone on stdout
    Create(CreateArguments),
    /// List tokens, those that ended among them; never a secret
    List,
    /// Revoke a token: it is refused at once, and who signed in with it is signed out
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// Its name, by which the history tells who did something: one for each person or program
    #[arg(long, value_name = "NAME")]
    name: TokenName,
    /// What it may do: look (viewer), also approve, reject, cancel, release, retry, pause and acknowledge (operator), or all (admin)
    #[arg(long, value_name = "ROLE", value_parser = one_of(Role::ALL.map(Role::as_str), role_of))]
    role: Role,
    /// How long it holds, at most 400d [default: 90d]
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The token's id, or its name
    #[arg(value_name = "ID_OR_NAME")]
    which: String,
    #[command(flatten)]
    why: Why,
}

fn role_of(name: &str) -> Option<Role> {
    name.parse().ok()
}

const LISTING: Listing<TokenView> = Listing {
    noun: "tokens",
    columns: &[
        whole("STATE"),
        whole("NAME"),
        whole("ROLE"),
        flowing("EXPIRES"),
        flowing("LAST USED"),
        flowing("CREATED"),
        flowing("BY"),
        flowing("ID"),
    ],
    row,
};

/// What is sent to make one.
#[derive(Serialize)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a TokenName,
    pub(super) role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_in: Option<&'a Span>,
    pub(super) why: &'a str,
}

/// Makes, lists and revokes tokens.
pub(super) async fn run(command: Command, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::Create(arguments) => create(&arguments, session).await,
        Command::List => LISTING.print(session, Query::new(), None).await,
        Command::Revoke(arguments) => revoke(&arguments, session).await,
    }
}

async fn create(arguments: &CreateArguments, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let CreateArguments { name, role, expires, why } = arguments;
    let wanted = Wanted { name, role: *role, expires_in: expires.as_ref(), why: &why.why };
    let answer = session.client.post(&["api", "v1", "tokens"], &Query::new(), &wanted).await?;
    if session.json {
        session.out.json(answer.text())?;
        return Ok(Exit::Done);
    }
    let NewTokenView { view, token } = answer.read()?;
    let until = time::full(session.now, view.expires_at);
    session.notes.line(&[part(Tone::Good, "made"), plain(format_args!(" token {name} ({role}), until {until}"))])?;
    session.notes.flush()?;
    session.out.line(&[plain(&token)])?;
    session.out.flush()?;
    for line in [
        "This is shown only now: put it where secrets are kept. To use it:".to_owned(),
        "  STANCH_TOKEN=... stanch --url https://HOST:PORT status".to_owned(),
        "or send it as Authorization: Bearer, or sign in to the console with it. To end it:".to_owned(),
        format!("  stanch token revoke {name} --why TEXT"),
    ] {
        session.notes.line(&[part(Tone::Faint, line)])?;
    }
    Ok(Exit::Done)
}

async fn revoke(arguments: &RevokeArguments, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let body = serde_json::json!({ "why": arguments.why.why });
    let path = ["api", "v1", "tokens", &arguments.which, "revoke"];
    let answer = session.client.post(&path, &Query::new(), &body).await?;
    if session.json {
        session.out.json(answer.text())?;
        return Ok(Exit::Done);
    }
    let TokenView { name, id, .. } = answer.read()?;
    session.out.line(&[part(Tone::Good, "revoked"), plain(format_args!(" token {name} ({id})"))])?;
    Ok(Exit::Done)
}

fn row(token: &TokenView, now: Timestamp) -> (Tone, Vec<String>) {
    let tone = if token.state == TokenState::InForce { Tone::Good } else { Tone::Faint };
    let cells = vec![
        token.state.as_str().to_owned(),
        token.name.to_string(),
        token.role.to_string(),
        time::short(now, token.expires_at),
        time::short_or_none(now, token.last_used_at),
        time::short(now, token.created_at),
        token.created_by.clone(),
        token.id.to_string(),
    ];
    (tone, cells)
}
