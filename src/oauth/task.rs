//! The task that owns one login. Whatever changes it comes here as a command, one after the other; what takes time goes on
//! beside, and counts only if nothing was decided otherwise meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rmcp::transport::auth::WWWAuthenticateParams;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::Shared;
use super::guard::Guard;
use super::keeper::{Afresh, Bearer, Challenge, NoToken};
use super::login::{Finished, Login, Pending, prepare};
use super::renew::{Renewal, Renewed, load, save};
use super::state::{Held, State, wall};
use super::target::Target;
use super::token;
use crate::credentials::Credential;
use crate::retry::pause_after;

/// Pauses after a failed refresh: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often a token that could not be saved is tried to be.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// How long taking tokens back may hold up a logout.
const REVOKE: Duration = Duration::from_secs(15);

/// How long a refresh may go on when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Reply<T> = oneshot::Sender<T>;
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Prepared = Result<(Arc<Login>, Pending), String>;

/// What a keeper is asked to do.
pub(super) enum Command {
    Token(Reply<Result<Option<Bearer>, NoToken>>),
    Challenged {
        sent: Option<u64>,
        challenge: Challenge,
        reply: Reply<Result<Bearer, NoToken>>,
    },
    /// The token ends soon.
    Renew,
    Login {
        afresh: Afresh,
        reply: Reply<Result<Arc<Login>, String>>,
    },
    Logout(Reply<Result<bool, String>>),
    Reconsider,
}

pub(super) struct Task {
    target: Arc<Mutex<Arc<Target>>>,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    guard: Option<Guard>,
    credential: Option<Credential>,
    /// The generation that stands in the records.
    saved: Option<u64>,
    /// The generation that the authorization server gave out last.
    given: Option<u64>,
    /// When to try again to save what is not there yet.
    save_at: Option<Instant>,
    /// The last words of the server, and the scopes that it asked for on top.
    challenge: Option<String>,
    wanted: Vec<String>,
    client_gone: bool,
    renewing: Option<Work<Renewed>>,
    waiters: Vec<Reply<Result<Option<Bearer>, NoToken>>>,
    failures: u32,
    not_before: Option<Instant>,
    preparing: Option<Work<Prepared>>,
    login_waiters: Vec<Reply<Result<Arc<Login>, String>>>,
    finishing: Option<Work<Option<Finished>>>,
}

impl Task {
    pub(super) fn new(
        target: Arc<Mutex<Arc<Target>>>,
        shared: Arc<Shared>,
        state: watch::Sender<State>,
        accepted: Arc<AtomicU64>,
    ) -> Self {
        Self {
            target,
            shared,
            state,
            accepted,
            guard: None,
            credential: None,
            saved: None,
            given: None,
            save_at: None,
            challenge: None,
            wanted: Vec::new(),
            client_gone: false,
            renewing: None,
            waiters: Vec::new(),
            failures: 0,
            not_before: None,
            preparing: None,
            login_waiters: Vec::new(),
            finishing: None,
        }
    }

