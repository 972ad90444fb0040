//! One configured server: its settings, and what it has shown of itself.

pub(in crate::hub) mod catalog_answers;
pub(in crate::hub) mod catalog_file;
pub(in crate::hub) mod commands;
pub(in crate::hub) mod compare_offers;
pub(in crate::hub) mod condition;
pub(in crate::hub) mod crashing_calls;
pub(in crate::hub) mod discover;
pub(in crate::hub) mod failure_records;
pub(in crate::hub) mod fetch_lists;
pub(in crate::hub) mod happened;
pub(in crate::hub) mod idle_and_deadlines;
pub(in crate::hub) mod login;
pub(in crate::hub) mod max_instances;
mod observed;
pub(in crate::hub) mod one_at_a_time;
pub(in crate::hub) mod pool;
pub(in crate::hub) mod roots;
pub(in crate::hub) mod save_catalog;
pub(in crate::hub) mod share_keys;
pub(in crate::hub) mod slot;
pub(in crate::hub) mod spoken_era;
pub(in crate::hub) mod start;
pub(in crate::hub) mod stop_and_drain;
pub(in crate::hub) mod take_over;
pub(in crate::hub) mod tool_filter;
pub(in crate::hub) mod tool_names;
pub(in crate::hub) mod who_hears;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::config::{ServerConfig, Share};
use crate::era::Era;
use crate::hub::events::Event;
use crate::hub::failure::Failure;
use crate::hub::ids::InstanceId;
use crate::hub::instance::Instance;
use crate::hub::instance::one_at_a_time::OneAtATime;
use crate::hub::instance::task_tools::TaskTools;
use crate::hub::server::catalog_file::{CatalogFile, bounds};
use crate::hub::server::crashing_calls::Crashes;
use crate::hub::server::failure_records::Records;
use crate::hub::server::happened::History;
use crate::hub::server::slot::Slot;
use crate::hub::server::tool_names::Spelled;
use crate::hub::shared_state::SharedState;
use crate::hub::sharing::Sharing;
use crate::hub::sharing::share_key::ShareKey;
use crate::lists::ListKind;
use crate::mcp_headers::{self, Annotated};
use crate::names::ServerName;
use crate::oauth::Keeper;
use crate::upstream::catalog::{Catalogs, Noted};
use crate::upstream::{Inbound, InstanceServices, Quirk, ServerLog};

/// Takes what an instance says, and its end.
pub(in crate::hub) type Hears = Arc<dyn Fn(&Arc<Server>, &Arc<Instance>, Inbound<'_>) + Send + Sync>;

/// The instances that are up or about to be, each with its server, by their ids.
#[derive(Debug, Clone, Default)]
pub(in crate::hub) struct Instances(Arc<Mutex<FxHashMap<InstanceId, OfServer>>>);

type OfServer = (Arc<Server>, Arc<Instance>);

impl Instances {
    pub(in crate::hub) fn get(&self, id: InstanceId) -> Option<(Arc<Server>, Arc<Instance>)> {
        self.0.lock().get(&id).cloned()
    }

    pub(in crate::hub) fn all(&self) -> Vec<OfServer> {
        self.0.lock().values().cloned().collect()
    }

    pub(in crate::hub) fn add(&self, server: &Arc<Server>, instance: &Arc<Instance>) {
        self.0.lock().insert(instance.id, (server.clone(), instance.clone()));
    }

    pub(in crate::hub) fn remove(&self, id: InstanceId) {
        self.0.lock().remove(&id);
    }
}

/// The way to what is above a server.
pub(in crate::hub) struct Above {
    pub instances: Instances,
    pub hears: Hears,
}

impl fmt::Debug for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Above").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Server {
    pub name: ServerName,
    pub log: ServerLog,
    pub(in crate::hub) around: InstanceServices,
    pub(in crate::hub) services: Arc<SharedState>,
    pub(in crate::hub) above: Above,
    pub(in crate::hub) one_at_a_time: Arc<OneAtATime>,
    pub(in crate::hub) task_tools: Arc<TaskTools>,
    /// Told when an instance ends.
    pub(in crate::hub) ended: Notify,
    settings: RwLock<Arc<ServerConfig>>,
    /// The same server under its last settings.
    before: Mutex<Weak<Self>>,
    /// Another one of the same name took over, or none did.
    pub(in crate::hub) retired: AtomicBool,
    /// Of the login that its server asks for, once that is known.
    pub(in crate::hub) keeper: Mutex<Option<Keeper>>,
    /// Which arguments of its tools HTTP repeats in headers; nothing before it has listed any tools.
    annotated: Mutex<Option<Annotated>>,
    pub(in crate::hub) state: Mutex<State>,
    pub(in crate::hub) spelled: Spelled,
    pub(in crate::hub) file: CatalogFile,
}

