//! Who is at the other end of the unix socket: the operating system says it, so nobody can pretend.

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::SocketAddr;

use super::caller::Caller;
use super::place::Party;
use crate::model::{Person, Role};

/// Where the names of users stand.
const PASSWD: &str = "/etc/passwd";

/// No list of local users is longer.
const MOST_PASSWD_BYTES: u64 = 4 << 20;

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
        let name = name_of(uid, &passwd().await).unwrap_or_else(|| uid.to_string());
        let person = Person { name, from: Some("socket".to_owned()) };
        request.extensions_mut().insert(Caller { person, role: Role::Admin, csrf: None });
    }
    next.run(request).await
}

/// What can not be read names nobody.
async fn passwd() -> String {
    let mut text = Vec::new();
    if let Ok(file) = tokio::fs::File::open(PASSWD).await {
        let _ = file.take(MOST_PASSWD_BYTES).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The name of a user. Source: passwd(5), `name:password:UID:...`.
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_first_name_that_is_listed() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# a remark\n::7:\n\nana:x:1000:1000::/home/ana:/bin/sh\n\
                      toor:x:0:0::/:/bin/sh\nbroken:x\nbad:x:-1:0\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("ana"));
        assert_eq!(name_of(7, passwd), None);
        assert_eq!(name_of(1001, passwd), None);
        assert_eq!(name_of(0, ""), None);
    }
}
