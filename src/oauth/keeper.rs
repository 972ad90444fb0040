//! The one owner of a login, as those see it who need a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::credentials::{CredentialId, ForeignLogin};
use crate::oauth::bearer::{Bearer, Challenge, NoToken};
use crate::oauth::command::{Afresh, Command};
use crate::oauth::foreign;
use crate::oauth::login::Login;
use crate::oauth::shared::Shared;
use crate::oauth::state::{LoginState, State};
use crate::oauth::target::Target;
use crate::oauth::task::Task;

/// How many may ask at once before one waits to ask.
const COMMANDS: usize = 256;

/// Handle to one login. Clones share it.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Arc<Mutex<Arc<Target>>>,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    /// The newest generation of tokens that the server took.
    accepted: Arc<AtomicU64>,
}

impl Keeper {
    pub(super) fn start(target: Target, shared: Arc<Shared>) -> Self {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (sender, state) = watch::channel(State::default());
        let target = Arc::new(Mutex::new(Arc::new(target)));
        let accepted = Arc::new(AtomicU64::new(0));
        let task = Task::new(target.clone(), shared.clone(), sender, accepted.clone());
        shared.tasks.spawn(task.run(queue));
        Self(Arc::new(Inner { target, commands, state, accepted }))
    }

    pub(super) fn retarget(&self, target: Target) {
        let before = std::mem::replace(&mut *self.0.target.lock(), Arc::new(target.clone()));
        if !before.logs_in_like(&target) {
            // If its queue is full, the next try finds the new one all the same.
            drop(self.0.commands.try_send(Command::Retarget));
        }
    }

    pub fn id(&self) -> CredentialId {
        self.0.target.lock().id.clone()
    }

    /// The token to send; `None` as long as nothing says that one is needed.
    pub async fn token(&self) -> Result<Option<Bearer>, NoToken> {
        {
            let (state, now) = (self.0.state.borrow(), Instant::now());
            match &state.held {
                Some(held) if held.is_fresh(now) => {
                    if held.is_due(now) {
                        // If its queue is full, it has enough to remind it.
                        drop(self.0.commands.try_send(Command::Renew));
                    }
                    return Ok(Some(held.bearer.clone()));
                }
                Some(_) => {}
                None if !state.loaded => {}
                None => match &state.need {
                    Some(why) => return Err(NoToken::Login(why.clone())),
                    None if !self.0.target.lock().oauth.grant.needs_person() => {}
                    None => return Ok(None),
                },
            }
        }
        self.ask(Command::Token).await.unwrap_or_else(|| Err(ended()))
    }

    /// The token, if there is one at hand.
    pub fn token_now(&self) -> Option<Bearer> {
        self.0.state.borrow().held.as_ref().map(|held| held.bearer.clone())
    }

    /// Waits until there is a token.
    pub async fn until_token(&self) {
        let mut state = self.0.state.clone();
        if state.wait_for(|state| state.held.is_some()).await.is_err() {
            // The daemon ends.
            std::future::pending().await
        }
    }

    /// Notes that the server took this token.
    pub fn accepted(&self, bearer: Option<&Bearer>) {
        if let Some(bearer) = bearer {
            self.0.accepted.fetch_max(bearer.generation, Ordering::Relaxed);
        }
    }

    /// Whether a token that the server took before may have run out, for all that is known, and can be refreshed.
    pub fn may_have_run_out(&self, sent: Option<&Bearer>) -> bool {
        let Some(sent) = sent else { return false };
        let state = self.0.state.borrow();
        let was_taken = self.0.accepted.load(Ordering::Relaxed) >= sent.generation;
        state.held.as_ref().is_some_and(|held| {
            held.bearer.generation == sent.generation && was_taken && held.can_run_out_unnoticed(Instant::now())
        })
    }

    /// What to send instead of `sent`, which the server did not take.
    pub async fn challenged(&self, sent: Option<&Bearer>, challenge: Challenge) -> Result<Bearer, NoToken> {
        let sent = sent.map(|bearer| bearer.generation);
        self.ask(|reply| Command::Challenged { sent, challenge, reply }).await.unwrap_or_else(|| Err(ended()))
    }

    /// Begins a login, or joins the one that is under way, unless it is to begin afresh.
    pub async fn login(&self, afresh: Afresh) -> Result<Arc<Login>, String> {
        let begun = self.ask(|reply| Command::Login { afresh, reply }).await;
        begun.unwrap_or_else(|| Err("trunkline is ending".to_owned()))
    }

    /// Takes over a login that another program made.
    pub async fn take_over(&self, login: ForeignLogin) -> Result<(), String> {
        let target = self.0.target.lock().clone();
        let credential = Box::new(foreign::credential(&target, login).await?);
        let taken = self.ask(|reply| Command::TakeOver { credential, reply }).await;
        taken.unwrap_or_else(|| Err("trunkline is ending".to_owned()))
    }

    /// How many logins were done.
    pub fn logins(&self) -> u64 {
        self.0.state.borrow().logins
    }

    /// Waits until more logins than `before` were done; gives up where `login`, which a person is at, has failed.
    pub async fn logged_in(&self, login: &Login, before: u64) -> bool {
        let mut state = self.0.state.clone();
        let more = async move { state.wait_for(|state| state.logins > before).await.is_ok() };
        tokio::pin!(more);
        tokio::select! {
            more = &mut more => more,
            outcome = login.done() => match outcome {
                Ok(()) => true,
                // Another one may be under way in its place.
                Err(_) if login.was_replaced() => more.await,
                Err(_) => false,
            },
        }
    }

    /// The login that is under way.
    pub fn open_login(&self) -> Option<Arc<Login>> {
        self.0.state.borrow().login.clone().filter(|login| login.is_open())
    }

    /// Forgets the login, here and where it was made; tells whether there was one.
    pub async fn logout(&self) -> Result<bool, String> {
        self.ask(Command::Logout).await.unwrap_or_else(|| Err("trunkline is ending".to_owned()))
    }

    /// Gives what failed another chance, as a person asks for.
    pub fn reconsider(&self) {
        drop(self.0.commands.try_send(Command::Reconsider));
    }

    /// Whether a person must log in before anything else.
    pub fn need(&self) -> Option<Arc<str>> {
        self.0.state.borrow().need.clone()
    }

    /// Whether the server has asked for a login.
    pub fn is_challenged(&self) -> bool {
        let state = self.0.state.borrow();
        state.need.is_some() || state.held.is_some()
    }

    pub fn state(&self) -> LoginState {
        let state = self.0.state.borrow().clone();
        let target = self.0.target.lock().clone();
        LoginState {
            server: target.server.to_string(),
            account: target.id.account.clone(),
            // Its query may hold what is secret.
            url: target.url.origin().ascii_serialization() + target.url.path(),
            issuer: state.issuer.map(|issuer| issuer.to_string()),
            scopes: state.scopes.to_vec(),
            has_token: state.held.is_some(),
            expires_in: state.held.and_then(|held| held.expires).map(|at| at.saturating_duration_since(Instant::now())),
            need: state.need.map(|why| why.to_string()),
            trouble: state.trouble.map(|what| what.to_string()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn ended() -> NoToken {
    NoToken::Unavailable("trunkline is ending".into())
}
