//! What a shim remembers of an agent's session, so that another daemon can take it over: pure, no I/O.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashMap;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind, splice, text};
use crate::lists::ListKind;
use crate::method::Method;

/// Begins the ids of the shim's own requests; an agent's id is never of this form by accident.
const OWN: &str = "trunkline-shim-";

#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The agent's `initialize`, and whether it said that it is done with the handshake.
    initialize: Option<Box<str>>,
    initialized: bool,
    /// The agent's requests that have no answer, by raw id.
    in_flight: FxHashMap<Box<str>, Asked>,
    /// Requests to the agent that it has not answered, by raw id.
    questions: HashSet<Box<str>>,
    /// What holds until it is taken back: subscriptions by URI, and the log level under an empty one.
    standing: BTreeMap<String, Box<str>>,
    /// The lists that the agent was given: how it asked, and a hash of the answer.
    lists: BTreeMap<ListKind, (Box<str>, u64)>,
    /// The shim's own requests, by raw id.
    own: FxHashMap<Box<str>, Own>,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Once,
    /// `initialize` and `subscriptions/listen`: said again to the next daemon, under the agent's own id.
    Again(Box<str>),
    /// A list, as the agent asks for it.
    List(ListKind, Box<str>),
    /// Holds once it is granted.
    Standing(String, Box<str>),
}

#[derive(Debug, PartialEq, Eq)]
enum Own {
    Handshake,
    Standing,
    List(ListKind),
}

/// What is to be done with a frame of the daemon's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is the agent's.
    Pass,
    /// It is the shim's own; the agent is told this, if anything.
    Own(Option<String>),
}

impl Replay {
    /// Notes what the agent sends.
    pub(super) fn said(&mut self, frame: &[u8]) {
        // What is no message is the daemon's to refuse.
        let Ok(envelope) = Envelope::parse(frame) else { return };
        match envelope.kind {
            Kind::Request => {
                let asked = self.classify(&envelope);
                self.in_flight.insert(envelope.id.into(), asked);
            }
            Kind::Notification => match envelope.method {
                Some(Method::Initialized) => self.initialized = true,
                Some(Method::Cancelled) => {
                    if let Some(id) = envelope.params.request_id {
                        self.in_flight.remove(id);
                    }
                }
                _ => {}
            },
            Kind::Response => {
                self.questions.remove(envelope.id);
            }
        }
    }

    fn classify(&mut self, envelope: &Envelope<'_>) -> Asked {
        let frame = || Box::<str>::from(envelope.frame);
        match envelope.method {
            Some(Method::Initialize) => {
                // Another handshake begins another session.
                let frame = frame();
                *self = Self { initialize: Some(frame.clone()), ..Self::default() };
                Asked::Again(frame)
            }
            Some(Method::Listen) => Asked::Again(frame()),
            Some(Method::SetLevel) => Asked::Standing(String::new(), frame()),
            Some(Method::Subscribe | Method::Unsubscribe) => {
                let uri = envelope.params.uri.and_then(text).unwrap_or_default().into_owned();
                if envelope.method == Some(Method::Subscribe) {
                    return Asked::Standing(uri, frame());
                }
                self.standing.remove(&uri);
                Asked::Once
            }
            method => match ListKind::of_method(method) {
                // A modern agent asks for news itself, and the pages of a list follow its first.
                Some(kind) if envelope.params.cursor.is_none() && self.initialize.is_some() => {
                    Asked::List(kind, frame())
                }
                Some(_) | None => Asked::Once,
            },
        }
    }

    /// Whether frames of the daemon's may be the shim's own.
    pub(super) fn expects(&self) -> bool {
        !self.own.is_empty()
    }

