//! The HTTP client of all servers.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::upstream::start_error::StartError;
use reqwest::Client;
use reqwest::redirect::Policy;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How often a quiet HTTP/2 connection is looked after, and how long it may take to answer.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// The HTTP client of all servers, made with the first of them: trusted certificates are read then. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HttpClient(Arc<OnceLock<Client>>);

impl HttpClient {
    pub(super) fn get(&self) -> Result<Client, StartError> {
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
