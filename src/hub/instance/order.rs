//! Which messages of agents are never behind what else their agent has sent, nor given up with it, and which may wait while other
//! agents have their turn (pure).

use crate::envelope::{Envelope, Kind};
use crate::method::{Changes, Method};
use crate::wire::SHARE;

/// How long a request about a task may be that goes before its agent's calls, in bytes.
const SHORT: usize = 4 << 10;

/// Whether a message goes to its server in the order in which the messages of all agents came: the server waits for it (an answer), or
/// it goes before an answer (progress), or it is the last word on a call (a cancellation), or it is about a task, which goes on beside the
/// calls, or it changes what the server keeps for all (levels and subscriptions). But for the answer, it is a short one.
pub(in crate::hub) fn stays_in_order(envelope: &Envelope<'_>) -> bool {
    let goes_before = |method: Method| {
        matches!(method.changes(), Changes::Level | Changes::Subscriptions)
            || method == Method::Ping
            || method.is_about_tasks() && envelope.frame.len() <= SHORT
    };
    match envelope.kind {
        Kind::Response => true,
        Kind::Request => envelope.frame.len() <= SHARE && envelope.method.is_some_and(goes_before),
        Kind::Notification => {
            envelope.frame.len() <= SHARE
                && matches!(envelope.method, Some(Method::Cancelled | Method::Progress | Method::TaskStatus))
        }
    }
}

/// Whether a request may wait here while the server is at calls of other agents: it is one that costs the server time. A task may wait
/// for what is said about it.
pub(in crate::hub) fn may_wait(envelope: &Envelope<'_>) -> bool {
    envelope.method.is_none_or(|method| method.is_call() && !method.is_about_tasks())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_order() {
        let long = format!(r#","params":{{"x":"{}"}}"#, "x".repeat(SHARE));
        for (members, short, when_long) in [
            (r#""id":1,"result":{}"#, true, true),
            (r#""id":1,"method":"resources/subscribe""#, true, false),
            (r#""id":1,"method":"resources/unsubscribe""#, true, false),
            (r#""id":1,"method":"logging/setLevel""#, true, false),
            (r#""id":1,"method":"ping""#, true, false),
            (r#""id":1,"method":"tasks/cancel""#, true, false),
            (r#""id":1,"method":"tasks/update""#, true, false),
            (r#""id":1,"method":"tasks/result""#, true, false),
            (r#""id":1,"method":"tools/call""#, false, false),
            (r#""id":1,"method":"x/y""#, false, false),
            (r#""method":"notifications/cancelled""#, true, false),
            (r#""method":"notifications/progress""#, true, false),
            (r#""method":"notifications/tasks/status""#, true, false),
            (r#""method":"notifications/roots/list_changed""#, false, false),
        ] {
            for (more, expected) in [("", short), (long.as_str(), when_long)] {
                let frame = format!(r#"{{"jsonrpc":"2.0",{members}{more}}}"#);
                let envelope = Envelope::parse(frame.as_bytes()).expect("valid");
                assert_eq!(stays_in_order(&envelope), expected, "{members} of {} bytes", frame.len());
            }
        }
    }

    #[test]
    fn what_may_wait_for_its_turn() {
        for (method, expected) in [
            ("tools/call", true),
            ("tools/list", true),
            ("resources/read", true),
            ("x/y", true),
            ("ping", false),
            ("logging/setLevel", false),
            ("resources/subscribe", false),
            ("subscriptions/listen", false),
            ("tasks/get", false),
            ("tasks/result", false),
            ("tasks/cancel", false),
        ] {
            let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
            assert_eq!(may_wait(&Envelope::parse(frame.as_bytes()).expect("valid")), expected, "{method}");
        }
    }
}
