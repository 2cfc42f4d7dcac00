//! TLS for TCP: the handshake, and taking up files that have changed.
//!
//! A client certificate is asked for when authorities of clients are configured, and not demanded: browsers and
//! scrapers have none, and [`super::hooks`] demands it of those who send. One of another authority ends the
//! handshake. Absent: what the files must be like (see [`crate::config`]).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Timeout;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::remote::Remote;
use crate::config::{Certificate, ENDS_SOON_DAYS, Fingerprint, ServerTls, TlsIdentity};
use crate::worker::Work;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Between two looks that have to agree when a person asks, and how many are taken.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const ASKED_LOOKS: usize = 20;

/// TLS with the files in force.
#[derive(Debug)]
pub struct Tls {
    files: ServerTls,
    began_with: Fingerprint,
    current: watch::Sender<Arc<ServerConfig>>,
    /// The end of the certificate in force.
    not_after: watch::Sender<Timestamp>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl Tls {
    /// TLS with the files as they are now. An expired certificate is taken, as one without a better is of more use than
    /// no daemon; it is in the log.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to do.
    pub async fn load(files: ServerTls, now: Timestamp) -> Result<Self, TlsError> {
        let began_with = fingerprint(&files).await?;
        let (config, certificate) = read(&files).await?;
        say_how_long(&certificate, now);
        let (current, not_after) = (watch::Sender::new(config), watch::Sender::new(certificate.not_after));
        Ok(Self { files, began_with, current, not_after })
    }

    /// Takes up changed files until the stop. Files that do not hold together leave the last good ones in force.
    pub async fn run(&self, work: &Work) {
        let (mut judged, mut last) = (self.began_with, self.began_with);
        let mut fault = None;
        loop {
            let asked = tokio::select! {
                () = work.stop.cancelled() => return,
                () = work.reload_tls.notified() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let seen = if asked { settled(work, &self.files).await } else { fingerprint(&self.files).await };
            let Ok(seen) = seen else { continue };
            // A certificate and its key are two files: a change counts once two looks agree.
            if asked || (seen == last && seen != judged) {
                fault = self.take_up(work.now()).await.err();
                judged = seen;
            }
            last = seen;
            work.board.ran("tls", work.now(), self.said(fault.as_ref()));
        }
    }

    async fn take_up(&self, now: Timestamp) -> Result<(), TlsError> {
        let taken = match read(&self.files).await {
            Ok((config, certificate)) => certificate.valid_at(now).map(|()| (config, certificate)).map_err(|error| {
                TlsError(format!("{}: {error}: {}", self.files.certificate_file.display(), error.mend_of_a_server()))
            }),
            Err(error) => Err(error),
        };
        match taken {
            Ok((config, certificate)) => {
                self.current.send_replace(config);
                self.not_after.send_replace(certificate.not_after);
                say_how_long(&certificate, now);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the files of TLS can not be used; the last good ones stay in force");
                Err(error)
            }
        }
    }

    fn said(&self, fault: Option<&TlsError>) -> String {
        let end = *self.not_after.borrow();
        match fault {
            None => format!("the certificate in force ends at {end}"),
            Some(fault) => format!("the certificate in force ends at {end}; not taken up: {fault}"),
        }
    }
}

fn say_how_long(certificate: &Certificate, now: Timestamp) {
    let not_after = certificate.not_after;
    match (certificate.valid_at(now), certificate.days_left(now)) {
        (Err(error), _) => tracing::error!(%error, "clients will refuse this server: {}", error.mend_of_a_server()),
        (Ok(()), days) if days < ENDS_SOON_DAYS => tracing::warn!(%not_after, days, "the certificate of TLS ends soon"),
        (Ok(()), _) => tracing::info!(%not_after, "the certificate of TLS is in force"),
    }
}

/// Reading files blocks, so it is done where that hurts nobody.
async fn fingerprint(files: &ServerTls) -> Result<Fingerprint, TlsError> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || files.fingerprint()).await.map_err(broken_off)
}

/// The files once two looks agree, or after some two seconds.
async fn settled(work: &Work, files: &ServerTls) -> Result<Fingerprint, TlsError> {
    let mut before = fingerprint(files).await?;
    for _ in 1..ASKED_LOOKS {
        if !work.pause(ASKED_EVERY).await {
            break;
        }
        let seen = fingerprint(files).await?;
        if seen == before {
            break;
        }
        before = seen;
    }
    Ok(before)
}

