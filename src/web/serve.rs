//! The two servers, from a listener to the end. Absent: routes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::bounded::Bounded;
use super::peer::Peer;
use super::{public_router, socket_router};
use crate::worker::Work;

/// How long requests under way have at the stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Serves TCP until `stop`; then nothing is accepted, and requests under way have a few seconds to end.
///
/// # Errors
/// When the listener can no longer be used.
pub async fn serve_tcp(listener: TcpListener, work: Arc<Work>, stop: CancellationToken) -> io::Result<()> {
    let service = public_router(work).into_make_service();
    let server = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
    until_over(server.into_future(), &stop).await
}

/// Serves the unix socket in the same way.
///
/// # Errors
/// When the listener can no longer be used.
pub async fn serve_socket(listener: UnixListener, work: Arc<Work>, stop: CancellationToken) -> io::Result<()> {
    let service = socket_router(work).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
    until_over(server.into_future(), &stop).await
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
