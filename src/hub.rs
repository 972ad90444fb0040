//! Routes between sessions and instances. Owns no I/O: frames come in as text and go out through queues.

mod agent;
mod agent_subscriptions;
mod client_timeouts;
mod deliver;
mod discover_servers;
mod eras;
mod events;
mod failure;
mod ids;
mod input;
mod instance;
mod log_level;
mod logins;
mod reload;
mod restore;
mod roots;
mod route;
mod routed;
mod server;
mod servers;
mod session;
mod shared_state;
mod sharing;
mod stopped_by_hand;
mod task_polling;
mod upkeep;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use agent::{Lifetime, View};
pub use eras::{incomplete, not_modern};
pub use events::{Event, Events, Reloaded};
pub use failure::Failure;
pub use ids::{InstanceId, PrincipalId, SessionId};
pub use instance::Instance;
pub use instance::calls::counts::OpenCall;
pub use routed::{Later, Routed};
pub use server::happened::Happened;
pub use server::{Known, Server};
pub use session::Session;
pub use session::snapshot::SessionSnapshot;
pub use shared_state::Services;

use input::input_round::InputRounds;
use input::suspended_call::SuspendedCalls;
use server::{Above, Instances};
use servers::Servers;
use session::open_request::OpenRequest;
use shared_state::SharedState;

use crate::agent::Agent;
use crate::config::{Config, ServerConfig};
use crate::era::AgentTerms;
use crate::masks::Masks;
use crate::names::ServerName;
use crate::record::{Kept, Limits, Recorder, Tally};
use crate::recording::Tee;
use crate::upstream::{InstanceServices, Quirks, ServerLog};
use crate::wire::{Account, Budget, Sink};

/// How much may wait of and for one agent together, and for one server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

#[derive(Debug)]
pub struct Hub {
    /// In the order of the configuration.
    servers: RwLock<Arc<Servers>>,
    services: Arc<SharedState>,
    instances: Instances,
    attached: AtomicU64,
    /// Where agents may attach over HTTP, or why they cannot; nothing if that is not wanted.
    pub http: RwLock<Option<Result<String, String>>>,
    /// What is wrong with the configuration file as it is now, or with what it asks for.
    problems: RwLock<Vec<String>>,
    resting: SuspendedCalls,
    rounds: InputRounds,
    /// Told when there may be servers of which nothing is known.
    strangers: Notify,
}

/// An instance where it stands: with the server that it is of, and the hub.
#[derive(Debug, Clone)]
pub struct Site {
    pub(in crate::hub) hub: Arc<Hub>,
    pub server: Arc<Server>,
    pub instance: Arc<Instance>,
}

impl Hub {
    /// A hub for the configured servers, none of them started.
    pub fn new(config: Config, around: Services) -> Arc<Self> {
        let hub = Arc::new(Self {
            servers: RwLock::default(),
            services: Arc::new(SharedState::new(around, config)),
            instances: Instances::default(),
            attached: AtomicU64::new(0),
            http: RwLock::default(),
            problems: RwLock::default(),
            resting: SuspendedCalls::default(),
            rounds: InputRounds::default(),
            strangers: Notify::new(),
        });
        let config = hub.config();
        let all = config.servers.iter().map(|(name, server)| hub.new_server(name, server)).collect();
        *hub.servers.write() = Arc::new(all);
        hub.servers().iter().for_each(|server| server.start_eagerly());
        let tasks = &hub.services.around.tasks;
        tasks.spawn(hub.clone().keep_time());
        tasks.spawn(hub.clone().follow_logins());
        tasks.spawn(hub.clone().get_acquainted());
        tasks.spawn(hub.clone().keep_to_budget());
        hub
    }

    fn new_server(self: &Arc<Self>, name: &ServerName, server: &ServerConfig) -> Arc<Server> {
        let shared = &self.services.around;
        let around = InstanceServices {
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
            recorder: shared.recorder.clone(),
            kept: Kept::default(),
            tally: Tally::default(),
            masks: shared.masks.clone(),
            tracer: shared.tracer.clone(),
            tee: Tee::default(),
        };
        keep(&around.kept, &self.config(), server);
        // The hub lives as long as the daemon.
        let hub = self.clone();
        let above = Above {
            instances: self.instances.clone(),
            hears: Arc::new(move |server, instance, inbound| {
                Site { hub: hub.clone(), server: server.clone(), instance: instance.clone() }.inbound(inbound);
            }),
        };
        let server = Server::new(self.services.clone(), above, server.clone(), around);
        if self.services.stopped.has(name) {
            server.hold();
        }
        server
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
        let servers = self.servers();
        servers.iter().find_map(|server| {
            server.instances().into_iter().find_map(|instance| {
                let own = instance.owner().is_some_and(|owner| self.session(owner).is_some()) && instance.has_served();
                let reason = match (instance.in_flight(), instance.questions(), own) {
                    (0, 0, false) => return None,
                    (0, 0, true) => "has a process of one agent's own",
                    (0, _, _) => "has asked something",
                    (_, _, _) => "is at a call",
                };
                Some(format!("`{}` {reason}", server.name))
            })
        })
    }

    /// An account for one agent, which is cut off when `cut` is cancelled.
    pub fn account(&self, whose: impl Into<Cow<'static, str>>, cut: CancellationToken) -> Account {
        self.services.around.budget.account(whose, self.config().daemon.max_frame.0 * QUEUE_FRAMES, cut)
    }

    /// The secrets that servers were given.
    pub fn masks(&self) -> &Masks {
        &self.services.around.masks
    }

