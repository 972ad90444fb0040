//! The tokens of a login: handed out, renewed, refused by the server, saved late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rmcp::transport::auth::WWWAuthenticateParams;
use tokio::sync::oneshot;

use super::{Reply, SAVE_AGAIN, Task};
use crate::credentials::Credential;
use crate::oauth::keeper::{Bearer, Challenge, NoToken};
use crate::oauth::renew::{Renewal, Renewed, save};
use crate::retry::pause_after;

/// Pauses after a failed refresh: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

impl Task {
    /// Answers at once where that is possible, else when the next token is there.
    pub(super) async fn wait(&mut self, reply: Reply<Result<Option<Bearer>, NoToken>>) {
        let (held, state) = (self.held(), self.state.borrow().clone());
        let answer = match (&held, &state.need) {
            (Some(held), _) if held.is_fresh(Instant::now()) => Some(Ok(Some(held.bearer.clone()))),
            (None, Some(why)) => Some(Err(NoToken::Login(why.clone()))),
            (None, None) if !state.loaded => {
                Some(Err(NoToken::Unavailable(state.trouble.unwrap_or_else(|| "logins cannot be read".into()))))
            }
            (None, None) if !self.can_renew() => Some(Ok(None)),
            (Some(_) | None, _) => None,
        };
        match answer {
            Some(answer) => drop(reply.send(answer)),
            None => {
                self.waiters.push(reply);
                self.renew_or_need("the token has ended, and there is none to refresh it with").await;
            }
        }
    }

    pub(super) async fn renew_or_need(&mut self, why: &str) {
        if self.can_renew() { self.renew().await } else { self.need(why) }
    }

    /// Starts getting the next token, unless that is under way, or too early.
    pub(super) async fn renew(&mut self) {
        if self.renewing.is_some() {
            return;
        }
        if let Some(until) = self.not_before.filter(|until| *until > Instant::now()) {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
            let trouble = self.state.borrow().trouble.clone().unwrap_or_else(|| "the last try failed".into());
            let reason = format!("{trouble}; it is asked again in {seconds} s");
            return self.answer(&Err(NoToken::Unavailable(reason.into())));
        }
        let guard = match self.guard().await {
            Ok(guard) => guard,
            Err(reason) => return self.failed(reason, None),
        };
        let renewal = Renewal {
            target: self.target(),
            vault: self.shared.vault.clone(),
            guard,
            credential: self.credential.clone(),
            saved: self.saved,
            challenge: self.challenge.clone(),
            wanted: self.wanted.clone(),
        };
        self.renewing = Some(Box::pin(renewal.run()));
    }

    pub(super) fn renewed(&mut self, renewed: Renewed) {
        match renewed {
            Renewed::New { credential, unsaved } => {
                match &unsaved {
                    None => self.saved = Some(credential.tokens.generation),
                    Some(reason) => {
                        tracing::error!(server = %self.target().server, reason, "the new token is not saved: if trunkline ends now, a login is needed");
                        self.save_at = Some(Instant::now() + SAVE_AGAIN);
                    }
                }
                self.given = Some(credential.tokens.generation);
                self.adopt(credential, unsaved.map(|reason| format!("the token is not saved: {reason}")));
            }
            Renewed::Adopted(credential) => {
                self.saved = Some(credential.tokens.generation);
                self.adopt(credential, None);
            }
            Renewed::Superseded(_) => {
                self.state.send_modify(|state| state.loaded = false);
                self.credential = None;
                self.need("the login was ended");
            }
            Renewed::Refused { reason, client_gone } => {
                self.client_gone |= client_gone;
                self.need(&reason);
            }
            Renewed::Failed { reason, after } => self.failed(reason, after),
        }
    }

    pub(super) fn adopt(&mut self, credential: Credential, trouble: Option<String>) {
        (self.failures, self.not_before) = (0, None);
        self.credential = Some(credential);
        self.show(trouble);
        let bearer = self.held().map(|held| held.bearer);
        self.answer(&Ok(bearer));
    }

