//! The calls as an OpenRPC document (specification 1.3), made from the types that they are written with.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::shapes::{Environment, LogLine, LoginBegun, ServerStatus, ServerTools, SessionStatus, Status, Why};
use crate::config::Examined;
use crate::hub::Reloaded;
use crate::record::{By, CallShape, Point, Stat};
use crate::recording::Direction;

/// Whether a parameter may be left out.
#[derive(Clone, Copy)]
enum Needed {
    Yes,
    No,
}
use Needed::{No, Yes};

/// Writes one method after the other.
struct Document {
    generator: SchemaGenerator,
    methods: Vec<Value>,
}

impl Document {
    fn schema<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    /// A method: its name, what it does, its parameters, and what it answers with.
    fn method<T: JsonSchema>(&mut self, name: &str, does: &str, params: &[(&str, Needed)]) {
        let result = json!({ "name": "result", "schema": self.schema::<T>() });
        let params: Vec<_> = params.iter().map(|(name, needed)| self.parameter(name, *needed)).collect();
        self.methods.push(
            json!({ "name": name, "summary": does, "paramStructure": "by-name", "params": params, "result": result }),
        );
    }

    /// A subscription: what each of its notifications says.
    fn subscription<T: JsonSchema>(&mut self, name: &str, ends: &str, does: &str, params: &[(&str, Needed)]) {
        self.method::<u64>(name, does, params);
        let item = self.schema::<T>();
        if let Some(method) = self.methods.last_mut() {
            method["x-notification"] = item;
            method["x-unsubscribe"] = ends.into();
        }
        let id = json!({ "name": "id", "required": true, "schema": { "type": "integer" } });
        let ended = json!({ "name": "result", "schema": { "type": "boolean" } });
        let does = format!("Ends a subscription of `{name}`.");
        self.methods.push(
            json!({ "name": ends, "summary": does, "paramStructure": "by-position", "params": [id], "result": ended }),
        );
    }

    fn parameter(&mut self, name: &str, needed: Needed) -> Value {
        let schema = match name {
            "arguments" => json!({ "type": "object" }),
            "join" | "failed" => json!({ "type": "boolean" }),
            "slow_ms" | "limit" | "tail" | "after" | "id" => json!({ "type": "integer" }),
            "by" => self.schema::<By>(),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "required": matches!(needed, Yes), "schema": schema })
    }
}

/// A message of a recording.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its shape is what is wanted")]
struct Recorded {
    at: String,
    direction: Direction,
    of: String,
    connection: u64,
    message: Option<Value>,
    text: Option<String>,
}

/// The whole document.
pub fn openrpc() -> Value {
    let mut document = Document { generator: SchemaGenerator::default(), methods: Vec::new() };
    state(&mut document);
    servers(&mut document);
    calls(&mut document);
    let Document { mut generator, methods } = document;
    let schemas: Map<String, Value> = generator.take_definitions(true);
    // Where OpenRPC keeps them.
    let text = json!({ "methods": methods, "components": { "schemas": schemas } }).to_string();
    let text = text.replace("#/$defs/", "#/components/schemas/");
    let mut whole: Value = serde_json::from_str(&text).unwrap_or_default();
    whole["openrpc"] = "1.3.2".into();
    whole["info"] = json!({
        "title": "trunkline",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "The daemon's own calls: JSON-RPC 2.0, one message a line, on its socket.",
    });
    whole
}

fn state(document: &mut Document) {
    document.method::<Status>("daemon.status", "The daemon, its servers and its agents.", &[]);
    document.method::<Vec<ServerStatus>>("daemon.servers", "Every configured server.", &[]);
    document.method::<Vec<SessionStatus>>("daemon.sessions", "Every attached agent.", &[]);
    document.method::<Environment>("daemon.environment", "The daemon's PATH, and the names of its variables.", &[]);
    document.method::<Examined>("daemon.check", "What is wrong with a configuration file.", &[("file", Yes)]);
    document.method::<Reloaded>("daemon.reload", "Reads the configuration again.", &[]);
    document.method::<()>("daemon.shutdown", "Ends the daemon.", &[]);
    document.subscription::<Value>(
        "daemon.subscribe_events",
        "daemon.unsubscribe_events",
        "Every event from now on (`daemon.event`).",
        &[],
    );
    document.subscription::<LogLine>(
        "daemon.subscribe_logs",
        "daemon.unsubscribe_logs",
        "The last lines of the daemon's log, or of a server's standard error, and every one from then on (`daemon.log`).",
        &[("server", No), ("tail", No)],
    );
    document.method::<Value>("rpc.discover", "This document.", &[]);
}

