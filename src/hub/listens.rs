//! `subscriptions/listen` of modern agents, where trunkline itself keeps the subscription: on legacy servers, and in the
//! all-servers view (MCP 2026-07-28 `basic/patterns/subscriptions`).

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Hub;
use super::line::Line;
use super::router::{Routed, cancellable};
use super::session::Session;
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, splice};
use crate::era::Speech;
use crate::lists::ListKind;
use crate::wire::To;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// How many subscriptions one agent may have that trunkline keeps.
const MOST: usize = 256;

/// What an agent listens for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Filter {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_subscriptions: Vec<String>,
}

/// The subscriptions of one session, by the raw ids of their requests.
pub(super) type Listens = HashMap<Box<str>, Filter>;

impl Filter {
    fn of(envelope: &Envelope<'_>) -> Result<Self, String> {
        let named = envelope.params.notifications.and_then(|raw| serde_json::from_str(raw).ok());
        let message = "`notifications` must say what to listen for, as an object";
        named.ok_or_else(|| reply::error(envelope.id, code::INVALID_PARAMS, message))
    }

    fn wants(&self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.tools_list_changed,
            ListKind::Prompts => self.prompts_list_changed,
            ListKind::Resources | ListKind::Templates => self.resources_list_changed,
        }
    }

    /// The part that a server can keep.
    fn within(self, offers: impl Fn(&str) -> bool, subscribes: bool) -> Self {
        Self {
            tools_list_changed: self.tools_list_changed && offers("tools"),
            prompts_list_changed: self.prompts_list_changed && offers("prompts"),
            resources_list_changed: self.resources_list_changed && offers("resources"),
            resource_subscriptions: if subscribes { self.resource_subscriptions } else { Vec::new() },
        }
    }
}

impl Hub {
    /// Opens a subscription on one server of the legacy era.
    pub(super) fn listen_on(&self, session: &Arc<Session>, line: &Arc<Line>, envelope: &Envelope<'_>) {
        let handshake = line.handshake();
        let offers = |capability: &str| handshake.is_some_and(|handshake| handshake.offers(capability));
        let subscribes = handshake.is_some_and(|handshake| handshake.subscribes());
        let filter = match Filter::of(envelope) {
            Ok(filter) => filter.within(offers, subscribes),
            Err(refusal) => return session.reply(envelope.id, &refusal),
        };
        for uri in &filter.resource_subscriptions {
            line.begin_subscription(session, uri, uri);
        }
        acknowledge(session, envelope.id, filter);
    }

    /// Opens a subscription in the all-servers view.
    pub(super) fn listen_to_all(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        speech: Speech,
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
                let Some((server, own)) = hub.owner_of(&who, uri, &speech).await else { continue };
                if let Ok(line) = hub.line(&who, server.as_str(), &speech).await {
                    line.begin_subscription(&who, &own, uri);
                    honoured.push(uri.clone());
                }
            }
            acknowledge(&who, &id, Filter { resource_subscriptions: honoured, ..filter });
            who.lines().iter().for_each(|line| line.listen_anew());
        }))
    }
}

impl Hub {
    /// Ends an agent's subscriptions in order, because trunkline does.
    pub fn close_listens(&self, session: &Session) {
        let mut ended: Vec<Box<str>> = session.listens().into_keys().collect();
        ended.retain(|id| session.forget_listen(id).is_some());
        for line in session.lines() {
            let own = line.table.lock().take_listens(session.id);
            for (ours, id) in own {
                if line.send_cancelled(ours, "the daemon ends").is_err() {
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
    session.tell(To::Call(id), &reply::notification("notifications/subscriptions/acknowledged", &params));
    session.note_listen(id, filter);
}

impl Session {
    /// Whether the agent wants to hear of changes.
    pub(super) fn hears_news(&self) -> bool {
        self.is_greeted() || !self.listens().is_empty()
    }

    /// Tells the agent now that a list changed.
    pub(super) fn announce(&self, kind: ListKind, frame: &str) {
        if self.is_greeted() {
            self.tell(To::Agent, frame);
        }
        for (id, filter) in self.listens() {
            if filter.wants(kind)
                && let Some(tagged) = tagged(frame, &id)
            {
                self.tell(To::Call(&id), &tagged);
            }
        }
    }

    /// Tells the agent that a resource changed; the frame names it as the agent does.
    pub(super) fn tell_updated(&self, uri: &str, frame: &str) {
        if self.class().is_some() {
            self.tell(To::Agent, frame);
        }
        for (id, filter) in self.listens() {
            if filter.resource_subscriptions.iter().any(|known| uri.starts_with(known.as_str()))
                && let Some(tagged) = tagged(frame, &id)
            {
                self.tell(To::Call(&id), &tagged);
            }
        }
    }

    /// Ends a subscription that the agent cancels; tells whether there was one.
    pub(super) fn end_listen(&self, id: &str) -> bool {
        let Some(ended) = self.forget_listen(id) else { return false };
        let kept: Vec<_> = self.listens().into_values().flat_map(|filter| filter.resource_subscriptions).collect();
        for uri in ended.resource_subscriptions.iter().filter(|uri| !kept.contains(uri)) {
            self.lines().iter().for_each(|line| line.finish_subscription(self.id, uri));
        }
        self.over(id);
        true
    }
}

/// The answer that ends a subscription in order.
fn closed(id: &str) -> String {
    reply::result(id, &format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION}":{id}}}}}"#))
}

/// A notification with the subscription that it is for.
fn tagged(frame: &str, id: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let tag = format!(r#""{SUBSCRIPTION}":{id}"#);
    let (at, with) = match envelope.params.meta_raw.filter(|meta| meta.starts_with('{')) {
        Some(meta) => {
            let at = envelope.span(meta).start + 1;
            let comma = if meta[1..].trim_start().starts_with('}') { "" } else { "," };
            (at..at, format!("{tag}{comma}"))
        }
        None => super::bridge::at_params(frame, &format!(r#""_meta":{{{tag}}}"#))?,
    };
    let mut out = Vec::with_capacity(frame.len() + with.len());
    splice(frame, &mut [Edit { at, with: &with }], &mut out);
    String::from_utf8(out).ok()
}
