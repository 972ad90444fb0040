//! The tokens of a login: handed out, renewed, refused by the server, saved late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rmcp::transport::auth::WWWAuthenticateParams;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::credentials::Credential;
use crate::oauth::bearer::{Bearer, Challenge, NoToken};
use crate::oauth::command::Reply;
use crate::oauth::renew::{Renewal, Renewed, save};
use crate::oauth::task::{SAVE_AGAIN, Task};
use crate::oauth::wall_clock::wall;
use crate::retry::pause_after;

/// Pauses after a failed refresh: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// For how long a token is new, in seconds: one that the server refuses then will not be taken later either.
const NEW: u64 = 60;

impl Task {
    /// Answers at once where that is possible, else when the next token is there.
    pub(super) fn wait(&mut self, reply: Reply<Result<Option<Bearer>, NoToken>>) {
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
                self.renew_or_need("the token has ended, and there is none to refresh it with");
            }
        }
    }

    fn renew_or_need(&mut self, why: &str) {
        if self.can_renew() { self.renew() } else { self.need(why) }
    }

    /// Starts getting the next token, unless that is under way, or too early.
    pub(super) fn renew(&mut self) {
        if self.renewing.is_some() {
            return;
        }
        if let Some(until) = self.not_before.filter(|until| *until > Instant::now()) {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
            let trouble = self.state.borrow().trouble.clone().unwrap_or_else(|| "the last try failed".into());
            let reason = format!("{trouble}; it is asked again in {seconds} s");
            return self.answer(&Err(NoToken::Unavailable(reason.into())));
        }
        self.ended = CancellationToken::new();
        let renewal = Renewal {
            target: self.target(),
            vault: self.shared.vault.clone(),
            guards: self.guards.clone(),
            credential: self.credential.clone(),
            generation: self.next_generation(),
            ended: self.ended.clone(),
            challenge: self.challenge.clone(),
            wanted: self.wanted.clone(),
        };
        self.renewing = Some(Box::pin(renewal.run()));
    }

    /// The number of the next token: higher than any before, so that nobody takes an old one for a newer one.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.latest += 1;
        self.latest
    }

    pub(super) fn renewed(&mut self, renewed: Renewed) {
        match renewed {
            Renewed::New { credential, unsaved } => {
                self.suspected = false;
                if let Some(reason) = &unsaved {
                    tracing::error!(server = %self.target().server, reason, "the new token is not saved: if trunkline ends now, a login is needed");
                }
                self.given = Some((credential.tokens.generation, wall()));
                self.adopt(credential, unsaved.map(|reason| format!("the token is not saved: {reason}")));
            }
            Renewed::Adopted(credential) => {
                self.latest = self.latest.max(credential.tokens.generation);
                self.adopt(credential, None);
            }
            // A logout that could not be carried out; the old token may be spent.
            Renewed::Ended(Some(credential)) => self.adopt(credential, Some("the token is not saved yet".to_owned())),
            Renewed::Ended(None) => self.answer(&Err(NoToken::Unavailable("the login was ended".into()))),
            // The server did not say that the token has ended: it may still do.
            Renewed::Refused { reason, .. } if std::mem::take(&mut self.suspected) => {
                self.answer(&Err(NoToken::Unavailable(reason.into())));
            }
            Renewed::Refused { reason, client_gone } => {
                self.client_gone |= client_gone;
                self.need(&reason);
            }
            Renewed::Failed { reason, after } => self.failed(reason, after),
        }
    }

    /// Takes a token over; `unsaved` says why it is not on the disk, if it is not.
    pub(super) fn adopt(&mut self, credential: Credential, unsaved: Option<String>) {
        (self.failures, self.not_before) = (0, None);
        self.save_at = unsaved.as_ref().map(|_| Instant::now() + SAVE_AGAIN);
        self.credential = credential.completed(self.target().configured_client());
        if self.credential.is_none() {
            self.read_anew();
            let reason = "the configuration names another client than this login's";
            return self.answer(&Err(NoToken::Unavailable(reason.into())));
        }
        self.show(unsaved);
        let bearer = self.held().map(|held| held.bearer);
        self.answer(&Ok(bearer));
    }

    /// The authorization server did not say no, but nothing else either.
    pub(super) fn failed(&mut self, reason: String, after: Option<Duration>) {
        self.failures += 1;
        let pause = pause_after(self.failures, PAUSE.0, PAUSE.1, fastrand::f64());
        self.not_before = Some(Instant::now() + after.map_or(pause, |after| after.max(pause)));
        // Names may mean something else by then.
        self.guards.forget();
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

    pub(super) fn challenged(
        &mut self,
        sent: Option<u64>,
        challenge: Challenge,
        reply: Reply<Result<Bearer, NoToken>>,
    ) {
        let newer = self.held().filter(|held| Some(held.bearer.generation) > sent);
        if let Some(newer) = newer.filter(|newer| newer.is_fresh(Instant::now())) {
            return drop(reply.send(Ok(newer.bearer)));
        }
        let suspected = matches!(challenge, Challenge::Stale);
        match challenge {
            Challenge::Stale => {}
            Challenge::Scope(words) => {
                if let Some(answer) = self.wants_more(&words) {
                    return drop(reply.send(Err(answer)));
                }
                // A client can ask for more by itself.
            }
            Challenge::Token(words) => {
                self.challenge = Some(words);
                // By the clock on the wall, which goes on while the machine sleeps.
                let new = self.given.filter(|(number, at)| Some(*number) == sent && wall() < at.saturating_add(NEW));
                let refused = new.is_some_and(|(number, _)| self.accepted.load(Ordering::Relaxed) < number);
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
        if suspected {
            self.suspected |= self.renewing.is_none();
        } else {
            self.suspected = false;
            // Whoever asks meanwhile waits for the next one too.
            self.state.send_modify(|state| {
                if let Some(held) = &mut state.held {
                    held.expires = Some(Instant::now());
                }
            });
        }
        self.renew_or_need(match sent {
            Some(_) => "the server does not take the token any more",
            None => "nobody has logged in yet",
        });
        self.shared.tasks.spawn(async move {
            let answer = answer.await.unwrap_or_else(|_| Err(NoToken::Unavailable("trunkline is ending".into())));
            let none = || NoToken::Login("nobody has logged in yet".into());
            drop(reply.send(answer.and_then(|bearer| bearer.ok_or_else(none))));
        });
    }

    /// The server asks for rights that the token does not have. `None` where the client can ask for them by itself.
    fn wants_more(&mut self, words: &str) -> Option<NoToken> {
        let target = self.target();
        let asked = WWWAuthenticateParams::parse(words, &target.url).scope.unwrap_or_default();
        let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let has = self.credential.as_ref().map(|credential| credential.scopes.clone()).unwrap_or_default();
        let missing: Vec<String> = asked.iter().filter(|scope| !has.contains(scope)).cloned().collect();
        if missing.is_empty() {
            // Another login would bring the same.
            let asked = asked.join(" ");
            let reason =
                format!("the server refuses this, although the login has all the rights that it asks for (`{asked}`)");
            return Some(NoToken::Unavailable(reason.into()));
        }
        if !target.oauth.scopes.is_empty() {
            let missing = missing.join(" ");
            let reason = format!(
                "the server asks for more rights (`{missing}`), and `oauth.scopes` in the configuration names the only ones to ask for: add them there, and log in again"
            );
            return Some(NoToken::Unavailable(reason.into()));
        }
        for scope in &missing {
            if !self.wanted.contains(scope) {
                self.wanted.push(scope.clone());
            }
        }
        // Its scopes are wanted from now on; where to log in, the first one says.
        self.challenge.get_or_insert_with(|| words.to_owned());
        if !target.oauth.grant.needs_person() {
            return None;
        }
        let missing = missing.join(" ");
        Some(NoToken::Login(format!("the server asks for more rights (`{missing}`) than this login has").into()))
    }

    /// Tries once more to save what only memory has.
    pub(super) async fn save_again(&mut self) {
        self.save_at = None;
        let Some(credential) = self.credential.clone() else { return };
        match save(&self.shared.vault, credential, CancellationToken::new()).await {
            Ok(saved) => {
                // Otherwise the records have a newer one, which the next refresh finds.
                tracing::info!(server = %self.target().server, saved, "the token need not be saved any more");
                self.state.send_modify(|state| state.trouble = None);
            }
            Err(error) => {
                tracing::error!(server = %self.target().server, %error, "the token is still not saved");
                self.save_at = Some(Instant::now() + SAVE_AGAIN);
            }
        }
    }
}
