//! A server out of a recording: what it answers to what. Pure.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::method::Method;
use crate::recording::direction::Direction;
use crate::recording::line::Line;

/// One request as it was recorded, and what came for it.
#[derive(Debug, Clone)]
struct Exchange {
    /// What the server said meanwhile that belongs to it, as it was, with the token of its progress.
    before: Vec<Box<str>>,
    token: Option<Box<str>>,
    answer: Box<str>,
}

/// Answers as it was recorded.
#[derive(Debug, Default)]
pub struct Replay {
    exchanges: HashMap<String, VecDeque<Exchange>>,
    /// Raw results of the handshake.
    initialize: Option<Box<str>>,
    discover: Option<Box<str>>,
}

impl Replay {
    pub fn new(lines: &[Line]) -> Self {
        let mut replay = Self::default();
        // By connection and id: the key, and what has come for it so far.
        let mut open: HashMap<(u64, String), (String, Exchange)> = HashMap::new();
        for line in lines {
            let Some(message) = line.message.as_ref().map(|message| message.get()) else { continue };
            let Ok(envelope) = Envelope::parse(message.as_bytes()) else { continue };
            let of = |id: &str| (line.connection, id.to_owned());
            match (line.direction, envelope.kind) {
                (Direction::Handshake, Kind::Response) if !open.contains_key(&of(envelope.id)) => {
                    replay.note_handshake(&envelope, None);
                }
                (Direction::ToServer | Direction::FromAgent | Direction::Handshake, Kind::Request) => {
                    let token = envelope.params.meta.progress_token.map(Into::into);
                    let exchange = Exchange { before: Vec::new(), token, answer: "".into() };
                    open.insert(of(envelope.id), (key(&envelope), exchange));
                }
                (Direction::FromServer | Direction::ToAgent | Direction::Handshake, Kind::Response) => {
                    if let Some((key, exchange)) = open.remove(&of(envelope.id)) {
                        replay.note_handshake(&envelope, Some(&key));
                        let exchange = Exchange { answer: message.into(), ..exchange };
                        replay.exchanges.entry(key).or_default().push_back(exchange);
                    }
                }
                (Direction::FromServer | Direction::ToAgent, Kind::Notification) => {
                    let token = envelope.params.progress_token;
                    let same = |exchange: &Exchange| token.is_some() && exchange.token.as_deref() == token;
                    let mut of_connection =
                        open.iter_mut().filter(|((connection, _), _)| *connection == line.connection);
                    if let Some((_, (_, exchange))) = of_connection.find(|(_, (_, exchange))| same(exchange)) {
                        exchange.before.push(message.into());
                    }
                }
                // What the server asked is not asked again: its answers would change nothing.
                (_, Kind::Request | Kind::Response | Kind::Notification) => {}
            }
        }
        replay
    }

    fn note_handshake(&mut self, answer: &Envelope<'_>, key: Option<&str>) {
        let Some(result) = answer.result else { return };
        let is = |method: Method| key.is_some_and(|key| key.split(' ').next() == Some(method.name()));
        let value: Value = serde_json::from_str(result).unwrap_or_default();
        let says = |member: &str| key.is_none() && value.get(member).is_some();
        if is(Method::Initialize) || says("protocolVersion") {
            self.initialize = Some(result.into());
        } else if is(Method::Discover) || says("supportedVersions") {
            self.discover = Some(result.into());
        }
    }

    /// How many different requests it has answers to.
    pub fn count(&self) -> usize {
        self.exchanges.len()
    }

    /// The messages that are said to one of the client's.
    pub fn answer(&mut self, envelope: &Envelope<'_>) -> Vec<String> {
        if envelope.kind != Kind::Request {
            return Vec::new();
        }
        let handshake = match envelope.method {
            Some(Method::Initialize) => self.initialize.as_deref(),
            Some(Method::Discover) => self.discover.as_deref(),
            _ => None,
        };
        if let Some(result) = handshake {
            return vec![reply::result(envelope.id, result)];
        }
        match (self.next(&key(envelope)), envelope.method) {
            (Some(exchange), _) => exchange.said(envelope),
            // What changes nothing is answered by any server.
            (None, Some(Method::Ping | Method::SetLevel)) => vec![reply::result(envelope.id, "{}")],
            (None, _) => {
                let message = format!("the recording has no answer to this `{}`", envelope.method_name);
                let known = self.exchanges.keys().any(|key| key.split(' ').next() == Some(&*envelope.method_name));
                let code = if known { code::INVALID_PARAMS } else { code::METHOD_NOT_FOUND };
                vec![reply::error(envelope.id, code, &message)]
            }
        }
    }