    /// Notes what the daemon sends.
    pub(super) fn heard(&mut self, frame: &[u8]) -> Heard {
        let Ok(envelope) = Envelope::parse(frame) else { return Heard::Pass };
        match envelope.kind {
            Kind::Request => {
                self.questions.insert(envelope.id.into());
            }
            Kind::Response => {
                if let Some(own) = self.own.remove(envelope.id) {
                    return Heard::Own(self.answered(&own, &envelope));
                }
                match (self.in_flight.remove(envelope.id), envelope.result) {
                    (Some(Asked::Standing(uri, frame)), Some(_)) => {
                        self.standing.insert(uri, frame);
                    }
                    (Some(Asked::List(kind, frame)), Some(result)) => {
                        self.lists.insert(kind, (frame, hash(result)));
                    }
                    (Some(Asked::Once | Asked::Again(_) | Asked::Standing(..) | Asked::List(..)) | None, _) => {}
                }
            }
            Kind::Notification => {
                if envelope.method == Some(Method::Cancelled)
                    && let Some(id) = envelope.params.request_id
                {
                    self.questions.remove(id);
                }
            }
        }
        Heard::Pass
    }

    fn answered(&mut self, own: &Own, envelope: &Envelope<'_>) -> Option<String> {
        let (Own::List(kind), Some(result)) = (own, envelope.result) else { return None };
        let (_, known) = self.lists.get_mut(kind)?;
        let now = hash(result);
        (std::mem::replace(known, now) != now).then(|| reply::notification(kind.changed(), ""))
    }

