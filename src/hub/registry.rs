//! One configured server: its settings, and what it has shown of itself.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::Hub;
use super::crashes::Crashes;
use super::events::Event;
use super::failure::Failure;
use super::lane::Lane;
use super::line::Line;
use super::records::Records;
use super::saving::{CatalogFile, bounds, keep_saved};
use super::sharing::Sharing;
use super::slots::Slot;
use super::spelled::Spelled;
use crate::config::{Server, Share};
use crate::era::Era;
use crate::lists::ListKind;
use crate::names::ServerName;
use crate::oauth::Keeper;
use crate::upstream::catalog::{Audience, Catalogs, Noted};
use crate::upstream::mirror::{self, Annotated};
use crate::upstream::state::State as Life;
use crate::upstream::{Quirk, ServerLog, Surroundings};

#[derive(Debug)]
pub struct Upstream {
    pub name: ServerName,
    pub log: ServerLog,
    pub(super) around: Surroundings,
    pub(super) hub: Weak<Hub>,
    pub(super) lane: Arc<Lane>,
    /// Told when an instance ends.
    pub(super) ended: Notify,
    settings: RwLock<Arc<Server>>,
    /// The same server under its last settings.
    before: Mutex<Weak<Self>>,
    /// Another one of the same name took over, or none did.
    pub(super) retired: AtomicBool,
    /// Of the login that its server asks for, once that is known.
    pub(super) keeper: Mutex<Option<Keeper>>,
    /// Which arguments of its tools HTTP repeats in headers; nothing before it has listed any tools.
    annotated: Mutex<Option<Annotated>>,
    pub(super) state: Mutex<State>,
    pub(super) spelled: Spelled,
    pub(super) file: CatalogFile,
}

#[derive(Debug)]
pub(super) struct State {
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

/// What an upstream has shown since the daemon started.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub last_error: Option<Arc<str>>,
    pub starts: u64,
    /// Names that are too long for the all-servers view.
    pub hidden: BTreeSet<String>,
    /// Tools that the filter keeps from agents.
    pub denied: BTreeSet<String>,
}