    /// The next answer that was recorded for a request; the last one stays.
    fn next(&mut self, key: &str) -> Option<Exchange> {
        let all = self.exchanges.get_mut(key)?;
        if all.len() > 1 { all.pop_front() } else { all.front().cloned() }
    }
}

impl Exchange {
    /// The same under the client's own id and token.
    fn said(&self, envelope: &Envelope<'_>) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(token) = envelope.params.meta.progress_token {
            for message in &self.before {
                let Ok(progress) = Envelope::parse(message.as_bytes()) else { continue };
                let Some(raw) = progress.params.progress_token else { continue };
                said.push(crate::envelope::spliced(progress.frame, [progress.edit(raw, token)]));
            }
        }
        if let Ok(answer) = Envelope::parse(self.answer.as_bytes()) {
            said.push(answer.under(envelope.id));
        }
        said
    }
}

/// What makes two requests the same: the method, and the parameters without `_meta`, which names who asks.
fn key(envelope: &Envelope<'_>) -> String {
    let mut params = params_of(envelope.frame);
    if let Value::Object(members) = &mut params {
        members.remove("_meta");
        // A list is the same with no parameters and with none in them.
        if members.is_empty() {
            params = Value::Null;
        }
    }
    format!("{} {params}", envelope.method_name)
}

pub(super) fn params_of(frame: &str) -> Value {
    serde_json::from_str::<Value>(frame)
        .ok()
        .and_then(|mut frame| frame.get_mut("params").map(Value::take))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn line(direction: Direction, message: &str) -> Line {
        Line {
            at: String::new(),
            direction,
            of: "x".to_owned(),
            connection: 1,
            message: RawValue::from_string(message.to_owned()).ok(),
            text: None,
        }
    }

    #[test]
    fn answers_are_those_of_the_recording_under_the_ids_of_the_client() {
        use Direction::{FromServer, Handshake, ToServer};
        let lines = [
            line(Handshake, r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#),
            line(
                ToServer,
                r#"{"id":41,"method":"tools/call","params":{"name":"a","arguments":{"x":1, "y":2},"_meta":{"progressToken":41}}}"#,
            ),
            line(FromServer, r#"{"method":"notifications/progress","params":{"progressToken":41,"progress":0.50}}"#),
            line(FromServer, r#"{"id":41, "result":{"content":[ 1.0e1 ]}}"#),
            line(ToServer, r#"{"id":42,"method":"tools/call","params":{"arguments":{"y":2,"x":1},"name":"a"}}"#),
            line(FromServer, r#"{"id":42,"error":{"code":-1,"message":"twice"}}"#),
        ];
        let mut replay = Replay::new(&lines);
        let mut ask = |frame: &str| replay.answer(&Envelope::parse(frame.as_bytes()).expect("a message"));
        let call = r#"{"jsonrpc":"2.0","id":"q","method":"tools/call","params":{"name":"a","arguments":{"x":1,"y":2},"_meta":{"progressToken":"t"}}}"#;
        assert_eq!(
            ask(r#"{"jsonrpc":"2.0","id":9,"method":"initialize","params":{}}"#),
            [r#"{"jsonrpc":"2.0","id":9,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#]
        );
        assert_eq!(
            ask(call),
            [
                r#"{"method":"notifications/progress","params":{"progressToken":"t","progress":0.50}}"#,
                r#"{"id":"q", "result":{"content":[ 1.0e1 ]}}"#
            ]
        );
        assert_eq!(ask(call), [r#"{"id":"q","error":{"code":-1,"message":"twice"}}"#]);
        assert_eq!(ask(call), [r#"{"id":"q","error":{"code":-1,"message":"twice"}}"#]);
        assert!(ask(r#"{"id":1,"method":"tools/list"}"#)[0].contains("no answer to this `tools/list`"));
        assert_eq!(ask(r#"{"id":1,"method":"ping"}"#), [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
        assert!(ask(r#"{"method":"notifications/initialized"}"#).is_empty());
    }
}
