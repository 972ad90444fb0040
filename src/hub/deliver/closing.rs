//! The end of an instance: its calls fail, or are made again where that changes nothing.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::hub::Site;
use crate::hub::agent::Principal;
use crate::hub::failure::Failure;
use crate::hub::instance::calls::at_end::{AtEnd, Greeted};
use crate::hub::instance::calls::pending_call::{Caller, PendingCall, Repeat};
use crate::hub::session::Session;
use crate::record::Outcome;

impl Site {
    /// Fails everything that waits for the server, each call under its own id.
    pub(in crate::hub) fn closed(&self, reason: &str) {
        self.instance.link.outbox.close();
        let ending = self.instance.around.stop.is_cancelled();
        let reason: Arc<str> = if ending { "the daemon is ending" } else { reason }.into();
        let mut calls = self.instance.calls.lock();
        calls.closed = Some(reason.clone());
        let sessions: Vec<_> = calls.sessions().cloned().collect();
        let pending = calls.drain();
        let blamed = blamed(&pending);
        let void = calls.forget_questions();
        drop(calls);
        void.iter().for_each(|(session, id)| session.take_back(*id, "its server has ended"));
        let greeted = if self.instance.connection().is_some() { Greeted::Yes } else { Greeted::No };
        for mut pending in pending {
            let at_end = pending.at_end(greeted);
            let (repeat, held) = (pending.repeat.take(), pending.turn.is_held());
            if matches!(at_end, AtEnd::Fail | AtEnd::KeepForReturn) {
                self.instance.records().end(pending.begun.take(), Outcome::ServerDied, None);
            }
            match (at_end, pending.owner) {
                (AtEnd::Nothing, _) => {}
                (AtEnd::Repeat | AtEnd::Fail, Caller::Agent { session, id, .. }) => {
                    // Nothing that it was asked for the call matters any more.
                    if let Some(round) = self.hub.rounds.get(session.id, &id) {
                        self.hub.end_round(&round);
                    }
                    match repeat.filter(|_| at_end == AtEnd::Repeat) {
                        Some(repeat) => self.repeat(&session, *repeat, &reason),
                        None => session.reply(&id, &self.died(&id, &reason, held)),
                    }
                }
                (AtEnd::Fail, Caller::Daemon(sender)) => {
                    let message = format!("server `{}` stopped before it answered: {reason}", self.instance.name);
                    drop(sender.send(Err(message.into())));
                }
                (AtEnd::Fail, Caller::Hub(sender)) => drop(sender.send(Err(reason.clone()))),
                (AtEnd::KeepForReturn, _) => {
                    if let (Some(translation), Some(suspension)) = (pending.translation, pending.suspension) {
                        let died = self.died("0", &reason, held);
                        let died = Envelope::parse(died.as_bytes());
                        died.iter().for_each(|died| self.keep_answer(&translation, &suspension, died));
                    }
                }
                (AtEnd::Repeat | AtEnd::Fail, _) => {}
            }
        }
        for session in sessions {
            session.note_left(&self.instance.name, self.instance.id);
        }
        self.hub.instances.remove(self.instance.id);
        self.instance.note_closed();
        self.server.instance_closed(&self.instance, &reason, blamed.as_ref());
    }

    fn died(&self, id: &str, reason: &str, held: bool) -> String {
        let what = if held { "was given this request" } else { "answered" };
        let message =
            format!("server `{}` stopped before it {what}: {reason}; the request was not repeated", self.instance.name);
        reply::error(id, code::CONNECTION_CLOSED, &message)
    }

    /// Asks once more for a list or a resource, of the instance that is started in place of this one.
    fn repeat(&self, session: &Arc<Session>, repeat: Repeat, reason: &Arc<str>) {
        let (hub, around) = (self.hub.clone(), self.instance.around.clone());
        let (session, name, reason) = (session.clone(), self.instance.name.clone(), reason.clone());
        around.tasks.clone().spawn(async move {
            let Ok(envelope) = Envelope::parse(repeat.frame.as_bytes()) else { return };
            let Some(terms) = session.terms(&envelope) else { return };
            let instance = tokio::select! {
                instance = hub.instance(&session, name.as_str(), &terms) => instance,
                () = around.stop.cancelled() => Err(Failure::Unavailable { server: name.clone(), reason }),
            };
            match instance {
                Ok(site) => site.instance.request_again(&session, &repeat),
                Err(failure) => hub.refuse_request(&session, &envelope, &failure),
            }
        });
    }
}

/// The call at which a process ended, if it is one agent's and of one tool, however often made: nothing else can have ended it.
fn blamed(pending: &[PendingCall]) -> Option<(Principal, Box<str>)> {
    let mut calls = pending.iter().filter(|pending| pending.caller().is_some() && !pending.turn.is_held());
    let call =
        |pending: &PendingCall| Some((pending.owner.agent()?.0.principal(), Box::from(pending.tool.as_deref()?)));
    let first = call(calls.next()?)?;
    calls.all(|other| call(other).as_ref() == Some(&first)).then_some(first)
}
