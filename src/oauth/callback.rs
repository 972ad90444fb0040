//! The page on 127.0.0.1 that a browser comes back to: it takes one kind of request, and says what to do next.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Router};
use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http1;
use crate::names::ServerName;
use crate::strangers::{PATIENCE, Stranger, Strangers};

/// How a login ended.
pub type Outcome = Result<(), Arc<str>>;

/// A redirect, and who waits to hear what came of it.
pub(super) struct Redirect {
    pub url: Url,
    pub reply: oneshot::Sender<Outcome>,
}

#[derive(Clone)]
struct Page {
    path: String,
    server: ServerName,
    redirects: mpsc::Sender<Redirect>,
}

/// How many connections may be open that have not asked for the page: any program of this machine can make some.
const STRANGERS: usize = 16;
/// How many may be open at all.
const MOST: usize = 64;

/// How long the last answer may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The pause where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers until the login is over.
pub(super) async fn serve(
    listener: TcpListener,
    path: String,
    server: ServerName,
    redirects: mpsc::Sender<Redirect>,
    ends: CancellationToken,
) {
    let router = Router::new().fallback(answer).with_state(Page { path, server, redirects });
    let (strangers, mut open) = (Strangers::new(STRANGERS), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            () = ends.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) if open.len() < MOST => {
                open.spawn(connection(router.clone(), stream, strangers.admit(), ends.clone()));
                tokio::task::yield_now().await;
            }
            // Who is there goes soon.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the browser may not be answered: paste the redirect instead");
                drop(tokio::time::timeout(PAUSE, ends.cancelled()).await);
            }
        }
    }
    drop(tokio::time::timeout(LAST_WORDS, open.join_all()).await);
}

/// Serves one connection; when the login is over, the request that is under way is its last.
async fn connection(router: Router, stream: TcpStream, stranger: Stranger, ends: CancellationToken) {
    let ended = tokio::select! {
        ended = http1::serve(stream, router, stranger.clone(), PATIENCE, ends.cancelled()) => ended,
        () = stranger.must_go() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection of a browser ended");
    }
}

async fn answer(
    State(page): State<Page>,
    Extension(stranger): Extension<Stranger>,
    method: Method,
    uri: Uri,
) -> Response {
    if uri.path() != page.path {
        return (StatusCode::NOT_FOUND, [(header::CONNECTION, "close")], "nothing is here\n").into_response();
    }
    stranger.is_known();
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "only GET\n").into_response();
    }
    // Only the query matters: the host is whatever the browser called it.
    let Ok(url) = Url::parse(&format!("http://127.0.0.1{uri}")) else {
        return (StatusCode::BAD_REQUEST, "no URL\n").into_response();
    };
    let (reply, told) = oneshot::channel();
    let outcome = match page.redirects.send(Redirect { url, reply }).await {
        Ok(()) => told.await.unwrap_or_else(|_| Err("this login is over".into())),
        Err(_) => Err("this login is over".into()),
    };
    let (status, head, text) = match outcome {
        Ok(()) => (
            StatusCode::OK,
            "Logged in",
            format!(
                "trunkline is logged in at the server <b>{}</b>. You can close this page and go back to your agent.",
                page.server
            ),
        ),
        Err(reason) => (
            StatusCode::BAD_REQUEST,
            "Not logged in",
            format!("{} To try again, run <code>trunkline login {}</code>.", escaped(&reason), page.server),
        ),
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{head}</title><style>body{{font:16px/1.5 sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}</style><h1>{head}</h1><p>{text}</p></html>\n"
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, Html(html)).into_response()
}

/// Text that others wrote, for a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
