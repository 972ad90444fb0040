//! What a server sends, brought to the agent it belongs to, and to no other.

use std::sync::Arc;

use super::failure::Failure;
use super::level::Level;
use super::line::Line;
use super::recall::under;
use super::session::{Question, Session};
use super::table::{Owner, Pending, Repeat, Table, Then, Whose};
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind, result_meta, splice, text};
use crate::lists::ListKind;
use crate::upstream::Inbound;

impl Line {
    /// Takes one message of the server, or its end.
    pub fn inbound(self: &Arc<Self>, inbound: Inbound<'_>) {
        match inbound {
            Inbound::Message { envelope, call } => match envelope.kind {
                Kind::Response => self.response(envelope),
                Kind::Request => self.question(envelope, call),
                Kind::Notification => self.notification(envelope, call),
            },
            Inbound::Parked { id, frame, why } => self.parked(id, frame, why),
            Inbound::Over(id) => self.over(id),
            Inbound::Renewed => self.renewed(),
            Inbound::Closed(reason) => self.closed(reason),
        }
    }

    pub(super) fn response(self: &Arc<Self>, envelope: &Envelope<'_>) {
        let pending = envelope.id.parse().ok().and_then(|id| self.table.lock().remove(id));
        let Some(Pending { owner, then, .. }) = pending else {
            tracing::debug!(server = %self.name, id = envelope.id, "dropped a reply to nothing, or a second one");
            return;
        };
        match owner {
            Owner::Agent { session, id, .. } => {
                self.settle(&session, &then, envelope.error.is_some());
                let screened = self.note_list(&then, envelope);
                if let Some(frame) = screened.and_then(|frame| under(&frame, &id)) {
                    session.send_text(&frame);
                    return self.answered(Some(&session));
                }
                let mut edits = vec![envelope.edit(envelope.id, &id)];
                if then == Then::Listen
                    && let Some(subscription) = envelope.result.and_then(|result| result_meta(result).subscription_id)
                {
                    edits.push(envelope.edit(subscription, &id));
                }
                session.send(envelope.frame.len() + id.len(), |out| splice(envelope.frame, &mut edits, out));
                self.answered(Some(&session));
            }
            Owner::Daemon(sender) | Owner::Hub(sender) => {
                // A receiver that went away no longer wants the answer.
                drop(sender.send(Ok(envelope.frame.into())));
                self.answered(None);
            }
            Owner::Gone(_) | Owner::Nobody => self.answered(None),
        }
    }

    /// A call is over: whoever waits for a free instance, or for this one to be done, may go on.
    fn answered(self: &Arc<Self>, caller: Option<&Session>) {
        if let Some(session) = caller
            && !self.table.lock().members.contains_key(&session.id)
        {
            session.remove_line(self);
        }
        self.lane.free();
        if self.is_draining()
            && let Some(upstream) = self.upstream.upgrade()
        {
            upstream.settled(self);
        }
    }

    /// Keeps a page of a list; returns what the agent may see of it, if that is less.
    fn note_list(self: &Arc<Self>, then: &Then, envelope: &Envelope<'_>) -> Option<String> {
        let (Then::List { kind, cursor }, Some(result)) = (then, envelope.result) else { return None };
        self.note_page(*kind, cursor.as_deref(), result);
        self.upstream.upgrade()?.screen(*kind, envelope.frame)
    }

    /// Carries out what a request was for, now that the server has answered it.
    fn settle(&self, session: &Session, then: &Then, failed: bool) {
        match then {
            Then::Nothing | Then::Listen | Then::List { .. } => {}
            Then::SetLevel { before } => {
                if failed && let Some(member) = self.table.lock().members.get_mut(&session.id) {
                    member.level = *before;
                }
            }
            Then::Subscribe(uri) => {
                if failed {
                    self.unsubscribe(session.id, uri);
                }
            }
        }
    }

