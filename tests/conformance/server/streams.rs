//! Streamable HTTP on loopback: rmcp's service, and a stream that a call can end for its client to come back for.

use std::io::Write;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures_util::{Stream, stream};
use http::request::Parts;
use http::{HeaderMap, Method};
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Server, Shared};

/// When a client comes back that lost its stream.
const RETRY: Duration = Duration::from_millis(500);
/// How long a call waits for a client that should come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the call takes where it has no stream: longer than the suite waits on one.
const LONG: Duration = Duration::from_secs(11);

/// Ends the stream of the response to the request that carries it.
#[derive(Clone, Default)]
struct StreamEnd(CancellationToken);

pub(crate) async fn serve(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.sse_retry = Some(RETRY);
    let config = StreamableHttpServerConfig::default().with_sse_retry(Some(RETRY)).with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let resumed = Arc::clone(&shared);
    let service = StreamableHttpService::new(move || Ok(Server::new(Arc::clone(&shared))), Arc::new(sessions), config);
    let router = Router::new().route_service("/mcp", service).layer(from_fn_with_state(resumed, streams));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "http://{}/mcp", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Makes the stream of every response one that can be ended, and says who came back for the rest of one.
async fn streams(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let end = StreamEnd::default();
    request.extensions_mut().insert(end.clone());
    // rmcp's event ids name the call after a slash; that of the session's own stream has none.
    let of_call = request.headers().get("last-event-id").is_some_and(|id| id.as_bytes().contains(&b'/'));
    let session = session(request.headers()).filter(|_| of_call && request.method() == Method::GET);
    let (parts, body) = next.run(request).await.into_parts();
    if let Some(session) = session {
        // Nobody listens unless a call waits for it.
        drop(shared.resumed.send(session));
    }
    Response::from_parts(parts, Body::from_stream(until(body.into_data_stream(), end.0)))
}

/// What a stream has ready, until `end`.
fn until<S: Stream + Send + 'static>(items: S, end: CancellationToken) -> impl Stream<Item = S::Item> + Send {
    let mut items = Box::pin(items);
    let mut end: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(end.cancelled_owned());
    stream::poll_fn(move |task| match items.as_mut().poll_next(task) {
        Poll::Pending if end.as_mut().poll(task).is_ready() => Poll::Ready(None),
        item @ (Poll::Ready(_) | Poll::Pending) => item,
    })
}

fn session(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("mcp-session-id")?.to_str().ok()?.to_owned())
}

/// Ends the stream that a session's call would be answered on; whether the client then came back for the answer. Without a
/// session there is nothing that it could come back to.
pub(crate) async fn disconnect(shared: &Shared, context: &RequestContext<RoleServer>) -> bool {
    let Some(parts) = context.extensions.get::<Parts>() else {
        // There is no stream to end: whoever is in between has the time to lose one.
        tokio::time::sleep(LONG).await;
        return false;
    };
    let (Some(end), Some(own)) = (parts.extensions.get::<StreamEnd>(), session(&parts.headers)) else { return false };
    let mut resumed = shared.resumed.subscribe();
    end.0.cancel();
    let back = async { while resumed.recv().await.is_ok_and(|session| session != own) {} };
    tokio::time::timeout(PATIENCE, back).await.is_ok()
}
