//! `subscriptions/listen` of modern agents, where trunkline itself keeps the subscription: on legacy servers, and in the
//! all-servers view (MCP 2026-07-28 `basic/patterns/subscriptions`).

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::era::AgentTerms;
use crate::hub::instance::Instance;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::session::Session;
use crate::hub::session::subscription::{Filter, SUBSCRIPTION};
use crate::hub::{Hub, Site};
use crate::method::Method;
use crate::wire::To;

/// How many subscriptions one agent may have that trunkline keeps.
const MOST: usize = 256;

impl Hub {
    /// Opens a subscription on one server of the legacy era.
    pub(in crate::hub) fn listen_on(&self, session: &Arc<Session>, instance: &Arc<Instance>, envelope: &Envelope<'_>) {
        let handshake = instance.handshake();
        let offers = |capability: &str| handshake.is_some_and(|handshake| handshake.offers(capability));
        let subscribes = handshake.is_some_and(|handshake| handshake.subscribes());
        let filter = match Filter::of(envelope) {
            Ok(filter) => filter.within(offers, subscribes),
            Err(refusal) => return session.reply(envelope.id, &refusal),
        };
        for uri in &filter.resource_subscriptions {
            instance.begin_subscription(session, uri, uri);
        }
        acknowledge(session, envelope.id, filter);
    }

    /// Opens a subscription in the all-servers view.
    pub(in crate::hub) fn listen_to_all(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        terms: AgentTerms,
    ) -> Routed {
        let filter = match Filter::of(envelope) {
            Ok(filter) => filter,
            Err(refusal) => {
                session.reply(envelope.id, &refusal);
                return Routed::Done;
            }
        };
        let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
        Routed::Later(cancellable(session, envelope, async move {
            let mut honoured = Vec::new();
            for uri in &filter.resource_subscriptions {
                let Some((server, own)) = hub.owner_of(&who, uri, &terms).await else { continue };
                if let Ok(site) = hub.instance(&who, server.as_str(), &terms).await {
                    site.instance.begin_subscription(&who, &own, uri);
                    honoured.push(uri.clone());
                }
            }
            acknowledge(&who, &id, Filter { resource_subscriptions: honoured, ..filter });
            hub.sites(&who).iter().for_each(|site| site.instance.renew_own_subscription());
        }))
    }
}

impl Hub {
    /// Ends a subscription that the agent cancels; tells whether there was one.
    pub(in crate::hub) fn end_listen(self: &Arc<Self>, session: &Session, id: &str) -> bool {
        let Some(ended) = session.forget_listen(id) else { return false };
        let kept: Vec<_> = session.listens().into_values().flat_map(|filter| filter.resource_subscriptions).collect();
        for uri in ended.resource_subscriptions.iter().filter(|uri| !kept.contains(uri)) {
            self.sites(session).iter().for_each(|site| site.instance.finish_subscription(session.id, uri));
        }
        session.over(id);
        true
    }

    /// Ends an agent's subscriptions in order, because trunkline does.
    pub fn close_listens(self: &Arc<Self>, session: &Session) {
        let mut ended: Vec<Box<str>> = session.listens().into_keys().collect();
        ended.retain(|id| session.forget_listen(id).is_some());
        for Site { instance, .. } in self.sites(session) {
            let own = instance.calls.lock().take_listens(session.id);
            for (ours, id) in own {
                if instance.send_cancelled(ours, "the daemon ends").is_err() {
                    tracing::debug!(id, "the server is gone before its subscription");
                }
                ended.push(id);
            }
        }
        ended.iter().for_each(|id| session.reply(id, &closed(id)));
    }
}

/// Says which part of a subscription is kept; only then news may come.
fn acknowledge(session: &Session, id: &str, filter: Filter) {
    if session.listens().len() >= MOST {
        let message = format!("this agent has {MOST} subscriptions, as many as it may: cancel one");
        return session.reply(id, &reply::error(id, code::INVALID_REQUEST, &message));
    }
    let kept = serde_json::to_string(&filter).unwrap_or_else(|_| "{}".to_owned());
    let params = format!(r#"{{"_meta":{{"{SUBSCRIPTION}":{id}}},"notifications":{kept}}}"#);
    session.tell(To::Call(id), &reply::notification(Method::Acknowledged, &params));
    session.note_listen(id, filter);
}

/// The answer that ends a subscription in order.
fn closed(id: &str) -> String {
    reply::result(id, &format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION}":{id}}}}}"#))
}
