//! `dashboard`: a page in the browser, served by this command alone, on a port of this machine that is open as long as it runs.

mod door;
mod drawings;
mod page;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use maud::Markup;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::dashboard::door::{Door, Entered};
use crate::cli::dashboard::page::Shown;
use crate::cli::done::{Done, Trouble, complain};
use crate::control::{Client, DaemonClient};

/// How long news gather before the page is told.
const GATHER: Duration = Duration::from_millis(400);
/// How often the page looks where nothing is heard: memory and ages change all the same.
const REFRESH: Duration = Duration::from_secs(10);
/// How many calls the page shows.
const CALLS: usize = 60;

const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = include_str!("dashboard/script.js");
/// Nothing comes from anywhere else, and nothing in a text of others is run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

type Subscription = jsonrpsee::core::client::Subscription<Box<RawValue>>;

/// What the handlers share.
struct Served {
    client: Client,
    door: Door,
    news: watch::Receiver<u64>,
}

type Dashboard = State<Arc<Served>>;

/// Serves the page until interrupted.
pub(super) async fn run(client: Client, open: bool) -> Done {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot open a port on 127.0.0.1")?;
    let port = listener.local_addr().context("the port has no number")?.port();
    let door = Door::new(port);
    let url = door.url();
    let (events, calls) = (client.subscribe_events().await?, client.subscribe_calls().await?);
    let (tell, news) = watch::channel(0);
    let served = Arc::new(Served { client, door, news });
    println_url(&url)?;
    if open && webbrowser::open(&url).is_err() {
        complain("no browser could be opened: open the URL yourself");
    }
    complain("the page is there until this is interrupted (Ctrl-C); the URL is good once");
    let routes = Router::new()
        .route("/", get(whole))
        .route("/part", get(part))
        .route("/events", get(follow))
        .route("/call/{id}", get(one_call))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/script.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT) }))
        .layer(middleware::from_fn_with_state(served.clone(), guard))
        .with_state(served.clone());
    tokio::select! {
        served = axum::serve(listener, routes) => served.context("the port is lost")?,
        ended = listen(events, calls, tell) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The URL alone on a line, for whoever opens it.
fn println_url(url: &str) -> Result<(), Trouble> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{url}")?;
    Ok(out.flush()?)
}

/// Counts what happens, so that pages know when to look.
async fn listen(mut events: Subscription, mut calls: Subscription, tell: watch::Sender<u64>) -> Result<(), Trouble> {
    loop {
        let heard = tokio::select! {
            event = events.next() => event.is_some(),
            call = calls.next() => call.is_some(),
            () = tokio::time::sleep(REFRESH) => true,
        };
        if !heard {
            return Err(Trouble::Daemon("the daemon has ended".to_owned()));
        }
        tell.send_modify(|count| *count += 1);
    }
}

/// Lets nobody in but who has the key, from this very page.
async fn guard(State(served): Dashboard, request: Request, next: Next) -> Response {
    let mut response = match served.door.enter(request.method(), request.uri(), request.headers()) {
        Entered::In => next.run(request).await,
        Entered::WithCookie(cookie) => {
            (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())]).into_response()
        }
        Entered::Refused(why) => (StatusCode::FORBIDDEN, page::refused(why)).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// What the page shows now.
async fn look(served: &Served) -> Result<Shown, Trouble> {
    let client = &served.client;
    let none = || None::<String>;
    let status = client.status().await?;
    let calls = client.calls(none(), none(), none(), none(), none(), None, None, None, None, Some(CALLS)).await?;
    let timeline = client.timeline(Some("1h".to_owned()), None).await?;
    Ok(Shown { status, calls, timeline })
}

async fn rendered(served: &Served, render: impl FnOnce(&Shown) -> Markup) -> Response {
    match look(served).await {
        Ok(shown) => render(&shown).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, page::refused(&error.to_string())).into_response(),
    }
}

async fn whole(State(served): Dashboard) -> Response {
    rendered(&served, page::whole).await
}

async fn part(State(served): Dashboard) -> Response {
    rendered(&served, page::sections).await
}

async fn one_call(State(served): Dashboard, Path(id): Path<i64>) -> Response {
    let none = || None::<String>;
    let found = served.client.calls(none(), none(), none(), none(), none(), None, None, None, Some(id), None).await;
    match found.as_deref() {
        Ok([call, ..]) => page::one_call(call).into_response(),
        Ok([]) => (StatusCode::NOT_FOUND, page::refused("no call has this number")).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, page::refused(&error.to_string())).into_response(),
    }
}

/// Says whenever there is something new.
async fn follow(State(served): Dashboard) -> impl IntoResponse {
    let news = served.news.clone();
    let events = stream::unfold(news, |mut news| async move {
        news.changed().await.ok()?;
        // What follows at once is told with it.
        tokio::time::sleep(GATHER).await;
        let count = *news.borrow_and_update();
        Some((Ok::<_, Infallible>(Event::default().data(count.to_string())), news))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
