//! Requests to one MCP endpoint: its URL, its headers, and the token, asked for with each of them.

use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url};

use super::super::instance::{StartError, Surroundings};
use super::super::quirks::Quirk;
use crate::config::{Given, Http, check_url};
use crate::oauth::{Bearer, Challenge, Keeper, NoToken, scrubbed};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How often a quiet HTTP/2 connection is looked after, and how long it may take to answer.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How often one message is sent with another token.
const TOKENS: u32 = 3;
/// How much of an error's body is read, in bytes.
pub(super) const ERROR_BODY: usize = 64 << 10;

/// The HTTP client of all servers, made with the first of them: trusted certificates are read then. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HttpClient(Arc<OnceLock<Client>>);

impl HttpClient {
    fn get(&self) -> Result<Client, StartError> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        // Proxies as the environment names them (`HTTPS_PROXY`, `NO_PROXY` …).
        let client = Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_keepalive(ALIVE.0)
            .http2_keep_alive_interval(ALIVE.0)
            .http2_keep_alive_timeout(ALIVE.1)
            .http2_adaptive_window(true)
            .redirect(Policy::custom(|attempt| {
                let last = attempt.previous().last().cloned();
                let same = last.is_some_and(|last| last.origin() == attempt.url().origin());
                // Anything else would turn a POST into a GET, or carry the server's headers elsewhere.
                let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
                if same && keeps_method && attempt.previous().len() < 5 { attempt.follow() } else { attempt.stop() }
            }))
            .build()
            .map_err(|error| StartError::Spawn(format!("no HTTP client: {}", reason(&error))))?;
        Ok(self.0.get_or_init(|| client).clone())
    }
}

/// One MCP endpoint, and the right to use it.
pub(super) struct Endpoint {
    client: Client,
    pub url: Url,
    /// As the entry sets them.
    headers: HeaderMap,
    /// Who has the token; nobody where the entry has an `Authorization` of its own.
    keeper: Option<Keeper>,
    around: Surroundings,
}

/// Whether a message may be sent once more where nobody knows whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    Never,
}

/// Why there is no answer to use.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing is known of the server itself.
    Unreachable(String),
    NoToken(NoToken),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => f.write_str(reason),
            Self::NoToken(NoToken::Login(reason) | NoToken::Unavailable(reason)) => f.write_str(reason),
        }
    }
}

