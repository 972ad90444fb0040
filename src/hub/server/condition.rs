//! How a server fares, in a word for `status` and in a few for an agent.

use std::time::Instant;

use crate::hub::server::Server;
use crate::upstream::state::State as Life;

impl Server {
    /// What [`Self::condition`] can be.
    pub const CONDITIONS: [&str; 11] = [
        "misconfigured",
        "disabled",
        "stopped",
        "needs_login",
        "ready",
        "starting",
        "broken",
        "backoff",
        "draining",
        "failed",
        "idle",
    ];

    /// One word for `status`.
    pub fn condition(&self) -> &'static str {
        let state = self.state.lock();
        let any = |wanted: fn(&Life) -> bool| state.slots.iter().any(|slot| wanted(&slot.life));
        let settings = self.settings();
        if settings.wrong.is_some() {
            "misconfigured"
        } else if !settings.enabled {
            "disabled"
        } else if state.held.is_some() {
            "stopped"
        } else if self.login_need().is_some() {
            "needs_login"
        } else if any(|life| matches!(life, Life::Ready { .. })) {
            "ready"
        } else if any(|life| matches!(life, Life::Starting)) {
            "starting"
        } else if state.records.any_is_broken(Instant::now()) {
            "broken"
        } else if any(|life| matches!(life, Life::Backoff { .. })) {
            "backoff"
        } else if any(|life| matches!(life, Life::Draining { .. })) {
            "draining"
        } else if state.known.last_error.is_some() {
            "failed"
        } else {
            "idle"
        }
    }

    /// Why it is missing from a list, in a few words.
    pub(in crate::hub) fn absence(&self) -> String {
        let condition = self.condition();
        match (condition, self.known().last_error) {
            ("misconfigured", _) => format!(
                "its entry in the configuration is wrong: {}",
                self.settings().wrong.clone().unwrap_or_default()
            ),
            ("starting", _) => "it is still starting".to_owned(),
            ("needs_login", _) => format!("it needs a login: `trunkline login {}`", self.name),
            (_, Some(error)) => error.to_string(),
            (condition, None) => format!("it is {condition}"),
        }
    }
}
