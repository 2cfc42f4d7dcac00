//! Who is at the other end of a TCP connection.
//!
//! Handlers find it in a request's extensions as `ConnectInfo<Remote>`; on the unix socket there is none (see
//! [`super::peer`]). Absent: what a caller may do because of it.

use std::net::SocketAddr;

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
