//! The token endpoint (OAuth 2.1 section 3.2) and the revocation endpoint (RFC 7009): one request, and what its answer means.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::assertion;
use super::guard::{Answer, Guard, GuardError};
use crate::credentials::{Client, ClientAuth, Endpoints};

/// The longest that an authorization server may keep others waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What a token endpoint gave.
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "access_token")]
    pub access: SecretString,
    #[serde(rename = "refresh_token")]
    pub refresh: Option<SecretString>,
    /// Seconds.
    pub expires_in: Option<u64>,
    token_type: Option<String>,
}

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum TokenError {
    /// The authorization server said no, with an error code of OAuth.
    #[error("the authorization server refused: {code}{}", text(description))]
    Refused { code: String, description: Option<String> },
    /// It may say yes another time, but not before this long.
    #[error("the authorization server is not available: {reason}")]
    Unavailable { reason: String, after: Option<Duration> },
}

fn text(description: &Option<String>) -> String {
    description.as_ref().map(|description| format!(" ({description})")).unwrap_or_default()
}

impl From<GuardError> for TokenError {
    fn from(error: GuardError) -> Self {
        Self::Unavailable { reason: error.to_string(), after: None }
    }
}

/// Asks for a token: `parameters` are the grant's own.
pub(super) async fn request(
    guard: &Guard,
    endpoints: &Endpoints,
    client: &Client,
    parameters: &[(&str, &str)],
) -> Result<Granted, TokenError> {
    let answer = post(guard, &endpoints.token, &endpoints.issuer, client, parameters).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer));
    }
    let granted: Granted = serde_json::from_slice(&answer.body).map_err(|error| {
        // Its text could quote the answer.
        let place = format!("line {} column {}", error.line(), error.column());
        TokenError::Refused { code: "its answer holds no token".to_owned(), description: Some(place) }
    })?;
    match granted.token_type.as_deref() {
        Some(other) if !other.eq_ignore_ascii_case("bearer") => Err(TokenError::Refused {
            code: format!("its token is of the type `{other}`, and only `Bearer` is known here"),
            description: None,
        }),
        Some(_) | None => Ok(granted),
    }
}

/// Takes a token back.
pub(super) async fn revoke(
    guard: &Guard,
    endpoints: &Endpoints,
    client: &Client,
    token: &SecretString,
) -> Result<(), TokenError> {
    let Some(revocation) = &endpoints.revocation else { return Ok(()) };
    let answer = post(guard, revocation, &endpoints.issuer, client, &[("token", token.expose_secret())]).await?;
    if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer)) }
}

async fn post(
    guard: &Guard,
    to: &str,
    issuer: &str,
    client: &Client,
    parameters: &[(&str, &str)],
) -> Result<Answer, TokenError> {
    let unusable = |reason: String| TokenError::Refused { code: reason, description: None };
    let url: Url = to.parse().map_err(|_| unusable(format!("`{to}` is no URL")))?;
    let (form, authorization) = form(issuer, client, parameters).map_err(unusable)?;
    let request =
        guard.post(&url).header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = match authorization {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    };
    let request = request.body(form).build().map_err(|error| unusable(error.to_string()))?;
    Ok(guard.send(request).await?)
}

/// The body of a request, and the `Authorization` that goes with it, by which the client shows who it is.
fn form(issuer: &str, client: &Client, parameters: &[(&str, &str)]) -> Result<(String, Option<HeaderValue>), String> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(parameters);
    let mut authorization = None;
    match (&client.auth, &client.secret) {
        (ClientAuth::Basic, Some(secret)) => {
            // Both parts are form-encoded first (RFC 6749 section 2.3.1).
            let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", part(&client.id), part(secret.expose_secret()));
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
                .map_err(|_| "the client's secret cannot be sent".to_owned())?;
            value.set_sensitive(true);
            authorization = Some(value);
        }
        (ClientAuth::Post, Some(secret)) => {
            form.append_pair("client_id", &client.id).append_pair("client_secret", secret.expose_secret());
        }
        (ClientAuth::PrivateKey(algorithm), Some(key)) => {
            let assertion = assertion::sign(&client.id, issuer, key, algorithm)?;
            form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .append_pair("client_assertion", assertion.expose_secret());
        }
        (ClientAuth::None | ClientAuth::Basic | ClientAuth::Post | ClientAuth::PrivateKey(_), _) => {
            form.append_pair("client_id", &client.id);
        }
    }
    Ok((form.finish(), authorization))
}

/// What an error answer means (RFC 6749 section 5.2).
fn refusal(answer: &Answer) -> TokenError {
    #[derive(Deserialize)]
    struct Body {
        error: String,
        error_description: Option<String>,
    }
    let status = answer.status;
    let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    match serde_json::from_slice::<Body>(&answer.body) {
        Ok(Body { error, .. })
            if passing || matches!(&*error, "temporarily_unavailable" | "server_error" | "slow_down") =>
        {
            TokenError::Unavailable { reason: format!("HTTP {status}: {error}"), after }
        }
        Ok(Body { error, error_description }) => TokenError::Refused { code: error, description: error_description },
        // Without OAuth's own words, an error says nothing of the login: something in between may have spoken.
        Err(_) => TokenError::Unavailable { reason: format!("HTTP {status}"), after },
    }
}
