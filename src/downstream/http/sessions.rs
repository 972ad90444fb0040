//! Sessions of the legacy era over HTTP: made by `initialize`, named by `Mcp-Session-Id`, ended by DELETE or by silence.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::downstream::connection::Shutdown;
use crate::downstream::http::answer::Named;
use crate::hub::{Failure, Hub, Lifetime, Session, View};
use crate::wire::{Account, Replay, Sink, Streams};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The id of the session that a request names.
pub(super) fn id_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID)?.to_str().ok()
}

/// How long an agent may neither ask nor listen.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// How many sessions there may be; the one that was silent for longest makes place.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Sessions(pub Mutex<HashMap<String, Arc<Attached>>>);

/// One of them; dropped, the agent has left.
pub(super) struct Attached {
    pub session: Arc<Session>,
    pub streams: Streams,
    hub: Arc<Hub>,
    used: Mutex<Instant>,
    pub left: AtomicBool,
}

impl Attached {
    /// Attaches an agent whose session lasts.
    pub(super) fn lasting(hub: &Arc<Hub>, ends: &Shutdown, view: View) -> Result<Self, Failure> {
        let gone = ends.stop.child_token();
        let account = hub.account("an agent over HTTP", gone.clone());
        Self::new(hub, view, Lifetime::Lasting, Streams::new(account, Replay::Yes), gone)
    }

    /// Attaches an agent for one request, which is weighed for `account`.
    pub(super) fn for_one_request(
        hub: &Arc<Hub>,
        ends: &Shutdown,
        view: View,
        account: &Account,
    ) -> Result<Self, Failure> {
        // Its body is weighed beside what comes of it.
        let streams = Streams::new(account.beside(account.limit()), Replay::No);
        Self::new(hub, view, Lifetime::OneRequest, streams, ends.stop.child_token())
    }

    /// Attaches an agent that is reached by `streams`, for as long as this lives.
    fn new(
        hub: &Arc<Hub>,
        view: View,
        stay: Lifetime,
        streams: Streams,
        gone: CancellationToken,
    ) -> Result<Self, Failure> {
        let session = hub.attach(view, stay, Agent::default(), Sink::Streams(streams.clone()), gone)?;
        Ok(Self { session, streams, hub: hub.clone(), used: Mutex::new(Instant::now()), left: AtomicBool::new(false) })
    }

    /// Whether this agent's streams can be taken up where they were cut.
    pub(super) fn names_events(&self) -> Named {
        let named = self.session.profile().is_some_and(|profile| profile.resumes());
        if named { Named::Yes } else { Named::No }
    }

    pub(super) fn is_over(&self) -> bool {
        let idle = !self.streams.are_read() && self.session.in_flight() == 0;
        self.session.gone.is_cancelled() || idle && self.used.lock().elapsed() > SILENCE
    }

    /// The agent has left, whoever still holds its streams.
    pub(super) fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            self.session.gone.cancel();
            self.hub.detach(&self.session);
            self.streams.close();
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Sessions {
    /// Adds a session; returns the one that had to make place, if one had to.
    pub(super) fn add(&self, id: &str, attached: Arc<Attached>) -> Option<(String, Arc<Attached>)> {
        let mut all = self.0.lock();
        let quiet = all.iter().filter(|(_, attached)| !attached.streams.are_read());
        let oldest = quiet.min_by_key(|(_, attached)| *attached.used.lock()).map(|(id, _)| id.clone());
        let oldest = oldest.filter(|_| all.len() >= MOST);
        let oldest = oldest.and_then(|oldest| all.remove_entry(&oldest));
        all.insert(id.to_owned(), attached);
        oldest
    }

    /// The session that a request names, if it is of this view.
    pub(super) fn find(&self, headers: &HeaderMap, view: &View) -> Option<Arc<Attached>> {
        let id = id_of(headers)?;
        let attached = self.0.lock().get(id).filter(|attached| attached.session.view == *view).cloned()?;
        if attached.session.gone.is_cancelled() {
            return None;
        }
        *attached.used.lock() = Instant::now();
        Some(attached)
    }

    /// Ends a session; tells whether there was one.
    pub(super) fn end(&self, id: &str, view: &View) -> bool {
        let ended = {
            let mut all = self.0.lock();
            let is_of_view = all.get(id).is_some_and(|attached| attached.session.view == *view);
            is_of_view.then(|| all.remove(id)).flatten()
        };
        // Its streams hold it, and are to end with it.
        ended.iter().for_each(|attached| attached.leave());
        ended.is_some()
    }

    pub(super) fn all(&self) -> Vec<Arc<Attached>> {
        self.0.lock().values().cloned().collect()
    }
}
