//! `server`: where the daemon listens.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;

use super::super::key_path::{KeyPath, shown};
use super::super::raw::RawServer;
use super::super::report::Report;
use super::Surroundings;
use crate::config::Server;

/// The longest path of a unix socket: `sun_path` of unix(7) has 108 bytes, the last of them a zero.
const LONGEST_SOCKET: usize = 107;

/// A longer inbox would hold more alerts than a store of some terabytes.
const MOST_INBOX: i64 = 1_000_000_000;

/// `receives`: whether a webhook source needs the TCP address.
pub(super) fn server(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    raw: RawServer,
    receives: bool,
) -> Option<Server> {
    let at = KeyPath::top("server");
    report.not_built(&at.key("tls"), raw.tls.as_ref());
    let insecure = report.need(&at.key("insecure"), raw.insecure);
    let listen_at = at.key("listen");
    if receives && raw.listen.is_none() && !report.has(&listen_at) {
        report.error_with_hint(&listen_at, "is needed by the webhook source", "write listen: 127.0.0.1:8787");
    }
    let listen = raw.listen.map(|text| listen(report, &listen_at, &text, insecure == Some(true)));
    let socket = around.path(report, &at.key("socket"), raw.socket);
    let too_long = socket.as_ref().is_some_and(|path| path.as_os_str().as_bytes().len() > LONGEST_SOCKET);
    if too_long {
        let message = format!("the path of a unix socket has at most {LONGEST_SOCKET} bytes");
        report.error_with_hint(&at.key("socket"), message, "choose a shorter one");
    }
    let inbox = report.whole(&at.key("inbox"), raw.inbox, 1..=MOST_INBOX);
    let listen = match listen {
        None => None,
        Some(address) => Some(address?),
    };
    Some(Server { listen, socket: socket?, inbox: inbox? })
}

fn listen(report: &mut Report<'_>, at: &KeyPath, text: &str, insecure: bool) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let message = format!("{:?} is not an IP address with a port", shown(text));
        report.error_with_hint(at, message, "write it as 127.0.0.1:8787 or \"[::1]:8787\"");
        return None;
    };
    if !insecure && !address.ip().to_canonical().is_loopback() {
        let message = format!("{address} is not a loopback address, and there is no TLS");
        let hint = "write 127.0.0.1, or server.insecure: true if a proxy in front does TLS";
        report.error_with_hint(at, message, hint);
        return None;
    }
    Some(address)
}