impl Upstream {
    /// A server that is not started; `catalogs` is the folder in which its offer is kept.
    pub fn new(
        hub: Weak<Hub>,
        name: ServerName,
        server: Server,
        around: Surroundings,
        catalogs: &std::path::Path,
    ) -> Arc<Self> {
        let file = CatalogFile::new(catalogs.join(format!("{name}.json")), &server);
        let mut catalogs = file.load();
        if let Some(fixed) = server.era.fixed() {
            (catalogs.era, catalogs.modern_only) = (Some(fixed), fixed == Era::Modern);
        }
        catalogs.keep_within(bounds(&name, &around));
        let lane = Lane::new(&catalogs);
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
        let upstream = Arc::new(Self {
            name,
            log: around.log.clone(),
            around,
            hub,
            lane,
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
        upstream.around.tasks.spawn(keep_saved(Arc::downgrade(&upstream)));
        upstream
    }

    pub fn settings(&self) -> Arc<Server> {
        self.settings.read().clone()
    }

    /// Settings that count at once; the command is the same.
    pub(super) fn set_settings(&self, server: Server) {
        *self.settings.write() = Arc::new(server);
        self.state.lock().known.denied.clear();
        self.reconsider_sharing();
    }

    /// How far a process of it is shared.
    pub(super) fn sharing(&self) -> Arc<Sharing> {
        self.state.lock().sharing.clone()
    }

    /// Why its processes are shared as they are, in words.
    pub fn shared_because(&self) -> String {
        self.sharing().because.clone()
    }

    /// What an order would save, and take for granted.
    pub fn advice(&self) -> Option<String> {
        let lines = self.lines();
        let projects: BTreeSet<_> = lines.iter().filter_map(|line| line.audience()?.project.clone()).collect();
        self.sharing().advice(&self.settings(), lines.len(), projects.len())
    }

    /// Follows from what has become known.
    pub(super) fn reconsider_sharing(&self) {
        let settings = self.settings();
        let mut state = self.state.lock();
        state.sharing = Arc::new(Sharing::of(&settings, &state.catalogs.shown));
    }

    pub fn known(&self) -> Known {
        self.state.lock().known.clone()
    }

    pub fn era(&self) -> Option<Era> {
        self.state.lock().catalogs.era
    }

    /// Whether a process is up, or starting, while it is not known yet what it speaks.
    pub(super) fn is_undecided(&self) -> bool {
        let state = self.state.lock();
        state.catalogs.era.is_none() && !state.catalogs.modern_only && !state.slots.is_empty()
    }

    /// The method of a request that could have been any agent's.
    pub fn interactive(&self) -> Option<String> {
        self.state.lock().catalogs.interactive.clone()
    }

    /// The instances that are up.
    pub fn lines(&self) -> Vec<Arc<Line>> {
        self.state.lock().slots.iter().filter_map(|slot| slot.up().cloned()).collect()
    }

    /// Those, and the ones of earlier settings that still have calls to end.
    pub fn all_lines(&self) -> Vec<Arc<Line>> {
        let before = self.before.lock().upgrade();
        let earlier = before.map(|before| before.all_lines()).unwrap_or_default();
        self.lines().into_iter().chain(earlier).collect()
    }

    /// What [`Self::condition`] can be.
    pub const CONDITIONS: [&str; 11] = [
        "misconfigured",
        "disabled",
        "stopped",
        "needs_login",
        "ready",
        "starting",
        "broken",
        "backoff",
        "draining",
        "failed",
        "idle",
    ];

    /// One word for `status`.
    pub fn condition(&self) -> &'static str {
        let state = self.state.lock();
        let any = |wanted: fn(&Life) -> bool| state.slots.iter().any(|slot| wanted(&slot.life));
        let settings = self.settings();
        if settings.wrong.is_some() {
            "misconfigured"
        } else if !settings.enabled {
            "disabled"
        } else if state.held.is_some() {
            "stopped"
        } else if self.login_need().is_some() {
            "needs_login"
        } else if any(|life| matches!(life, Life::Ready { .. })) {
            "ready"
        } else if any(|life| matches!(life, Life::Starting)) {
            "starting"
        } else if state.records.any_is_broken(Instant::now()) {
            "broken"
        } else if any(|life| matches!(life, Life::Backoff { .. })) {
            "backoff"
        } else if any(|life| matches!(life, Life::Draining { .. })) {
            "draining"
        } else if state.known.last_error.is_some() {
            "failed"
        } else {
            "idle"
        }
    }

    /// Remembers that the server asks things that cannot be told apart.
    pub fn note_interactive(&self, method: &str) {
        self.lane.narrow();
        let before = self.state.lock().catalogs.interactive.replace(method.to_owned());
        if before.is_none() {
            tracing::warn!(server = %self.name, method, "refused a request of the server: it could have been for any of several agents; from now on a process of it carries one call at a time");
            self.save();
        }
    }

    pub(super) fn note_era(&self, era: Era) {
        let before = self.state.lock().catalogs.era.replace(era);
        if before != Some(era) {
            self.save();
        }
    }

    /// Remembers that the server speaks this era and not the other one.
    pub(super) fn note_only(&self, era: Era) {
        self.state.lock().catalogs.modern_only = era == Era::Modern;
        self.note_era(era);
        self.save();
    }

    /// Which era to speak with the server for an agent of `agent`: the agent's own, unless that is known to be in vain.
    pub(super) fn era_for(&self, agent: Era) -> Era {
        let catalogs = &self.state.lock().catalogs;
        match agent {
            Era::Modern if catalogs.era == Some(Era::Legacy) => Era::Legacy,
            Era::Legacy if catalogs.modern_only => Era::Modern,
            Era::Modern | Era::Legacy => agent,
        }
    }

    pub(super) fn note_start(&self, result: &Result<Arc<Line>, Failure>) {
        let mut state = self.state.lock();
        match result {
            Ok(_) => {
                state.known.starts += 1;
                state.known.last_error = None;
            }
            // It is tried in the other era.
            Err(Failure::OtherEra { .. }) => return,
            Err(failure) => state.known.last_error = Some(failure.reason().into()),
        }
        drop(state);
        if let Err(failure) = result {
            tracing::warn!(server = %self.name, error = %failure, "server not started");
            self.publish(Event::ServerFailed { server: self.name.clone(), error: failure.to_string() });
        }
    }

    /// An instance is ready.
    pub(super) fn ready(self: &Arc<Self>, line: &Arc<Line>) {
        let pid = line.instance().and_then(|instance| instance.pid);
        tracing::info!(server = %self.name, pid, era = ?line.era(), "server ready");
        self.publish(Event::ServerReady { server: self.name.clone(), pid });
        self.lane.free();
        self.arrived(line);
    }

    pub(super) fn note_end(&self, line: &Line, reason: &Arc<str>, expected: bool) {
        let mut state = self.state.lock();
        if !expected && !self.around.stop.is_cancelled() {
            state.known.last_error = Some(reason.clone());
        }
        drop(state);
        let pid = line.instance().and_then(|instance| instance.pid);
        self.publish(Event::ServerStopped { server: self.name.clone(), pid, reason: reason.to_string() });
    }

    /// An instance, or a list of its, is there now: agents that were given lists without it learn of the change.
    pub(super) fn arrived(&self, line: &Arc<Line>) {
        if let (Some(hub), Some(audience)) = (self.hub.upgrade(), line.audience()) {
            hub.announce_missed(self, audience);
        }
    }

    /// Whether what one agent is offered is any other's business.
    pub(super) fn shares_lists(&self) -> bool {
        match self.settings().share {
            Share::Auto | Share::All | Share::Project => true,
            Share::Session => false,
        }
    }

    /// Notes a page of a list.
    pub(super) fn note_page(&self, audience: &Audience, kind: ListKind, cursor: Option<&str>, result: &str) {
        if kind == ListKind::Tools {
            // A tool with a wrong one has none.
            drop(mirror::read(result, self.annotated.lock().get_or_insert_default()));
        }
        if !self.shares_lists() {
            return;
        }
        let noted = self.state.lock().catalogs.note_page(audience, kind, cursor, result);
        match noted {
            Noted::News => self.save(),
            Noted::Same => {}
            Noted::TooLarge => {
                self.around.note(&Quirk::LongList(kind.method()));
                self.save();
            }
        }
    }

    /// The arguments of a tool that HTTP repeats in headers; `None` if the server has not listed its tools yet.
    pub fn annotated(&self, tool: &str) -> Option<Vec<mirror::Parameter>> {
        self.annotated.lock().as_ref().map(|tools| tools.get(tool).cloned().unwrap_or_default())
    }

    pub(super) fn forget_list(&self, audience: &Audience, kind: ListKind) {
        self.state.lock().catalogs.forget(audience, kind);
    }

    /// Why it is missing from a list, in a few words.
    pub(super) fn absence(&self) -> String {
        let condition = self.condition();
        match (condition, self.known().last_error) {
            ("misconfigured", _) => format!(
                "its entry in the configuration is wrong: {}",
                self.settings().wrong.clone().unwrap_or_default()
            ),
            ("starting", _) => "it is still starting".to_owned(),
            ("needs_login", _) => format!("it needs a login: `trunkline login {}`", self.name),
            (_, Some(error)) => error.to_string(),
            (condition, None) => format!("it is {condition}"),
        }
    }

    /// Takes over what is known of the server under its last settings, until it says otherwise.
    pub(super) fn inherit(&self, old: &Arc<Self>) {
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
        if let Some(hub) = self.hub.upgrade() {
            hub.events.publish(event);
        }
    }
}
