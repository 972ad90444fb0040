//! Whatever a server answers over HTTP, an authorization server says, a browser brings back, or stands in the state folder: the
//! daemon stands, and whoever waits is told. Each for as long as `TRUNKLINE_FUZZ` says, as `fuzz` does.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fuzz::{end, inputs, seed};
use crate::support::mock::{Mock, greet};
use crate::support::{Agent, Daemon, command, http, own_server, text_of, undisturbed};

/// What comes out of these words, in any order, one text after the other.
struct Texts<S> {
    strategy: S,
    runner: TestRunner,
}

impl<S: Strategy> Texts<S> {
    fn new(strategy: S) -> Self {
        let config = Config { rng_seed: seed(0), ..Config::default() };
        Self { strategy, runner: TestRunner::new(config) }
    }

    fn next(&mut self) -> S::Value {
        self.strategy.new_tree(&mut self.runner).expect("an input").current()
    }
}

fn words(all: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(prop::sample::select(all), 0..most).prop_map(|words| words.concat())
}

/// Tries inputs until it is time, five at least.
fn until_end(mut one: impl FnMut(u64)) {
    let until = end();
    let mut tried = 0;
    while tried < 5 || Instant::now() < until {
        one(tried);
        tried += 1;
    }
}

fn stands(daemon: &Daemon) {
    assert!(!daemon.log().contains("a fault in trunkline"), "{}", daemon.log());
    assert!(text_of(&daemon.agent("t").call("1", "echo", "{}")).contains("echo"));
}

/// Lines of event streams and parts of JSON bodies. `ID` is the id of the request.
const EVENTS: &[&str] = &[
    "data: ",
    "data:",
    "data",
    "event: message\n",
    "event: ping\n",
    "id: 7\n",
    "id:\n",
    "retry: 1\n",
    "retry: x\n",
    ": comment\n",
    "\n",
    "\n\n",
    "\r\n",
    "\r\r",
    "\u{feff}",
    "{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"content\":[]}}",
    "{\"jsonrpc\":\"2.0\",\"id\":\"ID\",\"result\":{}}",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"ID\":ID,\"result\":{}}",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"no\"}}",
    "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"roots/list\"}",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}",
    "{\"jsonrpc\":\"2.0\",\n",
    "[",
    ",",
    "]",
    "\u{0}",
    "<html>",
];

