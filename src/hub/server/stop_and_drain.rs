//! How the instances of a server end: at once, when their calls are done, or by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::Start;
use crate::hub::agent::{Lifetime, Principal};
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::ShareKey;
use crate::upstream::state::{Event, State};

impl Server {
    /// An agent has left, which nobody comes back for: its tasks keep no process, and the ids of those that it made are free.
    pub(in crate::hub) fn forget_tasks_of(&self, session: &Session) {
        if session.stay == Lifetime::Lasting {
            for instance in self.all_instances() {
                let mut calls = instance.calls.lock();
                calls.tasks.note_gone(session.id);
                calls.agents_tasks.note_gone(session.id);
            }
        }
    }

    /// Ends an instance: at once if it has no calls, else when they are done or the time is over.
    pub(in crate::hub) fn drain_instance(self: &Arc<Self>, instance: &Arc<Instance>, within: Duration) {
        instance.drain();
        let number = self.number_of(instance);
        if let Some(number) = number {
            self.event(number, Event::Drain(within));
            self.settled(instance);
            if instance.in_flight() > 0 {
                let (server, instance) = (self.clone(), instance.clone());
                self.around.tasks.spawn(async move {
                    instance.idle().await;
                    server.settled(&instance);
                });
            }
        }
    }

    /// A call on a draining instance was answered. A subscription is none, and holds nothing up.
    pub(in crate::hub) fn settled(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.in_flight() == 0
            && let Some(number) = self.number_of(instance)
        {
            self.event(number, Event::Settled);
        }
    }

    /// Ends a process that was started for a session that has left meanwhile.
    pub(in crate::hub) fn drain_unowned(self: &Arc<Self>, key: &ShareKey) {
        let gone = |owner: &SessionId| !self.services.sessions.is_attached(*owner);
        if let Some(owner) = key.owner.filter(|owner| *owner != SessionId::DAEMON).filter(gone) {
            self.drain_owned(owner);
        }
    }

    /// An instance ended: as it was told, or by itself.
    ///
    /// `blamed` is the call that it was at, if only that can have ended it.
    pub(in crate::hub) fn instance_closed(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        reason: &Arc<str>,
        blamed: Option<&(Principal, Box<str>)>,
    ) {
        let eager = self.settings().start == Start::Eager;
        let found = {
            let state = self.state.lock();
            let slot =
                state.slots.iter().find(|slot| slot.instance.as_ref().is_some_and(|own| Arc::ptr_eq(own, instance)));
            slot.map(|slot| (slot.number, matches!(slot.life, State::Draining { .. }), slot.is_needed() || eager))
        };
        // One that never was ready belongs to no slot yet; who tried to start it says why.
        if let Some((number, expected, needed)) = found {
            self.note_end(instance, reason, expected);
            // What one agent does to it, or its own weight, is no reason to keep it from the others. A connection is lost for
            // other reasons, and requests over HTTP do not say which agent they are of.
            let cut_off = instance.link.outbox.account().cut().is_cancelled();
            let is_process = instance.connection().is_some_and(|instance| instance.pid.is_some());
            let blamed = blamed.filter(|(whose, _)| is_process && !cut_off && matches!(whose, Principal::Session(_)));
            if let Some((whose, tool)) = blamed.filter(|_| !expected) {
                self.state.lock().crashes.note(whose, tool);
            }
            let excused = cut_off || blamed.is_some() || instance.has_answered_calls();
            let needed = needed && !self.around.stop.is_cancelled();
            let failed = Event::Failed { needed, spread: fastrand::f64(), excused };
            self.event(number, if expected { Event::Stopped } else { failed });
        }
        self.ended.notify_waiters();
    }

    /// Has all instances end: at once, or when their calls are done or the time is over.
    pub(in crate::hub) fn drain(self: &Arc<Self>, within: Duration) {
        self.drain_those(within, |_| true);
    }

    /// Ends the processes of a session that left.
    pub(in crate::hub) fn drain_owned(self: &Arc<Self>, session: SessionId) {
        self.drain_owned_within(session, Duration::ZERO);
    }

    pub(in crate::hub) fn drain_owned_within(self: &Arc<Self>, session: SessionId, within: Duration) {
        self.drain_those(within, |key| key.owner == Some(session));
    }

    fn drain_those(self: &Arc<Self>, within: Duration, which: impl Fn(&ShareKey) -> bool) {
        let chosen: Vec<_> = {
            let state = self.state.lock();
            let chosen = state.slots.iter().filter(|slot| which(&slot.key));
            chosen.map(|slot| (slot.number, slot.up().cloned())).collect()
        };
        for (number, instance) in chosen {
            match instance {
                Some(instance) => self.drain_instance(&instance, within),
                None => self.event(number, Event::Drain(Duration::ZERO)),
            }
        }
    }

    /// Has all instances end, and waits until their processes are gone.
    pub(in crate::hub) async fn drain_all(self: &Arc<Self>, within: Duration) {
        let instances = self.instances();
        self.drain(within);
        for instance in instances.iter().filter_map(|instance| instance.connection()) {
            instance.gone().await;
        }
    }

    /// Lets no instance start any more, and says why.
    pub(in crate::hub) fn retire(&self, reason: &str) {
        self.state.lock().held = Some(reason.into());
        self.retired.store(true, Ordering::Relaxed);
    }
}
