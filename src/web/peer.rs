//! Who is at the other end of the unix socket: the operating system says it, so nobody can pretend.

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::net::UnixStream;
use tokio::net::unix::SocketAddr;

use super::caller::Caller;
use super::place::Party;
use super::users::passwd;
use crate::model::users::name_of;
use crate::model::{Door, Person, Role};

/// The user at the other end of a connection; `None` when the system does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(Option<u32>);

impl From<(&UnixStream, &SocketAddr)> for Peer {
    fn from((stream, _): (&UnixStream, &SocketAddr)) -> Self {
        Self(stream.peer_cred().map(|peer| peer.uid()).ok())
    }
}

impl Peer {
    /// Who its connections are counted with.
    pub(super) fn party(stream: &UnixStream, address: &SocketAddr) -> Party {
        Party::User(Self::from((stream, address)).0)
    }
}

/// Puts the peer's user into the request as its caller: file permissions are the key, so it may do all.
pub(super) async fn by_the_peer(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(peer)| peer.0);
    if let Some(uid) = peer {
        let name = name_of(uid, &passwd().await).map_or_else(|| uid.to_string(), str::to_owned);
        let person = Person { name, door: Door::Socket, from: Some("socket".to_owned()) };
        request.extensions_mut().insert(Caller { person, role: Role::Admin, csrf: None });
    }
    next.run(request).await
}