    fn target(&self) -> Arc<Target> {
        self.target.lock().clone()
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let stop = self.shared.stop.clone();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                renewed = or_never(self.renewing.as_mut()) => Event::Renewed(renewed),
                finished = or_never(self.finishing.as_mut()) => Event::Finished(finished),
                prepared = or_never(self.preparing.as_mut()) => Event::Prepared(prepared),
                () = at(self.save_at) => Event::Save,
                command = commands.recv() => match command {
                    Some(command) => Event::Command(command),
                    None => break,
                },
            };
            match event {
                Event::Renewed(renewed) => {
                    self.renewing = None;
                    self.renewed(renewed);
                }
                Event::Finished(finished) => {
                    self.finishing = None;
                    if let Some(finished) = finished {
                        self.finished(finished).await;
                    }
                }
                Event::Prepared(prepared) => {
                    self.preparing = None;
                    self.prepared(prepared);
                }
                Event::Save => self.save_again().await,
                Event::Command(command) => self.command(command).await,
            }
        }
        // A refresh that is under way may have cost the old token already: its answer must reach the records.
        if let Some(renewing) = self.renewing.take() {
            drop(timeout(LAST_WORDS, renewing).await);
        }
        if self.save_at.is_some() {
            self.save_again().await;
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Token(reply) => {
                self.load().await;
                self.wait(reply).await;
            }
            Command::Renew => {
                if self.held().is_some_and(|held| held.is_due(Instant::now())) && self.can_renew() {
                    self.renew().await;
                }
            }
            Command::Challenged { sent, challenge, reply } => {
                self.load().await;
                self.challenged(sent, challenge, reply).await;
            }
            Command::Login { afresh, reply } => {
                self.load().await;
                self.log_in(afresh, reply).await;
            }
            Command::Logout(reply) => {
                self.load().await;
                let result = self.log_out().await;
                drop(reply.send(result));
            }
            Command::Reconsider => {
                (self.failures, self.not_before) = (0, None);
                self.state.send_modify(|state| state.need = None);
                if self.credential.is_some() {
                    self.show(None);
                }
            }
        }
    }

    /// Reads the login from the records, once.
    async fn load(&mut self) {
        if self.state.borrow().loaded {
            return;
        }
        let loaded = load(&self.shared.vault, &self.target()).await;
        let trouble = match loaded {
            Ok(credential) => {
                self.saved = credential.as_ref().map(|credential| credential.tokens.generation);
                self.credential = credential;
                None
            }
            Err(error) => {
                tracing::warn!(server = %self.target().server, %error, "login not read");
                Some(Arc::<str>::from(error.to_string()))
            }
        };
        // What could not be read is tried again with the next question.
        let loaded = trouble.is_none();
        self.state.send_modify(|state| (state.loaded, state.trouble) = (loaded, trouble));
        if self.credential.is_some() {
            self.show(None);
        }
    }

    fn held(&self) -> Option<Held> {
        self.state.borrow().held.clone()
    }

    /// Shows the login at hand to everybody.
    fn show(&self, trouble: Option<String>) {
        let credential = self.credential.as_ref();
        let held = credential.map(|credential| Held::new(&credential.tokens, Instant::now(), wall(), fastrand::f64()));
        self.state.send_modify(|state| {
            (state.loaded, state.held, state.need) = (true, held, None);
            state.trouble = trouble.map(Into::into);
            state.describe(credential);
        });
    }

    /// Says that nothing goes on without a login.
    fn need(&mut self, why: &str) {
        let why: Arc<str> = why.into();
        if self.state.borrow().need.is_none() {
            tracing::warn!(server = %self.target().server, why = &*why, "a login is needed");
        }
        self.state.send_modify(|state| (state.held, state.need) = (None, Some(why.clone())));
        self.answer(&Err(NoToken::Login(why)));
    }

    fn answer(&mut self, result: &Result<Option<Bearer>, NoToken>) {
        for waiter in self.waiters.drain(..) {
            // One that is gone does not want it.
            drop(waiter.send(result.clone()));
        }
    }

    fn can_renew(&self) -> bool {
        self.target().is_client_credentials()
            || self.credential.as_ref().is_some_and(|credential| credential.tokens.refresh.is_some())
    }

    /// Answers at once where that is possible, else when the next token is there.
    async fn wait(&mut self, reply: Reply<Result<Option<Bearer>, NoToken>>) {
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

    async fn renew_or_need(&mut self, why: &str) {
        if self.can_renew() { self.renew().await } else { self.need(why) }
    }

    /// Starts getting the next token, unless that is under way, or too early.
    async fn renew(&mut self) {
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

    async fn guard(&mut self) -> Result<Guard, String> {
        if self.guard.is_none() {
            let guard = Guard::new(&self.target().url).await.map_err(|error| error.to_string())?;
            self.guard = Some(guard);
        }
        self.guard.clone().ok_or_else(|| "no HTTP client".to_owned())
    }

    fn renewed(&mut self, renewed: Renewed) {
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

    fn adopt(&mut self, credential: Credential, trouble: Option<String>) {
        (self.failures, self.not_before) = (0, None);
        self.credential = Some(credential);
        self.show(trouble);
        let bearer = self.held().map(|held| held.bearer);
        self.answer(&Ok(bearer));
    }

    /// The authorization server did not say no, but nothing else either.
    fn failed(&mut self, reason: String, after: Option<Duration>) {
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

    async fn challenged(&mut self, sent: Option<u64>, challenge: Challenge, reply: Reply<Result<Bearer, NoToken>>) {
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
    fn wants_more(&mut self, words: &str) -> Option<NoToken> {
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

    async fn log_in(&mut self, afresh: Afresh, reply: Reply<Result<Arc<Login>, String>>) {
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

    fn prepared(&mut self, prepared: Prepared) {
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

    async fn finished(&mut self, finished: Finished) {
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

    async fn save_again(&mut self) {
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

    /// Forgets the login first, so that nothing undoes it, and then has the tokens taken back.
    async fn log_out(&mut self) -> Result<bool, String> {
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

    async fn revoke(&mut self, credential: &Credential) {
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

/// What the task turns to next.
enum Event {
    Renewed(Renewed),
    Finished(Option<Finished>),
    Prepared(Prepared),
    Save,
    Command(Command),
}

async fn or_never<F: Future + Unpin>(future: Option<&mut F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
