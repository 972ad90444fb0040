//! What an agent has declared of itself, in either era.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::era::{AgentTerms, ClientProfile, LEGACY};
use crate::hub::eras::{declares, without_tasks};
use crate::hub::session::Session;
use crate::method::Method;

impl Session {
    /// How this request of the agent is spoken; `None` before any handshake.
    pub fn terms(&self, envelope: &Envelope<'_>) -> Option<AgentTerms> {
        let mut state = self.state.lock();
        if !envelope.is_modern() {
            return state.profile.clone().map(AgentTerms::Legacy);
        }
        let raw = envelope.params.meta.client_capabilities.unwrap_or("{}");
        if let Some((known, profile)) = &state.promised
            && **known == *raw
        {
            return Some(AgentTerms::Modern(profile.clone()));
        }
        let profile = Arc::new(ClientProfile::of(LEGACY, &without_tasks(raw)).unwrap_or_else(ClientProfile::plain));
        state.promised = Some((raw.into(), profile.clone()));
        Some(AgentTerms::Modern(profile))
    }

    /// What a legacy agent promised.
    pub fn profile(&self) -> Option<Arc<ClientProfile>> {
        self.state.lock().profile.clone()
    }

    /// How the agent spoke last.
    pub fn last_terms(&self) -> Option<AgentTerms> {
        let state = self.state.lock();
        let modern = state.promised.as_ref().map(|(_, profile)| AgentTerms::Modern(profile.clone()));
        modern.or_else(|| state.profile.clone().map(AgentTerms::Legacy))
    }

    /// What it has declared, in either era.
    pub(in crate::hub) fn profiles(&self) -> Vec<Arc<ClientProfile>> {
        let state = self.state.lock();
        state.profile.iter().chain(state.promised.as_ref().map(|(_, profile)| profile)).cloned().collect()
    }

    /// Whether it has declared that it answers a server's request of this kind.
    pub(in crate::hub) fn answers(&self, method: Option<Method>) -> bool {
        let Some(capability) = method.and_then(Method::of_client) else { return false };
        self.profiles().iter().any(|profile| profile.has(capability))
    }

    /// Whether it has declared that it answers this request of a server.
    pub(in crate::hub) fn may_be_asked(&self, asked: &Envelope<'_>) -> bool {
        self.profiles().iter().any(|profile| declares(profile, asked))
    }
}
