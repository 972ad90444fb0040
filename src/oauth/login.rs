//! A login that a person is at: the URL to open, and the redirect that it ends with, which comes to a listener on 127.0.0.1 or
//! is pasted (RFC 8252, RFC 9207).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::{Client, Credential, Endpoints, Tokens};
use crate::oauth::callback::{Outcome, Redirect};
use crate::oauth::discovery::{Begun, Discovered};
use crate::oauth::guard::{Guard, Guards};
use crate::oauth::renew::next_tokens;
use crate::oauth::target::Target;
use crate::oauth::{callback, token};

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How many redirects may wait to be looked at.
const REDIRECTS: usize = 4;
/// Where the browser is sent, if nothing else is configured.
const PATH: &str = "/callback";

/// Why a login is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Another one was begun in its place.
    Replaced,
    LoggedOut,
}

/// A login that is under way, or over.
#[derive(Debug)]
pub struct Login {
    pub url: Url,
    pub redirect_uri: String,
    redirects: mpsc::Sender<Redirect>,
    outcome: watch::Receiver<Option<Outcome>>,
    ends: CancellationToken,
    why: OnceLock<Why>,
}

/// What is needed to finish a login.
pub(super) struct Pending {
    pub target: Arc<Target>,
    guard: Guard,
    endpoints: Endpoints,
    client: Client,
    begun: Begun,
    redirect_uri: String,
    listener: Option<(TcpListener, String)>,
    redirects: mpsc::Receiver<Redirect>,
    to_redirects: mpsc::Sender<Redirect>,
    outcome: watch::Sender<Option<Outcome>>,
    ends: CancellationToken,
}

/// How a login came out: the new credential, or that the authorization server does not know the client.
pub(super) struct Finished {
    pub result: Result<Credential, Arc<str>>,
    pub client_gone: bool,
    /// Told once the credential is kept.
    pub outcome: watch::Sender<Option<Outcome>>,
    pub waiting: Option<oneshot::Sender<Outcome>>,
}

impl Login {
    /// Whether it can still be finished.
    pub fn is_open(&self) -> bool {
        self.outcome.borrow().is_none() && !self.ends.is_cancelled()
    }

    /// Whether another one was begun in its place.
    pub(super) fn was_replaced(&self) -> bool {
        self.outcome.borrow().is_none() && self.why.get() == Some(&Why::Replaced)
    }

    /// Gives it up.
    pub(super) fn end(&self, why: Why) {
        // The first reason holds.
        self.why.get_or_init(|| why);
        self.ends.cancel();
    }

    /// Waits until it is over.
    pub async fn done(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let over = outcome.wait_for(Option::is_some).await;
        let given_up = || match self.why.get() {
            Some(Why::Replaced) => Err("another login was begun in its place".into()),
            Some(Why::LoggedOut) => Err("somebody has logged out meanwhile".into()),
            None => Err("trunkline is ending".into()),
        };
        over.ok().and_then(|over| over.clone()).unwrap_or_else(given_up)
    }

    /// Takes the redirect that a person copied from a browser.
    pub async fn redirected(&self, text: &str) -> Outcome {
        let url = Url::parse(text.trim()).map_err(|_| {
            Arc::<str>::from(
                "that is no URL: paste the whole address that the browser ended at, with `code` and `state` in it",
            )
        })?;
        let (reply, told) = oneshot::channel();
        let over = || Arc::<str>::from("this login is over: begin another one");
        self.redirects.send(Redirect { url, reply }).await.map_err(|_| over())?;
        told.await.map_err(|_| over())?
    }
}

