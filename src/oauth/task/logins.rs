//! Logins that a person makes and ends. The latest act wins, and a logout is never undone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::credentials::Credential;
use crate::oauth::bearer::NoToken;
use crate::oauth::command::{Afresh, Reply};
use crate::oauth::login::{Finished, Login, Why, prepare};
use crate::oauth::renew::Renewed;
use crate::oauth::task::{Prepared, Task};
use crate::oauth::token;
use crate::oauth::wall_clock::wall;

/// How long taking tokens back may hold up a logout.
const REVOKE: Duration = Duration::from_secs(15);

impl Task {
    pub(super) fn log_in(&mut self, afresh: Afresh, reply: Reply<Result<Arc<Login>, String>>) {
        if !self.target().oauth.grant.needs_person() {
            self.reconsider();
            let reason =
                "its entry has `grant = \"client_credentials\"`: the client logs in by itself, with the next request";
            return drop(reply.send(Err(reason.to_owned())));
        }
        let open = self.state.borrow().login.clone().filter(|login| login.is_open());
        if let Some(login) = open {
            if afresh == Afresh::Join {
                return drop(reply.send(Ok(login)));
            }
            // Whoever begins again may have seen that the authorization server does not know the client.
            login.end(Why::Replaced);
            self.client_gone = true;
        }
        self.login_waiters.push(reply);
        if self.preparing.is_none() {
            let known = self.credential.clone().filter(|_| !self.client_gone);
            let (challenge, wanted) = (self.challenge.clone(), self.wanted.clone());
            let scopes = self
                .credential
                .as_ref()
                .map(|credential| (credential.endpoints.issuer.clone(), credential.scopes.clone()));
            self.preparing =
                Some(Box::pin(prepare(self.target(), self.guards.clone(), known, scopes, challenge, wanted)));
        }
    }

    pub(super) fn prepared(&mut self, prepared: Prepared) {
        let unasked = self.challenge.is_none() && self.credential.is_none();
        let prepared = prepared.map_err(|error| match unasked {
            true => format!("it has not asked for a login, and none can be made: {error}"),
            false => error,
        });
        let result = prepared.map(|(login, pending)| {
            self.finishing = Some(Box::pin(pending.finish(self.shared.tasks.clone(), self.shared.stop.clone())));
            let begun = login.clone();
            self.state.send_modify(|state| state.login = Some(begun));
            login
        });
        if result.is_err() {
            self.guards.forget();
        }
        self.answer_logins(&result);
    }

    fn answer_logins(&mut self, result: &Result<Arc<Login>, String>) {
        for waiter in self.login_waiters.drain(..) {
            // One that is gone does not want it.
            drop(waiter.send(result.clone()));
        }
    }

    pub(super) async fn finished(&mut self, finished: Finished) {
        let Finished { result, client_gone, outcome, waiting } = finished;
        let result = match result {
            Ok(credential) => {
                let number = self.logged_in(credential).await;
                self.given = Some((number, wall()));
                Ok(())
            }
            Err(reason) => {
                self.client_gone |= client_gone;
                tracing::warn!(server = %self.target().server, reason = &*reason, "login failed");
                Err(reason)
            }
        };
        outcome.send_replace(Some(result.clone()));
        if let Some(waiting) = waiting {
            drop(waiting.send(result));
        }
    }

    /// Takes over a login that another program made. It never replaces one that holds: that one's refresh token may come from it.
    pub(super) async fn take_over(&mut self, credential: Credential) -> Result<(), String> {
        if let Some(trouble) = self.unread() {
            return Err(trouble);
        }
        if self.credential.is_some() && self.state.borrow().need.is_none() {
            return Err("there is a login already: `trunkline logout` ends it".to_owned());
        }
        self.logged_in(credential).await;
        Ok(())
    }

    /// Takes a new login over, and returns the number of its token.
    pub(super) async fn logged_in(&mut self, mut credential: Credential) -> u64 {
        // A refresh of the old login has no say any more.
        self.ended.cancel();
        self.renewing = None;
        self.client_gone = false;
        self.wanted.clear();
        let number = self.next_generation();
        credential.tokens.generation = number;
        // Whatever the records have.
        let put = credential.for_the_records();
        let saved = self.shared.vault.update(move |records| records.put(put)).await;
        self.adopt(credential, saved.err().map(|error| format!("the login is not saved: {error}")));
        self.state.send_modify(|state| state.logins += 1);
        tracing::info!(server = %self.target().server, "logged in");
        // That nobody waits for it is no error.
        drop(self.shared.news.send(self.target().id.clone()));
        number
    }

    /// Forgets the login first, so that nothing undoes it, and then has the tokens taken back, which may take a while.
    pub(super) async fn log_out(&mut self, reply: Reply<Result<bool, String>>) {
        if let Some(login) = &self.state.borrow().login {
            login.end(Why::LoggedOut);
        }
        (self.finishing, self.preparing) = (None, None);
        self.answer_logins(&Err("somebody has logged out meanwhile".to_owned()));
        // Before the records are told: what a refresh brings is not kept.
        self.ended.cancel();
        let id = self.target().id.clone();
        if let Err(error) = self.shared.vault.update(move |records| records.remove(&id)).await {
            return drop(reply.send(Err(error.to_string())));
        }
        self.save_at = None;
        // What a server asks for on top belongs to what was done.
        self.challenge.take_if(|words| words.contains("insufficient_scope"));
        let (renewing, credential) = (self.renewing.take(), self.credential.take());
        self.client_gone = false;
        self.wanted.clear();
        self.state.send_modify(|state| {
            state.held = None;
            state.describe(None);
        });
        if !self.target().oauth.grant.needs_person() {
            self.answer(&Err(NoToken::Unavailable("the login was ended".into())));
        } else {
            self.need("you have logged out");
        }
        let Some(mut credential) = credential else { return drop(reply.send(Ok(false))) };
        let (guards, url, server, stop) =
            (self.guards.clone(), self.target().url.clone(), self.target().server.clone(), self.shared.stop.clone());
        self.shared.tasks.spawn(async move {
            let revoke = async {
                if let Some(renewing) = renewing {
                    match renewing.await {
                        Renewed::Ended(Some(newer))
                        | Renewed::New { credential: newer, .. }
                        | Renewed::Adopted(newer) => {
                            credential = newer;
                        }
                        Renewed::Ended(None) | Renewed::Refused { .. } | Renewed::Failed { .. } => {}
                    }
                }
                let Ok(guard) = guards.get(&url).await else { return };
                for token in credential.tokens.refresh.iter().chain([&credential.tokens.access]) {
                    if let Err(error) = token::revoke(&guard, &credential.endpoints, &credential.client, token).await {
                        tracing::warn!(%server, %error, "token not taken back");
                    }
                }
            };
            tokio::select! {
                revoked = timeout(REVOKE, revoke) => if revoked.is_err() {
                    tracing::warn!(%server, "tokens not taken back in time");
                },
                () = stop.cancelled() => {}
            }
            drop(reply.send(Ok(true)));
        });
    }
}
