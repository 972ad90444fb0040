//! The token endpoint (OAuth 2.1 section 3.2) and the revocation endpoint (RFC 7009): one request, and what its answer means.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::credentials::{Client, ClientAuth, Endpoints};
use crate::oauth::assertion;
use crate::oauth::guard::{Answer, Guard, GuardError};
use crate::retry::retry_after;
use crate::shown::scrubbed;

/// What a token endpoint gave.
pub(super) struct Granted {
    pub access: SecretString,
    pub refresh: Option<SecretString>,
    /// Seconds.
    pub expires_in: Option<u64>,
}

impl Granted {
    /// Reads an answer (RFC 6749 section 5.1). What is not as it should be is noted, and taken all the same.
    fn read(body: &[u8], issuer: &str) -> Option<Self> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let holds = |value: &&Value| value["access_token"].as_str().is_some_and(|token| !token.is_empty());
        // Some put it one step further down.
        let nested = || answer.as_object()?.values().find(holds);
        let found = Some(&answer).filter(holds).or_else(nested)?;
        let note = |what: String| tracing::warn!(issuer, "{what}");
        if !std::ptr::eq(found, &answer) {
            note("the token stands in a part of the answer, and not in the answer itself".to_owned());
        }
        match &found["token_type"] {
            Value::String(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            Value::Null => {}
            kind @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                note(format!("the token is said to be of the type {kind}: it is used as a bearer token all the same"))
            }
        }
        let text = |name: &str| found[name].as_str().filter(|text| !text.is_empty()).map(SecretString::from);
        Some(Self {
            access: text("access_token")?,
            refresh: text("refresh_token"),
            expires_in: seconds(&found["expires_in"]),
        })
    }
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

impl TokenError {
    /// Whether it is the client that the authorization server does not know, or any more.
    pub(super) fn is_about_the_client(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "invalid_client" || code == "unauthorized_client")
    }
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
    let sent: Vec<&str> = parameters
        .iter()
        .map(|(_, value)| *value)
        .chain(client.secret.iter().map(ExposeSecret::expose_secret))
        .collect();
    if !answer.status.is_success() {
        return Err(refusal(&answer, &sent));
    }
    // Some refuse with a status of success. Anything else says nothing of the login.
    Granted::read(&answer.body, &endpoints.issuer).ok_or_else(|| match refusal(&answer, &sent) {
        refused @ TokenError::Refused { .. } => refused,
        TokenError::Unavailable { after, .. } => {
            TokenError::Unavailable { reason: "its answer holds no token".to_owned(), after }
        }
    })
}

/// A number of seconds as authorization servers write it: also as text, or with a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    // Whole seconds, and none that there is not.
    number
        .filter(|number| *number >= 0.0)
        .map(|number| Duration::try_from_secs_f64(number).map_or(0, |life| life.as_secs()))
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
    if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer, &[token.expose_secret()])) }
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

/// What an error answer means (RFC 6749 section 5.2). What was sent is not repeated, whoever repeats it.
fn refusal(answer: &Answer, sent: &[&str]) -> TokenError {
    #[derive(Deserialize)]
    struct Body {
        error: String,
        error_description: Option<String>,
    }
    let status = answer.status;
    let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    match serde_json::from_slice::<Body>(&answer.body) {
        Ok(Body { error, .. })
            if passing || matches!(&*error, "temporarily_unavailable" | "server_error" | "slow_down") =>
        {
            TokenError::Unavailable { reason: format!("HTTP {status}: {}", scrubbed(&error, sent)), after }
        }
        // The words of a gateway in front of it say nothing of the login.
        Ok(Body { error, .. }) if !is_oauth(status, &error) => {
            TokenError::Unavailable { reason: format!("HTTP {status}: {}", scrubbed(&error, sent)), after }
        }
        Ok(Body { error, error_description }) => TokenError::Refused {
            code: scrubbed(&error, sent),
            description: error_description.map(|description| scrubbed(&description, sent)),
        },
        // Without OAuth's own words, an error says nothing of the login: something in between may have spoken.
        Err(_) => TokenError::Unavailable { reason: format!("HTTP {status}"), after },
    }
}

/// Whether an error code is one of OAuth (RFC 6749 section 5.2, RFC 8707 section 2), or looks like one where those may come.
fn is_oauth(status: StatusCode, code: &str) -> bool {
    let known = [
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "unauthorized_client",
        "unsupported_grant_type",
    ];
    let looks_alike = code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    known.contains(&code) || (looks_alike && (status.is_success() || matches!(status.as_u16(), 400 | 401)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = status.try_into().expect("a status");
        Answer { status, headers: Default::default(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn lives_as_they_are_written() {
        for (written, life) in [
            ("3600", Some(3600)),
            ("\"60\"", Some(60)),
            ("1.9", Some(1)),
            ("-1", None),
            ("null", None),
            ("\"x\"", None),
        ] {
            let body = format!(r#"{{"access_token":"t","expires_in":{written}}}"#);
            assert_eq!(Granted::read(body.as_bytes(), "").map(|granted| granted.expires_in), Some(life), "{written}");
        }
        for (body, access, refresh) in [
            (r#"{"error":"x"}"#, None, None),
            (r#"{"access_token":""}"#, None, None),
            (r#"{"access_token":"t","token_type":"bot","refresh_token":""}"#, Some("t"), None),
            (r#"{"access_token":"t","token_type":7,"refresh_token":null}"#, Some("t"), None),
            (r#"{"ok":true,"authed_user":{"access_token":"t","refresh_token":"r"}}"#, Some("t"), Some("r")),
        ] {
            let read = Granted::read(body.as_bytes(), "");
            let text = |secret: Option<&SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
            assert_eq!(text(read.as_ref().map(|read| &read.access)).as_deref(), access, "{body}");
            assert_eq!(text(read.as_ref().and_then(|read| read.refresh.as_ref())).as_deref(), refresh, "{body}");
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let refused = refusal(
            &answer(400, r#"{"error":"invalid_grant","error_description":"Invalid refresh token: canary-1"}"#),
            &["canary-1", "x"],
        );
        assert_eq!(refused.to_string(), "the authorization server refused: invalid_grant (Invalid refresh token: …)");
        assert!(matches!(refusal(&answer(200, "<html>"), &[]), TokenError::Unavailable { .. }));
        for (status, body, refused) in [
            (503, r#"{"error":"invalid_grant"}"#, false),
            (404, r#"{"status":404,"error":"Not Found"}"#, false),
            (403, r#"{"error":"Forbidden"}"#, false),
            (403, r#"{"error":"access_denied"}"#, true),
            (200, r#"{"error":"bad_refresh_token"}"#, true),
        ] {
            let found = refusal(&answer(status, body), &[]);
            assert_eq!(matches!(found, TokenError::Refused { .. }), refused, "{status} {body}");
        }
    }
}