    /// The daemon is gone: what the agent must be told, each call under its own id. Nothing is sent twice, because nobody
    /// knows how far a server came with it.
    pub(super) fn lost(&mut self) -> Vec<String> {
        self.own.clear();
        let message = "the connection to the trunkline daemon ended before this was answered; it was not repeated, and the session goes on";
        let mut told = Vec::new();
        self.in_flight.retain(|id, asked| {
            let again = matches!(asked, Asked::Again(_));
            if !again {
                told.push(reply::error(id, code::CONNECTION_CLOSED, message));
            }
            again
        });
        for id in self.questions.drain() {
            let params = format!(r#"{{"requestId":{id},"reason":"the trunkline daemon ended"}}"#);
            told.push(reply::notification(Method::Cancelled, &params));
        }
        told
    }

    /// What the next daemon must be told, in order.
    pub(super) fn replay(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        let handshake = self.initialize.as_deref().map(str::to_owned);
        let unanswered = |asked: &Asked, frame: &str| matches!(asked, Asked::Again(known) if **known == *frame);
        match handshake {
            Some(frame) if self.in_flight.values().any(|asked| unanswered(asked, &frame)) => frames.push(frame),
            Some(frame) => frames.extend(self.own_request(&frame, Own::Handshake)),
            None => {}
        }
        if self.initialized {
            frames.push(reply::notification(Method::Initialized, ""));
        }
        for frame in self.standing.values().cloned().collect::<Vec<_>>() {
            frames.extend(self.own_request(&frame, Own::Standing));
        }
        for asked in self.in_flight.values() {
            match asked {
                Asked::Again(frame) if self.initialize.as_ref() != Some(frame) => frames.push(frame.to_string()),
                Asked::Again(_) | Asked::Once | Asked::List(..) | Asked::Standing(..) => {}
            }
        }
        let lists: Vec<_> = self.lists.iter().map(|(kind, (frame, _))| (*kind, frame.clone())).collect();
        for (kind, frame) in lists {
            frames.extend(self.own_request(&frame, Own::List(kind)));
        }
        frames
    }

    /// A request of the agent's as one of the shim's own.
    fn own_request(&mut self, frame: &str, own: Own) -> Option<String> {
        let envelope = Envelope::parse(frame.as_bytes()).ok()?;
        let id = format!("\"{OWN}{}\"", self.own.len());
        let mut out = Vec::with_capacity(frame.len() + id.len());
        let mut edits = vec![envelope.edit(envelope.id, &id)];
        // A second use of the agent's token would be confused with the first.
        if let Some(token) = envelope.params.meta.progress_token {
            edits.push(envelope.edit(token, "null"));
        }
        splice(frame, &mut edits, &mut out);
        let request = String::from_utf8(out).ok()?;
        self.own.insert(id.into(), own);
        Some(request)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    }

    fn session() -> Replay {
        let mut memory = Replay::default();
        memory.said(request("1", "initialize", r#"{"capabilities":{}}"#).as_bytes());
        memory.heard(reply::result("1", r#"{"protocolVersion":"2025-06-18"}"#).as_bytes());
        memory.said(reply::notification(Method::Initialized, "").as_bytes());
        memory
    }

    #[test]
    fn calls_fail_once_and_what_holds_is_said_again() {
        let mut memory = session();
        for (id, method, params) in [
            ("2", "tools/list", "{}"),
            ("\"s\"", "resources/subscribe", r#"{"uri":"a:b"}"#),
            ("4", "resources/subscribe", r#"{"uri":"c:d"}"#),
            ("5", "resources/unsubscribe", r#"{"uri":"c:d"}"#),
        ] {
            memory.said(request(id, method, params).as_bytes());
            memory.heard(reply::result(id, r#"{"tools":[]}"#).as_bytes());
        }
        memory.said(request("6", "tools/call", r#"{"name":"x"}"#).as_bytes());
        memory.said(request("7", "tools/call", r#"{"name":"x"}"#).as_bytes());
        memory.said(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#);
        memory.heard(request("99", "roots/list", "{}").as_bytes());
        let told = memory.lost();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with(r#"{"jsonrpc":"2.0","id":6,"error":{"code":-32000,"#), "{told:?}");
        assert!(told[1].contains(r#""requestId":99"#), "{told:?}");
        assert!(memory.lost().is_empty());
        let replay = memory.replay();
        let starts: Vec<_> =
            replay.iter().map(|frame| frame.split(r#""method":"#).nth(1).unwrap_or_default()).collect();
        assert_eq!(starts.len(), 4, "{replay:?}");
        assert!(starts[0].starts_with(r#""initialize""#));
        assert!(starts[1].starts_with(r#""notifications/initialized""#));
        assert!(starts[2].starts_with(r#""resources/subscribe","params":{"uri":"a:b"}"#));
        assert!(starts[3].starts_with(r#""tools/list""#));
    }

    #[test]
    fn another_list_is_news() {
        let mut memory = session();
        memory.said(request("2", "tools/list", r#"{"_meta":{"progressToken":5}}"#).as_bytes());
        memory.heard(reply::result("2", r#"{"tools":[]}"#).as_bytes());
        for (now, news) in [("[]", None), ("[1]", Some("tools/list_changed")), ("[1]", None)] {
            memory.lost();
            let replay = memory.replay();
            assert!(replay[2].contains(r#""progressToken":null"#), "{replay:?}");
            assert_eq!(memory.heard(reply::result("\"trunkline-shim-0\"", "{}").as_bytes()), Heard::Own(None));
            let heard =
                memory.heard(reply::result("\"trunkline-shim-1\"", &format!(r#"{{"tools":{now}}}"#)).as_bytes());
            let Heard::Own(told) = heard else { panic!("{heard:?}") };
            assert_eq!(told.as_deref().map(|told| told.contains(news.unwrap_or("-"))), news.map(|_| true), "{told:?}");
            assert!(!memory.expects());
        }
    }

    #[test]
    fn a_handshake_without_answer_is_the_agents_own() {
        let mut memory = Replay::default();
        memory.said(request("1", "initialize", "{}").as_bytes());
        assert!(memory.lost().is_empty());
        assert_eq!(memory.replay(), [request("1", "initialize", "{}")]);
        assert!(!memory.expects());
        let mut memory = Replay::default();
        memory.said(request("3", "subscriptions/listen", "{}").as_bytes());
        assert!(memory.lost().is_empty());
        assert_eq!(memory.replay(), [request("3", "subscriptions/listen", "{}")]);
    }
}
