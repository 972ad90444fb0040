//! One connection of HTTP/1.1, as both doors that trunkline has for it serve it: agents over HTTP, and the page of a login.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;

use crate::fault::contained;

/// Serves a connection until it ends; the request that is under way when `ends` is ready is its last. The head of a request may
/// take as long as `head`. Each request has the extension `of`.
pub async fn serve<S, X>(
    stream: S,
    router: Router,
    of: X,
    head: Duration,
    ends: impl Future<Output = ()>,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    X: Clone + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(of.clone());
        let answered = contained(router.clone().oneshot(request));
        answered.map(|answered| {
            answered.unwrap_or_else(|fault| Ok((StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()).into_response()))
        })
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
