//! What happens when a server needs a login: its calls say so, an agent that can show a person a URL is asked to, and when
//! the login is done everything goes on.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;

use super::Hub;
use super::failure::Failure;
use super::line::Line;
use super::registry::Upstream;
use super::session::{Accepted, Question, Session};
use super::table::{Owner, Parked};
use crate::config::{Given, Secrets, Transport, check_url};
use crate::envelope::reply;
use crate::envelope::{Envelope, quoted};
use crate::era::Dialect;
use crate::oauth::{Afresh, Keeper};

/// How long a person may take to log in before the call that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

impl Upstream {
    /// The keeper of its login; nobody for a server that is started by a command, or has credentials in its entry.
    pub async fn keeper(&self) -> Result<Option<Keeper>, Failure> {
        let settings = self.settings();
        let Transport::Http(http) = &settings.transport else { return Ok(None) };
        if http.has_own_authorization() {
            return Ok(None);
        }
        let unusable = |reason: String| self.unavailable(reason);
        let names = settings.templates().flat_map(|template| template.secret_names()).collect();
        let secrets: Secrets = self.around.vault.secrets(names).await.map_err(|error| unusable(error.to_string()))?;
        let given = Given { project: None, secrets: &secrets };
        let text = http.url.expand(given).map_err(|error| unusable(error.to_string()))?;
        let url = check_url(&text).map_err(unusable)?;
        let keeper =
            self.around.keepers.keeper(&self.name, &url, http, given).map_err(|error| unusable(error.to_string()))?;
        *self.keeper.lock() = Some(keeper.clone());
        Ok(Some(keeper))
    }

    /// Likewise, once it is known what the server asks for.
    pub async fn login_keeper(self: &Arc<Self>) -> Result<Option<Keeper>, Failure> {
        let keeper = self.keeper().await?;
        if keeper.as_ref().is_some_and(|keeper| !keeper.is_challenged()) {
            // What comes of it does not matter: if it asks for a login, it says where.
            drop(self.line(&self.own_key(None)).await);
        }
        Ok(keeper)
    }

    /// Why a login is needed, if one is.
    pub fn login_need(&self) -> Option<Arc<str>> {
        self.keeper.lock().as_ref().and_then(Keeper::need)
    }
}

impl Hub {
    /// Goes on with servers as soon as their login is done, until the daemon ends.
    pub(super) async fn follow_logins(self: Arc<Self>) {
        let mut logins = self.around.keepers.logins();
        loop {
            let login = tokio::select! {
                login = logins.recv() => login,
                () = self.around.stop.cancelled() => return,
            };
            let id = match login {
                Ok(id) => Some(id),
                // Which ones were missed is not known: all are looked at.
                Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            for upstream in self.upstreams().iter() {
                let own = upstream.keeper.lock().as_ref().map(Keeper::id);
                if own.is_some() && (id.is_none() || own == id) {
                    upstream.state.lock().known.last_error = None;
                    self.start_for_those_who_miss(upstream);
                }
            }
        }
    }

    /// Starts a server for the agents that were given lists without it; they hear of it when it is there.
    fn start_for_those_who_miss(self: &Arc<Self>, upstream: &Arc<Upstream>) {
        for session in self.sessions().into_iter().filter(|session| session.misses(&upstream.name)) {
            let Some(dialect) = session.class().map(Dialect::Legacy) else { continue };
            let (hub, name) = (self.clone(), upstream.name.clone());
            self.around.tasks.spawn(async move { drop(hub.line(&session, name.as_str(), &dialect).await) });
        }
    }

    /// Like [`Hub::line`], for a call: where a login is needed and the agent can show its URL, the person is asked first.
    pub(super) async fn line_for_call(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        dialect: &Dialect,
    ) -> Result<Arc<Line>, Failure> {
        match self.line(session, server, dialect).await {
            Err(failure @ Failure::NeedsLogin { .. }) if can_be_asked(session, dialect) => {
                self.log_in(session, &self.upstream(server)?, failure).await?;
                self.line(session, server, dialect).await
            }
            found => found,
        }
    }

    /// Asks the person behind an agent to log in, and waits until that is done.
    async fn log_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        upstream: &Arc<Upstream>,
        failure: Failure,
    ) -> Result<(), Failure> {
        let (mut answer, asks) = session.login_asked(&upstream.name);
        if let Some(asks) = asks {
            let (session, upstream, stop) = (session.clone(), upstream.clone(), self.around.stop.clone());
            self.around.tasks.spawn(async move {
                let accepted = tokio::select! {
                    accepted = ask(&session, &upstream) => accepted,
                    () = session.gone.cancelled() => Accepted::No,
                    () = stop.cancelled() => Accepted::No,
                };
                asks.send_replace(Some(accepted));
            });
        }
        let accepted = answer.wait_for(Option::is_some).await.ok().and_then(|accepted| *accepted);
        match accepted {
            Some(Accepted::Yes) => Ok(()),
            Some(Accepted::No) | None => Err(failure),
        }
    }
}

