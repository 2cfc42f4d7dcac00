//! The two servers, from a listener to the end. They speak HTTP/1.1 and nothing else. Absent: routes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, STRICT_TRANSPORT_SECURITY};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bounded::{Bounded, Connection};
use super::peer::Peer;
use super::place::Party;
use super::remote::network;
use super::tls::{OtherEnd, Tcp, Tls};
use super::{public_router, socket_router};
use crate::worker::Work;

/// How long requests under way have at the stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// What is read ahead of one connection, in bytes; no head of a request is longer. The library's own bound of some
/// 400 KiB would be 200 MiB of a crowd.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// A browser that was here over TLS does not come without it for a year.
const ONLY_WITH_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Serves TCP until `stop`; then nothing is accepted, and requests under way have a few seconds to end.
///
/// # Errors
/// When the listener can no longer be used.
pub async fn serve_tcp(
    listener: TcpListener,
    tls: Option<&Tls>,
    work: Arc<Work>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = public_router(work).layer(from_fn(told_who));
    let listener = Bounded::new(Tcp::new(listener, tls), |_, address| Party::Network(network(address.ip())));
    serve::<_, OtherEnd>(listener, router, &stop).await;
    Ok(())
}

/// Serves the unix socket in the same way.
///
/// # Errors
/// When the listener can no longer be used.
pub async fn serve_socket(listener: UnixListener, work: Arc<Work>, stop: CancellationToken) -> io::Result<()> {
    serve::<_, Peer>(Bounded::new(listener, Peer::party), socket_router(work), &stop).await;
    Ok(())
}

/// Tells the handler who is at the other end. After its files have changed, TLS begins anew with the next request.
async fn told_who(ConnectInfo(other): ConnectInfo<OtherEnd>, mut request: Request, next: Next) -> Response {
    let remote = other.remote();
    request.extensions_mut().insert(ConnectInfo(remote));
    let mut response = next.run(request).await;
    if remote.tls {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, ONLY_WITH_TLS);
    }
    if other.is_outdated() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Serves each connection with the router, which finds who is at its other end in the extensions of a request.
async fn serve<L, W>(mut listener: Bounded<L>, router: Router, stop: &CancellationToken)
where
    L: Listener,
    W: for<'a> From<(&'a L::Io, &'a L::Addr)> + Clone + Send + Sync + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let (connection, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let who = W::from((connection.inner(), &address));
        connections.spawn(converse(connection, who, router.clone(), stop.clone()));
    }
    drop(listener);
    connections.close();
    // What is not over by then ends with the process.
    let _ = tokio::time::timeout(LAST_REQUESTS, connections.wait()).await;
}

/// One connection, until its end, the stop or until it has to give way.
async fn converse<I, W>(connection: Connection<I>, who: W, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    let place = Arc::clone(connection.place());
    let given_away = place.given_away();
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: axum::http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        let asking = place.asks(&mut request);
        request.extensions_mut().insert(ConnectInfo(who.clone()));
        let answer = routes.call(request);
        async move {
            let _asking = asking;
            answer.await
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(READ_AHEAD_BYTES);
    let mut conversation = pin!(http.serve_connection(TokioIo::new(connection), service));
    // How one ended is the peer's business.
    tokio::select! {
        // A handler that does not read would not notice.
        () = given_away => return,
        _ = conversation.as_mut() => return,
        () = stop.cancelled() => conversation.as_mut().graceful_shutdown(),
    }
    let _ = conversation.await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use crate::web::testing::{BEARER, TestDaemon};

    #[tokio::test]
    async fn on_tcp_the_api_needs_a_token_and_the_socket_has_all_that_tcp_has() {
        let daemon = TestDaemon::start().await;
        for path in ["/api/v1/status", "/api/v1/actions", "/api/v1/nothing", "/api/v1/pause"] {
            daemon.get_tcp(path).await.problem(401);
        }
        daemon.send("/api/v1/pause", &[], json!({"why": "x"}).to_string()).await.problem(401);
        daemon.get_tcp("/nothing").await.problem(404);
        assert!(daemon.work.store.brake().await.unwrap().is_none());
        for path in ["/healthz", "/metrics", "/api/v1/status"] {
            assert_eq!(daemon.get(path).await.status, 200, "{path}");
        }
        daemon.get("/readyz").await;
        daemon.get("/api/v1/nothing").await.problem(404);
        assert_eq!(daemon.get("/hooks/sentinel").await.header("allow"), "POST");
    }

    #[tokio::test]
    async fn at_the_stop_nothing_is_accepted_and_a_request_under_way_is_finished() {
        let daemon = TestDaemon::start().await;
        let mut sender = TcpStream::connect(&daemon.address).await.unwrap();
        let body = r#"{"id": "a"}"#;
        let head = format!(
            "POST /hooks/sentinel HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
             Authorization: Bearer {BEARER}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        sender.write_all(head.as_bytes()).await.unwrap();
        // It goes on: the request is under way.
        let mut answer = vec![0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        sender.read_exact(&mut answer).await.unwrap();
        let (address, socket) = (daemon.address.clone(), daemon.socket.clone());
        daemon.work.stop.cancel();
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        sender.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        sender.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202") && answer.contains(r#"{"ids":["a"]"#), "{answer}");
        let _folder = tokio::time::timeout(Duration::from_secs(30), daemon.stop()).await.unwrap();
        assert!(tokio::net::UnixStream::connect(socket).await.is_err());
    }
}
