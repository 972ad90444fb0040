//! Authorization servers as there are: what can be put up with is, and what the specification has refused has a switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::mock::{Mock, Reply, Request};
use crate::support::{Daemon, error_of, redirect_of, text_of};

/// What an authorization server does otherwise.
#[derive(Clone, Default)]
struct Ways {
    /// Members of its metadata, and of the server's; null takes one out.
    metadata: Value,
    resource: Value,
    /// The status of the server's metadata.
    resource_status: Option<u16>,
    /// Members of each token, likewise; and of those that a refresh gives.
    token: Value,
    renewed: Value,
    /// How a token that has run out is refused: status, and `WWW-Authenticate`.
    refuses: Option<(u16, &'static str)>,
    /// Registers redirects to names only.
    names_only: bool,
    /// Grants no `offline_access`.
    openid_only: bool,
}

/// An MCP server and its authorization server in one.
struct World {
    mock: Mock,
    /// Tokens that hold.
    tokens: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn with(mut good: Value, other: &Value) -> Value {
    for (name, value) in other.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(good.as_object_mut().expect("an object").remove(name)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                good[name] = value.clone();
            }
        }
    }
    good
}

fn query(text: &str, name: &str) -> String {
    let found = url_pairs(text).into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

fn url_pairs(text: &str) -> Vec<(String, String)> {
    let query = text.split_once('?').map_or(text, |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.replace("%3A", ":").replace("%2F", "/").replace('+', " ")))
        .collect()
}

impl World {
    fn start(ways: Ways) -> Self {
        let (tokens, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (holds, log) = (tokens.clone(), asked.clone());
        let mock = Mock::start(move |request, reply| serve(&ways, request, reply, &holds, &log));
        Self { mock, tokens, asked }
    }

    fn daemon(&self, oauth: &str) -> Daemon {
        Daemon::start(&self.mock.entry(oauth))
    }

    /// The token in use is worth nothing any more.
    fn run_out(&self) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }
}

fn serve(ways: &Ways, request: &Request, reply: &mut Reply, tokens: &AtomicUsize, log: &Mutex<Vec<String>>) {
    let origin = format!("http://{}", request.header("host").unwrap_or_default());
    let path = request.path.split('?').next().unwrap_or_default();
    let json = |reply: &mut Reply, value: &Value| reply.json(&value.to_string());
    log.lock().push(format!("{} {}", request.path, request.body));
    if path.contains("oauth-protected-resource") {
        let good =
            with(json!({ "resource": format!("{origin}/mcp"), "authorization_servers": [origin] }), &ways.resource);
        return match ways.resource_status {
            Some(status) => reply.answer(status, "", ""),
            None => json(reply, &good),
        };
    }
    if path.contains("oauth-authorization-server") || path.contains("openid-configuration") {
        let good = json!({
            "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"), "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"), "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
        });
        return json(reply, &with(good, &ways.metadata));
    }
    match path {
        "/register" if ways.names_only && request.body.contains("127.0.0.1") => {
            reply.answer(
                400,
                "Content-Type: application/json\r\n",
                r#"{"error":"invalid_redirect_uri","error_description":"no addresses"}"#,
            );
        }
        "/register" => {
            let mut client = request.json();
            client["client_id"] = "c1".into();
            reply.answer(201, "Content-Type: application/json\r\n", &client.to_string());
        }
        "/authorize" => {
            let (to, state) = (query(&request.path, "redirect_uri"), query(&request.path, "state"));
            let refused = ways.openid_only && query(&request.path, "scope").contains("offline_access");
            let what = if refused { "error=invalid_scope" } else { "code=k" };
            reply.answer(302, &format!("Location: {to}?{what}&state={state}\r\n"), "");
        }
        "/token" => {
            let number = tokens.fetch_add(1, Ordering::Relaxed) + 1;
            let good = json!({ "access_token": format!("at{number}"), "token_type": "Bearer", "expires_in": 3600, "refresh_token": "good" });
            let renewed = request.body.contains("grant_type=refresh_token") && !ways.renewed.is_null();
            json(reply, &with(good, if renewed { &ways.renewed } else { &ways.token }));
        }
        _ => mcp(ways, request, reply, tokens, &origin),
    }
}

