//! Answers that do not say, or not legibly, which request they answer. One that could be another request's is given to none.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::hub::line::Line;
use crate::upstream::Quirk;

/// How long a request may still be answered that may have been answered already.
const DOUBT: Duration = Duration::from_secs(8);
/// How many such answers may wait at once.
const MOST: usize = 16;
/// The pauses before each look at which request an answer is for. The first one is for a server that says something that nobody
/// has asked for, and then answers.
const LOOKS: &[Duration] =
    &[Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];

impl Line {
    /// A response to a request that is over, or that nobody made.
    pub(super) fn answers_nothing(self: &Arc<Self>, envelope: &Envelope<'_>) {
        match envelope.id.parse().ok().filter(|id| self.link.has_issued(*id)) {
            Some(id) => {
                let id: u64 = id;
                tracing::debug!(server = %self.name, id, "dropped a reply to nothing, or a second one");
            }
            None => self.stray(envelope),
        }
    }

    /// A response came under an id that nobody asked under: it answers the only request that it can.
    fn stray(self: &Arc<Self>, envelope: &Envelope<'_>) {
        self.note(&Quirk::StrangeId(envelope.id.to_owned()));
        // An error without an id may be about what was said and needs no answer.
        let certain = envelope.error.is_none() || self.link.is_settled();
        let looks = if certain { LOOKS } else { &LOOKS[LOOKS.len() - 1..] };
        let requests = {
            let mut table = self.table.lock();
            if table.strays == MOST {
                return tracing::debug!(server = %self.name, "dropped one of too many replies under strange ids");
            }
            table.strays += 1;
            table.requests()
        };
        self.look_for_request(requests, envelope.under("null"), looks);
    }

    /// Gives an answer to the request that is left of those that it can be for, once the others were answered by their own.
    fn look_for_request(self: &Arc<Self>, mut ids: Vec<u64>, frame: String, looks: &'static [Duration]) {
        let (Some(upstream), Some((pause, rest))) = (self.upstream.upgrade(), looks.split_first()) else {
            self.table.lock().strays -= 1;
            tracing::warn!(server = %self.name, requests = ids.len(), "dropped a reply that could have been to any of several requests");
            return;
        };
        let line = self.clone();
        upstream.around.clone().later(*pause, move || {
            ids.retain(|id| line.table.lock().get(*id).is_some());
            if ids.len() > 1 {
                return line.look_for_request(ids, frame, rest);
            }
            line.table.lock().strays -= 1;
            for id in ids {
                let answer = Envelope::parse(frame.as_bytes()).map(|envelope| envelope.under(&id.to_string()));
                answer.iter().for_each(|answer| line.answer_for(answer));
            }
        });
    }

    /// An answer came that cannot be read: to this request, or it is not known to which.
    pub(super) fn unreadable(self: &Arc<Self>, id: Option<u64>, reason: &str) {
        let reason = format!("server `{}`: its answer cannot be read: {reason}", self.name);
        let error = move |id: u64| reply::error(&id.to_string(), code::INTERNAL, &reason);
        let table = self.table.lock();
        let (known, only, all) = (id.filter(|id| table.get(*id).is_some()), table.only(), table.requests());
        drop(table);
        match (known.or(only.filter(|_| id.is_none())), id) {
            (Some(id), _) => self.answer_for(&error(id)),
            // What it answers is over.
            (None, Some(_)) => {}
            (None, None) => self.in_doubt(all, error),
        }
    }

    /// Answers those of these requests that are still open after a while.
    fn in_doubt(self: &Arc<Self>, ids: Vec<u64>, answer: impl Fn(u64) -> String + Send + 'static) {
        let (Some(upstream), line) = (self.upstream.upgrade(), self.clone()) else { return };
        upstream.around.later(DOUBT, move || {
            let is_open = |id: &u64| line.table.lock().is_waited_for(*id);
            ids.into_iter().filter(is_open).for_each(|id| line.answer_for(&answer(id)));
        });
    }

    fn answer_for(self: &Arc<Self>, frame: &str) {
        if let Ok(envelope) = Envelope::parse(frame.as_bytes()) {
            self.response(&envelope);
        }
    }

    /// Tells once what the server does that it should not.
    pub(in crate::hub) fn note(&self, quirk: &Quirk) {
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.around.note(quirk);
        }
    }
}