fn servers(document: &mut Document) {
    let server = [("server", Yes)];
    document.method::<()>("daemon.start", "Starts a server.", &server);
    document.method::<()>("daemon.stop", "Stops a server and keeps it stopped.", &server);
    document.method::<()>("daemon.restart", "Stops a server and starts it anew.", &server);
    document.method::<Why>("daemon.why", "Why a server is as it is, and what to do.", &server);
    document.method::<Vec<ServerTools>>(
        "daemon.list_tools",
        "The tools of one server, or of all.",
        &[("server", No), ("cwd", No)],
    );
    document.method::<Value>(
        "daemon.call_tool",
        "Calls a tool; its result as the server sent it.",
        &[("server", Yes), ("tool", Yes), ("arguments", No), ("cwd", No)],
    );
    document.method::<LoginBegun>("daemon.login", "Begins a login at a server.", &[("server", Yes), ("join", No)]);
    document.method::<Option<String>>(
        "daemon.login_complete",
        "Waits until a login is done, or finishes it.",
        &[("server", Yes), ("redirect", No)],
    );
    document.method::<()>(
        "daemon.login_from_codex",
        "Takes over the login that Codex keeps.",
        &[("server", Yes), ("home", Yes)],
    );
    document.method::<bool>("daemon.logout", "Forgets a login; tells whether there was one.", &server);
}

fn calls(document: &mut Document) {
    document.method::<Vec<CallShape>>(
        "daemon.calls",
        "Recorded calls, the oldest first.",
        &[
            ("server", No),
            ("tool", No),
            ("agent", No),
            ("since", No),
            ("until", No),
            ("failed", No),
            ("slow_ms", No),
            ("after", No),
            ("id", No),
            ("limit", No),
        ],
    );
    document.method::<Vec<Stat>>(
        "daemon.stats",
        "The recorded calls counted and measured.",
        &[("by", No), ("server", No), ("agent", No), ("since", No)],
    );
    document.method::<Vec<Point>>(
        "daemon.timeline",
        "The recorded calls minute by minute.",
        &[("since", No), ("server", No)],
    );
    document.subscription::<CallShape>(
        "daemon.subscribe_calls",
        "daemon.unsubscribe_calls",
        "Every call that ends from now on (`daemon.call_ended`).",
        &[],
    );
    document.subscription::<Recorded>(
        "daemon.record",
        "daemon.end_record",
        "Every message from and to a server, or an agent (`daemon.recorded`).",
        &[("server", No), ("agent", No)],
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What stands behind `word` in the calls as they are written.
    fn written(word: &str) -> Vec<&str> {
        let after = include_str!("api.rs").split(word).skip(1);
        after.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_call_is_described() {
        let document = openrpc();
        let named: BTreeSet<_> =
            document["methods"].as_array().expect("methods").iter().filter_map(|one| one["name"].as_str()).collect();
        let written = [written("name = \""), written("unsubscribe = \"")].concat();
        assert_eq!(named, written.into_iter().collect());
        assert!(document["components"]["schemas"]["Status"].is_object());
        assert!(!document.to_string().contains("$defs"));
    }

    #[test]
    fn the_document_in_the_reference_is_what_the_types_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/openrpc.json");
        let document = format!("{:#}\n", openrpc());
        if std::env::var_os("TRUNKLINE_BLESS").is_some() {
            std::fs::write(path, &document).expect("written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == document, "run `TRUNKLINE_BLESS=1 cargo test --lib openrpc` and commit the file");
    }
}