/// Prepares a login: where, as whom, for what, and a place for the browser to come back to. `known` is an earlier login whose
/// client still holds, `before` the scopes that an earlier one asked its issuer for.
pub(super) async fn prepare(
    target: Arc<Target>,
    guards: Guards,
    known: Option<Credential>,
    before: Option<(String, Vec<String>)>,
    challenge: Option<String>,
    wanted: Vec<String>,
) -> Result<(Arc<Login>, Pending), String> {
    let guard = guards.get(&target.url).await.map_err(|error| error.to_string())?;
    let discovered =
        Discovered::find(&target, &guard, challenge.as_deref()).await.map_err(|error| error.to_string())?;
    let (listener, redirect_uri) = place(&target, known.as_ref()).await?;
    let mut redirect_uri = redirect_uri;
    let mut client = discovered.client(&target, &guard, &redirect_uri, known.as_ref()).await;
    let otherwise = Discovered::as_localhost(&redirect_uri);
    if client.as_ref().is_err_and(|error| error.0.contains("redirect")) && otherwise != redirect_uri {
        // Some take a name and no address (RFC 8252 has it the other way round).
        let again = discovered.client(&target, &guard, &otherwise, known.as_ref()).await;
        if again.is_ok() {
            (client, redirect_uri) = (again, otherwise);
        }
    }
    let client = client.map_err(|error| match error.0.contains("redirect") {
        true => format!("{error}; name a redirect that it takes in `oauth = {{ callback_url = \"…\" }}`"),
        false => error.to_string(),
    })?;
    let before = before.filter(|(issuer, _)| *issuer == discovered.endpoints.issuer);
    let before = before.map(|(_, scopes)| scopes).unwrap_or_default();
    let scopes = discovered.scopes_for(&target, &before, &wanted);
    let endpoints = discovered.endpoints.clone();
    let begun = discovered.begin(&target, &client, &redirect_uri, scopes).await.map_err(|error| error.to_string())?;
    guard.check(&begun.url).map_err(|error| error.to_string())?;
    let (to_redirects, redirects) = mpsc::channel(REDIRECTS);
    let (outcome, seen) = watch::channel(None);
    let ends = CancellationToken::new();
    let login = Login {
        url: begun.url.clone(),
        redirect_uri: redirect_uri.clone(),
        redirects: to_redirects.clone(),
        outcome: seen,
        ends: ends.clone(),
        why: OnceLock::new(),
    };
    let pending = Pending {
        target,
        guard,
        endpoints,
        client,
        begun,
        redirect_uri,
        listener,
        redirects,
        to_redirects,
        outcome,
        ends,
    };
    Ok((Arc::new(login), pending))
}