    /// The authorization server did not say no, but nothing else either.
    pub(super) fn failed(&mut self, reason: String, after: Option<Duration>) {
        self.failures += 1;
        let pause = pause_after(self.failures, PAUSE.0, PAUSE.1, fastrand::f64());
        self.not_before = Some(Instant::now() + after.map_or(pause, |after| after.max(pause)));
        // Names may mean something else by then.
        self.guard = None;
        tracing::warn!(server = %self.target().server, reason, failures = self.failures, "no new token yet");
        let reason: Arc<str> = reason.into();
        self.state.send_modify(|state| state.trouble = Some(reason.clone()));
        // The old token may still do.
        let answer = match self.held().filter(|held| held.is_fresh(Instant::now())) {
            Some(held) => Ok(Some(held.bearer)),
            None => Err(NoToken::Unavailable(reason)),
        };
        self.answer(&answer);
    }

    pub(super) async fn challenged(
        &mut self,
        sent: Option<u64>,
        challenge: Challenge,
        reply: Reply<Result<Bearer, NoToken>>,
    ) {
        let held = self.held();
        match challenge {
            Challenge::Scope(words) => {
                let answer = self.wants_more(&words);
                if let Some(answer) = answer {
                    return drop(reply.send(Err(answer)));
                }
                // A client can ask for more by itself.
            }
            Challenge::Token(words) => {
                if let Some(newer) = held.as_ref().filter(|held| Some(held.bearer.generation) > sent) {
                    return drop(reply.send(Ok(newer.bearer.clone())));
                }
                self.challenge = Some(words);
                let new = self.given.filter(|given| Some(*given) == sent);
                let refused = new.is_some_and(|new| self.accepted.load(Ordering::Relaxed) < new);
                if refused && self.renewing.is_none() {
                    self.need("the server does not take the token that was just given out");
                }
            }
        }
        if let Some(why) = self.state.borrow().need.clone() {
            return drop(reply.send(Err(NoToken::Login(why))));
        }
        let (waiter, answer) = oneshot::channel();
        self.waiters.push(waiter);
        // Whoever asks meanwhile waits for the next one too.
        self.state.send_modify(|state| {
            if let Some(held) = &mut state.held {
                held.expires = Some(Instant::now());
            }
        });
        let why =
            if sent.is_some() { "the server does not take the token any more" } else { "nobody has logged in yet" };
        self.renew_or_need(why).await;
        self.shared.tasks.spawn(async move {
            let answer = answer.await.unwrap_or_else(|_| Err(NoToken::Unavailable("trunkline is ending".into())));
            let bearer =
                answer.and_then(|bearer| bearer.ok_or_else(|| NoToken::Login("nobody has logged in yet".into())));
            drop(reply.send(bearer));
        });
    }

    /// The server asks for rights that the token does not have. `None` where the client can ask for them by itself.
    pub(super) fn wants_more(&mut self, words: &str) -> Option<NoToken> {
        let target = self.target();
        let asked = WWWAuthenticateParams::parse(words, &target.url).scope.unwrap_or_default();
        let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let has = self.credential.as_ref().map(|credential| credential.scopes.clone()).unwrap_or_default();
        let missing: Vec<String> = asked.iter().filter(|scope| !has.contains(scope)).cloned().collect();
        if missing.is_empty() {
            // Another login would bring the same.
            let reason = format!(
                "the server refuses this, although the login has all the rights that it asks for (`{}`)",
                asked.join(" ")
            );
            return Some(NoToken::Unavailable(reason.into()));
        }
        for scope in &missing {
            if !self.wanted.contains(scope) {
                self.wanted.push(scope.clone());
            }
        }
        self.challenge = Some(words.to_owned());
        if target.is_client_credentials() {
            return None;
        }
        Some(NoToken::Login(
            format!("the server asks for more rights (`{}`) than this login has", missing.join(" ")).into(),
        ))
    }

    pub(super) async fn save_again(&mut self) {
        self.save_at = None;
        let Some(credential) = self.credential.clone() else { return };
        let generation = credential.tokens.generation;
        match save(&self.shared.vault, credential, self.saved).await {
            Ok(true) => {
                tracing::info!(server = %self.target().server, "the token is saved now");
                self.saved = Some(generation);
                self.state.send_modify(|state| state.trouble = None);
            }
            Ok(false) => self.renewed(Renewed::Superseded(None)),
            Err(error) => {
                tracing::error!(server = %self.target().server, %error, "the token is still not saved");
                self.save_at = Some(Instant::now() + SAVE_AGAIN);
            }
        }
    }
}
