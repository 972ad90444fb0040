//! Who uses an instance: agents join it, visit it for one call, leave it, and move on to the next.

use std::collections::HashSet;
use std::sync::Arc;

use crate::era::{ClientProfile, Era};
use crate::hub::agent::Lifetime;
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::member::Member;
use crate::hub::instance::calls::pending_call::{Before, Caller};
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::method::Method;
use crate::record::Outcome;
use crate::wire::Refused;

impl Instance {
    /// Lets a session use the instance for what it says as one of this profile.
    pub fn attach(self: &Arc<Self>, session: &Arc<Session>, profile: &Arc<ClientProfile>) {
        self.join(session, profile);
        self.renew_own_subscription();
    }

    fn join(&self, session: &Arc<Session>, profile: &Arc<ClientProfile>) {
        session.note_joined(&self.name, self.id, profile);
        let mut calls = self.calls.lock();
        let member = calls.members.entry(session.id).or_default();
        member.session = Some(session.clone());
        member.profile = Some(profile.clone());
        member.visiting = false;
        drop(calls);
        self.bring_back(session);
    }

    /// Gives a session what it had at another process of this server, or at an earlier daemon: its level, and its subscriptions. In
    /// the modern era, these are asked for in one with those of others.
    pub(in crate::hub) fn bring_back(&self, session: &Session) {
        let (level, uris) = session.missing.lock().take(&self.name);
        uris.iter().for_each(|(uri, agent_uri)| self.note_subscription(session, uri, agent_uri));
        if let Some(level) = level {
            self.want_level(session.id, level);
        }
    }

    /// Lets a session in for one call.
    pub(in crate::hub) fn borrow(self: &Arc<Self>, session: &Arc<Session>) {
        let mut calls = self.calls.lock();
        calls.members.entry(session.id).or_insert_with(|| {
            session.note_visit(&self.name, self.id);
            Member::visitor(session.clone())
        });
    }

    /// Takes over from an instance that ended or is to end: its agents, their log levels and subscriptions.
    pub(in crate::hub) fn take_over(self: &Arc<Self>, previous: &Arc<Self>, takes: impl Fn(&Session) -> bool) {
        let is_closed = previous.is_closed();
        let wanted: HashSet<_> =
            previous.sessions().into_iter().filter(|session| takes(session)).map(|session| session.id).collect();
        let mut taken_over = Vec::new();
        let mut calls = previous.calls.lock();
        for member in calls.members.values_mut() {
            if let Some(session) =
                member.session.clone().filter(|session| wanted.contains(&session.id) && !member.visiting)
            {
                taken_over.push((session, member.profile.clone(), member.level, std::mem::take(&mut member.uris)));
                // Its calls are still answered there.
                member.visiting = true;
            }
        }
        // Who is not taken over has gone, or needs another one now.
        if is_closed {
            calls.members.retain(|_, member| member.visiting);
        }
        let (tasks, pages) = (calls.tasks.clone(), calls.pages.clone());
        drop(calls);
        let mut calls = self.calls.lock();
        calls.tasks.inherit(&tasks);
        calls.pages.inherit(&pages);
        drop(calls);
        for (session, profile, level, uris) in taken_over {
            session.missing.lock().add(&self.name, level, &uris);
            previous.release(&session);
            if let Some(profile) = profile.or_else(|| Some(session.last_terms()?.profile().clone())) {
                self.join(&session, &profile);
            }
        }
        self.renew_own_subscription();
    }

    /// Gives a session no more calls; those in flight are still answered. What it wants goes with it to the next instance.
    pub(in crate::hub) fn retire(self: &Arc<Self>, session: &Session) {
        let mut calls = self.calls.lock();
        let Some(member) = calls.members.get_mut(&session.id) else { return };
        let stays = member.visiting;
        member.visiting = true;
        let (level, uris) = (member.level.take(), std::mem::take(&mut member.uris));
        let own = uris.iter().map(|(uri, _)| uri.clone());
        let orphaned: Vec<_> = own.filter(|uri| !calls.subscribed_by_other(session.id, uri)).collect();
        drop(calls);
        if !stays && session.profile().is_some() {
            // Of a view of several servers, the level is the session's.
            let level = level.filter(|_| session.level().is_none());
            session.missing.lock().add(&self.name, level, &uris);
        }
        orphaned.iter().for_each(|uri| self.end_subscription(uri));
        self.release(session);
        self.lower_level();
    }

    /// Lets a visitor go, now or with its last call.
    fn release(self: &Arc<Self>, session: &Session) {
        let mut calls = self.calls.lock();
        calls.dismiss_visitors();
        let stays = calls.members.contains_key(&session.id);
        drop(calls);
        if stays && !self.is_closed() {
            session.note_visit(&self.name, self.id)
        } else {
            session.note_left(&self.name, self.id)
        }
    }