fn mcp(ways: &Ways, request: &Request, reply: &mut Reply, tokens: &AtomicUsize, origin: &str) {
    let given =
        request.header("authorization").and_then(|value| value.strip_prefix("Bearer at")?.parse::<usize>().ok());
    if given != Some(tokens.load(Ordering::Relaxed)) {
        let challenge = format!(
            "WWW-Authenticate: Bearer resource_metadata=\"{origin}/.well-known/oauth-protected-resource/mcp\"\r\n"
        );
        return match (given, ways.refuses) {
            (Some(_), Some((status, challenge))) => reply.answer(status, challenge, ""),
            (_, _) => reply.answer(401, &challenge, ""),
        };
    }
    let (id, params) = (request.json()["id"].clone(), request.json()["params"].clone());
    let result = match request.rpc().as_str() {
        "initialize" => {
            json!({ "protocolVersion": params["protocolVersion"], "capabilities": { "tools": {} }, "serverInfo": { "name": "w", "version": "1" } })
        }
        "tools/list" => json!({ "tools": [{ "name": "t", "inputSchema": { "type": "object" } }] }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "fine" }] }),
        "server/discover" => return reply.answer(400, "", ""),
        _ => return reply.answer(if id.is_null() { 202 } else { 405 }, "", ""),
    };
    reply.json(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
}

/// A login by a browser that reaches the daemon, or why there is none.
fn log_in(daemon: &Daemon) -> Result<(), String> {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "daemon.login", "params": { "server": "h" } });
    let answer: Value =
        serde_json::from_str(&crate::support::Agent::socket(&daemon.socket()).ask(&call.to_string())).expect("JSON");
    let Some(url) = answer["result"]["url"].as_str() else { return Err(answer["error"]["message"].to_string()) };
    let redirect = redirect_of(url).replace("://localhost:", "://127.0.0.1:");
    let page = crate::support::http::request("GET", &redirect, &[], "");
    if page.status == 200 { Ok(()) } else { Err(page.body) }
}

#[test]
fn what_is_put_up_with() {
    for (what, ways, oauth) in [
        ("a token of another type", Ways { token: json!({ "token_type": "user" }), ..Ways::default() }, ""),
        ("a token without a type", Ways { token: json!({ "token_type": null }), ..Ways::default() }, ""),
        ("a type that is a number", Ways { token: json!({ "token_type": 7 }), ..Ways::default() }, ""),
        ("names for redirects only", Ways { names_only: true, ..Ways::default() }, ""),
        ("metadata that needs a login", Ways { resource_status: Some(401), ..Ways::default() }, ""),
        ("metadata that is forbidden", Ways { resource_status: Some(403), ..Ways::default() }, ""),
        ("metadata that fails", Ways { resource_status: Some(500), ..Ways::default() }, ""),
        (
            "scopes that are the last word",
            Ways {
                openid_only: true,
                metadata: json!({ "scopes_supported": ["openid", "offline_access"] }),
                ..Ways::default()
            },
            "oauth = { scopes = [\"openid\"] }",
        ),
        (
            "PKCE that is not named",
            Ways { metadata: json!({ "code_challenge_methods_supported": null }), ..Ways::default() },
            "oauth = { pkce = \"assume\" }",
        ),
        (
            "a resource that is not named",
            Ways { resource: json!({ "resource": null }), ..Ways::default() },
            "oauth = { resource = \"none\" }",
        ),
        (
            "a resource of another name",
            Ways { resource: json!({ "resource": "https://other.test/mcp" }), ..Ways::default() },
            "oauth = { resource = \"https://other.test/mcp\" }",
        ),
    ] {
        let world = World::start(ways);
        let daemon = world.daemon(oauth);
        assert_eq!(log_in(&daemon), Ok(()), "{what}");
        assert_eq!(text_of(&daemon.agent("h").call("1", "t", "{}")), "fine", "{what}");
        let authorized =
            world.asked.lock().iter().find(|asked| asked.starts_with("/authorize")).cloned().unwrap_or_default();
        match oauth {
            text if text.contains("\"none\"") => assert!(!authorized.contains("resource="), "{authorized}"),
            text if text.contains("other.test") => assert!(authorized.contains("other.test"), "{authorized}"),
            _ => assert!(authorized.contains("resource="), "{authorized}"),
        }
    }
}

