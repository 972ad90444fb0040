//! Answers that do not say, or not legibly, which request they answer. One that could be another request's is given to none.

use std::time::Duration;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::hub::Site;
use crate::hub::ids::SessionId;
use crate::upstream::Quirk;
use crate::wire::Held;

/// How long a request may still be answered that may have been answered already.
const DOUBT: Duration = Duration::from_secs(8);
/// How much of an answer that is dropped is told, in characters.
const FIRST: usize = 80;
/// How many such answers may wait at once.
const MOST: usize = 16;
/// The pauses before each look at which request an answer is for. The first one is for a server that says something that nobody
/// has asked for, and then answers.
const LOOKS: &[Duration] =
    &[Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];

impl Site {
    /// A response to a request that is over, or that nobody made.
    pub(in crate::hub) fn answers_nothing(&self, envelope: &Envelope<'_>) {
        if envelope.id.parse().is_ok_and(|id| self.instance.link.has_issued(id)) {
            self.note_task_left(SessionId::STRANGERS, envelope);
            tracing::debug!(server = %self.instance.name, id = envelope.id, "dropped a reply to nothing, or a second one");
        } else {
            self.stray(envelope);
        }
    }

    /// A response came under an id that nobody asked under: it answers the only request that it can.
    fn stray(&self, envelope: &Envelope<'_>) {
        self.instance.around.note(&Quirk::StrangeId(envelope.id.to_owned()));
        // An error without an id may be about what was said and needs no answer.
        let certain = envelope.error.is_none() || self.instance.link.is_settled();
        let looks = if certain { LOOKS } else { &LOOKS[LOOKS.len() - 1..] };
        let (requests, unanswered) = {
            let mut calls = self.instance.calls.lock();
            // It may be the late answer to a request that is over, or an error about what others have said.
            let foreign = calls.expects_late_answers() || envelope.error.is_some() && !calls.is_one_sessions();
            if calls.strays == MOST || foreign {
                return self.instance.around.note(&Quirk::Dropped(envelope.frame.chars().take(FIRST).collect()));
            }
            calls.strays += 1;
            (calls.requests(), calls.unanswered)
        };
        let Ok(held) = self.instance.link.outbox.account().hold(envelope.frame.len()) else {
            self.instance.calls.lock().strays -= 1;
            return self.instance.around.note(&Quirk::Dropped(envelope.frame.chars().take(FIRST).collect()));
        };
        self.look_for_request(requests, unanswered, (envelope.under("null"), held), looks);
    }

    /// Gives an answer to the request that is left of those that it can be for, once the others were answered by their own.
    fn look_for_request(&self, mut ids: Vec<u64>, unanswered: u64, frame: (String, Held), looks: &'static [Duration]) {
        let Some((pause, rest)) = looks.split_first() else {
            self.instance.calls.lock().strays -= 1;
            return self.instance.around.note(&Quirk::Dropped(frame.0.chars().take(FIRST).collect()));
        };
        let site = self.clone();
        self.instance.around.later(*pause, move || {
            let mut calls = site.instance.calls.lock();
            ids.retain(|id| calls.get(*id).is_some());
            // One that is over without an answer may be the one that this answers.
            let is_open = calls.unanswered == unanswered;
            if ids.len() > 1 && is_open {
                drop(calls);
                return site.look_for_request(ids, unanswered, frame, rest);
            }
            calls.strays -= 1;
            drop(calls);
            ids.retain(|_| is_open);
            for id in ids {
                let answer = Envelope::parse(frame.0.as_bytes()).map(|envelope| envelope.under(&id.to_string()));
                answer.iter().for_each(|answer| site.answer_for(answer));
            }
        });
    }

    /// A message stands behind text on its line. It is taken where it can concern one session only: a server may write down
    /// what one agent sends, and that must not count for another.
    pub(in crate::hub) fn behind_text(&self, envelope: &Envelope<'_>) {
        if self.instance.calls.lock().is_one_sessions() {
            return match envelope.kind {
                Kind::Response => self.response(envelope),
                Kind::Request => self.question(envelope, None),
                Kind::Notification => self.notification(envelope, None),
            };
        }
        tracing::debug!(server = %self.instance.name, "passed over a message behind text: several agents are here");
        let id = envelope.id.parse().ok().filter(|_| envelope.kind == Kind::Response);
        if let Some(id) = id.filter(|id| self.instance.calls.lock().get(*id).is_some()) {
            self.in_doubt(
                vec![id],
                self.cannot_be_read("it stands behind text on its line, and several agents are here"),
            );
        }
    }

    /// An answer came that cannot be read: to this request, or it is not known to which. Its request may be answered yet.
    pub(in crate::hub) fn unreadable(&self, id: Option<u64>, reason: &str) {
        let error = self.cannot_be_read(reason);
        let calls = self.instance.calls.lock();
        let open = id.filter(|id| calls.get(*id).is_some());
        let (only, all) = (calls.only().filter(|_| id.is_none()), calls.requests());
        drop(calls);
        match (open.or(only), id) {
            (Some(id), _) => self.answer_after(LOOKS[0], vec![id], error),
            // What it answers is over.
            (None, Some(_)) => {}
            (None, None) => self.in_doubt(all, error),
        }
    }

    fn cannot_be_read(&self, reason: &str) -> impl Fn(u64) -> String + Send + use<> {
        let reason = format!("server `{}`: its answer cannot be read: {reason}", self.instance.name);
        move |id: u64| reply::error(&id.to_string(), code::INTERNAL, &reason)
    }

    /// Answers those of these requests that are still open after a while.
    fn in_doubt(&self, ids: Vec<u64>, answer: impl Fn(u64) -> String + Send + 'static) {
        self.answer_after(DOUBT, ids, answer);
    }

    fn answer_after(&self, pause: Duration, ids: Vec<u64>, answer: impl Fn(u64) -> String + Send + 'static) {
        let site = self.clone();
        self.instance.around.later(pause, move || {
            let is_open = |id: &u64| site.instance.calls.lock().is_waited_for(*id);
            ids.into_iter().filter(is_open).for_each(|id| site.answer_for(&answer(id)));
        });
    }

    fn answer_for(&self, frame: &str) {
        if let Ok(envelope) = Envelope::parse(frame.as_bytes()) {
            self.response(&envelope);
        }
    }
}
