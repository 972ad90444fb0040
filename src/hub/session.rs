//! One attached agent, as the hub sees it: what it declared, what it was asked, and its queue.

pub(in crate::hub) mod change_notice_rate;
pub(in crate::hub) mod change_notices;
mod declared;
mod heard;
pub(in crate::hub) mod log_messages;
pub(in crate::hub) mod open_request;
pub(in crate::hub) mod open_requests;
pub(in crate::hub) mod outgoing;
pub(in crate::hub) mod place;
pub(in crate::hub) mod roots;
pub(in crate::hub) mod sending;
pub(in crate::hub) mod snapshot;
pub(in crate::hub) mod subscription;
pub(in crate::hub) mod waiting_requests;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::era::{ClientProfile, Era};
use crate::hub::agent::{Lifetime, Principal, View};
use crate::hub::ids::{InstanceId, PrincipalId, SessionId};
use crate::hub::session::change_notice_rate::Announced;
use crate::hub::session::open_request::{Accepted, OpenRequest};
use crate::hub::session::place::Place;
use crate::hub::session::snapshot::PendingRestore;
use crate::hub::session::subscription::{AgentSubscriptions, Filter};
use crate::lists::ListKind;
use crate::names::ServerName;
use crate::recording::Tee;
use crate::wire::{Account, Sink};

#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub view: View,
    pub stay: Lifetime,
    pub since: Instant,
    /// Cancelled when the session must end: the agent left, or does not read.
    pub gone: CancellationToken,
    sink: Sink,
    /// Who what waits for servers is weighed for.
    sending: Mutex<Option<Account>>,
    tee: Tee,
    tasks: TaskTracker,
    announced: Announced,
    /// It did not read, and gets nothing more.
    stalled: AtomicBool,
    /// Its `initialize` was answered: before that, it is told nothing unasked.
    greeted: AtomicBool,
    in_flight: AtomicUsize,
    /// Log messages that were left out.
    unlogged: AtomicUsize,
    settled: Notify,
    agent: Mutex<Arc<Agent>>,
    state: Mutex<State>,
    /// Where the agent works; nothing while it is being asked.
    place: watch::Sender<Option<Place>>,
    /// Whether the agent was asked for its roots, and has answered or will not.
    roots_settled: watch::Sender<bool>,
    /// The last one that was known.
    last_place: Mutex<Place>,
    /// What it had at an earlier daemon, and has not got back yet.
    pub(in crate::hub) missing: Mutex<PendingRestore>,
}

/// Instances of one server, and of which profile the agent was when it joined each.
pub(in crate::hub) type Joined = SmallVec<[(InstanceId, Arc<ClientProfile>); 1]>;

#[derive(Debug, Default)]
struct State {
    /// Set by `initialize`; a modern agent has none.
    profile: Option<Arc<ClientProfile>>,
    /// What the last request of the modern era promised: raw, and as a profile.
    promised: Option<(Box<str>, Arc<ClientProfile>)>,
    /// The instances that it uses, by their server.
    joined: FxHashMap<ServerName, Joined>,
    /// Instances that carry a call of this session's, and will get no other.
    visits: Vec<InstanceId>,
    /// Its `clientInfo`, raw.
    client_info: Option<Arc<str>>,
    questions: HashMap<u64, OpenRequest>,
    /// Requests that wait for a server, by raw id.
    waiting: HashMap<Box<str>, CancellationToken>,
    /// Lists that were given without this server, because it was not there yet.
    missed: HashSet<(ServerName, ListKind)>,
    /// Which server a resource URI was listed for.
    uris: HashMap<String, ServerName>,
    /// Servers for whose login the person is being asked, and how that ends.
    logins: HashMap<ServerName, watch::Receiver<Option<Accepted>>>,
    /// Raw JSON of the level set in the all-servers view.
    level: Option<String>,
    listens: AgentSubscriptions,
}

