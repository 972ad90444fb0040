//! What becomes of a request whose server speaks the other era: one table.

use crate::envelope::Envelope;
use crate::era::Era;
use crate::method::Method;

/// The era in which an agent's request is spoken.
pub(in crate::hub) fn era_of(envelope: &Envelope<'_>) -> Era {
    if envelope.is_modern() { Era::Modern } else { Era::Legacy }
}

/// What becomes of an agent's request where its server speaks the other era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Disposition {
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

pub(in crate::hub) fn disposition(method: Option<Method>, agent: Era) -> Disposition {
    let Some(method) = method else { return Disposition::Send };
    match (agent, method) {
        (_, method) if method.is_about_tasks() => Disposition::Tasks,
        (Era::Modern, Method::Discover) => Disposition::Discover,
        (Era::Modern, Method::Listen) => Disposition::Listen,
        (Era::Legacy, Method::Ping) => Disposition::Pong,
        (Era::Legacy, Method::SetLevel) => Disposition::SetLevel,
        (Era::Legacy, Method::Subscribe) => Disposition::Subscribe,
        (Era::Legacy, Method::Unsubscribe) => Disposition::Unsubscribe,
        (agent, method) if !method.is_of(agent) => Disposition::NoMethod,
        (Era::Modern | Era::Legacy, _) => Disposition::Send,
    }
}
