//! A recording as a text that can be compared: what differs each time, ids and moments, is left out.

use std::collections::HashMap;

use serde_json::Value;

use crate::envelope::{Envelope, Kind};
use crate::recording::direction::Direction;
use crate::recording::line::Line;

/// Members of `_meta` that differ each time.
const PASSING: [&str; 3] = ["progressToken", "traceparent", "tracestate"];

/// The messages in lines: requests by their order on each connection, with their answers behind them.
pub fn script(lines: &[Line]) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let mut open: HashMap<(u64, String), usize> = HashMap::new();
    for line in lines {
        let Some(message) = line.message.as_ref().map(|message| message.get()) else {
            blocks.push(format!("{} {}", arrow(line.direction), line.text.as_deref().unwrap_or_default()));
            continue;
        };
        let Ok(envelope) = Envelope::parse(message.as_bytes()) else {
            blocks.push(format!("{} {message}", arrow(line.direction)));
            continue;
        };
        let id = (line.connection, envelope.id.to_owned());
        let mut value: Value = serde_json::from_str(message).unwrap_or_default();
        let part = match envelope.kind {
            Kind::Request | Kind::Notification => value.get_mut("params").map(Value::take),
            Kind::Response => None,
        };
        match envelope.kind {
            Kind::Response => {
                let (name, mut part) = match (value.get_mut("result"), envelope.error) {
                    (_, Some(_)) => ("error", value["error"].take()),
                    (Some(result), None) => ("result", result.take()),
                    (None, None) => ("answer", Value::Null),
                };
                settle(&mut part);
                let text = format!("\n{} {name} {part:#}", arrow(line.direction));
                match open.remove(&id).and_then(|at| blocks.get_mut(at)) {
                    Some(block) => block.push_str(&text),
                    None => blocks.push(text.trim_start().to_owned()),
                }
            }
            Kind::Request | Kind::Notification => {
                let mut part = part.unwrap_or_default();
                settle(&mut part);
                if envelope.kind == Kind::Request {
                    open.insert(id, blocks.len());
                }
                blocks.push(format!("{} {} {part:#}", arrow(line.direction), envelope.method_name));
            }
        }
    }
    blocks.join("\n") + "\n"
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer | Direction::FromAgent => "->",
        Direction::FromServer | Direction::ToAgent => "<-",
        Direction::Handshake => "<- (handshake)",
    }
}

/// Takes out what differs each time.
fn settle(part: &mut Value) {
    let Value::Object(members) = part else { return };
    for name in ["progressToken", "requestId"] {
        if let Some(value) = members.get_mut(name) {
            *value = "(an id)".into();
        }
    }
    if let Some(Value::Object(meta)) = members.get_mut("_meta") {
        PASSING.iter().for_each(|name| drop(meta.remove(*name)));
    }
}