impl Session {
    pub fn new(
        id: SessionId,
        view: View,
        stay: Lifetime,
        agent: Agent,
        sink: Sink,
        gone: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let place = Place { folder: agent.cwd.as_ref().map(PathBuf::from), roots: None };
        Self {
            id,
            view,
            stay,
            since: Instant::now(),
            gone,
            sink,
            sending: Mutex::default(),
            tee: Tee::default(),
            tasks,
            announced: Announced::default(),
            stalled: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            unlogged: AtomicUsize::new(0),
            settled: Notify::new(),
            place: watch::Sender::new(Some(place.clone())),
            roots_settled: watch::Sender::new(false),
            last_place: Mutex::new(place),
            missing: Mutex::default(),
            agent: Mutex::new(Arc::new(agent)),
            state: Mutex::default(),
        }
    }

    /// Who what waits of it and for it is weighed for.
    pub fn account(&self) -> &Account {
        self.sink.account()
    }

    /// Answers `initialize`.
    pub(in crate::hub) fn greet(&self, id: &str, frame: &str) {
        self.reply(id, frame);
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// Notes that an earlier daemon has answered `initialize`.
    pub(in crate::hub) fn resume_greeted(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// Whether it is a legacy agent whose handshake is over.
    pub(in crate::hub) fn is_greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed) && self.profile().is_some()
    }

    /// Has the agent come back for the rest of a request's stream, if it knows how.
    pub fn pause(&self, id: &str) {
        let resumes = self.profile().is_some_and(|profile| profile.resumes());
        if let Sink::Streams(streams) = &self.sink
            && resumes
        {
            streams.pause(id);
        }
    }

    /// Notes that a request will have no answer, because the agent cancelled it.
    pub fn over(&self, id: &str) {
        if let Sink::Streams(streams) = &self.sink {
            streams.over(id);
        }
    }

    pub fn is_over_http(&self) -> bool {
        matches!(self.sink, Sink::Streams(_))
    }

