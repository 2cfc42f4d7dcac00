//! The two servers, from a listener to the end. Absent: routes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::bounded::Bounded;
use super::peer::Peer;
use super::place::{Seat, seated};
use super::tls::{OtherEnd, Tcp, Tls};
use super::{public_router, socket_router};
use crate::worker::Work;

/// How long requests under way have at the stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

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
    let router = public_router(work).layer(from_fn(told_who)).layer(from_fn(seated::<OtherEnd>));
    let service = router.into_make_service_with_connect_info::<Seat<OtherEnd>>();
    let listener = Bounded::new(Tcp::new(listener, tls));
    let server = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    until_over(server.into_future(), &stop).await
}

/// Serves the unix socket in the same way.
///
/// # Errors
/// When the listener can no longer be used.
pub async fn serve_socket(listener: UnixListener, work: Arc<Work>, stop: CancellationToken) -> io::Result<()> {
    let router = socket_router(work).layer(from_fn(seated::<Peer>));
    let service = router.into_make_service_with_connect_info::<Seat<Peer>>();
    let server = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
    until_over(server.into_future(), &stop).await
}

/// Tells the handler who is at the other end. After its files have changed, TLS begins anew with the next request.
async fn told_who(ConnectInfo(other): ConnectInfo<OtherEnd>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(ConnectInfo(other.remote()));
    let mut response = next.run(request).await;
    if other.is_outdated() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn until_over(server: impl Future<Output = io::Result<()>>, stop: &CancellationToken) -> io::Result<()> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        result = server => result,
        () = deadline => Ok(()),
    }
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
