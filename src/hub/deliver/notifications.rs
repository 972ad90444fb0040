//! What a server says unasked, brought to the agents that it concerns, and to no other.

use std::sync::Arc;

use crate::envelope::reply;
use crate::envelope::{Envelope, quoted, splice, text};
use crate::era::Era;
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::member::Member;
use crate::hub::instance::calls::pending_call::{Caller, OnReply, PendingCall};
use crate::hub::instance::calls::task_of::TaskOf;
use crate::hub::instance::calls::{Calls, Whose};
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::hub::{Site, eras};
use crate::lists::ListKind;
use crate::method::Method;
use crate::names::lies_under;
use crate::wire::To;

impl Site {
    pub(in crate::hub) fn notification(&self, envelope: &Envelope<'_>, call: Option<u64>) {
        if let Some(raw) = envelope.params.meta.subscription_id {
            return self.on_subscription(envelope, raw);
        }
        if let Some(kind) = ListKind::of_changed(envelope.method) {
            return self.changed(kind, envelope.frame);
        }
        if let Some(raw) = envelope.params.uri.filter(|_| envelope.method == Some(Method::ResourceUpdated)) {
            return self.updated(raw, envelope);
        }
        let mut calls = self.instance.calls.lock();
        match envelope.method {
            Some(Method::Progress) => {
                if let Some(raw) = envelope.params.progress_token
                    && let Ok(ours) = raw.parse()
                {
                    let moved = || calls.followed(|task| task.progress == ours);
                    let call = if calls.get(ours).is_none() { moved().unwrap_or(ours) } else { ours };
                    calls.note_progress(call);
                    self.to_progress(&calls, envelope, raw, ours, call);
                }
            }
            Some(Method::Cancelled) => {
                if let Some(id) = cancelled(&mut calls, envelope) {
                    drop(calls);
                    self.instance.own_subscription_ended(id);
                }
            }
            Some(Method::Log) => self.log(&calls, envelope, call),
            _ if Method::tells_of_task(&envelope.method_name) => {
                let Some(id) = envelope.params.task_id.and_then(text) else { return };
                if eras::says_ended(envelope) {
                    calls.tasks.note_ended(&id);
                } else {
                    calls.tasks.note_heard(&id);
                }
                let whose = calls.tasks.session(&id);
                if let Some(session) = whose.and_then(|id| self.hub.session(id)) {
                    session.tell(To::Agent, envelope.frame);
                }
            }
            Some(Method::ElicitationComplete) => {
                let page = envelope.params.elicitation_id.and_then(text);
                match page.and_then(|page| calls.pages.done(&page)) {
                    Some(asked) => {
                        let here = asked.into_iter().filter_map(|id| self.hub.session(id));
                        here.for_each(|session| session.tell(To::Agent, envelope.frame));
                    }
                    None if call.is_some() || calls.is_one_sessions() => self.unaddressed(&calls, envelope, call),
                    None => {
                        tracing::debug!(server = %self.instance.name, "dropped that a page is done which nobody was asked for")
                    }
                }
            }
            _ => self.unaddressed(&calls, envelope, call),
        }
    }

