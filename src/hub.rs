//! Routes between sessions and instances. Owns no I/O: frames come in as text and go out through queues.

mod acquaint;
mod agent;
mod deliver;
mod eras;
mod events;
mod failure;
mod ids;
mod input;
mod instance;
mod level;
mod logins;
mod patience;
mod reload;
mod remember;
mod roots;
mod route;
mod routed;
mod server;
mod services;
mod session;
mod sharing;
mod stopped;
mod subscriptions;
mod tasks;
mod upkeep;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use agent::{Agent, Stay, View};
pub use eras::{incomplete, not_modern};
pub use events::{Event, Events, Reloaded};
pub use failure::Failure;
pub use ids::{InstanceId, SessionId};
pub use instance::Line;
pub use routed::{Later, Routed};
pub use server::{Known, Upstream};
pub use services::Around;
pub use session::Session;
pub use session::restore::Remembered;

use input::rounds::Rounds;
use input::suspended::Resting;
use server::{Above, Instances};
use services::Services;
use session::question::Question;

use crate::config::{Config, Server};
use crate::era::Speech;
use crate::names::ServerName;
use crate::upstream::{Quirks, ServerLog, Surroundings};
use crate::wire::{Account, Budget, Sink};

/// How much may wait of and for one agent together, and for one server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

#[derive(Debug)]
pub struct Hub {
    /// In the order of the configuration.
    upstreams: RwLock<Arc<Vec<Arc<Upstream>>>>,
    services: Arc<Services>,
    instances: Instances,
    attached: AtomicU64,
    /// Where agents may attach over HTTP, or why they cannot; nothing if that is not wanted.
    pub http: RwLock<Option<Result<String, String>>>,
    /// What is wrong with the configuration file as it is now, or with what it asks for.
    problems: RwLock<Vec<String>>,
    resting: Resting,
    rounds: Rounds,
    /// Told when there may be servers of which nothing is known.
    strangers: Notify,
}

/// An instance where it stands: with the server that it is of, and the hub.
#[derive(Debug, Clone)]
pub struct Site {
    pub(in crate::hub) hub: Arc<Hub>,
    pub server: Arc<Upstream>,
    pub line: Arc<Line>,
}

impl Hub {
    /// A hub for the configured servers, none of them started.
    pub fn new(config: Config, around: Around) -> Arc<Self> {
        let hub = Arc::new(Self {
            upstreams: RwLock::default(),
            services: Arc::new(Services::new(around, config)),
            instances: Instances::default(),
            attached: AtomicU64::new(0),
            http: RwLock::default(),
            problems: RwLock::default(),
            resting: Resting::default(),
            rounds: Rounds::default(),
            strangers: Notify::new(),
        });
        let config = hub.config();
        let all = config.servers.iter().map(|(name, server)| hub.new_upstream(name, server)).collect();
        *hub.upstreams.write() = Arc::new(all);
        hub.upstreams().iter().for_each(|upstream| upstream.start_eagerly());
        let tasks = &hub.services.around.tasks;
        tasks.spawn(hub.clone().keep_time());
        tasks.spawn(hub.clone().follow_logins());
        tasks.spawn(hub.clone().get_acquainted());
        tasks.spawn(hub.clone().keep_to_budget());
        hub
    }

    fn new_upstream(self: &Arc<Self>, name: &ServerName, server: &Server) -> Arc<Upstream> {
        let shared = &self.services.around;
        let around = Surroundings {
            tasks: shared.tasks.clone(),
            stop: shared.stop.clone(),
            log: ServerLog::open(shared.state.join("logs").join(format!("{name}.log"))),
            quirks: Quirks::default(),
            max_frame: self.config().daemon.max_frame.0,
            ledger: shared.ledger.clone(),
            name: name.clone(),
            client: self.services.client.clone(),
            vault: shared.vault.clone(),
            keepers: shared.keepers.clone(),
            budget: shared.budget.clone(),
        };
        // The hub lives as long as the daemon.
        let hub = self.clone();
        let above = Above {
            instances: self.instances.clone(),
            hears: Arc::new(move |server, line, inbound| {
                Site { hub: hub.clone(), server: server.clone(), line: line.clone() }.inbound(inbound);
            }),
        };
        let upstream = Upstream::new(self.services.clone(), above, server.clone(), around);
        if self.services.stopped.has(name) {
            upstream.hold();
        }
        upstream
    }