#[derive(Debug)]
pub(in crate::hub) struct State {
    pub slots: Vec<Slot>,
    pub last_slot: u64,
    pub records: Records,
    pub crashes: Crashes,
    pub known: Known,
    pub catalogs: Catalogs,
    /// How far its processes are shared, by the settings and what the catalogs tell.
    pub sharing: Arc<Sharing>,
    /// Why it may not be started, if it may not.
    pub held: Option<Arc<str>>,
}

impl State {
    pub(in crate::hub) fn fits(&self, slot: &Slot, key: &ShareKey) -> bool {
        slot.fits(key, &self.sharing, &self.catalogs.shown)
    }
}

/// What a server has shown since the daemon started.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub last_error: Option<Arc<str>>,
    pub starts: u64,
    pub history: History,
    /// Names that are too long for the all-servers view.
    pub hidden: BTreeSet<String>,
    /// Tools that the filter keeps from agents.
    pub denied: BTreeSet<String>,
}

impl Server {
    /// A server that is not started.
    pub(in crate::hub) fn new(
        services: Arc<SharedState>,
        above: Above,
        server: ServerConfig,
        around: InstanceServices,
    ) -> Arc<Self> {
        let name = around.name.clone();
        let file = CatalogFile::new(services.around.state.join("catalogs").join(format!("{name}.json")), &server);
        let mut catalogs = file.load();
        if let Some(fixed) = server.era.fixed() {
            (catalogs.era, catalogs.modern_only) = (Some(fixed), fixed == Era::Modern);
        }
        catalogs.keep_within(bounds(&name, &around));
        let one_at_a_time = OneAtATime::new(&catalogs);
        let sharing = Arc::new(Sharing::of(&server, &catalogs.shown));
        let state = State {
            slots: Vec::new(),
            last_slot: 0,
            records: Records::default(),
            crashes: Crashes::default(),
            known: Known::default(),
            catalogs,
            sharing,
            held: None,
        };
        let server = Arc::new(Self {
            name,
            log: around.log.clone(),
            around,
            services,
            above,
            one_at_a_time,
            task_tools: Arc::default(),
            ended: Notify::new(),
            settings: RwLock::new(Arc::new(server)),
            before: Mutex::default(),
            retired: AtomicBool::new(false),
            keeper: Mutex::default(),
            annotated: Mutex::default(),
            state: Mutex::new(state),
            spelled: Spelled::default(),
            file,
        });
        server.around.tasks.spawn(Self::keep_saved(Arc::downgrade(&server)));
        server
    }

    pub fn settings(&self) -> Arc<ServerConfig> {
        self.settings.read().clone()
    }

    /// Settings that count at once; the command is the same.
    pub(in crate::hub) fn set_settings(&self, server: ServerConfig) {
        *self.settings.write() = Arc::new(server);
        self.state.lock().known.denied.clear();
        self.reconsider_sharing();
    }

    /// How far a process of it is shared.
    pub(in crate::hub) fn sharing(&self) -> Arc<Sharing> {
        self.state.lock().sharing.clone()
    }

    /// Why its processes are shared as they are, in words.
    pub fn shared_because(&self) -> String {
        self.sharing().because.clone()
    }

    /// What an order would save, and take for granted.
    pub fn advice(&self) -> Option<String> {
        let instances = self.instances();
        let projects: BTreeSet<_> =
            instances.iter().filter_map(|instance| instance.audience()?.project.clone()).collect();
        self.sharing().advice(&self.settings(), instances.len(), projects.len())
    }

    /// Follows from what has become known.
    pub(in crate::hub) fn reconsider_sharing(&self) {
        let settings = self.settings();
        let mut state = self.state.lock();
        state.sharing = Arc::new(Sharing::of(&settings, &state.catalogs.shown));
    }

    pub fn known(&self) -> Known {
        self.state.lock().known.clone()
    }

    /// The method of a request that could have been any agent's.
    pub fn interactive(&self) -> Option<String> {
        self.state.lock().catalogs.interactive.clone()
    }

    /// The instances that are up.
    pub fn instances(&self) -> Vec<Arc<Instance>> {
        self.state.lock().slots.iter().filter_map(|slot| slot.up().cloned()).collect()
    }

    /// Those, and the ones of earlier settings that still have calls to end.
    pub fn all_instances(&self) -> Vec<Arc<Instance>> {
        let before = self.before.lock().upgrade();
        let earlier = before.map(|before| before.all_instances()).unwrap_or_default();
        self.instances().into_iter().chain(earlier).collect()
    }

    /// Remembers that the server asks things that cannot be told apart.
    pub fn note_interactive(&self, method: &str) {
        self.one_at_a_time.serialize();
        let before = self.state.lock().catalogs.interactive.replace(method.to_owned());
        if before.is_none() {
            tracing::warn!(server = %self.name, method, "refused a request of the server: it could have been for any of several agents; from now on a process of it carries one call at a time");
            self.save();
        }
    }

