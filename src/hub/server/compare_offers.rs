//! What a process that was just started shows of its server: its offer is learnt, compared with those that others were
//! made, and where it is the same, agents share a process.

use std::sync::Arc;
use std::time::Duration;

use crate::era::InstanceTerms;
use crate::hub::instance::Instance;
use crate::hub::instance::lists::same_items;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::ShareKey;
use crate::hub::sharing::{Clients, ROOTS, Scope};
use crate::lists::ListKind;
use crate::method::Method;
use crate::upstream::catalog::{Audience, Compared, List};

/// How long an agent waits for the offer of its process to be compared with others.
const COMPARE_WAIT: Duration = Duration::from_secs(5);
/// How long a server may take for all of its lists.
const LEARN_WAIT: Duration = Duration::from_secs(60);

/// The lists that are known of a server.
pub(in crate::hub) type Offered = Vec<(ListKind, Option<List>)>;

/// Which process an agent gets.
pub(in crate::hub) enum Settled {
    /// The one that was started for it.
    Own,
    /// One that is up and serves it as well.
    Other(Arc<Instance>),
    /// Neither: this one was promised too much for what the server has shown now.
    Again,
}

impl Server {
    /// Learns what a process offers, before anybody uses it where that may show that it is not needed, else beside that.
    pub(in crate::hub) async fn settle(self: &Arc<Self>, key: &ShareKey, instance: &Arc<Instance>) -> Settled {
        let Some(audience) = instance.audience().cloned() else { return Settled::Own };
        // What agents were told meanwhile.
        let known = self.offered(Some(&audience));
        if let Some(handshake) = instance.handshake()
            && let Some(frame) = handshake.initialize.as_ref().or(handshake.discover.as_ref())
            && self.state.lock().catalogs.note_handshake(&audience, frame)
        {
            self.save();
        }
        let sharing = self.sharing();
        let open = sharing.clients == Clients::Alike && sharing.scope != Scope::Session;
        let promised = matches!((&audience.instance_terms, &key.profile), (InstanceTerms::Legacy(profile), own) if *profile != **own);
        let may_tell = open && (promised || self.state.lock().catalogs.has_other(&audience));
        if let Some(other) = self.twin(instance, key) {
            return Settled::Other(other);
        }
        if !may_tell || tokio::time::timeout(COMPARE_WAIT, self.learn(instance, &known)).await.is_err() {
            self.check_again(instance, known);
            return Settled::Own;
        }
        if !self.admits(&audience.instance_terms, &key.profile) {
            // What it was promised for is not so, or not so any more: each is on its own until it is shown anew.
            self.state.lock().catalogs.shown.alike.clear();
            return Settled::Again;
        }
        match self.twin(instance, key) {
            Some(other) => Settled::Other(other),
            None => Settled::Own,
        }
    }

    /// The lists that agents are told while no process is up for them.
    pub(in crate::hub) fn offered(&self, audience: Option<&Audience>) -> Offered {
        let Some(audience) = audience else { return Offered::new() };
        ListKind::ALL.into_iter().map(|kind| (kind, self.recall_list(audience, kind))).collect()
    }

    /// Has a process asked for all that it offers, beside what else it does.
    pub(in crate::hub) fn check_again(self: &Arc<Self>, instance: &Arc<Instance>, known: Offered) {
        let (server, instance) = (self.clone(), instance.clone());
        self.around.tasks.spawn(async move {
            if tokio::time::timeout(LEARN_WAIT, server.learn(&instance, &known)).await.is_ok() {
                server.merge(&instance);
            }
        });
    }

    /// Asks a process for all that it offers.
    pub(in crate::hub) async fn learn_all(self: &Arc<Self>, instance: &Arc<Instance>) {
        self.learn(instance, &Offered::new()).await;
    }

    /// Asks a process for all that it offers, tells the agents what is another now, and compares it with what others
    /// offered.
    async fn learn(self: &Arc<Self>, instance: &Arc<Instance>, known: &Offered) {
        let Some(audience) = instance.audience() else { return };
        let learn = |kind: ListKind| async move {
            if !instance.handshake().is_some_and(|handshake| handshake.offers(kind.capability()))
                && !instance.may_offer(kind)
            {
                self.state.lock().catalogs.forget(audience, kind);
                return Ok(());
            }
            let now = match self.list(instance, kind).await {
                Ok(now) => now,
                Err(error) if kind == ListKind::Tools => return Err(error),
                // Some declare what they do not have.
                Err(_) => return Ok(()),
            };
            let before = known.iter().find(|(known, _)| *known == kind).and_then(|(_, list)| list.as_ref());
            if before.is_some_and(|before| !same_items(before, &now)) {
                self.announce_change(audience, kind);
            }
            Ok::<_, Arc<str>>(())
        };
        if self.shares_lists() {
            let learnt = futures_util::future::try_join_all(ListKind::ALL.map(learn)).await;
            if let Err(error) = learnt {
                tracing::debug!(server = %self.name, %error, "offer not confirmed");
                return;
            }
        }
        if instance.is_closed() {
            return;
        }
        let news = {
            let catalogs = &mut self.state.lock().catalogs;
            catalogs.confirm(audience);
            let (compared, news) = catalogs.compare(audience);
            if compared != Compared::Unknown {
                tracing::debug!(server = %self.name, ?compared, "offer compared");
            }
            news
        };
        if news {
            self.shown();
        }
    }

