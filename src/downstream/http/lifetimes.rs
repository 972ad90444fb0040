//! How long sessions over HTTP live: noted for the next daemon, ended with silence, with their place, or with the daemon.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::downstream::http::endpoint::HttpEndpoint;
use crate::downstream::http::sessions::Attached;
use parking_lot::MutexGuard;
use tokio_util::sync::CancellationToken;

/// How often silence is looked at.
const LOOK: Duration = Duration::from_secs(5);

impl HttpEndpoint {
    /// Notes how a session is now, for the next daemon.
    pub(super) fn note(&self, id: &str, attached: &Attached) {
        let _turn = self.turn.lock();
        if attached.left.load(Ordering::Relaxed) {
            return;
        }
        if let Some(remembered) = self.hub.snapshot(&attached.session) {
            self.records.note(id, &attached.session.view, remembered);
        }
    }

    /// Keeps a session under an id that nobody can guess, for who has the turn.
    pub(super) fn add(&self, id: &str, attached: Arc<Attached>, _turn: &MutexGuard<'_, ()>) {
        if let Some((oldest, attached)) = self.sessions.add(id, attached) {
            attached.leave();
            self.records.forget(&oldest);
        }
    }

    /// Ends sessions that are over.
    fn sweep(&self) {
        let _turn = self.turn.lock();
        let over: Vec<_> = self.sessions.0.lock().extract_if(|_, attached| attached.is_over()).collect();
        for (id, attached) in over {
            attached.leave();
            self.records.forget(&id);
        }
        let live: HashSet<_> = self.sessions.0.lock().keys().cloned().collect();
        self.records.sweep(|id| live.contains(id));
        self.sessions.all().iter().for_each(|attached| attached.streams.sweep());
    }

    fn note_all(&self) {
        let all: Vec<_> = self.sessions.0.lock().iter().map(|(id, attached)| (id.clone(), attached.clone())).collect();
        all.iter().for_each(|(id, attached)| self.note(id, attached));
    }
}

/// Ends sessions that are silent for long, or whose agent does not read; and all of them with the daemon, when the last that
/// is to be known of them is `noted`.
pub(super) async fn keep(face: Arc<HttpEndpoint>, noted: CancellationToken) {
    let _noted = noted.drop_guard();
    loop {
        tokio::select! {
            biased;
            () = face.ends.drain.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {
                face.sweep();
                face.note_all();
            }
        }
    }
    face.note_all();
    let all = face.sessions.all();
    for session in face.hub.sessions().iter().filter(|session| session.is_over_http()) {
        face.hub.close_listens(session);
    }
    let settled = futures_util::future::join_all(all.iter().map(|attached| attached.session.settled()));
    tokio::select! {
        _ = settled => {}
        () = face.ends.stop.cancelled() => {}
    }
    face.sessions.0.lock().clear();
    all.iter().for_each(|attached| attached.streams.close());
}