    /// Counts a request that went to a server.
    pub fn began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts its answer.
    pub fn ended(&self) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.settled.notify_waiters();
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Waits until no request of this agent is in flight.
    pub async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            settled.await;
        }
    }

    pub fn agent(&self) -> Arc<Agent> {
        self.agent.lock().clone()
    }

    /// Takes the name from the handshake's `clientInfo`, raw, unless the agent named itself when it attached.
    pub fn introduce(&self, client_info: &str) {
        #[derive(serde::Deserialize)]
        struct ClientInfo {
            name: String,
        }
        if let Ok(ClientInfo { name }) = serde_json::from_str(client_info) {
            Arc::make_mut(&mut self.agent.lock()).name.get_or_insert(name);
            self.state.lock().client_info = Some(client_info.into());
        }
    }

    /// All that it is called, by itself and by the program that started its shim.
    pub(in crate::hub) fn names(&self) -> String {
        let info = self.client_info().unwrap_or_default();
        format!("{} {info}", self.agent().name.as_deref().unwrap_or_default())
    }

    pub fn client_info(&self) -> Option<Arc<str>> {
        self.state.lock().client_info.clone()
    }

    /// Begins a legacy session; returns the instances of an earlier handshake, which may have promised something else.
    pub fn begin(&self, profile: ClientProfile) -> Vec<InstanceId> {
        self.roots_settled.send_replace(false);
        self.greeted.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.profile = Some(Arc::new(profile));
        state.promised = None;
        let joined = std::mem::take(&mut state.joined).into_values().flatten().map(|(id, _)| id);
        joined.chain(std::mem::take(&mut state.visits)).collect()
    }

    /// Who may come back for what it leaves behind.
    pub(in crate::hub) fn principal(&self) -> Principal {
        match self.stay {
            Lifetime::Lasting => Principal::Session(self.id),
            Lifetime::OneRequest => Principal::Http(self.view.clone(), self.client_info()),
        }
    }

    pub(in crate::hub) fn principal_id(&self) -> PrincipalId {
        match self.stay {
            Lifetime::Lasting => PrincipalId(self.id.0),
            // Numbers of sessions are not that high.
            Lifetime::OneRequest => PrincipalId(FxBuildHasher.hash_one(self.principal()) | 1 << 63),
        }
    }

    pub fn era(&self) -> Option<Era> {
        self.last_terms().map(|terms| terms.era())
    }

    /// The instances of a server that it has joined.
    pub(in crate::hub) fn joined(&self, server: &str) -> Joined {
        self.state.lock().joined.get(server).cloned().unwrap_or_default()
    }

    /// All that it uses.
    pub(in crate::hub) fn instances(&self) -> Vec<InstanceId> {
        let state = self.state.lock();
        state.joined.values().flatten().map(|(id, _)| id).chain(&state.visits).copied().collect()
    }

    pub(in crate::hub) fn note_left(&self, server: &ServerName, instance: InstanceId) {
        let mut state = self.state.lock();
        if let Some(joined) = state.joined.get_mut(server) {
            joined.retain(|(known, _)| *known != instance);
            if joined.is_empty() {
                state.joined.remove(server);
            }
        }
        state.visits.retain(|known| *known != instance);
    }

    /// Notes an instance that serves one call only, or only what is in flight.
    pub(in crate::hub) fn note_visit(&self, server: &ServerName, instance: InstanceId) {
        self.note_left(server, instance);
        self.state.lock().visits.push(instance);
    }

    pub(in crate::hub) fn note_joined(&self, server: &ServerName, instance: InstanceId, profile: &Arc<ClientProfile>) {
        let mut state = self.state.lock();
        let joined = state.joined.entry(server.clone()).or_default();
        joined.retain(|(known, own)| *known != instance || own != profile);
        joined.push((instance, profile.clone()));
    }

    pub fn note_missed(&self, server: &ServerName, kind: ListKind) {
        self.state.lock().missed.insert((server.clone(), kind));
    }

    /// Whether lists were given without this server.
    pub fn misses(&self, server: &ServerName) -> bool {
        self.state.lock().missed.iter().any(|(name, _)| name == server)
    }

    /// Takes the lists that were given without this server.
    pub fn take_missed(&self, server: &ServerName) -> Vec<ListKind> {
        let mut state = self.state.lock();
        let kinds: Vec<_> = state.missed.iter().filter(|(name, _)| name == server).map(|(_, kind)| *kind).collect();
        state.missed.retain(|(name, _)| name != server);
        kinds
    }

    pub fn note_uris(&self, uris: HashMap<String, ServerName>) {
        self.state.lock().uris = uris;
    }

    pub fn server_of_uri(&self, uri: &str) -> Option<ServerName> {
        self.state.lock().uris.get(uri).cloned()
    }

    pub fn level(&self) -> Option<String> {
        self.state.lock().level.clone()
    }

    pub fn set_level(&self, level: &str) {
        self.state.lock().level = Some(level.to_owned());
    }

    pub(in crate::hub) fn listens(&self) -> AgentSubscriptions {
        self.state.lock().listens.clone()
    }

    pub(in crate::hub) fn note_listen(&self, id: &str, filter: Filter) {
        self.state.lock().listens.insert(id.into(), filter);
    }

    pub(in crate::hub) fn forget_listen(&self, id: &str) -> Option<Filter> {
        self.state.lock().listens.remove(id)
    }
}

#[cfg(test)]
impl Session {
    /// A session for tables: of a legacy agent that declared `capabilities`, or of a modern one.
    pub(in crate::hub) fn for_test(id: u64, capabilities: Option<&str>) -> Arc<Self> {
        let sink = Sink::Stream(crate::wire::Outbox::new(Account::alone(1 << 20)));
        let (gone, tasks) = (CancellationToken::new(), TaskTracker::new());
        let session = Self::new(SessionId(id), View::All, Lifetime::Lasting, Agent::default(), sink, gone, tasks);
        if let Some(profile) = capabilities.and_then(|declared| ClientProfile::of(crate::era::LEGACY, declared)) {
            session.begin(profile);
        }
        Arc::new(session)
    }
}
