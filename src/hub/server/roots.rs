//! What a server is told of its agents' roots, and what it makes of them.

use std::sync::Arc;

use crate::envelope::reply;
use crate::era::InstanceTerms;
use crate::hub::instance::Instance;
use crate::hub::server::Server;
use crate::hub::server::slot::Slot;
use crate::hub::session::Session;
use crate::method::Method;

impl Server {
    /// Whether its server is known to ask for roots when it is greeted, and not only in a call.
    pub(in crate::hub) fn asks_roots_first(&self) -> bool {
        self.state.lock().catalogs.shown.roots_by_itself
    }

    /// An agent has other roots now. A process that it has for itself, or with agents that have named none yet, is told; from
    /// one whose other agents have others, it goes.
    pub(in crate::hub) fn take_other_roots(
        &self,
        session: &Arc<Session>,
        before: &Option<Arc<str>>,
        now: &Option<Arc<str>>,
    ) {
        let project = session.place_now().folder;
        let instances: Vec<_> = {
            let mut state = self.state.lock();
            let of_agent = |slot: &&mut Slot| slot.key.roots == *before && slot.key.project == project;
            let mine = state.slots.iter_mut().filter(of_agent).filter_map(|slot| {
                let members = slot.up().map(|instance| instance.sessions()).unwrap_or_default();
                let others = members.iter().filter(|member| member.id != session.id);
                let agree = others.map(|other| other.place_now().roots).all(|roots| roots.is_none() || roots == *now);
                let started =
                    slot.key.starter == Some(session.id) || members.iter().any(|member| member.id == session.id);
                (agree && started).then(|| slot.key.roots.clone_from(now));
                slot.up().cloned().map(|instance| (instance, agree))
            });
            mine.collect()
        };
        for (instance, agree) in instances {
            if !agree && self.asks_roots() {
                instance.retire(session);
            } else if agree && instance.told_roots.borrow().as_ref().is_some_and(|told| Some(told) != now.as_ref()) {
                instance.answer_text(&reply::notification(Method::RootsChanged, ""));
            }
        }
    }

    /// Whether its server may ask for roots when it is greeted. Over HTTP nothing tells when it would have asked.
    pub(in crate::hub) fn may_ask_roots_first(&self, instance: &Instance) -> bool {
        let promised =
            matches!(instance.instance_terms(), Some(InstanceTerms::Legacy(profile)) if profile.has("roots"));
        let is_process = instance.connection().is_some_and(|instance| instance.pid.is_some());
        promised && (is_process || self.asks_roots_first())
    }
}
