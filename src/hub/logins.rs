//! What happens when a server needs a login: its calls say so, an agent that can show a person a URL is asked to, and when
//! the login is done everything goes on.

use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;

use crate::envelope::reply;
use crate::envelope::{Envelope, quoted};
use crate::era::{self, AgentTerms, Era, InstanceTerms};
use crate::hub::eras;
use crate::hub::failure::Failure;
use crate::hub::input::suspended_call::{What, input_required};
use crate::hub::instance::calls::pending_call::Parked;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::server::Server;
use crate::hub::server::login::PATIENCE;
use crate::hub::session::Session;
use crate::hub::session::open_request::{Accepted, OpenRequest};
use crate::hub::{Hub, Site};
use crate::lists::ListKind;
use crate::method::Method;
use crate::names::ServerName;
use crate::oauth::Keeper;
use crate::random::random_text;
use crate::wire::{Message, To};

/// What the question is called in `inputRequests`.
const INPUT: &str = "login";

impl Hub {
    /// Goes on with servers as soon as their login is done, until the daemon ends.
    pub(in crate::hub) async fn follow_logins(self: Arc<Self>) {
        let mut logins = self.services.around.keepers.logins();
        loop {
            let login = tokio::select! {
                login = logins.recv() => login,
                () = self.services.around.stop.cancelled() => return,
            };
            let id = match login {
                Ok(id) => Some(id),
                // Which ones were missed is not known: all are looked at.
                Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            for server in self.servers().iter() {
                let own = server.keeper.lock().as_ref().map(Keeper::id);
                if own.is_some() && (id.is_none() || own == id) {
                    server.state.lock().known.last_error = None;
                    self.start_for_those_who_miss(server);
                    server.start_eagerly();
                }
            }
        }
    }

    /// Starts a server for the agents that were given lists without it; they hear of it when it is there.
    fn start_for_those_who_miss(self: &Arc<Self>, server: &Arc<Server>) {
        for session in self.sessions().into_iter().filter(|session| session.misses(&server.name)) {
            let Some(terms) = session.last_terms() else { continue };
            let (hub, name) = (self.clone(), server.name.clone());
            self.services.around.tasks.spawn(async move { drop(hub.instance(&session, name.as_str(), &terms).await) });
        }
    }

    /// Like [`Hub::line`], for a call: where a login is needed and the agent can show its URL, the person is asked first.
    pub(in crate::hub) async fn instance_for_call(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        terms: &AgentTerms,
    ) -> Result<Site, Failure> {
        match self.instance(session, server, terms).await {
            Err(failure @ Failure::NeedsLogin { .. }) if terms.profile().shows_urls() => {
                self.log_in(session, &self.server(server)?, terms.era(), failure).await?;
                self.instance(session, server, terms).await
            }
            found => found,
        }
    }

    /// Takes a request with which a modern agent comes back after it was asked for a login, where `before` were done: as it was
    /// at first, once the login is done.
    pub(in crate::hub) fn after_login(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        server: &ServerName,
        before: u64,
    ) -> Routed {
        let server = match self.server(server.as_str()) {
            Ok(server) => server,
            Err(failure) => {
                session.reply(envelope.id, &failure.frame(envelope.id));
                return Routed::Done;
            }
        };
        let accepted = Accepted::of(envelope.params.input_responses.unwrap_or_default(), Some(INPUT));
        let (hub, who, id, frame) =
            (self.clone(), session.clone(), envelope.id.to_owned(), eras::without_input_responses(envelope.frame));
        let work = async move {
            let done = accepted == Accepted::Yes && server.logged_in(before).await;
            if !done {
                return who.reply(&id, &server.needs_login("nobody has logged in").frame(&id));
            }
            let Some(message) = Message::again(frame).await else { return };
            hub.take_to_end(&who, message.envelope()).await;
        };
        Routed::Aside(cancellable(session, envelope, work))
    }

    /// Asks the person behind an agent to log in. A legacy agent's call waits until that is done; a modern agent comes back.
    async fn log_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &Arc<Server>,
        era: Era,
        failure: Failure,
    ) -> Result<(), Failure> {
        if era == Era::Modern {
            return Err(self.offer(session, server).await.unwrap_or(failure));
        }
        let (mut answer, asks) = session.login_asked(&server.name);
        if let Some(asks) = asks {
            let (session, server, stop) = (session.clone(), server.clone(), self.services.around.stop.clone());
            self.services.around.tasks.spawn(async move {
                let accepted = tokio::select! {
                    accepted = ask(&session, &server) => accepted,
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

/// Asks a legacy agent for a login with its URL (MCP 2025-11-25 `client/elicitation`, URL mode); tells whether it was done.
async fn ask(session: &Arc<Session>, server: &Arc<Server>) -> Accepted {
    let Some((keeper, login)) = server.begin_login().await else { return Accepted::No };
    let before = keeper.logins();
    let (sender, accepted) = oneshot::channel();
    let id = session.ask(OpenRequest::Login(sender));
    let (message, url) = (server.login_message(), quoted(login.url.as_str()));
    let params = format!(r#"{{"mode":"url","elicitationId":"login-{id}","message":{message},"url":{url}}}"#);
    session.tell(To::Agent, &reply::request(id, Method::Elicit, &params));
    let refused = async {
        // One who goes to the page has not logged in yet, and one who answers nothing may do so elsewhere.
        match accepted.await {
            Ok(Accepted::No) => {}
            Ok(Accepted::Yes) | Err(_) => std::future::pending().await,
        }
    };
    let done = async {
        tokio::select! {
            () = refused => return Accepted::No,
            done = keeper.logged_in(&login, before) => if !done {
                return Accepted::No;
            },
        }
        let params = format!(r#"{{"elicitationId":"login-{id}"}}"#);
        session.tell(To::Agent, &reply::notification(Method::ElicitationComplete, &params));
        Accepted::Yes
    };
    let done = timeout(PATIENCE, done).await.unwrap_or(Accepted::No);
    // It need not be answered any more.
    drop(session.take_open_request(&id.to_string()));
    done
}

impl Hub {
    /// Asks a modern agent likewise, by a result with which it comes back (MCP 2026-07-28 `basic/patterns/mrtr`).
    async fn offer(self: &Arc<Self>, session: &Session, server: &Server) -> Option<Failure> {
        let (keeper, login) = server.begin_login().await?;
        let what = What::Login { server: server.name.clone(), before: keeper.logins() };
        let state = random_text();
        self.suspend(state.clone(), session.principal(), None, what, PATIENCE);
        let (message, url) = (server.login_message(), quoted(login.url.as_str()));
        let params = format!(r#"{{"mode":"url","message":{message},"url":{url}}}"#);
        let question = format!(r#"{{"{INPUT}":{}}}"#, eras::input(Method::Elicit, &params));
        let result = input_required(&question, &state);
        Some(Failure::AskedForLogin { server: server.name.clone(), result: result.into() })
    }
}

impl Site {
    /// The server was not given a request, because a login is needed: the person is asked, or the one who called told.
    pub(in crate::hub) fn parked(&self, id: u64, frame: &str, why: &Arc<str>) {
        let failure = Failure::NeedsLogin { server: self.instance.name.clone(), reason: why.clone() };
        let caller = {
            let mut calls = self.instance.calls.lock();
            calls.set_parked(id, Parked::Yes);
            let pending = calls.get(id);
            let era = pending
                .and_then(|pending| pending.translation.as_ref())
                .map_or(self.instance.era(), |translation| translation.agent);
            pending.and_then(|pending| pending.owner.agent()).map(|(session, _)| (session.clone(), era))
        };
        let envelope = Envelope::parse(frame.as_bytes()).ok();
        // Lists are asked for by agents of their own accord: no reason to bother a person.
        let call = envelope.filter(|envelope| ListKind::of_method(envelope.method).is_none());
        let (Some((session, era)), Some(call)) = (caller, call) else {
            return self.refuse_parked(id, &failure);
        };
        let shows_urls = match self.instance.instance_terms() {
            Some(InstanceTerms::Legacy(_)) => session.profiles().iter().any(|profile| profile.shows_urls()),
            Some(InstanceTerms::Modern) | None => call.params.meta.client_capabilities.is_some_and(era::shows_urls),
        };
        if !shows_urls {
            return self.refuse_parked(id, &failure);
        }
        let (site, frame) = (self.clone(), frame.to_owned());
        self.instance.around.tasks.spawn(async move {
            let outcome = site.hub.log_in(&session, &site.server, era, failure).await;
            let mut calls = site.instance.calls.lock();
            calls.set_parked(id, Parked::No);
            let waits = calls.is_waited_for(id);
            drop(calls);
            match outcome {
                Ok(()) if !waits => site.instance.over(id),
                Ok(()) => {
                    if site.instance.push(&frame).is_err() {
                        site.refuse_parked(
                            id,
                            &site.server.unavailable("it does not take the request after the login"),
                        );
                    }
                }
                Err(failure) => site.refuse_parked(id, &failure),
            }
        });
    }

    /// Answers in the server's place, with all that an answer brings about.
    fn refuse_parked(&self, id: u64, failure: &Failure) {
        let frame = failure.frame(&id.to_string());
        match Envelope::parse(frame.as_bytes()) {
            Ok(envelope) => self.response(&envelope),
            Err(error) => {
                tracing::error!(server = %self.instance.name, %error, "an error of trunkline's own cannot be read")
            }
        }
    }
}
