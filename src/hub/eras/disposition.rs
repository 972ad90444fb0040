//! What becomes of a request whose server speaks the other era: one table.

use crate::envelope::Envelope;
use crate::era::Era;

/// The era in which an agent's request is spoken.
pub(in crate::hub) fn era_of(envelope: &Envelope<'_>) -> Era {
    if envelope.is_modern() { Era::Modern } else { Era::Legacy }
}

/// What becomes of an agent's request where its server speaks the other era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Fate {
    /// The server gets it, with another `_meta`.
    Send,
    /// It is answered from the server's handshake.
    Discover,
    /// Trunkline keeps the subscription.
    Listen,
    /// It is answered in the server's place.
    Pong,
    /// The level goes into the requests from then on.
    SetLevel,
    Subscribe,
    Unsubscribe,
    /// The agent's own era has no such method.
    NoMethod,
    /// Tasks of the two eras are not the same thing.
    Tasks,
}

pub(in crate::hub) fn fate(method: &str, agent: Era) -> Fate {
    match (agent, method) {
        (_, "tasks/get" | "tasks/result" | "tasks/list" | "tasks/cancel" | "tasks/update") => Fate::Tasks,
        (Era::Modern, "server/discover") => Fate::Discover,
        (Era::Modern, "subscriptions/listen") => Fate::Listen,
        (Era::Modern, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe") => {
            Fate::NoMethod
        }
        (Era::Legacy, "ping") => Fate::Pong,
        (Era::Legacy, "logging/setLevel") => Fate::SetLevel,
        (Era::Legacy, "resources/subscribe") => Fate::Subscribe,
        (Era::Legacy, "resources/unsubscribe") => Fate::Unsubscribe,
        (Era::Legacy, "server/discover" | "subscriptions/listen") => Fate::NoMethod,
        (Era::Modern | Era::Legacy, _) => Fate::Send,
    }
}
