//! The listener: connections of this machine, their number and their slowness bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::downstream::http::connection::Connection;
use crate::downstream::http::endpoint::HttpEndpoint;
use crate::http1;
use crate::retry::Backoff;
use crate::strangers::{Stranger, Strangers};
use crate::wire::STALLED;

/// How many connections there may be; more wait.
const MOST: usize = 512;
/// How many of them may be open before they have shown the token.
const STRANGERS: usize = 64;
/// How long the head of a request may take to arrive, from the opening of the connection on or from its first byte.
const HEAD: Duration = Duration::from_secs(30);
/// How long what is answered may still take to be written when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Pauses where the address is taken, or no connection can be accepted: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// It is never given up.
const PATIENCE: Duration = Duration::from_secs(1 << 30);

/// Listens until the daemon ends, and then until what is under way is answered.
pub(super) async fn run(face: Arc<HttpEndpoint>, router: Router, address: SocketAddr) {
    let Some(listener) = bind(&face, address).await else { return };
    let places = Arc::new(Semaphore::new(MOST));
    let strangers = Strangers::new(STRANGERS);
    let mut backoff = fresh();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = face.ends.drain.cancelled() => return,
        };
        match accepted {
            Ok((stream, place)) => {
                backoff = fresh();
                let (face, router, stranger) = (face.clone(), router.clone(), strangers.admit());
                face.tasks.clone().spawn(async move {
                    connection(&face, router, stream, stranger).await;
                    drop(place);
                });
                tokio::task::yield_now().await;
            }
            Err(error) => {
                let pause = backoff.pause().unwrap_or(PAUSE.1);
                tracing::warn!(%error, ?pause, "cannot accept a connection over HTTP");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = face.ends.drain.cancelled() => return,
                }
            }
        }
    }
}

fn fresh() -> Backoff {
    Backoff::new(PAUSE.0, PAUSE.1, PATIENCE)
}

/// Takes the address as soon as it is free.
async fn bind(face: &HttpEndpoint, address: SocketAddr) -> Option<TcpListener> {
    let mut backoff = fresh();
    let mut told = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => match listener.local_addr() {
                Ok(own) => {
                    let url = format!("http://{own}/mcp");
                    tracing::info!(url, "agents may attach over HTTP");
                    *face.hub.http.write() = Some(Ok(url));
                    return Some(listener);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !std::mem::replace(&mut told, true) {
            let problem = format!(
                "cannot listen on {address} (http.listen): {error}; it is tried again, or set another port and restart the daemon"
            );
            tracing::error!(problem);
            *face.hub.http.write() = Some(Err(problem));
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause().unwrap_or(PAUSE.1)) => {}
            () = face.ends.drain.cancelled() => return None,
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Messages are small and somebody waits for each. Where it cannot be set, the peer is gone already.
    stream.set_nodelay(true).ok();
    Ok((stream, place))
}

/// Serves one connection; when the daemon ends, the request that is under way is its last.
async fn connection(face: &HttpEndpoint, router: Router, stream: TcpStream, stranger: Stranger) {
    let (cut, must_go) = (CancellationToken::new(), stranger.clone());
    let of = Connection { cut: cut.clone(), stranger };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let last_words = async {
        face.ends.stop.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let ended = tokio::select! {
        ended = http1::serve(Box::pin(stream), router, of, HEAD, face.ends.drain.cancelled()) => ended,
        () = last_words => return,
        () = cut.cancelled() => return,
        () = must_go.must_go() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection over HTTP ended");
    }
}