    /// A request of the server's. It is passed on only when it can belong to exactly one agent.
    fn question(self: &Arc<Self>, envelope: &Envelope<'_>, call: Option<u64>) {
        let mut table = self.table.lock();
        let whose = table.whose_on(call);
        let session = match whose {
            Whose::One(id) => table.session(id).cloned(),
            // A process of one agent's asks nobody else, whenever it asks.
            Whose::Idle | Whose::Several | Whose::Nobody => {
                self.owner().and_then(|owner| table.session(owner)).cloned()
            }
        };
        let ambiguous = whose == Whose::Several;
        let Some(session) = session else {
            drop(table);
            // What it asks while it has no call would not be clearer if it had one at a time.
            if let Some(upstream) = self.upstream.upgrade().filter(|_| ambiguous) {
                upstream.note_interactive(&envelope.method);
            }
            let message = match whose {
                Whose::Nobody => "this came on the stream of a request that is no agent's: there is nobody to ask",
                Whose::One(_) | Whose::Idle | Whose::Several => {
                    "trunkline cannot tell which agent this request is for: it is passed on only while exactly one agent has calls in flight"
                }
            };
            self.refuse(envelope.id, message);
            return;
        };
        let token = envelope.params.meta.progress_token.map(Into::into);
        let id = session.ask(Question::Server { line: self.clone(), id: envelope.id.into(), token });
        table.asked.insert(envelope.id.into(), (session.clone(), id));
        drop(table);
        let ours = id.to_string();
        session.send(envelope.frame.len(), |out| splice(envelope.frame, &mut [envelope.edit(envelope.id, &ours)], out));
    }

    /// A call that was cancelled, and of which nothing more will be heard.
    pub(super) fn over(self: &Arc<Self>, id: u64) {
        let pending = self.table.lock().remove(id);
        match pending.map(|pending| pending.owner) {
            Some(Owner::Agent { session, .. }) => self.answered(Some(&session)),
            Some(Owner::Daemon(_) | Owner::Hub(_) | Owner::Gone(_) | Owner::Nobody) => self.answered(None),
            None => {}
        }
    }

