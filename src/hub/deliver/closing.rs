//! The end of an instance: its calls fail, or are made again where that changes nothing.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::hub::Site;
use crate::hub::agent::Principal;
use crate::hub::failure::Failure;
use crate::hub::instance::calls::pending::{Owner, Pending, Repeat};
use crate::hub::session::Session;

impl Site {
    /// Fails everything that waits for the server, each call under its own id.
    pub(in crate::hub) fn closed(&self, reason: &str) {
        self.line.link.outbox.close();
        let ending = self.line.around.stop.is_cancelled();
        let reason: Arc<str> = if ending { "the daemon is ending" } else { reason }.into();
        let mut table = self.line.table.lock();
        table.closed = Some(reason.clone());
        let sessions: Vec<_> = table.sessions().cloned().collect();
        let pending = table.drain();
        let blamed = blamed(&pending);
        table.asked.clear();
        drop(table);
        for Pending { owner, repeat, across, rest, cancelled, .. } in pending {
            match owner {
                Owner::Agent { .. } if cancelled.is_some() => {}
                Owner::Agent { session, id, .. } => {
                    // Nothing that it was asked for the call matters any more.
                    if let Some(round) = self.hub.rounds.get(session.id, &id) {
                        self.hub.end_round(&round);
                    }
                    let repeat = repeat.filter(|_| self.line.instance().is_some());
                    match repeat {
                        Some(repeat) => self.repeat(&session, *repeat, &reason),
                        None => session.reply(&id, &self.died(&id, &reason)),
                    }
                }
                Owner::Daemon(sender) => {
                    let message = format!("server `{}` stopped before it answered: {reason}", self.line.name);
                    drop(sender.send(Err(message.into())));
                }
                Owner::Hub(sender) => drop(sender.send(Err(reason.clone()))),
                Owner::Resting(_) => {
                    if let (Some(across), Some(rest)) = (across, rest) {
                        let died = self.died("0", &reason);
                        Envelope::parse(died.as_bytes()).iter().for_each(|died| self.keep_answer(&across, &rest, died));
                    }
                }
                Owner::Gone(_) | Owner::Listener | Owner::Fence(_) | Owner::Nobody => {}
            }
        }
        for session in sessions {
            session.drop_questions(self.line.id);
            session.note_left(&self.line.name, self.line.id);
        }
        self.hub.instances.remove(self.line.id);
        self.line.note_closed();
        self.server.line_closed(&self.line, &reason, blamed.as_ref());
    }

    fn died(&self, id: &str, reason: &str) -> String {
        let message =
            format!("server `{}` stopped before it answered: {reason}; the request was not repeated", self.line.name);
        reply::error(id, code::CONNECTION_CLOSED, &message)
    }

    /// Asks once more for a list or a resource, of the instance that is started in place of this one.
    fn repeat(&self, session: &Arc<Session>, repeat: Repeat, reason: &Arc<str>) {
        let (hub, around) = (self.hub.clone(), self.line.around.clone());
        let (session, name, reason) = (session.clone(), self.line.name.clone(), reason.clone());
        around.tasks.clone().spawn(async move {
            let Ok(envelope) = Envelope::parse(repeat.frame.as_bytes()) else { return };
            let Some(speech) = session.speech(&envelope) else { return };
            let line = tokio::select! {
                line = hub.line(&session, name.as_str(), &speech) => line,
                () = around.stop.cancelled() => Err(Failure::Unavailable { server: name.clone(), reason }),
            };
            match line {
                Ok(site) => site.line.request_again(&session, &repeat),
                Err(failure) => session.reply(envelope.id, &failure.frame(envelope.id)),
            }
        });
    }
}

/// The call at which a process ended, if it is one agent's and of one tool, however often made: nothing else can have ended it.
fn blamed(pending: &[Pending]) -> Option<(Principal, Box<str>)> {
    let mut calls = pending.iter().filter(|pending| pending.caller().is_some());
    let call = |pending: &Pending| Some((pending.owner.agent()?.0.principal(), pending.tool.clone()?));
    let first = call(calls.next()?)?;
    calls.all(|other| call(other).as_ref() == Some(&first)).then_some(first)
}
