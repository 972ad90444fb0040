//! Trunkline's own subscription at a modern server, for those who do not subscribe there themselves: legacy agents, and
//! the all-servers view.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::quoted;
use crate::envelope::reply::{self, code};
use crate::era::Era;
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::Caller;
use crate::hub::session::Session;
use crate::hub::session::subscription::Filter;
use crate::lists::ListKind;
use crate::method::Method;
use crate::retry::pause_after;

/// How soon a subscription that the server ended is asked for again: the first time, and after many.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Instance {
    /// Subscribes to what its agents want to hear of now, if that is something else than before.
    pub(in crate::hub) fn renew_own_subscription(self: &Arc<Self>) {
        let Some(handshake) = self.handshake().filter(|_| self.era() == Era::Modern) else { return };
        // Held from the look on, so that who looks last asks last.
        let mut state = self.listening.0.lock();
        let sessions = self.sessions();
        let heard = sessions.iter().any(|session| session.hears_news());
        let lists = |kind: ListKind| heard && handshake.announces(kind.capability());
        let uris = self.calls.lock().told().1;
        let wanted = Filter {
            tools_list_changed: lists(ListKind::Tools),
            prompts_list_changed: lists(ListKind::Prompts),
            resources_list_changed: lists(ListKind::Resources),
            resource_subscriptions: uris,
        };
        if state.asked == wanted {
            return;
        }
        let before = state.open.take();
        state.replaced.extend(before);
        if wanted == Filter::default() {
            let replaced = std::mem::take(&mut state.replaced);
            state.asked = wanted;
            drop(state);
            return self.end_own_subscriptions(&replaced);
        }
        let filter = serde_json::to_string(&wanted).unwrap_or_default();
        let params = self.own_params(Some(format!(r#""notifications":{filter}"#)));
        let id = self.send_own(Method::Listen, &params, Caller::Listener);
        // What was not sent is asked for with the next change.
        state.open = self.calls.lock().get(id).map(|_| id);
        state.asked = if state.open.is_some() { wanted } else { Filter::default() };
    }

    /// The server has answered a subscription of its own, which ends it: it refuses it, has no more of it, or was cut off.
    pub(in crate::hub) fn own_subscription_answered(self: &Arc<Self>, id: u64, error: Option<&str>) {
        match error.and_then(reply::code_of) {
            Some(code) if code != code::CONNECTION_CLOSED => {
                if self.listening.0.lock().open.take_if(|open| *open == id).is_some() {
                    tracing::warn!(server = %self.name, "subscription refused: changes of its lists are not heard of");
                }
            }
            Some(_) | None => self.own_subscription_ended(id),
        }
    }

    /// A subscription of its own has ended: what is wanted is asked for once more, after a while.
    pub(in crate::hub) fn own_subscription_ended(self: &Arc<Self>, id: u64) {
        let lost = {
            let mut state = self.listening.0.lock();
            if state.open.take_if(|open| *open == id).is_none() {
                return;
            }
            state.lost += 1;
            state.lost
        };
        if self.is_closed() {
            return;
        }
        let instance = self.clone();
        self.around.later(pause_after(lost, PAUSE.0, PAUSE.1, 0.0), move || {
            instance.listening.0.lock().asked = Filter::default();
            instance.renew_own_subscription();
        });
    }

    pub(in crate::hub) fn end_own_subscriptions(self: &Arc<Self>, ids: &[u64]) {
        for id in ids {
            self.calls.lock().remove(*id);
            if let Err(refused) = self.send_cancelled(*id, "replaced") {
                tracing::debug!(server = %self.name, ?refused, "cancellation dropped");
            }
        }
    }

    /// Begins what a session subscribes to, at a server of whichever era.
    pub(in crate::hub) fn begin_subscription(self: &Arc<Self>, session: &Session, uri: &str, agent_uri: &str) {
        self.note_subscription(session, uri, agent_uri);
        self.renew_own_subscription();
    }

    /// Notes a subscription; a server of the legacy era is told of it.
    pub(in crate::hub) fn note_subscription(&self, session: &Session, uri: &str, agent_uri: &str) {
        let known = self.calls.lock().is_subscribed(uri);
        self.subscribe(session.id, uri, agent_uri);
        if self.era() == Era::Legacy && !known {
            self.send_own(Method::Subscribe, &format!(r#"{{"uri":{}}}"#, quoted(uri)), Caller::Nobody);
        }
    }

    /// Ends it; `agent_uri` is how the agent calls it.
    pub(in crate::hub) fn finish_subscription(self: &Arc<Self>, session: SessionId, agent_uri: &str) {
        let uri =
            self.calls.lock().members.get(&session).and_then(|member| {
                member.uris.iter().find(|(_, known)| known == agent_uri).map(|(uri, _)| uri.clone())
            });
        let Some(uri) = uri else { return };
        let kept = self.unsubscribe(session, &uri);
        match self.era() {
            Era::Modern => self.renew_own_subscription(),
            Era::Legacy if !kept => self.end_subscription(&uri),
            Era::Legacy => {}
        }
    }
}