/// Whether an agent can show a person the URL of a login.
fn can_be_asked(session: &Session, dialect: &Dialect) -> bool {
    matches!(dialect, Dialect::Legacy(_)) && session.class().is_some_and(|class| class.shows_urls())
}

/// Asks for a login with its URL (MCP 2025-11-25 `client/elicitation`, URL mode); tells whether it was done.
async fn ask(session: &Arc<Session>, upstream: &Arc<Upstream>) -> Accepted {
    let login = match upstream.keeper().await {
        Ok(Some(keeper)) => keeper.login(Afresh::Join).await,
        Ok(None) | Err(_) => return Accepted::No,
    };
    let login = match login {
        Ok(login) => login,
        Err(error) => {
            tracing::warn!(server = %upstream.name, error, "login not begun");
            return Accepted::No;
        }
    };
    let (sender, accepted) = oneshot::channel();
    let id = session.ask(Question::Login(sender));
    let message = quoted(&format!("The MCP server `{}` asks you to log in. Open the page to go on.", upstream.name));
    let url = quoted(login.url.as_str());
    session.send_text(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{"mode":"url","elicitationId":"login-{id}","message":{message},"url":{url}}}}}"#
    ));
    let done = async {
        if accepted.await != Ok(Accepted::Yes) {
            return Accepted::No;
        }
        if login.done().await.is_err() {
            return Accepted::No;
        }
        session.send_text(&reply::notification(
            "notifications/elicitation/complete",
            &format!(r#"{{"elicitationId":"login-{id}"}}"#),
        ));
        Accepted::Yes
    };
    let done = timeout(PATIENCE, done).await.unwrap_or(Accepted::No);
    // Whoever logs in another way need not answer any more.
    drop(session.answer(&id.to_string()));
    done
}

/// What an agent answered to the question for a login.
pub(super) fn accepted(answer: &Envelope<'_>) -> Accepted {
    #[derive(Deserialize)]
    struct Answer {
        action: String,
    }
    let answer = answer.result.and_then(|result| serde_json::from_str::<Answer>(result).ok());
    if answer.is_some_and(|answer| answer.action == "accept") { Accepted::Yes } else { Accepted::No }
}

impl Line {
    /// The server was not given a request, because a login is needed: the person is asked, or the one who called told.
    pub(super) fn parked(self: &Arc<Self>, id: u64, frame: &str, why: &Arc<str>) {
        let failure = Failure::NeedsLogin { server: self.name.clone(), reason: why.clone() };
        let upstream = self.upstream.upgrade();
        let hub = upstream.as_ref().and_then(|upstream| upstream.hub.upgrade());
        let caller = {
            let mut table = self.table.lock();
            table.set_parked(id, Parked::Yes);
            match table.get(id).map(|pending| &pending.owner) {
                Some(Owner::Agent { session, .. }) => Some(session.clone()),
                Some(Owner::Daemon(_) | Owner::Hub(_) | Owner::Gone(_) | Owner::Nobody) | None => None,
            }
        };
        let asked = caller.filter(|session| self.dialect().is_some_and(|dialect| can_be_asked(session, dialect)));
        let is_call = Envelope::parse(frame.as_bytes())
            .is_ok_and(|envelope| crate::lists::ListKind::of_method(&envelope.method).is_none());
        let (Some(session), Some(upstream), Some(hub)) = (asked.filter(|_| is_call), upstream, hub) else {
            return self.refuse_parked(id, &failure);
        };
        let (line, frame) = (self.clone(), frame.to_owned());
        upstream.around.tasks.clone().spawn(async move {
            let outcome = hub.log_in(&session, &upstream, failure).await;
            let mut table = line.table.lock();
            table.set_parked(id, Parked::No);
            let waits = table.is_waited_for(id);
            drop(table);
            match outcome {
                Ok(()) if !waits => line.over(id),
                Ok(()) => {
                    let sent = line.link.outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()));
                    if sent.is_err() {
                        line.refuse_parked(id, &upstream.unavailable("it does not take the request after the login"));
                    }
                }
                Err(failure) => line.refuse_parked(id, &failure),
            }
        });
    }

    fn refuse_parked(self: &Arc<Self>, id: u64, failure: &Failure) {
        let pending = self.table.lock().remove(id);
        match pending.map(|pending| pending.owner) {
            Some(Owner::Agent { session, id, .. }) => session.send_text(&failure.frame(&id, "")),
            Some(Owner::Daemon(sender) | Owner::Hub(sender)) => drop(sender.send(Err(failure.to_string().into()))),
            Some(Owner::Gone(_) | Owner::Nobody) | None => {}
        }
    }
}