#[test]
fn an_issuer_can_be_named() {
    let ways = Ways { metadata: json!({ "issuer": "http://127.0.0.1:9/real" }), ..Ways::default() };
    let world = World::start(ways);
    let daemon = world.daemon("oauth = { issuer = \"http://127.0.0.1:9/real\" }");
    assert_eq!(log_in(&daemon), Ok(()));
    assert_eq!(daemon.login_state("h")["issuer"], "http://127.0.0.1:9/real");
    assert_eq!(text_of(&daemon.agent("h").call("1", "t", "{}")), "fine");
    // Another one than was named is still refused.
    let daemon = world.daemon("oauth = { issuer = \"http://127.0.0.1:9/other\" }");
    assert!(log_in(&daemon).is_err_and(|error| error.contains("mismatch")));
}

#[test]
fn what_is_refused_names_the_switch_and_what_it_gives_up() {
    for (ways, said) in [
        (
            Ways { metadata: json!({ "issuer": "http://127.0.0.1:9/real" }), ..Ways::default() },
            "oauth = { issuer = \\\"http://127.0.0.1:9/real\\\" }",
        ),
        (
            Ways { metadata: json!({ "code_challenge_methods_supported": null }), ..Ways::default() },
            "oauth = { pkce = \\\"assume\\\" }",
        ),
        (Ways { resource: json!({ "resource": null }), ..Ways::default() }, "oauth = { resource = \\\"none\\\" }"),
        (
            Ways {
                openid_only: true,
                metadata: json!({ "scopes_supported": ["offline_access", "openid"] }),
                resource: json!({ "scopes_supported": ["openid"] }),
                ..Ways::default()
            },
            "oauth = { scopes = […] }",
        ),
    ] {
        let error = log_in(&World::start(ways).daemon("")).expect_err("refused");
        assert!(error.contains(said), "{said} in {error}");
    }
}

#[test]
fn a_token_that_ran_out_unseen_is_refreshed_before_a_person_is_asked() {
    let scope = "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"a\"\r\n";
    for (refuses, at_once) in [((403, scope), true), ((403, ""), true), ((500, ""), false)] {
        // Some write an empty refresh token where they give no other one.
        for refresh in [json!("next"), json!(""), json!(null)] {
            let renewed = json!({ "expires_in": null, "refresh_token": refresh });
            let world = World::start(Ways {
                renewed,
                token: json!({ "expires_in": null }),
                refuses: Some(refuses),
                ..Ways::default()
            });
            let daemon = world.daemon("");
            assert_eq!(log_in(&daemon), Ok(()));
            let mut agent = daemon.agent("h");
            assert_eq!(text_of(&agent.call("1", "t", "{}")), "fine");
            for number in 2..5 {
                world.run_out();
                if !at_once {
                    // Nobody knows whether it was carried out: it is not said again.
                    assert!(error_of(&agent.call("7", "t", "{}")).contains("HTTP 500"));
                }
                assert_eq!(text_of(&agent.call(&number.to_string(), "t", "{}")), "fine", "{refuses:?} {refresh}");
            }
            let sent: Vec<_> =
                world.asked.lock().iter().filter(|asked| asked.contains("grant_type=refresh_token")).cloned().collect();
            assert_eq!(sent.len(), 3, "{refuses:?} {refresh}: {sent:?}");
        }
    }
}