    pub(in crate::hub) fn end_subscription(&self, uri: &str) {
        if self.era() == Era::Modern {
            // What remains is asked for anew, in one.
            return;
        }
        let params = format!(r#"{{"uri":{}}}"#, crate::envelope::quoted(uri));
        self.send_own(Method::Unsubscribe, &params, Caller::Nobody);
    }

    /// The agents that use it.
    pub(in crate::hub) fn sessions(&self) -> Vec<Arc<Session>> {
        self.calls.lock().sessions().cloned().collect()
    }

    /// Notes the level that a session asks for; returns what it had, and the server, and what the server must be told, raw.
    pub(in crate::hub) fn set_level(&self, session: SessionId, level: Level) -> (Before, &'static str) {
        let mut calls = self.calls.lock();
        let own = calls.members.get_mut(&session).and_then(|member| member.level.replace(level));
        let level = calls.server_level(session, level);
        let told = calls.told_level.replace(level);
        (Before { own, told }, level.raw())
    }

    /// The level that a session has set.
    pub(in crate::hub) fn level_asked_for(&self, session: SessionId) -> Option<Level> {
        self.calls.lock().members.get(&session).and_then(|member| member.level)
    }

    /// The level that a session's requests ask for, where each says so; by default what servers send unasked.
    pub(in crate::hub) fn level_of(&self, session: SessionId) -> Option<Level> {
        self.level_asked_for(session).or_else(|| self.handshake()?.offers("logging").then_some(Level::UNSET))
    }

    /// Has a server of the legacy era log at least from this level on, for a request that asks for it.
    pub(in crate::hub) fn want_level(&self, session: SessionId, level: Level) {
        if !self.handshake().is_some_and(|handshake| handshake.offers("logging")) {
            return;
        }
        let told = self.calls.lock().told_level;
        let (_, raw) = self.set_level(session, level);
        if self.era() == Era::Legacy && self.calls.lock().told_level != told {
            self.send_own(Method::SetLevel, &format!(r#"{{"level":{raw}}}"#), Caller::Nobody);
        }
    }

    /// Has the server log what is still wanted, when an agent has left.
    fn lower_level(&self) {
        let offers = self.handshake().is_some_and(|handshake| handshake.offers("logging"));
        let left = if offers { self.calls.lock().level_left() } else { None };
        if let Some(level) = left.filter(|_| self.era() == Era::Legacy) {
            self.send_own(Method::SetLevel, &format!(r#"{{"level":{}}}"#, level.raw()), Caller::Nobody);
        }
    }

    /// Sets the level of a session of the all-servers view.
    pub fn tell_level(&self, session: SessionId, level: Level) {
        let (_, raw) = self.set_level(session, level);
        // In the modern era, each request says so.
        if self.era() == Era::Legacy {
            self.send_own(Method::SetLevel, &format!(r#"{{"level":{raw}}}"#), Caller::Nobody);
        }
    }

    /// Notes a session's subscription; tells whether it is new.
    pub fn subscribe(&self, session: SessionId, server_uri: &str, agent_uri: &str) -> bool {
        let mut calls = self.calls.lock();
        let Some(member) = calls.members.get_mut(&session) else { return false };
        let is_new = !member.uris.iter().any(|(known, _)| known == server_uri);
        if is_new {
            member.uris.push((server_uri.to_owned(), agent_uri.to_owned()));
        }
        is_new
    }

    /// Ends a session's subscription; tells whether another session still has one, so that the server's must stay.
    pub fn unsubscribe(&self, session: SessionId, server_uri: &str) -> bool {
        let mut calls = self.calls.lock();
        if let Some(member) = calls.members.get_mut(&session) {
            member.uris.retain(|(known, _)| known != server_uri);
        }
        calls.subscribed_by_other(session, server_uri)
    }

    /// Undoes what an agent that leaves did here: its calls, its subscriptions.
    pub fn detach(self: &Arc<Self>, session: &Session) {
        let mut calls = self.calls.lock();
        let uris = calls.members.get(&session.id).map(|member| member.uris.clone()).unwrap_or_default();
        let orphaned: Vec<_> =
            uris.into_iter().filter(|(uri, _)| !calls.subscribed_by_other(session.id, uri)).collect();
        let abandoned = calls.abandon(session.id);
        let begun: Vec<_> = abandoned.iter().map(|(id, _)| calls.take_begun(*id)).collect();
        drop(calls);
        begun.into_iter().for_each(|begun| self.records().end(begun, Outcome::AgentLeft, None));
        abandoned.iter().for_each(|(_, raw)| session.over(raw));
        for (id, _) in abandoned {
            if self.send_cancelled(id, "the agent left") == Err(Refused::Closed) {
                return;
            }
        }
        orphaned.iter().for_each(|(uri, _)| self.end_subscription(uri));
        // Who comes for one request at a time asks for the same again.
        if session.stay == Lifetime::Lasting {
            self.lower_level();
        }
        self.renew_own_subscription();
    }
}