    /// The server has forgotten what it was told: it is told again.
    fn renewed(self: &Arc<Self>) {
        let (level, uris) = self.table.lock().told();
        if let Some(level) = level {
            self.send_own("logging/setLevel", &format!(r#"{{"level":{level}}}"#), Owner::Nobody);
        }
        for uri in uris {
            let params = format!(r#"{{"uri":{}}}"#, crate::envelope::quoted(&uri));
            self.send_own("resources/subscribe", &params, Owner::Nobody);
        }
        if let Some(upstream) = self.upstream.upgrade() {
            self.lists.forget_all();
            upstream.check_again(self);
        }
    }

    fn notification(&self, envelope: &Envelope<'_>, call: Option<u64>) {
        if let Some(kind) = ListKind::of_changed(&envelope.method) {
            self.lists.forget(kind);
            self.forget_page(kind);
        }
        let mut table = self.table.lock();
        if let Some(raw) = envelope.params.meta.subscription_id {
            return to_call(&table, envelope, raw);
        }
        match &*envelope.method {
            "notifications/progress" => {
                if let Some(raw) = envelope.params.progress_token {
                    if let Ok(id) = raw.parse() {
                        table.note_progress(id);
                    }
                    to_progress(&table, envelope, raw);
                }
            }
            "notifications/cancelled" => cancelled(&mut table, envelope),
            "notifications/message" => self.log(&table, envelope, call),
            "notifications/resources/updated" => updated(&table, envelope),
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                table.sessions().for_each(|session| session.send_text(envelope.frame));
                let told: Vec<_> = table.sessions().map(|session| session.id).collect();
                drop(table);
                self.tell_the_others(envelope, &told);
            }
            _ => self.unaddressed(&table, envelope, call),
        }
    }

    /// A log message carries no call: it is the one caller's, or everybody's while the server is idle.
    fn log(&self, table: &Table, envelope: &Envelope<'_>, call: Option<u64>) {
        let level = envelope.params.level.and_then(Level::parse).unwrap_or(Level::Emergency);
        let whose = table.whose_on(call);
        let to_nobody = match &whose {
            Whose::Idle => false,
            Whose::One(id) => table.session(*id).is_none(),
            Whose::Several | Whose::Nobody => true,
        };
        if to_nobody {
            if let Some(upstream) = self.upstream.upgrade() {
                upstream.log.push(&format!("[a message that names no agent] {}", envelope.frame));
            }
            return;
        }
        for (id, member) in &table.members {
            if let Some(session) = &member.session
                && (whose == Whose::Idle || whose == Whose::One(*id))
                && table.wants(member, level)
            {
                session.send_text(envelope.frame);
            }
        }
    }

    /// A notification of a kind that names no agent: delivered only where there is no doubt.
    fn unaddressed(&self, table: &Table, envelope: &Envelope<'_>, call: Option<u64>) {
        let mut sessions = table.sessions();
        let session = match (table.whose_on(call), sessions.next(), sessions.next()) {
            (Whose::One(id), _, _) => table.session(id),
            (Whose::Idle, Some(only), None) => Some(only),
            (Whose::Idle | Whose::Several | Whose::Nobody, _, _) => None,
        };
        match session {
            Some(session) => session.send_text(envelope.frame),
            None => {
                tracing::debug!(server = %self.name, method = %envelope.method, "dropped a notification that names no agent")
            }
        }
    }

    /// Fails everything that waits for the server, each call under its own id.
    fn closed(self: &Arc<Self>, reason: &str) {
        self.link.outbox.close();
        let reason: Arc<str> = reason.into();
        let mut table = self.table.lock();
        table.closed = Some(reason.clone());
        let sessions: Vec<_> = table.sessions().cloned().collect();
        let pending = table.drain();
        table.asked.clear();
        drop(table);
        for Pending { owner, repeat, .. } in pending {
            match owner {
                Owner::Agent { session, id, .. } => {
                    let repeat = repeat.filter(|_| self.instance().is_some());
                    if !repeat.is_some_and(|repeat| self.repeat(&session, *repeat, &reason)) {
                        session.send_text(&self.died(&id, &reason));
                    }
                }
                Owner::Daemon(sender) => {
                    let message = format!("server `{}` stopped before it answered: {reason}", self.name);
                    drop(sender.send(Err(message.into())));
                }
                Owner::Hub(sender) => drop(sender.send(Err(reason.clone()))),
                Owner::Gone(_) | Owner::Nobody => {}
            }
        }
        for session in sessions {
            session.drop_questions(self);
            session.remove_line(self);
        }
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.line_closed(self, &reason);
        }
    }
}

impl Line {
    fn died(&self, id: &str, reason: &str) -> String {
        let message =
            format!("server `{}` stopped before it answered: {reason}; the request was not repeated", self.name);
        reply::error(id, code::CONNECTION_CLOSED, &message)
    }

    /// Asks once more for a list or a resource, of the instance that is started in place of this one; tells whether it can.
    fn repeat(self: &Arc<Self>, session: &Arc<Session>, repeat: Repeat, reason: &Arc<str>) -> bool {
        let Some(upstream) = self.upstream.upgrade() else { return false };
        let (Some(hub), Some(dialect)) = (upstream.hub.upgrade(), self.dialect().cloned()) else { return false };
        let (session, name, reason) = (session.clone(), self.name.clone(), reason.clone());
        let around = upstream.around.clone();
        around.tasks.clone().spawn(async move {
            let Ok(envelope) = Envelope::parse(repeat.frame.as_bytes()) else { return };
            let line = tokio::select! {
                line = hub.line(&session, name.as_str(), &dialect) => line,
                () = around.stop.cancelled() => Err(Failure::Unavailable { server: name.clone(), reason }),
            };
            match line {
                Ok(line) => line.request_again(&session, &repeat),
                Err(failure) => session.send_text(&failure.frame(envelope.id, &envelope.method)),
            }
        });
        true
    }