    /// What is not to be interrupted, in words; nothing if nobody would notice an end of the daemon.
    pub fn busy(&self) -> Option<String> {
        if let Some(session) = self.sessions().into_iter().find(|session| session.in_flight() > 0) {
            return Some(format!("agent {} waits for an answer", session.id.0));
        }
        let resting = self.resting.count();
        if resting > 0 {
            return Some(format!("{resting} questions are open"));
        }
        let upstreams = self.upstreams();
        upstreams.iter().find_map(|upstream| {
            upstream.lines().into_iter().find_map(|line| {
                let own = line.owner().is_some_and(|owner| self.is_attached(owner)) && line.has_served();
                let reason = match (line.in_flight(), line.questions(), own) {
                    (0, 0, false) => return None,
                    (0, 0, true) => "has a process of one agent's own",
                    (0, _, _) => "has asked something",
                    (_, _, _) => "is at a call",
                };
                Some(format!("`{}` {reason}", upstream.name))
            })
        })
    }

    /// An account for one agent, which is cut off when `cut` is cancelled.
    pub fn account(&self, whose: impl Into<Cow<'static, str>>, cut: CancellationToken) -> Account {
        self.services.around.budget.account(whose, self.config().daemon.max_frame.0 * QUEUE_FRAMES, cut)
    }

    /// What bounds all that waits.
    pub fn budget(&self) -> &Budget {
        &self.services.around.budget
    }

