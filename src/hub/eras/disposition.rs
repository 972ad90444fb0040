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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_in_each_direction() {
        use Disposition as D;
        let methods = [
            (Method::Initialize, D::NoMethod, D::Send),
            (Method::Discover, D::Discover, D::NoMethod),
            (Method::Ping, D::NoMethod, D::Pong),
            (Method::ListTools, D::Send, D::Send),
            (Method::CallTool, D::Send, D::Send),
            (Method::ListPrompts, D::Send, D::Send),
            (Method::GetPrompt, D::Send, D::Send),
            (Method::ListResources, D::Send, D::Send),
            (Method::ListTemplates, D::Send, D::Send),
            (Method::ReadResource, D::Send, D::Send),
            (Method::Complete, D::Send, D::Send),
            (Method::Subscribe, D::NoMethod, D::Subscribe),
            (Method::Unsubscribe, D::NoMethod, D::Unsubscribe),
            (Method::SetLevel, D::NoMethod, D::SetLevel),
            (Method::Listen, D::Listen, D::NoMethod),
            (Method::GetTask, D::Tasks, D::Tasks),
            (Method::TaskResult, D::Tasks, D::Tasks),
            (Method::ListTasks, D::Tasks, D::Tasks),
            (Method::CancelTask, D::Tasks, D::Tasks),
            (Method::UpdateTask, D::Tasks, D::Tasks),
        ];
        for (method, modern, legacy) in methods {
            let found = (disposition(Some(method), Era::Modern), disposition(Some(method), Era::Legacy));
            assert_eq!(found, (modern, legacy), "{method}: from a modern agent, from a legacy one");
        }
        // What the protocol does not have is the server's to refuse.
        assert_eq!(disposition(None, Era::Modern), D::Send);
    }
}
