//! The page on 127.0.0.1 that a browser comes back to: it takes one kind of request, and says what to do next.

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::login::Redirect;
use crate::names::ServerName;

#[derive(Clone)]
struct Page {
    path: String,
    server: ServerName,
    redirects: mpsc::Sender<Redirect>,
}

/// Answers until the login is over.
pub(super) async fn serve(
    listener: TcpListener,
    path: String,
    server: ServerName,
    redirects: mpsc::Sender<Redirect>,
    ends: CancellationToken,
) {
    let router = Router::new().fallback(answer).with_state(Page { path, server, redirects });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { ends.cancelled().await }).await;
    if let Err(error) = served {
        tracing::warn!(%error, "the browser cannot be answered any more: paste the redirect instead");
    }
}

async fn answer(State(page): State<Page>, method: Method, uri: Uri) -> Response {
    if uri.path() != page.path {
        return (StatusCode::NOT_FOUND, "nothing is here\n").into_response();
    }
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