/// Where the browser comes back to: a listener with the path that it answers on, if one can help, and the redirect URI.
async fn place(
    target: &Target,
    earlier: Option<&Credential>,
) -> Result<(Option<(TcpListener, String)>, String), String> {
    let is_here = |url: &Url| matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    let port_of = |uri: &str| Url::parse(uri).ok().filter(is_here)?.port();
    let configured = target.oauth.callback_url.as_deref();
    let own = configured.and_then(|uri| Url::parse(uri).ok());
    let here = own.as_ref().filter(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")));
    let port = target.oauth.callback_port.or_else(|| here?.port_or_known_default());
    if let (Some(uri), None) = (configured, port) {
        // Somebody else's page shows the redirect, or passes it on by hand.
        return Ok((None, uri.to_owned()));
    }
    let last = earlier.and_then(|earlier| port_of(earlier.redirect_uri.as_deref()?));
    let listener = match (port, last) {
        (Some(port), _) => TcpListener::bind(("127.0.0.1", port)).await,
        // The port of the last time, for which the client was registered, if it is free.
        (None, Some(last)) => match TcpListener::bind(("127.0.0.1", last)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await,
        },
        (None, None) => TcpListener::bind(("127.0.0.1", 0)).await,
    };
    let at = port.map(|port| format!(" on port {port} (callback_port)")).unwrap_or_default();
    let listener = listener.map_err(|error| format!("cannot listen for the browser{at}: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("cannot listen for the browser{at}: {error}"))?;
    let path = own.as_ref().map_or(PATH, Url::path).to_owned();
    let named = earlier.and_then(|earlier| earlier.redirect_uri.as_deref()).filter(|uri| uri.contains("://localhost:"));
    let default = || format!("http://{address}{PATH}");
    let uri = configured.map_or_else(default, str::to_owned);
    let uri = if named.is_some() && configured.is_none() { Discovered::as_localhost(&uri) } else { uri };
    Ok((Some((listener, path)), uri))
}

impl Pending {
    /// Waits for the redirect, and fetches the token.
    pub(super) async fn finish(mut self, tasks: TaskTracker, stop: CancellationToken) -> Option<Finished> {
        let served = self.ends.clone();
        if let Some((listener, path)) = self.listener.take() {
            let redirects = self.to_redirects.clone();
            // Ends with the login.
            tasks.spawn(callback::serve(listener, path, self.target.server.clone(), redirects, served.clone()));
        }
        let _served = served.drop_guard();
        let over = |reason: &str| Err(Arc::<str>::from(reason));
        let deadline = tokio::time::sleep(PATIENCE);
        tokio::pin!(deadline);
        loop {
            let redirect = tokio::select! {
                redirect = self.redirects.recv() => redirect?,
                () = self.ends.cancelled() => return None,
                () = stop.cancelled() => return None,
                () = &mut deadline => {
                    let result = over("nobody finished the login in time");
                    return Some(Finished { result, client_gone: false, outcome: self.outcome, waiting: None });
                }
            };
            match self.code(&redirect.url) {
                // Not this login's: it goes on.
                Read::Foreign(reason) => drop(redirect.reply.send(Err(reason.into()))),
                Read::Failed(reason) => {
                    let (result, waiting) = (Err(reason.into()), Some(redirect.reply));
                    return Some(Finished { result, client_gone: false, outcome: self.outcome, waiting });
                }
                Read::Code(code) => {
                    let (result, client_gone) = self.exchange(&code).await;
                    return Some(Finished {
                        result,
                        client_gone,
                        outcome: self.outcome,
                        waiting: Some(redirect.reply),
                    });
                }
            }
        }
    }

    /// Reads a redirect.
    fn code(&self, url: &Url) -> Read {
        let parameter =
            |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if parameter("state").as_deref() != Some(&self.begun.state) {
            return Read::Foreign("that is not the redirect of the login that is under way");
        }
        match parameter("iss") {
            // Word for word, and before anything else of the answer is believed (RFC 9207 section 2.4).
            Some(issuer) if issuer != self.begun.issuer => {
                return Read::Failed(format!(
                    "the redirect is not from {}, where the login was begun: it was not used",
                    self.begun.issuer
                ));
            }
            None if self.begun.names_issuer => {
                return Read::Failed(format!(
                    "the redirect does not say that it is from {}, as it must: it was not used",
                    self.begun.issuer
                ));
            }
            Some(_) | None => {}
        }
        match (parameter("code"), parameter("error")) {
            (_, Some(error)) => {
                let more = parameter("error_description").map(|more| format!(" ({more})")).unwrap_or_default();
                let hint = match error.as_str() {
                    "invalid_scope" => format!(
                        "; it was asked for `{}`: name what it grants in `oauth = {{ scopes = […] }}`",
                        self.begun.scopes.join(" ")
                    ),
                    _ => String::new(),
                };
                Read::Failed(format!("{} refused the login: {error}{more}{hint}", self.begun.issuer))
            }
            (Some(code), None) => Read::Code(code.into()),
            (None, None) => Read::Failed("the redirect holds no code".to_owned()),
        }
    }

    async fn exchange(&self, code: &secrecy::SecretString) -> (Result<Credential, Arc<str>>, bool) {
        let mut parameters = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &*self.redirect_uri),
            ("code_verifier", self.begun.verifier.expose_secret()),
        ];
        parameters.extend(self.begun.resource.as_deref().map(|resource| ("resource", resource)));
        match token::request(&self.guard, &self.endpoints, &self.client, &parameters).await {
            Ok(granted) => {
                let credential = Credential {
                    id: self.target.id.clone(),
                    resource: self.begun.resource.clone().unwrap_or_default(),
                    endpoints: self.endpoints.clone(),
                    client: self.client.clone(),
                    redirect_uri: Some(self.redirect_uri.clone()),
                    scopes: self.begun.scopes.clone(),
                    // Its number is given where it is taken over.
                    tokens: next_tokens(granted, &Tokens::none(), 0),
                };
                (Ok(credential), false)
            }
            Err(error) => {
                let client_gone = error.is_about_the_client();
                let more = if client_gone { ": log in again, and another client is registered" } else { "" };
                (Err(format!("{error}{more}").into()), client_gone)
            }
        }
    }
}

/// What a redirect says.
enum Read {
    Code(secrecy::SecretString),
    Foreign(&'static str),
    Failed(String),
}
