//! Routes between sessions and instances. Owns no I/O: frames come in as text and go out through queues.

mod acquaint;
mod across;
mod bridge;
mod clock;
mod crashes;
mod ending;
mod events;
mod failure;
mod fetch;
mod find;
mod following;
mod inbound;
mod key;
mod lane;
mod largest;
mod level;
mod line;
mod lingering;
mod listener;
mod listens;
mod logins;
mod membership;
mod merged;
mod news;
mod offered;
mod orders;
mod patience;
mod places;
mod recall;
mod records;
mod registry;
mod reload;
mod remembered;
mod resources;
mod resting;
mod roots;
mod rounds;
mod router;
mod saving;
mod session;
mod settle;
mod sharing;
mod slots;
mod spelled;
mod start;
mod stopped;
mod storm;
mod table;
mod undecided;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use across::not_modern;
pub use events::{Event, Events};
pub use failure::Failure;
pub use key::Key;
pub use line::{Call, Line};
pub use registry::{Known, Upstream};
pub use reload::Reloaded;
pub use remembered::Remembered;
use resting::Resting;
pub use router::{Later, Routed, incomplete};
pub use session::{Agent, Session, SessionId, Stay, View};
use stopped::Stopped;

use crate::config::{Config, Server};
use crate::credentials::Vault;
use crate::names::ServerName;
use crate::oauth::Keepers;
use crate::upstream::{HttpClient, Ledger, Quirks, ServerLog, Surroundings};
use crate::wire::{Account, Budget, Sink};

/// How much may wait of and for one agent together, and for one server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

#[derive(Debug)]
pub struct Hub {
    /// In the order of the configuration.
    upstreams: RwLock<Arc<Vec<Arc<Upstream>>>>,
    /// What runs: where a server could not be changed, still its old settings.
    config: RwLock<Arc<Config>>,
    sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    attached: AtomicU64,
    pub events: Events,
    /// Where agents may attach over HTTP, or why they cannot; nothing if that is not wanted.
    pub http: RwLock<Option<Result<String, String>>>,
    /// What is wrong with the configuration file as it is now, or with what it asks for.
    problems: RwLock<Vec<String>>,
    resting: Resting,
    stopped: Stopped,
    /// Told when there may be servers of which nothing is known.
    strangers: Notify,
    /// Of all servers that are reached over HTTP.
    client: HttpClient,
    around: Around,
}

/// What the hub's servers live in.
#[derive(Debug, Clone)]
pub struct Around {
    /// Where all tasks run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
    pub ledger: Ledger,
    /// The folder for catalogs and logs.
    pub state: PathBuf,
    pub vault: Vault,
    pub keepers: Keepers,
    /// Of all that waits.
    pub budget: Budget,
}

impl Hub {
    /// A hub for the configured servers, none of them started.
    pub fn new(config: Config, around: Around) -> Arc<Self> {
        let hub = Arc::new(Self {
            upstreams: RwLock::default(),
            config: RwLock::new(Arc::new(config)),
            sessions: Mutex::default(),
            attached: AtomicU64::new(0),
            events: Events::default(),
            http: RwLock::default(),
            problems: RwLock::default(),
            resting: Resting::default(),
            stopped: Stopped::open(&around.state),
            strangers: Notify::new(),
            client: HttpClient::default(),
            around,
        });
        let config = hub.config();
        let all = config.servers.iter().map(|(name, server)| hub.new_upstream(name, server)).collect();
        *hub.upstreams.write() = Arc::new(all);
        hub.upstreams().iter().for_each(|upstream| upstream.start_eagerly());
        hub.around.tasks.spawn(hub.clone().keep_time());
        hub.around.tasks.spawn(hub.clone().follow_logins());
        hub.around.tasks.spawn(hub.clone().get_acquainted());
        hub.around.tasks.spawn(hub.clone().keep_to_budget());
        hub
    }

    fn new_upstream(self: &Arc<Self>, name: &ServerName, server: &Server) -> Arc<Upstream> {
        let around = Surroundings {
            tasks: self.around.tasks.clone(),
            stop: self.around.stop.clone(),
            log: ServerLog::open(self.around.state.join("logs").join(format!("{name}.log"))),
            quirks: Quirks::default(),
            max_frame: self.config().daemon.max_frame.0,
            ledger: self.around.ledger.clone(),
            name: name.clone(),
            client: self.client.clone(),
            vault: self.around.vault.clone(),
            keepers: self.around.keepers.clone(),
            budget: self.around.budget.clone(),
        };
        let catalogs = self.around.state.join("catalogs");
        let upstream = Upstream::new(Arc::downgrade(self), name.clone(), server.clone(), around, &catalogs);
        if self.stopped.has(name) {
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
        self.around.budget.account(whose, self.config().daemon.max_frame.0 * QUEUE_FRAMES, cut)
    }

    /// What bounds all that waits.
    pub fn budget(&self) -> &Budget {
        &self.around.budget
    }

    /// Has those that were cut off give back what they hold, until the daemon ends.
    async fn keep_to_budget(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.around.budget.cut() => {}
                () = self.around.stop.cancelled() => return,
            }
            self.sessions().iter().for_each(|session| session.give_back());
            self.upstreams().iter().for_each(|upstream| upstream.give_back());
        }
    }

    /// The configuration that runs.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().clone()
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
    pub(crate) fn visible(&self, session: &Session) -> Vec<Arc<Upstream>> {
        let all = self.upstreams();
        let enabled = all.iter().filter(|upstream| upstream.settings().is_usable());
        enabled.filter(|upstream| self.sees(session, &upstream.name)).cloned().collect()
    }

    fn sees(&self, session: &Session, server: &ServerName) -> bool {
        match &session.view {
            View::One(name) => name == server,
            View::All => true,
            View::Profile(profile) => {
                self.config().profiles.get(&**profile).is_some_and(|profile| profile.servers.contains(server))
            }
        }
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().cloned().collect()
    }

    pub(crate) fn is_attached(&self, session: SessionId) -> bool {
        self.sessions.lock().contains_key(&session)
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
        let session = Arc::new(Session::new(id, view, stay, agent, sink, gone, self.around.tasks.clone()));
        self.sessions.lock().insert(id, session.clone());
        if stay == Stay::Lasting {
            self.events.publish(Event::AgentAttached { session: id, agent: name });
        }
        Ok(session)
    }

    /// Ends what an agent left behind: its calls are cancelled, its questions refused, its subscriptions given up, and
    /// processes of its own ended.
    pub fn detach(&self, session: &Session) {
        self.sessions.lock().remove(&session.id);
        for question in session.take_questions() {
            question.refuse("the agent that was asked left");
        }
        session.end_rounds();
        for line in session.lines() {
            line.leave(session);
            session.remove_line(&line);
        }
        self.forget(session);
        for upstream in self.upstreams().iter() {
            upstream.drain_owned(session.id);
        }
        self.wake_none_of(session);
        if session.stay == Stay::Lasting {
            self.events.publish(Event::AgentLeft { session: session.id, agent: session.agent().name });
        }
    }

    /// Leaves nothing of a session with servers that are not up: it has left, or is another now.
    fn forget(&self, session: &Session) {
        self.upstreams().iter().for_each(|upstream| upstream.forget(session.id));
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