    /// Another process that is up and serves as well whom this one was started for; it was there first.
    fn twin(&self, instance: &Arc<Instance>, key: &ShareKey) -> Option<Arc<Instance>> {
        let asks_roots = self.asks_roots();
        let state = self.state.lock();
        let others = state.slots.iter().filter(|slot| slot.key.is_in_place_of(key, asks_roots));
        let mut up = others.filter_map(|slot| slot.up()).filter(|other| {
            // One that is taken is why this one was started.
            !Arc::ptr_eq(other, instance) && !other.is_draining() && !other.is_busy(key.starter)
        });
        let fits = |other: &&Arc<Instance>| match other.instance_terms() {
            Some(InstanceTerms::Legacy(promised)) => {
                state.sharing.admits(promised, &key.profile, &state.catalogs.shown)
            }
            Some(InstanceTerms::Modern) | None => false,
        };
        up.find(fits).cloned()
    }

    /// Whether another process serves whom this one was started for.
    pub(in crate::hub) fn has_twin(&self, instance: &Arc<Instance>) -> bool {
        self.key_of(instance).is_some_and(|key| self.twin(instance, &key).is_some())
    }

    /// Brings those together who turned out to be served alike, where nobody notices: off a process that nobody has called
    /// anything of yet.
    fn merge(self: &Arc<Self>, instance: &Arc<Instance>) {
        let (instances, asks_roots) = (self.instances(), self.asks_roots());
        if instances.len() < 2 || self.one_at_a_time.is_serialized() {
            return;
        }
        let unused = |instance: &&Arc<Instance>| {
            !instance.has_served() && !instance.is_draining() && !instance.session_ids().is_empty()
        };
        for unused in instances.iter().filter(unused) {
            let Some(key) = self.key_of(unused) else { continue };
            let target = [instance].into_iter().chain(&instances).find(|other| {
                let Some(instance_terms) =
                    other.instance_terms().filter(|_| !Arc::ptr_eq(other, unused) && !other.is_draining())
                else {
                    return false;
                };
                let sessions = unused.sessions();
                !other.is_closed()
                    && matches!(
                        (instance_terms, unused.instance_terms()),
                        (InstanceTerms::Legacy(_), Some(InstanceTerms::Legacy(_)))
                    )
                    && self.key_of(other).is_some_and(|own| own.is_in_place_of(&key, asks_roots))
                    && self.admits(instance_terms, &key.profile)
                    && sessions.iter().all(|session| self.is_for(&key, instance_terms, session))
            });
            if let Some(target) = target {
                tracing::info!(server = %self.name, "two processes offer the same: their agents share one from now on");
                target.take_over(unused, |session| self.services.sessions.is_attached(session.id));
                self.drain_instance(unused, Duration::ZERO);
                return;
            }
        }
    }

    /// Whether a process is up, and right for a session by all that is known now.
    pub(in crate::hub) fn is_still_for(&self, instance: &Arc<Instance>, session: &Session) -> bool {
        let key = self.key_of(instance).filter(|_| !instance.is_closed());
        key.zip(instance.instance_terms())
            .is_some_and(|(key, instance_terms)| self.is_for(&key, instance_terms, session))
    }

    fn key_of(&self, instance: &Arc<Instance>) -> Option<ShareKey> {
        let state = self.state.lock();
        let slot =
            state.slots.iter().find(|slot| slot.instance.as_ref().is_some_and(|own| Arc::ptr_eq(own, instance)))?;
        Some(slot.key.clone())
    }

    /// Notes that the server asks its clients something, by itself if no call is in flight; tells whether it is news.
    pub(in crate::hub) fn note_asks(self: &Arc<Self>, method: &str, by_itself: bool) -> bool {
        if method == ROOTS && by_itself {
            let before = std::mem::replace(&mut self.state.lock().catalogs.shown.roots_by_itself, true);
            if !before {
                self.save();
            }
        }
        let tells = Method::of(method).is_some_and(|method| method.of_client().is_some());
        let news = tells && self.state.lock().catalogs.note_asks(method);
        if news {
            if method != ROOTS {
                self.one_at_a_time.note_asks();
            }
            tracing::info!(server = %self.name, method, "it asks its clients: who shares a process of it follows from that");
            self.shown();
        }
        news
    }

    /// Something is known now that decides who shares a process: who is on one that is not right any more gets another with
    /// the next request. What is in flight goes on.
    fn shown(self: &Arc<Self>) {
        self.reconsider_sharing();
        self.save();
        for instance in self.instances() {
            for session in instance.sessions().iter().filter(|session| !self.is_still_for(&instance, session)) {
                instance.retire(session);
            }
        }
    }
}
