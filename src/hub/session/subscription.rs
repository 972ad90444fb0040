//! What an agent listens for (`subscriptions/listen`, MCP 2026-07-28 `basic/patterns/subscriptions`).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::lists::ListKind;

/// The member of `_meta` that names the subscription for which a message is.
pub(in crate::hub) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// What an agent listens for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::hub) struct Filter {
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
pub(in crate::hub) type AgentSubscriptions = HashMap<Box<str>, Filter>;

impl Filter {
    pub(in crate::hub) fn of(envelope: &Envelope<'_>) -> Result<Self, String> {
        let named = envelope.params.notifications.and_then(|raw| serde_json::from_str(raw).ok());
        let message = "`notifications` must say what to listen for, as an object";
        named.ok_or_else(|| reply::error(envelope.id, code::INVALID_PARAMS, message))
    }

    pub(in crate::hub) fn wants(&self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.tools_list_changed,
            ListKind::Prompts => self.prompts_list_changed,
            ListKind::Resources | ListKind::Templates => self.resources_list_changed,
        }
    }

    /// The part that a server can keep.
    pub(in crate::hub) fn within(self, offers: impl Fn(&str) -> bool, subscribes: bool) -> Self {
        Self {
            tools_list_changed: self.tools_list_changed && offers("tools"),
            prompts_list_changed: self.prompts_list_changed && offers("prompts"),
            resources_list_changed: self.resources_list_changed && offers("resources"),
            resource_subscriptions: if subscribes { self.resource_subscriptions } else { Vec::new() },
        }
    }
}
