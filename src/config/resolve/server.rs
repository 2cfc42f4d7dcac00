//! `server`: where the daemon listens.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;

use super::super::certificate::Purpose;
use super::super::key_path::{KeyPath, shown};
use super::super::raw::{RawServer, RawTls};
use super::super::report::Report;
use super::{Surroundings, refuse_file, warn_if_anyone_reads};
use crate::config::{Server, ServerTls, TlsFile};

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
    let has_tls = raw.tls.is_some();
    let tls = raw.tls.map(|raw| tls(report, around, &at.key("tls"), raw));
    let insecure = report.need(&at.key("insecure"), raw.insecure);
    let listen_at = at.key("listen");
    if receives && raw.listen.is_none() && !report.has(&listen_at) {
        report.error_with_hint(&listen_at, "is needed by the webhook source", "write listen: 127.0.0.1:8787");
    }
    if has_tls && raw.listen.is_none() && !receives {
        report.warn(&at.key("tls"), "there is no TCP to be encrypted", "write server.listen too, or remove this");
    }
    let may_leave = has_tls || insecure == Some(true);
    let listen = raw.listen.map(|text| listen(report, &listen_at, &text, may_leave));
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
    let tls = match tls {
        None => None,
        Some(tls) => Some(tls?),
    };
    Some(Server { listen, socket: socket?, tls, inbox: inbox? })
}

fn tls(report: &mut Report<'_>, around: &Surroundings<'_>, at: &KeyPath, raw: RawTls) -> Option<ServerTls> {
    let (certificate_at, key_at, ca_at) = (at.key("certificate_file"), at.key("key_file"), at.key("client_ca_file"));
    let certificate_file = around.path(report, &certificate_at, raw.certificate_file);
    let key_file = around.path(report, &key_at, raw.key_file);
    let client_ca_file = raw.client_ca_file.map(|path| around.path(report, &ca_at, Some(path)));
    let client_ca_file = match client_ca_file {
        None => None,
        Some(path) => Some(path?),
    };
    let tls = ServerTls { certificate_file: certificate_file?, key_file: key_file?, client_ca_file };
    warn_if_anyone_reads(report, &key_at, &tls.key_file);
    let identity = match tls.read() {
        Ok(identity) => identity,
        Err((file, error)) => {
            let at = match file {
                TlsFile::Certificate => certificate_at,
                TlsFile::Key => key_at,
                TlsFile::ClientCa => ca_at,
            };
            refuse_file(report, &at, tls.path(file), &error);
            return None;
        }
    };
    report.names_certificate(&certificate_at, &tls.certificate_file, identity.certificate, Purpose::Server);
    for certificate in identity.client_certificates {
        report.names_certificate(&ca_at, tls.path(TlsFile::ClientCa), certificate, Purpose::ClientAuthority);
    }
    Some(tls)
}

/// `may_leave`: whether it may be an address that others than this machine can reach.
fn listen(report: &mut Report<'_>, at: &KeyPath, text: &str, may_leave: bool) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let message = format!("{:?} is not an IP address with a port", shown(text));
        report.error_with_hint(at, message, "write it as 127.0.0.1:8787 or \"[::1]:8787\"");
        return None;
    };
    if !may_leave && !address.ip().to_canonical().is_loopback() {
        let message = format!("{address} is not a loopback address, and there is no TLS");
        let hint = "write 127.0.0.1, set server.tls, or server.insecure: true if a proxy in front does TLS";
        report.error_with_hint(at, message, hint);
        return None;
    }
    Some(address)
}
