//! The task that owns one login. Whatever changes it comes here as a command, one after the other; what takes time goes on
//! beside, and counts only if nothing was decided otherwise meanwhile.

mod logins;
mod tokens;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures_util::future::OptionFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::credentials::Credential;
use crate::oauth::bearer::{Bearer, NoToken};
use crate::oauth::command::{Command, Reply};
use crate::oauth::guard::Guards;
use crate::oauth::login::{Finished, Login, Pending};
use crate::oauth::renew::Renewed;
use crate::oauth::shared::Shared;
use crate::oauth::state::{Held, State};
use crate::oauth::target::Target;
use crate::oauth::wall_clock::wall;

/// How often a token that could not be saved is tried to be.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// How long a refresh may go on when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Prepared = Result<(Arc<Login>, Pending), String>;

pub(super) struct Task {
    target: Arc<Mutex<Arc<Target>>>,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    /// The renewal under way was begun because a token may have run out, which nobody has said.
    suspected: bool,
    guards: Guards,
    credential: Option<Credential>,
    /// The highest number that a token of this login ever had.
    latest: u64,
    /// The token that was given out last, and when, in seconds since 1970.
    given: Option<(u64, u64)>,
    /// Tells the refresh that is under way that the login was ended.
    ended: CancellationToken,
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
            suspected: false,
            guards: Guards::default(),
            credential: None,
            latest: 0,
            given: None,
            ended: CancellationToken::new(),
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
                Some(renewed) = OptionFuture::from(self.renewing.as_mut()), if self.renewing.is_some() => Event::Renewed(renewed),
                Some(finished) = OptionFuture::from(self.finishing.as_mut()), if self.finishing.is_some() => Event::Finished(finished),
                Some(prepared) = OptionFuture::from(self.preparing.as_mut()), if self.preparing.is_some() => Event::Prepared(prepared),
                // What is under way may bring a newer one.
                () = at(self.save_at), if self.renewing.is_none() => Event::Save,
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
                self.wait(reply);
            }
            Command::Renew => {
                if self.held().is_some_and(|held| held.is_due(Instant::now())) && self.can_renew() {
                    self.renew();
                }
            }
            Command::Challenged { sent, challenge, reply } => {
                self.load().await;
                self.challenged(sent, challenge, reply);
            }
            Command::Login { afresh, reply } => {
                self.load().await;
                match self.unread() {
                    Some(trouble) => drop(reply.send(Err(trouble))),
                    None => self.log_in(afresh, reply),
                }
            }
            Command::TakeOver { credential, reply } => {
                self.load().await;
                drop(reply.send(self.take_over(*credential).await));
            }
            Command::Logout(reply) => {
                self.load().await;
                self.log_out(reply).await;
            }
            Command::Reconsider => self.reconsider(),
            Command::Retarget => {
                if self.save_at.is_some() {
                    self.save_again().await;
                }
                let configured = self.target().configured_client();
                self.credential = self.credential.take().and_then(|credential| credential.completed(configured));
                if self.credential.is_none() {
                    self.read_anew();
                }
                self.reconsider();
            }
        }
    }

    /// Gives what failed another chance.
    fn reconsider(&mut self) {
        (self.failures, self.not_before) = (0, None);
        self.state.send_modify(|state| state.need = None);
        if self.credential.is_some() {
            self.show(None);
        }
    }

    /// Reads the login from the records, once.
    async fn load(&mut self) {
        if self.state.borrow().loaded {
            return;
        }
        let id = self.target().id.clone();
        let trouble = match self.shared.vault.read(move |records| records.find(&id).cloned()).await {
            Ok(found) => {
                self.latest = self.latest.max(found.as_ref().map_or(0, |found| found.tokens.generation));
                let configured = self.target().configured_client();
                self.credential = found.and_then(|found| found.completed(configured));
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

    /// Why the records could not be read, if they could not: nothing is put over what nobody has seen.
    fn unread(&self) -> Option<String> {
        let state = self.state.borrow();
        let trouble =
            || state.trouble.as_ref().map_or("logins cannot be read".to_owned(), |trouble| trouble.to_string());
        (!state.loaded).then(trouble)
    }

    /// Has the next question look at the records: what was at hand is of another client.
    fn read_anew(&self) {
        self.state.send_modify(|state| (state.loaded, state.held) = (false, None));
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
        if !self.target().oauth.grant.needs_person() {
            // No person can help.
            return self.failed(why.to_owned(), None);
        }
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
        self.target().oauth.grant.can_renew(self.credential.as_ref())
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

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