async fn read(files: &ServerTls) -> Result<(Arc<ServerConfig>, Certificate), TlsError> {
    let files = files.clone();
    let read = move || {
        let identity = files.read().map_err(|(file, error)| {
            TlsError(format!("{}: {}: {}", files.path(file).display(), error.in_full(), error.mend_of_a_server()))
        })?;
        let config = config(&identity)?;
        Ok((Arc::new(config), identity.certificate))
    };
    tokio::task::spawn_blocking(read).await.map_err(broken_off)?
}

fn broken_off(error: tokio::task::JoinError) -> TlsError {
    TlsError(format!("the files could not be read: {error}"))
}

/// TLS 1.2 and 1.3, and HTTP/1.1 only.
fn config(identity: &TlsIdentity) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsError(error.to_string()))?;
    let builder = match &identity.client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), provider);
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError(error.to_string()))?)
        }
    };
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.certified));
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts TCP, with TLS if there is any. A handshake goes on while the connection is first read, so that none holds up
/// another.
pub(super) struct Tcp {
    listener: TcpListener,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
}

impl Tcp {
    pub(super) fn new(listener: TcpListener, tls: Option<&Tls>) -> Self {
        Self { listener, tls: tls.map(|tls| tls.current.subscribe()) }
    }
}

impl Listener for Tcp {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (io, address) = Listener::accept(&mut self.listener).await;
        let Some(current) = &self.tls else {
            return (Stream { state: State::Plain(io), shown: None }, address);
        };
        let used = Arc::clone(&current.borrow());
        let accept = TlsAcceptor::from(Arc::clone(&used)).accept(io);
        let handshake = Box::pin(tokio::time::timeout(HANDSHAKE_TIMEOUT, accept));
        let shown = Shown { used, current: current.clone(), certificate: Arc::default() };
        (Stream { state: State::Handshake(handshake), shown: Some(shown) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A TCP connection.
pub(super) struct Stream {
    state: State,
    shown: Option<Shown>,
}

enum State {
    Plain(TcpStream),
    Handshake(Pin<Box<Timeout<Accept<TcpStream>>>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a handshake has brought about.
#[derive(Debug, Clone)]
struct Shown {
    used: Arc<ServerConfig>,
    current: watch::Receiver<Arc<ServerConfig>>,
    certificate: Arc<OnceLock<bool>>,
}

/// Who is at the other end, as soon as the handshake is over.
#[derive(Debug, Clone)]
pub(super) struct OtherEnd {
    address: SocketAddr,
    shown: Option<Shown>,
}

impl From<(&Stream, &SocketAddr)> for OtherEnd {
    fn from((stream, address): (&Stream, &SocketAddr)) -> Self {
        Self { address: *address, shown: stream.shown.clone() }
    }
}

impl OtherEnd {
    /// Who it is; there was a handshake before any request.
    pub(super) fn remote(&self) -> Remote {
        let shown = self.shown.as_ref();
        let client_certificate = shown.is_some_and(|shown| shown.certificate.get() == Some(&true));
        Remote { address: self.address, tls: shown.is_some(), client_certificate }
    }

    /// Whether the files have changed since the handshake, so that another is due.
    pub(super) fn is_outdated(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| !Arc::ptr_eq(&shown.used, &shown.current.borrow()))
    }
}

impl Stream {
    /// The connection once its handshake is over.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Open<'_>>> {
        if let State::Handshake(handshake) = &mut self.state {
            let stream = ready!(handshake.as_mut().poll(context)).map_err(|_| io::ErrorKind::TimedOut)??;
            if let Some(shown) = &self.shown {
                let has_one = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
                shown.certificate.get_or_init(|| has_one);
            }
            self.state = State::Tls(Box::new(stream));
        }
        match &mut self.state {
            State::Plain(stream) => Poll::Ready(Ok(Open::Plain(Pin::new(stream)))),
            State::Tls(stream) => Poll::Ready(Ok(Open::Tls(Pin::new(stream.as_mut())))),
            State::Handshake(_) => Poll::Pending,
        }
    }
}

enum Open<'s> {
    Plain(Pin<&'s mut TcpStream>),
    Tls(Pin<&'s mut TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(self.get_mut().poll_open(context))? {
            Open::Plain(stream) => stream.poll_read(context, buffer),
            Open::Tls(stream) => stream.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.get_mut().poll_open(context))? {
            Open::Plain(stream) => stream.poll_write(context, bytes),
            Open::Tls(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.get_mut().poll_open(context))? {
            Open::Plain(stream) => stream.poll_write_vectored(context, slices),
            Open::Tls(stream) => stream.poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.get_mut().poll_open(context))? {
            Open::Plain(stream) => stream.poll_flush(context),
            Open::Tls(stream) => stream.poll_flush(context),
        }
    }

    /// Without a handshake there is nothing to say good-bye with.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            State::Handshake(_) => Poll::Ready(Ok(())),
        }
    }
}