    /// The record of calls.
    pub fn recorder(&self) -> &Recorder {
        &self.services.around.recorder
    }

    /// Records what the configuration that runs has recorded.
    pub(in crate::hub) fn apply_record(&self) {
        let config = self.config();
        self.recorder().set(config.record.calls, limits(&config));
        for (name, settings) in &config.servers {
            if let Ok(server) = self.server(name.as_str()) {
                keep(&server.around.kept, &config, settings);
            }
        }
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
            self.servers().iter().for_each(|server| server.give_back());
            for (server, instance) in self.instances.all() {
                Site { hub: self.clone(), server, instance }.give_up();
            }
        }
    }

    /// The configuration that runs.
    pub fn config(&self) -> Arc<Config> {
        self.services.config()
    }

    /// The name of a server that an agent asks for, which may be written as in the configuration.
    pub fn server_name(&self, text: &str) -> Result<ServerName, String> {
        match (self.server(text), ServerName::parse(text)) {
            (Ok(server), _) => Ok(server.name.clone()),
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

    pub fn servers(&self) -> Arc<Servers> {
        self.servers.read().clone()
    }

    pub fn server(&self, name: &str) -> Result<Arc<Server>, Failure> {
        self.servers().find(name).cloned()
    }

    /// The servers that a session sees, disabled ones left out, in the order of the configuration.
    pub(in crate::hub) fn visible(&self, session: &Session) -> Vec<Arc<Server>> {
        let all = self.servers();
        let enabled = all.iter().filter(|server| server.settings().is_usable());
        enabled.filter(|server| self.sees(session, &server.name)).cloned().collect()
    }

    pub(in crate::hub) fn sees(&self, session: &Session, server: &ServerName) -> bool {
        self.services.sees(session, server)
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.services.sessions.all()
    }

    /// An agent that is attached.
    pub(in crate::hub) fn session(&self, session: SessionId) -> Option<Arc<Session>> {
        self.services.sessions.get(session)
    }

    /// What happens, for those who watch.
    pub fn events(&self) -> &Events {
        &self.services.events
    }

    /// An instance that is up, where it stands.
    pub(in crate::hub) fn site(self: &Arc<Self>, instance: InstanceId) -> Option<Site> {
        let (server, instance) = self.instances.get(instance)?;
        Some(Site { hub: self.clone(), server, instance })
    }

    /// The instances that a session uses.
    pub(in crate::hub) fn sites(self: &Arc<Self>, session: &Session) -> Vec<Site> {
        session.instances().into_iter().filter_map(|id| self.site(id)).collect()
    }

    /// The instance that a session has joined at a server for what is so spoken, if it is still up.
    pub(in crate::hub) fn joined(
        self: &Arc<Self>,
        session: &Session,
        server: &str,
        terms: &AgentTerms,
    ) -> Option<Site> {
        let mut joined = session.joined(server).into_iter();
        joined.find_map(|(id, profile)| self.site(id).filter(|site| site.instance.serves(terms, &profile)))
    }

    /// Attaches an agent. The caller writes what the sink holds, and calls [`Hub::detach`] at the end.
    pub fn attach(
        &self,
        view: View,
        stay: Lifetime,
        agent: Agent,
        sink: Sink,
        gone: CancellationToken,
    ) -> Result<Arc<Session>, Failure> {
        match &view {
            View::One(server) => drop(self.server(server.as_str())?),
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
        if stay == Lifetime::Lasting {
            self.services.events.publish(Event::AgentAttached { session: id, agent: name });
        }
        Ok(session)
    }

    /// Ends what an agent left behind: its calls are cancelled, its questions refused, its subscriptions given up, and
    /// processes of its own ended.
    pub fn detach(self: &Arc<Self>, session: &Session) {
        self.services.sessions.remove(session.id);
        for question in session.take_open_requests() {
            self.refuse(&question, "the agent that was asked left");
        }
        self.end_rounds(session);
        for site in self.sites(session) {
            site.instance.detach(session);
            session.note_left(&site.instance.name, site.instance.id);
        }
        self.forget(session);
        for server in self.servers().iter() {
            server.drain_owned(session.id);
            server.forget_tasks_of(session);
        }
        self.forget_suspended_of(session);
        if session.stay == Lifetime::Lasting {
            self.services.events.publish(Event::AgentLeft { session: session.id, agent: session.agent().name.clone() });
        }
    }

    /// Leaves nothing of a session with servers that are not up: it has left, or is another now.
    pub(in crate::hub) fn forget(&self, session: &Session) {
        self.servers().iter().for_each(|server| server.forget(session.id));
    }

    /// Tells who asked that there will be no answer.
    fn refuse(self: &Arc<Self>, question: &OpenRequest, reason: &str) {
        match question {
            OpenRequest::Server { instance, id, .. } => {
                if let Some(site) = self.site(*instance) {
                    site.instance.refuse(id, reason);
                }
            }
            OpenRequest::InputRound { .. } | OpenRequest::Roots | OpenRequest::Login(_) => {}
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

/// What bounds the record of calls.
pub fn limits(config: &Config) -> Limits {
    Limits { keep: config.record.keep.0, size: config.record.max_size.0 as u64 }
}

/// What is to be kept of a server's calls.
fn keep(kept: &Kept, config: &Config, server: &ServerConfig) {
    let own = server.record;
    kept.set(own.calls.unwrap_or(config.record.calls), own.payloads.unwrap_or(config.record.payloads));
}