#[test]
fn whatever_a_server_answers_over_http_a_call_ends() {
    let bodies = Arc::new(Mutex::new(Texts::new((words(EVENTS, 12), 0..6_usize, 0..5_usize))));
    let answers = bodies.clone();
    let server = Mock::start(move |request, reply| {
        if greet(request, reply, "s") {
            return;
        }
        if request.rpc() != "tools/call" {
            return reply.answer(202, "", "");
        }
        let (body, status, kind) = answers.lock().next();
        let status = [200, 200, 202, 400, 404, 500][status];
        let kind = ["text/event-stream", "application/json", "TEXT/Event-Stream; x=1", "text/plain", ""][kind];
        let body = body.replace("ID", &request.json()["id"].to_string());
        reply.answer(status, &format!("Content-Type: {kind}\r\n"), &body);
    });
    let daemon = Daemon::start(&format!("{}{}", server.entry("era = \"legacy\""), own_server("t", &[])));
    until_end(|number| {
        // One that a 404 tells to begin anew asks again.
        let mut agent = daemon.agent("h");
        let answer = agent.call(&number.to_string(), "go", "{}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["result"].is_object() || answer["error"].is_object(), "{answer}");
    });
    stands(&daemon);
}

/// Members of metadata, registrations and grants. `HERE` is the origin of the authorization server.
const METADATA: &[&str] = &[
    "\"issuer\":\"HERE\",",
    "\"issuer\":\"http://evil\",",
    "\"authorization_endpoint\":\"HERE/auth\",",
    "\"authorization_endpoint\":\"HERE/auth?state=x\",",
    "\"authorization_endpoint\":\"javascript:x\",",
    "\"token_endpoint\":\"HERE/token\",",
    "\"token_endpoint\":7,",
    "\"registration_endpoint\":\"HERE/register\",",
    "\"code_challenge_methods_supported\":[\"S256\"],",
    "\"code_challenge_methods_supported\":\"S256\",",
    "\"response_types_supported\":[\"code\"],",
    "\"client_id_metadata_document_supported\":true,",
    "\"authorization_servers\":[\"HERE\"],",
    "\"authorization_servers\":[7,\"http://169.254.169.254\"],",
    "\"resource\":\"HERE/mcp\",",
    "\"resource\":\"\u{1b}]0;x\u{7}\",",
    "\"client_id\":\"c\",",
    "\"client_secret\":null,",
    "\"client_secret_expires_at\":-1,",
    "\"access_token\":\"t\",",
    "\"access_token\":\"t\\r\\nX: y\",",
    "\"token_type\":\"Bearer\",",
    "\"token_type\":\"mac\",",
    "\"expires_in\":99999999999999999999,",
    "\"expires_in\":\"60\",",
    "\"scope\":[],",
    "\"error\":\"invalid_grant\",",
    "\"error\":{},",
    "\"error_description\":\"\u{202e}x\",",
    "}",
    "{",
];
/// What a server is asked to log in with.
const CHALLENGES: &[&str] = &[
    "Bearer",
    "Bearer error=\"invalid_token\"",
    "Bearer resource_metadata=\"HERE/.well-known/oauth-protected-resource\"",
    "Bearer resource_metadata=HERE/x, scope=\"a b\"",
    "Bearer resource_metadata=\"file:///etc/passwd\"",
    "Basic realm=\"\\\"\", Bearer scope=",
    "DPoP algs=\"x\", ,,",
];
/// Parts of the query that a browser brings back.
const QUERIES: &[&str] = &[
    "code=c",
    "code=",
    "&",
    "&&",
    "state=STATE",
    "state=x",
    "iss=HERE",
    "iss=http://evil",
    "error=access_denied",
    "=",
    "?",
    "error_description=%1b%5b31m",
    "%",
    "%ff",
    "code=%00",
    "#",
    "%26state%3dSTATE",
    "[]",
    "+",
];

#[test]
fn whatever_an_authorization_server_says_the_daemon_stands() {
    let texts = Arc::new(Mutex::new(Texts::new((words(METADATA, 16), prop::sample::select(CHALLENGES), 0..10_usize))));
    let answers = texts.clone();
    let server = Mock::start(move |request, reply| {
        let (members, challenge, how) = answers.lock().next();
        let host = request.header("host").unwrap_or_default();
        let here = |text: &str| text.replace("HERE", &format!("http://{host}"));
        if request.path == "/mcp" {
            return reply.answer(401, &format!("WWW-Authenticate: {}\r\n", here(challenge)), "");
        }
        // Now and then all that a login needs, so that the next step has its turn.
        let whole =
            METADATA.iter().filter(|word| word.contains("HERE/") || word.contains("\"c\"") || word.contains("S256\"]"));
        let whole = whole.filter(|word| !word.contains('?')).copied().collect::<String>();
        let body = match how {
            0..6 => format!("{{\"issuer\":\"HERE\",\"access_token\":\"t\",\"token_type\":\"Bearer\",{whole}\"x\":1}}"),
            _ => format!("{{{members}\"x\":1}}"),
        };
        reply.answer(if how == 9 { 400 } else { 200 }, "Content-Type: application/json\r\n", &here(&body));
    });
    let daemon = Daemon::start(&format!("{}{}", server.entry("era = \"legacy\""), own_server("t", &[])));
    let mut queries = Texts::new(words(QUERIES, 8));
    let mut begun = 0;
    until_end(|number| {
        let mut script = Agent::socket(&daemon.socket());
        let call = json!({ "jsonrpc": "2.0", "id": number, "method": "daemon.login", "params": { "server": "h" } });
        let answer: Value = serde_json::from_str(&script.ask(&call.to_string())).expect("JSON");
        let Some(url) = answer["result"]["url"].as_str() else {
            let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
            return assert!(!message.contains(char::is_control), "{message:?}");
        };
        begun += 1;
        let part = |name: &str| {
            let found = url.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap_or_default();
            found.replace("%3A", ":").replace("%2F", "/")
        };
        let query = queries.next().replace("STATE", &part("state="));
        // What it says is up to it; that it answers is not.
        let answer = http::request("GET", &format!("{}?{query}", part("redirect_uri=")), &[], "");
        assert!(answer.status >= 200, "{query}");
    });
    assert!(begun > 0, "no login came as far as the browser");
    stands(&daemon);
}

/// What a daemon keeps, and finds when it starts.
const KEPT: &[&str] =
    &["credentials", "credentials.key", "ledger", "http-sessions", "http-token", "catalogs/t.json", "crashes"];

#[test]
fn whatever_stands_in_its_state_folder_the_daemon_says_so_or_starts() {
    let config = undisturbed(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    // One that has run, so that there is something to spoil.
    let daemon = Daemon::start(&config);
    let mut agent = daemon.agent("t");
    agent.call("1", "echo", "{}");
    drop(agent);
    let ran = daemon.restart();
    let state = ran.path().join("state");
    let good = |name: &str| fs::read(state.join(name)).unwrap_or_default();
    let good: Vec<_> = KEPT.iter().map(|name| good(name)).collect();
    assert!(good.iter().filter(|bytes| !bytes.is_empty()).count() >= 2, "a daemon keeps something");
    let place = (0..KEPT.len(), inputs("lists"), any::<prop::sample::Index>(), any::<bool>());
    let mut spoiled = Texts::new(place);
    until_end(|_| {
        let (file, noise, at, whole) = spoiled.next();
        let folder = TempDir::new().expect("a folder");
        let mut bytes = good[file].clone();
        let at = at.index(bytes.len() + 1);
        if whole {
            bytes = noise;
        } else {
            bytes.splice(at..(at + 3).min(bytes.len()), noise);
        }
        let path = folder.path().join("state").join(KEPT[file]);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, bytes).expect("written");
        fs::write(folder.path().join("config.toml"), &config).expect("written");
        let checked = command(folder.path()).arg("check").output().expect("it runs");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(!said.contains("panicked") && !said.contains("a fault in trunkline"), "{}: {said}", KEPT[file]);
        let daemon = Daemon::start_in(folder);
        stands(&daemon);
    });
}