    fn forget_page(&self, kind: ListKind) {
        if let (Some(upstream), Some(audience)) = (self.upstream.upgrade(), self.audience()) {
            upstream.forget_list(audience, kind);
        }
    }

    /// Tells those who were answered from the catalog, and are not on this instance, that a list changed.
    fn tell_the_others(&self, envelope: &Envelope<'_>, told: &[super::SessionId]) {
        let (Some(upstream), Some(audience)) = (self.upstream.upgrade(), self.audience()) else { return };
        if !upstream.shares_lists() {
            return;
        }
        if let Some(hub) = upstream.hub.upgrade() {
            let others = hub.audience(&upstream, audience).into_iter().filter(|session| !told.contains(&session.id));
            others.for_each(|session| session.send_text(envelope.frame));
        }
    }
}

/// Brings progress to the call whose token it names, under the agent's own token.
fn to_progress(table: &Table, envelope: &Envelope<'_>, raw: &str) {
    let pending = raw.parse().ok().and_then(|id| table.get(id));
    if let Some(Pending { owner: Owner::Agent { session, token: Some(token), .. }, .. }) = pending {
        session.send(envelope.frame.len() + token.len(), |out| {
            splice(envelope.frame, &mut [envelope.edit(raw, token)], out)
        });
    }
}

/// Brings a notification to the `subscriptions/listen` that it names.
fn to_call(table: &Table, envelope: &Envelope<'_>, raw: &str) {
    let id = raw.parse().ok().or_else(|| text(raw)?.parse().ok());
    if let Some(Pending { owner: Owner::Agent { session, id, .. }, .. }) = id.and_then(|id| table.get(id)) {
        session.send(envelope.frame.len() + id.len(), |out| splice(envelope.frame, &mut [envelope.edit(raw, id)], out));
    }
}

/// The server takes back a question that it asked, or ends a request that it was asked.
fn cancelled(table: &mut Table, envelope: &Envelope<'_>) {
    let Some(raw) = envelope.params.request_id else { return };
    if let Some((session, id)) = table.asked.remove(raw) {
        let ours = id.to_string();
        if session.answer(&ours).is_some() {
            session.send(envelope.frame.len(), |out| splice(envelope.frame, &mut [envelope.edit(raw, &ours)], out));
        }
        return;
    }
    // Only what lives until somebody ends it is ended so; any other number is a question that was answered meanwhile.
    let id: Option<u64> =
        raw.parse().ok().filter(|id| table.get(*id).is_some_and(|pending| pending.then == Then::Listen));
    if let Some(Pending { owner: Owner::Agent { session, id, .. }, .. }) = id.and_then(|id| table.remove(id)) {
        session
            .send(envelope.frame.len() + id.len(), |out| splice(envelope.frame, &mut [envelope.edit(raw, &id)], out));
    }
}

/// Brings an update to those who subscribed to the URI, or to one that it lies under, each by the URI that they know.
fn updated(table: &Table, envelope: &Envelope<'_>) {
    let Some((raw, uri)) = envelope.params.uri.and_then(|raw| Some((raw, text(raw)?))) else { return };
    for member in table.members.values() {
        let Some(session) = &member.session else { continue };
        let exact = member.uris.iter().find(|(known, _)| *known == *uri);
        let found = exact.or_else(|| member.uris.iter().find(|(known, _)| uri.starts_with(known.as_str())));
        if let Some((server_uri, agent_uri)) = found {
            let as_known = crate::envelope::quoted(&uri.replacen(server_uri.as_str(), agent_uri, 1));
            let changed = server_uri != agent_uri;
            session.send(envelope.frame.len() + as_known.len(), |out| {
                let mut edits = if changed { vec![envelope.edit(raw, &as_known)] } else { Vec::new() };
                splice(envelope.frame, &mut edits, out);
            });
        }
    }
}
