//! Logins that a person makes and ends. The latest act wins, and a logout is never undone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Prepared, Reply, SAVE_AGAIN, Task};
use crate::credentials::Credential;
use crate::oauth::keeper::Afresh;
use crate::oauth::login::{Finished, Login, prepare};
use crate::oauth::renew::Renewed;
use crate::oauth::token;

/// How long taking tokens back may hold up a logout.
const REVOKE: Duration = Duration::from_secs(15);

impl Task {
    pub(super) async fn log_in(&mut self, afresh: Afresh, reply: Reply<Result<Arc<Login>, String>>) {
        if self.target().is_client_credentials() {
            let reason = "its entry has `grant = \"client_credentials\"`: the client logs in by itself".to_owned();
            return drop(reply.send(Err(reason)));
        }
        let open = self.state.borrow().login.clone().filter(|login| login.is_open());
        if let Some(login) = open {
            if afresh == Afresh::Join {
                return drop(reply.send(Ok(login)));
            }
            // Whoever begins again may have seen that the authorization server does not know the client.
            login.end();
            self.client_gone = true;
        }
        self.login_waiters.push(reply);
        if self.preparing.is_some() {
            return;
        }
        match self.guard().await {
            Ok(guard) => {
                let (target, earlier) = (self.target(), self.credential.clone());
                let (challenge, wanted) = (self.challenge.clone(), self.wanted.clone());
                self.preparing = Some(Box::pin(prepare(target, guard, earlier, challenge, wanted, self.client_gone)));
            }
            Err(reason) => self.prepared(Err(reason)),
        }
    }

    pub(super) fn prepared(&mut self, prepared: Prepared) {
        let result = prepared.map(|(login, pending)| {
            self.finishing = Some(Box::pin(pending.finish(self.shared.stop.clone())));
            let begun = login.clone();
            self.state.send_modify(|state| state.login = Some(begun));
            login
        });
        if result.is_err() {
            self.guard = None;
        }
        for waiter in self.login_waiters.drain(..) {
            drop(waiter.send(result.clone()));
        }
    }

    pub(super) async fn finished(&mut self, finished: Finished) {
        let Finished { result, client_gone, outcome, waiting } = finished;
        self.client_gone = client_gone;
        let result = match result {
            Ok(credential) => {
                // The latest act wins, whatever the records have.
                let put = credential.for_the_records();
                let saved = self.shared.vault.update(move |records| records.put(put)).await;
                self.renewing = None;
                self.wanted.clear();
                match saved {
                    Ok(()) => self.saved = Some(credential.tokens.generation),
                    Err(_) => self.save_at = Some(Instant::now() + SAVE_AGAIN),
                }
                self.given = Some(credential.tokens.generation);
                self.adopt(credential, saved.err().map(|error| format!("the login is not saved: {error}")));
                self.state.send_modify(|state| state.logins += 1);
                tracing::info!(server = %self.target().server, "logged in");
                // That nobody waits for it is no error.
                drop(self.shared.news.send(self.target().id.clone()));
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(server = %self.target().server, reason = &*reason, "login failed");
                Err(reason)
            }
        };
        outcome.send_replace(Some(result.clone()));
        if let Some(waiting) = waiting {
            drop(waiting.send(result));
        }
    }

    /// Forgets the login first, so that nothing undoes it, and then has the tokens taken back.
    pub(super) async fn log_out(&mut self) -> Result<bool, String> {
        if let Some(login) = &self.state.borrow().login {
            login.end();
        }
        (self.finishing, self.preparing, self.save_at) = (None, None, None);
        let id = self.target().id.clone();
        self.shared.vault.update(move |records| records.remove(&id)).await.map_err(|error| error.to_string())?;
        // What it brings is not kept: its generation is not there any more.
        let renewing = self.renewing.take();
        let credential = self.credential.take();
        (self.saved, self.client_gone) = (None, false);
        self.wanted.clear();
        self.state.send_modify(|state| state.describe(None));
        self.need("you have logged out");
        let Some(mut credential) = credential else { return Ok(false) };
        if let Some(renewing) = renewing
            && let Ok(Renewed::Superseded(Some(newer))) = timeout(REVOKE, renewing).await
        {
            credential = newer;
        }
        self.revoke(&credential).await;
        Ok(true)
    }

    pub(super) async fn revoke(&mut self, credential: &Credential) {
        let Ok(guard) = self.guard().await else { return };
        let tokens = credential.tokens.refresh.iter().chain([&credential.tokens.access]);
        for token in tokens {
            match timeout(REVOKE, token::revoke(&guard, &credential.endpoints, &credential.client, token)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(server = %self.target().server, %error, "token not taken back"),
                Err(_) => tracing::warn!(server = %self.target().server, "token not taken back in time"),
            }
        }
    }
}