    /// Brings progress to the call whose token it names, under the agent's own token.
    fn to_progress(&self, calls: &Calls, envelope: &Envelope<'_>, raw: &str, ours: u64, call: u64) {
        let tell = |session: &Session, to: To<'_>, token: &str| {
            session.send_edited(to, envelope, &mut [envelope.edit(raw, token)]);
        };
        match calls.get(call) {
            Some(PendingCall { owner: Caller::Agent { session, id, token: Some(token) }, .. }) => {
                tell(session, To::Call(id), token)
            }
            Some(_) => {}
            None => {
                // The call was answered with a task, which goes on.
                if let Some((whose, token)) = calls.tasks.progress(ours)
                    && let Some(session) = self.hub.session(whose)
                {
                    tell(&session, To::Agent, token);
                }
            }
        }
    }

    /// Brings a notification to the subscription that it names: an agent's, or trunkline's own.
    fn on_subscription(&self, envelope: &Envelope<'_>, raw: &str) {
        if let Some(kind) = ListKind::of_changed(envelope.method) {
            self.server.forget_list(&self.instance, kind);
        }
        let mut calls = self.instance.calls.lock();
        let id: Option<u64> = raw.parse().ok().or_else(|| text(raw)?.parse().ok());
        let Some(id) = id else { return };
        if let Some(PendingCall { owner: Caller::Agent { session, .. }, .. }) = calls.get(id)
            && Method::tells_of_task(&envelope.method_name)
            && !envelope.params.task_id.and_then(text).is_some_and(|task| calls.tasks.is_of(&task, session))
        {
            tracing::debug!(server = %self.instance.name, session = session.id.0, "dropped news of a task that is not the agent's");
            return;
        }
        let Some(pending) = calls.get_mut(id) else { return };
        match &pending.owner {
            Caller::Listener => {
                drop(calls);
                self.heard(id, envelope);
            }
            Caller::Agent { .. }
                if pending.on_reply == OnReply::ListenAgain && envelope.method == Some(Method::Acknowledged) =>
            {
                pending.on_reply = OnReply::Listen;
            }
            Caller::Agent { session, id, .. } => {
                if envelope.method == Some(Method::Acknowledged)
                    && let Some(repeat) = &mut pending.repeat
                {
                    repeat.on_reply = OnReply::ListenAgain;
                }
                session.send_edited(To::Call(id), envelope, &mut [envelope.edit(raw, id)]);
            }
            Caller::Gone(_)
            | Caller::Suspended(_)
            | Caller::Daemon(_)
            | Caller::Hub(_)
            | Caller::Fence(_)
            | Caller::Nobody => {}
        }
    }

    /// Takes what comes on a subscription of its own.
    pub(in crate::hub) fn heard(&self, id: u64, envelope: &Envelope<'_>) {
        if envelope.method == Some(Method::Acknowledged) {
            let replaced = {
                let mut state = self.instance.listening.0.lock();
                state.lost = 0;
                if state.open == Some(id) { std::mem::take(&mut state.replaced) } else { Vec::new() }
            };
            return self.instance.end_own_subscriptions(&replaced);
        }
        if let Some(kind) = ListKind::of_changed(envelope.method) {
            return self.changed(kind, &kind.notification());
        }
        if let Some(uri) = envelope.params.uri.filter(|_| envelope.method == Some(Method::ResourceUpdated)) {
            // In the words that those know who did not subscribe here.
            let frame = reply::notification(Method::ResourceUpdated, &format!(r#"{{"uri":{uri}}}"#));
            if let Ok(envelope) = Envelope::parse(frame.as_bytes()) {
                self.updated(envelope.params.uri.unwrap_or_default(), &envelope);
            }
        }
    }

    /// Tells who was told of a list that it changed, in the words of `frame`.
    pub(in crate::hub) fn announce_changed(&self, kind: ListKind, frame: &str) {
        let sessions = self.instance.sessions();
        sessions.iter().for_each(|session| session.tell_changed(kind, frame));
        self.tell_the_others(kind, frame, &sessions);
    }

    /// Tells those who were answered from the catalog, and are not on this instance, that a list changed.
    fn tell_the_others(&self, kind: ListKind, frame: &str, told: &[Arc<Session>]) {
        let Some(audience) = self.instance.audience().filter(|_| self.server.shares_lists()) else { return };
        let others = self.server.listeners(audience).into_iter();
        let others = others.filter(|session| told.iter().all(|told| told.id != session.id));
        others.for_each(|session| session.tell_changed(kind, frame));
    }

    /// Brings an update to those who subscribed to the URI, or to one that it lies under, each by the URI that they know.
    pub(in crate::hub) fn updated(&self, raw: &str, envelope: &Envelope<'_>) {
        let Some(uri) = text(raw) else { return };
        let calls = self.instance.calls.lock();
        for member in calls.members.values() {
            let Some(session) = &member.session else { continue };
            let exact = member.uris.iter().find(|(known, _)| *known == *uri);
            let found = exact.or_else(|| member.uris.iter().find(|(known, _)| lies_under(&uri, known)));
            if let Some((server_uri, agent_uri)) = found {
                let as_known = uri.replacen(server_uri.as_str(), agent_uri, 1);
                let quoted = quoted(&as_known);
                let mut edits = if server_uri == agent_uri { Vec::new() } else { vec![envelope.edit(raw, &quoted)] };
                let mut frame = Vec::with_capacity(envelope.frame.len() + quoted.len());
                splice(envelope.frame, &mut edits, &mut frame);
                session.tell_updated(&as_known, &String::from_utf8_lossy(&frame));
            }
        }
    }

    /// A log message carries no call: it is the one caller's, or everybody's while the server is idle.
    fn log(&self, calls: &Calls, envelope: &Envelope<'_>, call: Option<u64>) {
        let level = envelope.params.level.and_then(Level::parse).unwrap_or(Level::Emergency);
        let task = calls.task_of(envelope);
        if let Some(session) = self.elsewhere(calls, task.as_ref()) {
            if session.profile().is_some() && calls.wants(&Member::default(), level) {
                session.log(To::Agent, envelope.frame);
            }
            return;
        }
        let (whose, call) = match (&task, call, calls.at_work()) {
            // Only the calls that somebody waits for count: one that was cancelled may never be answered.
            (None, None, Some(id)) => (Whose::One(id), None),
            _ => whose(calls, task, call),
        };
        match whose {
            Whose::One(id) if calls.session(id).is_some() => self.log_to(calls, id, level, envelope, call),
            // Without a call, a message of the modern era is nobody's: there, each request asks for its own.
            Whose::Idle if self.instance.era() == Era::Legacy => {
                for member in calls.members.values() {
                    if let Some(session) = member.session.as_ref().filter(|session| session.profile().is_some())
                        && calls.wants(member, level)
                    {
                        session.log(To::Agent, envelope.frame);
                    }
                }
            }
            Whose::One(_) | Whose::Idle | Whose::Several | Whose::Nobody => {
                self.server.log.push(&format!("[a message that names no agent] {}", envelope.frame));
            }
        }
    }

    fn log_to(&self, calls: &Calls, id: SessionId, level: Level, envelope: &Envelope<'_>, call: Option<u64>) {
        let Some((session, member)) = calls.session(id).zip(calls.members.get(&id)) else { return };
        let to = |raw: Option<&str>| session.log(raw.map_or(To::Agent, To::Call), envelope.frame);
        if self.instance.era() == Era::Modern {
            // The server keeps to what the request asked for.
            to(calls.raw_id(id, call));
        } else if calls.has_modern(id, call) {
            if let Some((raw, _)) = calls.logged(id).filter(|(_, wanted)| level >= *wanted) {
                to(Some(raw));
            }
        } else if calls.wants(member, level) {
            to(calls.raw_id(id, call));
        }
    }

    /// The agent of a task that runs on while its agent has another instance.
    fn elsewhere(&self, calls: &Calls, task: Option<&TaskOf>) -> Option<Arc<Session>> {
        match task? {
            TaskOf::Agent(id) if calls.session(*id).is_none() => self.hub.session(*id),
            TaskOf::Agent(_) | TaskOf::Call(_) | TaskOf::Unknown => None,
        }
    }

    /// A notification of a kind that names no agent: delivered only where there is no doubt.
    fn unaddressed(&self, calls: &Calls, envelope: &Envelope<'_>, call: Option<u64>) {
        let task = calls.task_of(envelope);
        if let Some(session) = self.elsewhere(calls, task.as_ref()) {
            return session.tell(To::Agent, envelope.frame);
        }
        let mut sessions = calls.sessions();
        let (whose, call) = whose(calls, task, call);
        let session = match (whose, sessions.next(), sessions.next()) {
            (Whose::One(id), _, _) => calls.session(id),
            (Whose::Idle, Some(only), None) => Some(only),
            (Whose::Idle | Whose::Several | Whose::Nobody, _, _) => None,
        };
        // The modern era has no such message: that the agent comes back is what tells.
        let unknown = |session: &Session| session.profile().is_none() || calls.has_modern(session.id, call);
        match session.filter(|session| envelope.method != Some(Method::ElicitationComplete) || !unknown(session)) {
            Some(session) => session.tell(calls.raw_id(session.id, call).map_or(To::Agent, To::Call), envelope.frame),
            None => {
                tracing::debug!(server = %self.instance.name, method = %envelope.method_name, "dropped a notification that names no agent")
            }
        }
    }
}

/// Whose a message is that names no agent, and of which call: by the task that it names, else by the calls in flight.
fn whose(calls: &Calls, task: Option<TaskOf>, call: Option<u64>) -> (Whose, Option<u64>) {
    match (task, calls.whose_on(call)) {
        (Some(TaskOf::Agent(id)), _) => (Whose::One(id), None),
        (Some(TaskOf::Call(call)), _) => (calls.whose_on(Some(call)), Some(call)),
        // A call in flight may be beginning it.
        (Some(TaskOf::Unknown), Whose::Idle) => (Whose::Nobody, None),
        (Some(TaskOf::Unknown) | None, whose) => (whose, call),
    }
}

/// The server takes back a question that it asked, or ends a subscription: returns one of trunkline's own.
fn cancelled(calls: &mut Calls, envelope: &Envelope<'_>) -> Option<u64> {
    let raw = envelope.params.request_id?;
    if let Some((session, id, _)) = calls.asked.remove(raw) {
        let ours = id.to_string();
        if session.take_open_request(&ours).is_some() {
            session.send_edited(To::Agent, envelope, &mut [envelope.edit(raw, &ours)]);
        }
        return None;
    }
    calls.take_back(raw);
    // Only what lives until somebody ends it is ended so; any other number is a question that was answered meanwhile.
    let id: u64 = raw.parse().ok().filter(|id| calls.get(*id).is_some_and(PendingCall::is_listen))?;
    match calls.remove(id)?.owner {
        Caller::Agent { session, id, .. } => {
            session.send_edited(To::Call(&id), envelope, &mut [envelope.edit(raw, &id)]);
            session.over(&id);
            None
        }
        Caller::Listener => Some(id),
        Caller::Gone(_)
        | Caller::Suspended(_)
        | Caller::Daemon(_)
        | Caller::Hub(_)
        | Caller::Fence(_)
        | Caller::Nobody => None,
    }
}