    /// Has those that were cut off give back what they hold, until the daemon ends.
    async fn keep_to_budget(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.services.around.budget.cut() => {}
                () = self.services.around.stop.cancelled() => return,
            }
            self.sessions().iter().for_each(|session| session.give_back());
            self.upstreams().iter().for_each(|upstream| upstream.give_back());
        }
    }

    /// The configuration that runs.
    pub fn config(&self) -> Arc<Config> {
        self.services.config()
    }

    /// The name of a server that an agent asks for, which may be written as in the configuration.
    pub fn server_name(&self, text: &str) -> Result<ServerName, String> {
        match (self.upstream(text), ServerName::parse(text)) {
            (Ok(upstream), _) => Ok(upstream.name.clone()),
            // It may be there later.
            (Err(_), Ok(name)) => Ok(name),
            (Err(failure), Err(_)) => Err(failure.to_string()),
        }
    }

    /// Publishes what is wrong with the configuration that runs.
    pub fn note_problems(&self, problems: Vec<String>) {
        problems.iter().for_each(|problem| tracing::error!(problem, "configuration: this entry is left out"));
        *self.problems.write() = problems;
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.read().clone()
    }

    pub fn upstreams(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.upstreams.read().clone()
    }

    pub fn upstream(&self, name: &str) -> Result<Arc<Upstream>, Failure> {
        let all = self.upstreams();
        let found = all.iter().find(|upstream| upstream.name.as_str() == name);
        // Who wrote the file may call it as it stands there.
        let written = || all.iter().find(|upstream| upstream.settings().written.as_deref() == Some(name));
        let found = found.or_else(written).cloned();
        found.ok_or_else(|| Failure::unknown(name, all.iter().map(|upstream| &upstream.name)))
    }

    /// The servers that a session sees, disabled ones left out, in the order of the configuration.
    pub(in crate::hub) fn visible(&self, session: &Session) -> Vec<Arc<Upstream>> {
        let all = self.upstreams();
        let enabled = all.iter().filter(|upstream| upstream.settings().is_usable());
        enabled.filter(|upstream| self.sees(session, &upstream.name)).cloned().collect()
    }

    pub(in crate::hub) fn sees(&self, session: &Session, server: &ServerName) -> bool {
        self.services.sees(session, server)
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.services.sessions.all()
    }

    pub(in crate::hub) fn is_attached(&self, session: SessionId) -> bool {
        self.services.sessions.is_attached(session)
    }

    /// What happens, for those who watch.
    pub fn events(&self) -> &Events {
        &self.services.events
    }

    /// An instance that is up, where it stands.
    pub(in crate::hub) fn site(self: &Arc<Self>, instance: InstanceId) -> Option<Site> {
        let (server, line) = self.instances.get(instance)?;
        Some(Site { hub: self.clone(), server, line })
    }

    /// The instances that a session uses.
    pub(in crate::hub) fn sites(self: &Arc<Self>, session: &Session) -> Vec<Site> {
        session.instances().into_iter().filter_map(|id| self.site(id)).collect()
    }

    /// The instance that a session has joined at a server for what is so spoken, if it is still up.
    pub(in crate::hub) fn joined(self: &Arc<Self>, session: &Session, server: &str, speech: &Speech) -> Option<Site> {
        let mut joined = session.joined(server).into_iter();
        joined.find_map(|(id, class)| self.site(id).filter(|site| site.line.serves(speech, &class)))
    }

    /// Attaches an agent. The caller writes what the sink holds, and calls [`Hub::detach`] at the end.
    pub fn attach(
        &self,
        view: View,
        stay: Stay,
        agent: Agent,
        sink: Sink,
        gone: CancellationToken,
    ) -> Result<Arc<Session>, Failure> {
        match &view {
            View::One(server) => drop(self.upstream(server.as_str())?),
            View::Profile(name) => {
                let config = self.config();
                if !config.profiles.contains_key(&**name) {
                    return Err(Failure::unknown_profile(name, config.profiles.keys().map(String::as_str)));
                }
            }
            View::All => {}
        }
        let id = SessionId(1 + self.attached.fetch_add(1, Ordering::Relaxed));
        let name = agent.name.clone();
        let session = Arc::new(Session::new(id, view, stay, agent, sink, gone, self.services.around.tasks.clone()));
        self.services.sessions.add(session.clone());
        if stay == Stay::Lasting {
            self.services.events.publish(Event::AgentAttached { session: id, agent: name });
        }
        Ok(session)
    }

    /// Ends what an agent left behind: its calls are cancelled, its questions refused, its subscriptions given up, and
    /// processes of its own ended.
    pub fn detach(self: &Arc<Self>, session: &Session) {
        self.services.sessions.remove(session.id);
        for question in session.take_questions() {
            self.refuse(&question, "the agent that was asked left");
        }
        self.end_rounds(session);
        for site in self.sites(session) {
            site.line.leave(session);
            session.note_left(&site.line.name, site.line.id);
        }
        self.forget(session);
        for upstream in self.upstreams().iter() {
            upstream.drain_owned(session.id);
        }
        self.wake_none_of(session);
        if session.stay == Stay::Lasting {
            self.services.events.publish(Event::AgentLeft { session: session.id, agent: session.agent().name });
        }
    }

    /// Leaves nothing of a session with servers that are not up: it has left, or is another now.
    pub(in crate::hub) fn forget(&self, session: &Session) {
        self.upstreams().iter().for_each(|upstream| upstream.forget(session.id));
    }

    /// Tells who asked that there will be no answer.
    fn refuse(self: &Arc<Self>, question: &Question, reason: &str) {
        match question {
            Question::Server { instance, id, .. } => {
                if let Some(site) = self.site(*instance) {
                    site.line.refuse(id, reason);
                }
            }
            Question::Round { .. } | Question::Roots | Question::Login(_) => {}
        }
    }

    /// Waits until no agent has a call in flight, but no longer than `patience`.
    pub async fn settle(&self, patience: Duration) {
        let all = self.sessions();
        let settled = futures_util::future::join_all(all.iter().map(|session| session.settled()));
        if tokio::time::timeout(patience, settled).await.is_err() {
            tracing::info!(?patience, "calls are still in flight: they end with an error");
        }
    }
}
