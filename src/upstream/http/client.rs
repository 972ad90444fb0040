//! Requests to one MCP endpoint: its URL, its headers, and the token, asked for with each of them.

use std::fmt;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url};

use crate::config::{Given, Http, check_url};
use crate::oauth::{Bearer, Challenge, Keeper, NoToken};
use crate::shown::scrubbed;
use crate::upstream::http_client::reason;
use crate::upstream::instance_services::InstanceServices;
use crate::upstream::quirks::Quirk;
use crate::upstream::start_error::StartError;

/// How often one message is sent with another token.
const TOKENS: u32 = 3;
/// How much of an error's body is read, in bytes.
pub(super) const ERROR_BODY: usize = 64 << 10;

/// One MCP endpoint, and the right to use it.
pub(super) struct Endpoint {
    client: Client,
    pub url: Url,
    /// As the entry sets them.
    headers: HeaderMap,
    /// Who has the token; nobody where the entry has an `Authorization` of its own.
    keeper: Option<Keeper>,
    around: InstanceServices,
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
    pub(super) fn new(server: &Http, given: Given<'_>, around: &InstanceServices) -> Result<Self, StartError> {
        let wrong = StartError::Template;
        let expand =
            |template: &crate::config::Template| template.expand(given).map_err(|error| wrong(error.to_string()));
        let url = check_url(&expand(&server.url)?).map_err(wrong)?;
        let mut headers = HeaderMap::new();
        for (name, template) in &server.headers {
            let no_header = |_| {
                wrong(format!("the header `{name}` cannot be sent: its value has characters that headers cannot have"))
            };
            let text = expand(template)?;
            around.masks.note_header(&text);
            let mut value = HeaderValue::from_str(&text).map_err(no_header)?;
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
            bearer.iter().for_each(|bearer| self.around.masks.note(bearer.token()));
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
