//! A token as it is sent, what a server says to it, and why there is none.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::credentials::Tokens;

/// A token as it is sent.
#[derive(Debug, Clone)]
pub struct Bearer {
    token: SecretString,
    pub(super) generation: u64,
}

/// What a server asked for instead of answering, with its `WWW-Authenticate`.
#[derive(Debug)]
pub enum Challenge {
    /// 401: a token, or another one.
    Token(String),
    /// 403 with `insufficient_scope`: one that may do more.
    Scope(String),
    /// Another one, because this one may have run out, though the server does not say so.
    Stale,
}

/// Why there is no token to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// A person must log in.
    Login(Arc<str>),
    /// Not now, or not for this.
    Unavailable(Arc<str>),
}

impl Bearer {
    pub(super) fn new(tokens: &Tokens) -> Self {
        Self { token: tokens.access.clone(), generation: tokens.generation }
    }

    /// The token itself, to look for it.
    pub fn token(&self) -> &str {
        self.token.expose_secret()
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> HeaderValue {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()));
        // What cannot be sent is refused by the server like any wrong token.
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }
}