impl Endpoint {
    pub(super) fn new(server: &Http, given: Given<'_>, around: &Surroundings) -> Result<Self, StartError> {
        let wrong = StartError::Template;
        let expand =
            |template: &crate::config::Template| template.expand(given).map_err(|error| wrong(error.to_string()));
        let url = check_url(&expand(&server.url)?).map_err(wrong)?;
        let mut headers = HeaderMap::new();
        for (name, template) in &server.headers {
            let no_header = |_| {
                wrong(format!("the header `{name}` cannot be sent: its value has characters that headers cannot have"))
            };
            let mut value = HeaderValue::from_str(&expand(template)?).map_err(no_header)?;
            // Never shown where requests are.
            value.set_sensitive(true);
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| wrong(format!("the header `{name}`: {error}")))?;
            headers.insert(known, value);
        }
        let keeper = match server.has_own_authorization() {
            true => None,
            false => Some(
                around.keepers.keeper(&around.name, &url, server, given).map_err(|error| wrong(error.to_string()))?,
            ),
        };
        Ok(Self { client: around.client.get()?, url, headers, keeper, around: around.clone() })
    }

    pub(super) fn post(&self, to: &Url, message: impl Into<Body>) -> RequestBuilder {
        self.client
            .post(to.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(message)
    }

    pub(super) fn get(&self) -> RequestBuilder {
        let request = self.client.get(self.url.clone()).headers(self.headers.clone());
        request.header(ACCEPT, "text/event-stream")
    }

    pub(super) fn delete(&self) -> RequestBuilder {
        self.client.request(Method::DELETE, self.url.clone()).headers(self.headers.clone())
    }

    /// Sends what `request` makes, with a token if there is one, and again with another one if the server asks for that, or
    /// if the token seems to have run out and nothing can have been done.
    pub(super) async fn send(&self, repeat: Repeat, request: impl Fn() -> RequestBuilder) -> Result<Response, Trouble> {
        let Some(keeper) = &self.keeper else { return self.execute(request()).await };
        let mut bearer = keeper.token().await.map_err(Trouble::NoToken)?;
        let mut stale = None;
        for _ in 0..TOKENS {
            let response = self.execute(authorized(request(), bearer.as_ref())).await?;
            let status = response.status();
            let refused = status == StatusCode::FORBIDDEN || status.is_server_error();
            if refused && stale.is_none() && keeper.may_have_run_out(bearer.as_ref()) {
                stale = Some(status);
                let next = keeper.challenged(bearer.as_ref(), Challenge::Stale).await;
                let repeats = status == StatusCode::FORBIDDEN || repeat == Repeat::Safe;
                match next {
                    Ok(next) if repeats => {
                        bearer = Some(next);
                        continue;
                    }
                    // The next request has it.
                    Ok(_) | Err(_) => {}
                }
            }
            let Some(challenge) = challenge(&response) else {
                if !refused {
                    keeper.accepted(bearer.as_ref());
                    stale.iter().for_each(|how| self.around.note(&Quirk::ExpiredToken(format!("HTTP {how}"))));
                }
                return Ok(response);
            };
            bearer = Some(keeper.challenged(bearer.as_ref(), challenge).await.map_err(Trouble::NoToken)?);
        }
        self.execute(authorized(request(), bearer.as_ref())).await
    }

    /// Sends with the token at hand, if there is one, and leaves it at that.
    pub(super) async fn send_once(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let bearer = self.keeper.as_ref().and_then(Keeper::token_now);
        self.execute(authorized(request, bearer.as_ref())).await
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        request
            .send()
            .await
            .map_err(|error| Trouble::Unreachable(format!("cannot reach {}: {}", self.place(), reason(&error))))
    }

    /// A text of the server's without what was sent to it to show the right to use it.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        let bearer = self.keeper.as_ref().and_then(Keeper::token_now);
        let values = self.headers.values().filter_map(|value| value.to_str().ok());
        // The part behind a scheme is the secret one.
        let parts = values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, secret)| secret)]);
        let sent: Vec<_> = parts.flatten().chain(bearer.as_ref().map(Bearer::token)).collect();
        scrubbed(text, &sent)
    }

    /// Waits until there is a token again; for ever, where none is used.
    pub(super) async fn until_token(&self) {
        match &self.keeper {
            Some(keeper) => keeper.until_token().await,
            None => std::future::pending().await,
        }
    }

    /// Where the server is, without what might be secret in its URL.
    pub(super) fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

fn authorized(request: RequestBuilder, bearer: Option<&Bearer>) -> RequestBuilder {
    match bearer {
        Some(bearer) => request.header(AUTHORIZATION, bearer.header()),
        None => request,
    }
}

/// What a server asks for before it answers (RFC 6750 section 3): a token, another one, or one that may do more.
fn challenge(response: &Response) -> Option<Challenge> {
    let all = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let words: Vec<_> = all.map(str::to_owned).collect();
    match response.status() {
        StatusCode::UNAUTHORIZED => Some(Challenge::Token(words.join(", "))),
        StatusCode::FORBIDDEN => {
            let joined = words.join(", ");
            joined.contains("insufficient_scope").then_some(Challenge::Scope(joined))
        }
        _ => None,
    }
}

/// An error and what lies behind it, without the URL, which may hold a secret.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut text = match error.is_timeout() {
        true => "it took too long".to_owned(),
        false if error.is_connect() => "no connection".to_owned(),
        false => "the exchange failed".to_owned(),
    };
    let mut source = error.source();
    let mut last = String::new();
    while let Some(inner) = source {
        last = inner.to_string();
        source = inner.source();
    }
    if !last.is_empty() {
        text = format!("{text} ({last})");
    }
    text
}
