//! Who is at the other end of a TCP connection.
//!
//! Handlers find it in a request's extensions as `ConnectInfo<Remote>`; on the unix socket there is none (see
//! [`super::peer`]). Absent: what a caller may do because of it.

use std::net::{IpAddr, SocketAddr};

/// The other end of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remote {
    /// Its address; behind a proxy, the proxy's.
    pub(super) address: SocketAddr,
    /// Whether what it sends is encrypted on its way to this process.
    pub(super) tls: bool,
    /// Whether it has shown a certificate of an authority in `server.tls.client_ca_file`.
    pub(super) client_certificate: bool,
}

impl Remote {
    /// The party at the other end.
    pub(super) fn network(self) -> IpAddr {
        network(self.address.ip())
    }
}

/// What one party has to itself: an address of version 4, or a network of version 6 with its 64 bits of hosts.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}