    pub(in crate::hub) fn note_start(&self, result: &Result<Arc<Instance>, Failure>) {
        let mut state = self.state.lock();
        match result {
            Ok(instance) => {
                let pid = instance.connection().and_then(|connection| connection.pid);
                state.known.history.note(pid.map_or("connected".to_owned(), |pid| format!("started, process {pid}")));
                state.known.starts += 1;
                state.known.last_error = None;
            }
            // It is tried in the other era.
            Err(Failure::OtherEra { .. }) => return,
            Err(failure) => {
                state.known.history.note(format!("did not start: {}", failure.reason()));
                state.known.last_error = Some(failure.reason().into());
            }
        }
        drop(state);
        if let Err(failure) = result {
            tracing::warn!(server = %self.name, error = %failure, "server not started");
            self.publish(Event::ServerFailed { server: self.name.clone(), error: failure.to_string() });
        }
    }

    /// An instance is ready.
    pub(in crate::hub) fn ready(self: &Arc<Self>, instance: &Arc<Instance>) {
        let pid = instance.connection().and_then(|instance| instance.pid);
        tracing::info!(server = %self.name, pid, era = ?instance.era(), "server ready");
        self.publish(Event::ServerReady { server: self.name.clone(), pid });
        self.one_at_a_time.free();
        self.arrived(instance);
    }

    pub(in crate::hub) fn note_end(&self, instance: &Instance, reason: &Arc<str>, expected: bool) {
        let pid = instance.connection().and_then(|instance| instance.pid);
        let mut state = self.state.lock();
        if !expected && !self.around.stop.is_cancelled() {
            state.known.last_error = Some(reason.clone());
        }
        let which = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        let how = if expected { "stopped" } else { "ended by itself" };
        state.known.history.note(format!("{how}{which}: {reason}"));
        drop(state);
        self.publish(Event::ServerStopped { server: self.name.clone(), pid, reason: reason.to_string() });
    }

    /// An instance, or a list of its, is there now: agents that were given lists without it learn of the change.
    pub(in crate::hub) fn arrived(&self, instance: &Arc<Instance>) {
        if let Some(audience) = instance.audience() {
            self.announce_missed(audience);
        }
    }

    /// Whether what one agent is offered is any other's business.
    pub(in crate::hub) fn shares_lists(&self) -> bool {
        match self.settings().share {
            Share::Auto | Share::All | Share::Project => true,
            Share::Session => false,
        }
    }

    /// Notes a page of a list that an instance gave.
    pub(in crate::hub) fn note_page(&self, instance: &Instance, kind: ListKind, cursor: Option<&str>, result: &str) {
        let Some(audience) = instance.audience() else { return };
        if kind == ListKind::Tools {
            if instance.makes_tasks() {
                self.task_tools.note_page(result);
            }
            // A tool with a wrong one has none.
            drop(mcp_headers::read(result, self.annotated.lock().get_or_insert_default()));
        }
        if !self.shares_lists() {
            return;
        }
        let noted = self.state.lock().catalogs.note_page(audience, kind, cursor, result);
        match noted {
            Noted::News => self.save(),
            Noted::Same => {}
            Noted::TooLarge => {
                self.around.note(&Quirk::LongList(kind.method().name()));
                self.save();
            }
        }
    }

    /// The arguments of a tool that HTTP repeats in headers; `None` if the server has not listed its tools yet.
    pub fn annotated(&self, tool: &str) -> Option<Vec<mcp_headers::Parameter>> {
        self.annotated.lock().as_ref().map(|tools| tools.get(tool).cloned().unwrap_or_default())
    }

    /// Forgets a list, because an instance says that it changed.
    pub(in crate::hub) fn forget_list(&self, instance: &Instance, kind: ListKind) {
        instance.lists.forget(kind);
        if let Some(audience) = instance.audience() {
            self.state.lock().catalogs.forget(audience, kind);
        }
    }

    /// Takes over what is known of the server under its last settings, until it says otherwise.
    pub(in crate::hub) fn inherit(&self, old: &Arc<Self>) {
        let catalogs = old.state.lock().catalogs.clone();
        let mut state = self.state.lock();
        state.catalogs.inherit(catalogs);
        state.catalogs.keep_within(bounds(&self.name, &self.around));
        state.sharing = Arc::new(Sharing::of(&self.settings(), &state.catalogs.shown));
        state.known.starts = old.state.lock().known.starts;
        // Who was stopped by hand stays stopped.
        state.held.clone_from(&old.state.lock().held);
        *self.before.lock() = Arc::downgrade(old);
    }

    fn publish(&self, event: Event) {
        self.services.events.publish(event);
    }
}
