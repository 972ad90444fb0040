//! The agents' side over HTTP: `/mcp` for all servers, `/mcp/{server}` for one, both eras on one URL; `/healthz`, `/metrics`.
//!
//! It listens on loopback only, and asks every request for the token that is kept in the state folder.

mod answer;
mod body;
mod connection;
mod endpoint;
mod guard;
mod lifetimes;
mod listen;
mod metrics;
mod post;
mod records;
mod requests;
mod sessions;

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Router, extract};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config;
use crate::downstream::connection::Shutdown;
use crate::downstream::http::answer::{ending, not_allowed, refused, stream};
use crate::downstream::http::connection::Connection;
use crate::downstream::http::endpoint::{HttpEndpoint, Shared};
use crate::downstream::http::guard::Guard;
use crate::downstream::http::records::Records;
use crate::downstream::http::requests::Requests;
use crate::downstream::http::sessions::Sessions;
use crate::envelope::reply::code;
use crate::hub::{Hub, View};
use crate::wire::EventId;

/// Serves agents over HTTP until the daemon ends. That the address is taken is told, and tried again.
pub async fn serve_http(hub: Arc<Hub>, place: config::HttpListener, state: &Path, tasks: TaskTracker, ends: Shutdown) {
    let config::HttpListener { listen, origins } = place;
    let guard = match Guard::open(state, origins.clone()) {
        Ok(guard) => guard,
        Err(error) => {
            let problem = format!(
                "no agent can attach over HTTP: its token cannot be kept in {}: {error}",
                guard::file(state).display()
            );
            tracing::error!(problem);
            *hub.http.write() = Some(Err(problem));
            return;
        }
    };
    let face = HttpEndpoint {
        hub,
        guard,
        sessions: Sessions::default(),
        records: Arc::new(Records::open(state)),
        turn: Mutex::default(),
        requests: Requests::default(),
        tasks: tasks.clone(),
        ends: ends.clone(),
    };
    let face = Arc::new(face);
    let noted = CancellationToken::new();
    tasks.spawn(lifetimes::keep(face.clone(), noted.clone()));
    tasks.spawn(face.records.clone().keep(noted));
    listen::run(face.clone(), router(face, &origins), listen).await;
}

fn router(face: Arc<HttpEndpoint>, origins: &[String]) -> Router {
    let router = Router::new()
        .route("/mcp", any(all))
        .route("/mcp/", any(all))
        .route("/mcp/{server}", any(one))
        .route("/mcp/{server}/", any(one))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics::show))
        .fallback(async || {
            refused(
                StatusCode::NOT_FOUND,
                code::INVALID_REQUEST,
                "nothing is here: agents attach at /mcp or /mcp/SERVER",
            )
        })
        .layer(middleware::from_fn_with_state(face.clone(), guarded))
        .with_state(face);
    if origins.is_empty() {
        return router;
    }
    // A browser asks first whether a page may, without the token.
    let named = origins.iter().filter_map(|origin| header::HeaderValue::from_str(origin).ok());
    let pages = CorsLayer::new()
        .allow_origin(AllowOrigin::list(named))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([sessions::SESSION_ID]);
    router.layer(pages)
}

/// Lets in who may come in, and counts.
async fn guarded(State(face): Shared, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = match face.guard.check(request.uri(), request.headers()) {
        Ok(()) => {
            request.extensions().get::<Connection>().iter().for_each(|connection| connection.stranger.is_known());
            next.run(request).await
        }
        Err(mut refusal) => {
            // Who may not come in does not keep the place of one who may.
            refusal.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            *refusal
        }
    };
    face.requests.count(&method, response.status());
    response
}

async fn all(State(face): Shared, request: Request) -> Response {
    face.endpoint(View::All, request).await
}

async fn one(State(face): Shared, extract::Path(server): extract::Path<String>, request: Request) -> Response {
    match face.hub.server(&server) {
        Ok(upstream) => face.endpoint(View::One(upstream.name.clone()), request).await,
        Err(failure) => refused(StatusCode::NOT_FOUND, failure.code(), &failure.to_string()),
    }
}

impl HttpEndpoint {
    async fn endpoint(self: Arc<Self>, view: View, request: Request) -> Response {
        match *request.method() {
            Method::POST => self.post(view, request).await,
            Method::GET => self.listen(&view, request.headers()),
            Method::DELETE => self.end_session(&view, request.headers()),
            _ => not_allowed(),
        }
    }

    /// The stream of what belongs to no request, or the rest of one that was cut (legacy era).
    fn listen(&self, view: &View, headers: &HeaderMap) -> Response {
        if !headers.contains_key(sessions::SESSION_ID) {
            return not_allowed();
        }
        if let Some(refusal) = post::wrong_version(headers) {
            return refusal;
        }
        if self.ends.drain.is_cancelled() {
            return ending();
        }
        let Some(attached) = self.session(headers, view) else { return self.no_session() };
        if !answer::accepts(headers).events {
            let message = "the header `Accept` must name text/event-stream";
            return refused(StatusCode::NOT_ACCEPTABLE, code::INVALID_REQUEST, message);
        }
        let reader = match headers.get("last-event-id") {
            Some(id) => id.to_str().ok().and_then(EventId::parse).and_then(|id| attached.streams.resume(id)),
            None => attached.streams.listen(),
        };
        match reader {
            Some(reader) => stream(reader, None, attached.names_events(), attached),
            None => refused(
                StatusCode::BAD_REQUEST,
                code::INVALID_REQUEST,
                "what follows this event is not kept: listen without `Last-Event-ID`",
            ),
        }
    }

    fn end_session(&self, view: &View, headers: &HeaderMap) -> Response {
        if !headers.contains_key(sessions::SESSION_ID) {
            return not_allowed();
        }
        if let Some(refusal) = post::wrong_version(headers) {
            return refusal;
        }
        let _turn = self.turn.lock();
        let Some(id) = sessions::id_of(headers) else { return self.no_session() };
        let known = self.records.find(id, view).is_some_and(|_| self.records.forget(id));
        match self.sessions.end(id, view) || known {
            true => StatusCode::NO_CONTENT.into_response(),
            false => self.no_session(),
        }
    }

    fn no_session(&self) -> Response {
        if self.ends.drain.is_cancelled() {
            // The next daemon may know it.
            return ending();
        }
        let message = "the session is not known, or over: send `initialize` to begin another";
        refused(StatusCode::NOT_FOUND, code::CONNECTION_CLOSED, message)
    }
}
