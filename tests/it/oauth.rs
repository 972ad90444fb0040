//! Logins, at a real authorization server: begun, finished, refused, ended, and used by agents that were there before.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::{
    Agent, AuthServer, Daemon, browse, command, error_of, eventually, http, legacy, redirect_of, text_of,
};

fn daemon(server: &AuthServer) -> Daemon {
    Daemon::start(&server.entry("guarded", ""))
}

fn whoami(agent: &mut Agent, id: &str) -> Value {
    serde_json::from_str(&text_of(&agent.call(id, "whoami", "{}"))).expect("JSON")
}

#[test]
fn an_agent_that_was_there_before_the_login_goes_on_after_it() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut agent = daemon.attach("guarded");
    agent.greet("{}");
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#).contains(r#""tools":[]"#));
    let error = error_of(&agent.call("3", "whoami", "{}"));
    assert!(error.contains("`guarded` needs a login") && error.contains("trunkline login guarded"), "{error}");
    assert_eq!(daemon.server("guarded")["state"], "needs_login");
    let called = daemon.run(&["call", "guarded", "whoami"]);
    assert_eq!(called.status.code(), Some(4), "{}", String::from_utf8_lossy(&called.stderr));
    daemon.log_in("guarded");
    agent.until(|line| line.contains("notifications/tools/list_changed"));
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"}"#).contains("whoami"));
    assert_eq!(whoami(&mut agent, "5")["sub"], "tester");
    let state = daemon.login_state("guarded");
    assert_eq!((state["state"].as_str(), state["issuer"].as_str()), (Some("ok"), Some(server.issuer.as_str())));
    // The authorization server saw PKCE, and the server's name everywhere.
    let authorized = server.log("as").into_iter().find(|entry| entry["path"] == "/auth").expect("a login");
    assert_eq!(authorized["resource"], server.mcp);
    assert_eq!(server.grants("authorization_code")[0]["resource"], server.mcp);
    let registered = server.log("as").into_iter().find(|entry| entry["path"] == "/reg").expect("a registration");
    assert_eq!(registered["registration"]["application_type"], "native");
}

#[test]
fn over_ssh_the_redirect_is_pasted() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut login = command(daemon.folder());
    login
        .args(["login", "guarded", "--no-browser"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut login = login.spawn().expect("the program starts");
    let mut url = String::new();
    BufReader::new(login.stdout.take().expect("piped")).read_line(&mut url).expect("a URL");
    let redirect = redirect_of(url.trim());
    let mut input = login.stdin.take().expect("piped");
    writeln!(input, "\nhello\nhttp://127.0.0.1/?state=wrong\n{redirect}").expect("sent");
    let output = login.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("logged in at `guarded`"), "{said}");
    assert!(said.contains("that is no URL") && said.contains("not the redirect of the login"), "{said}");
    assert_eq!(whoami(&mut daemon.agent("guarded"), "1")["sub"], "tester");
}

#[test]
fn a_login_can_be_finished_once_and_by_its_own_redirect_only() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let (first, url) = (daemon.begin_login("guarded"), daemon.begin_login("guarded"));
    let stale = http::request("GET", &redirect_of(&url).replace("state=", "state=x"), &[], "");
    assert!(stale.status == 400 && stale.body.contains("not the redirect of the login"), "{}", stale.body);
    let redirect = redirect_of(&url);
    let (place, _) = redirect.split_once('?').expect("a query");
    let other = |method: &str, place: &str| http::request(method, place, &[], "").status;
    assert_eq!(other("GET", &place.replace("/callback", "/elsewhere")), 404);
    assert_eq!(other("POST", &redirect), 405);
    let page = http::request("GET", &redirect, &[], "");
    assert!(page.status == 200 && page.body.contains("go back to your agent"), "{}", page.body);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let denied = daemon.begin_login("guarded");
    let state = denied.split(['?', '&']).find(|part| part.starts_with("state=")).expect("a state");
    let issuer = server.issuer.replace(':', "%3A").replace('/', "%2F");
    let place = redirect_of(&denied);
    let (place, _) = place.split_once('?').expect("a query");
    let page = http::request("GET", &format!("{place}?error=access_denied&{state}&iss={issuer}"), &[], "");
    assert!(page.status == 400 && page.body.contains("refused the login: access_denied"), "{}", page.body);
    // It was given up for the second one.
    let given_up = std::panic::catch_unwind(|| browse(&first).0);
    assert!(given_up.is_err() || !given_up.unwrap_or_default().contains("Logged in"));
    let pasted = json!({ "jsonrpc": "2.0", "id": 1, "method": "daemon.login_complete", "params": { "server": "guarded", "redirect": redirect } });
    let again = Agent::socket(&daemon.socket()).ask(&pasted.to_string());
    assert!(error_of(&again).contains("no login at `guarded` is under way"), "{again}");
    assert_eq!(server.grants("authorization_code").len(), 1);
}

#[test]
fn what_an_authorization_server_must_say_is_insisted_on() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let login = || {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "daemon.login", "params": { "server": "guarded" } });
        Agent::socket(&daemon.socket()).ask(&call.to_string())
    };
    for (faults, said) in [
        (json!({ "metadata_strip": ["code_challenge_methods_supported"] }), "PKCE with S256"),
        (json!({ "metadata_set": { "issuer": "https://evil.example" } }), "mismatch"),
        (json!({ "registration_off": true }), "registers no clients by itself"),
        (
            json!({ "metadata_set": { "registration_endpoint": "http://169.254.169.254/register" } }),
            "may not be reached",
        ),
        (json!({ "metadata_set": { "authorization_endpoint": "javascript:alert(1)" } }), "only `https`"),
    ] {
        server.faults(&json!({ "reset": true }));
        server.faults(&faults);
        let answer = login();
        assert!(error_of(&answer).contains(said), "{faults}: {answer}");
    }
    // A token endpoint is asked only after a person has logged in, and then not in the clear.
    server.faults(&json!({ "reset": true, "metadata_set": { "token_endpoint": "http://192.0.2.1/token" } }));
    let (page, _) = browse(&daemon.begin_login("guarded"));
    assert!(page.contains("Not logged in") && page.contains("192.0.2.1"), "{page}");
    for (lie, said) in [("https://evil.example", "is not from"), ("", "does not say that it is from")] {
        server.faults(&json!({ "reset": true, "issuer_lie": lie }));
        let (page, _) = browse(&daemon.begin_login("guarded"));
        assert!(page.contains("Not logged in") && page.contains(said) && !page.contains("evil"), "{page}");
    }
    assert_eq!(server.grants("authorization_code"), [] as [Value; 0], "no code was ever sent");
    server.faults(&json!({ "reset": true }));
    daemon.log_in("guarded");
}

#[test]
fn an_agent_that_can_show_a_page_is_asked_and_its_call_goes_on() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut agents: Vec<_> = (0..4).map(|_| daemon.attach("guarded")).collect();
    agents.iter_mut().for_each(|agent| drop(agent.greet(r#"{"elicitation":{"url":{}}}"#)));
    // Lists ask nobody.
    assert!(agents[0].ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).contains(r#""tools":[]"#));
    let mut asked = Vec::new();
    for agent in &mut agents {
        agent.send_call("\"a\"", "whoami", "{}");
        agent.send_call("\"b\"", "echo", "{}");
        let question: Value =
            serde_json::from_str(&agent.until(|line| line.contains("elicitation/create"))).expect("JSON");
        assert_eq!(question["params"]["mode"], "url");
        asked.push(question);
    }
    let url = asked[0]["params"]["url"].as_str().expect("a URL").to_owned();
    assert!(asked.iter().all(|question| question["params"]["url"] == url.as_str()), "one login for all");
    let answer = |question: &Value, action: &str| {
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": action } }).to_string()
    };
    agents[2].send(&answer(&asked[2], "decline"));
    assert!(error_of(&agents[2].answer("\"a\"")).contains("trunkline login guarded"));
    agents[0].send(&answer(&asked[0], "accept"));
    agents[1].send(&answer(&asked[1], "accept"));
    browse(&url);
    // The last one's person has gone to the page without a word.
    for agent in [&agents[0], &agents[1], &agents[3]] {
        let done = agent.until(|line| line.contains("notifications/elicitation/complete"));
        assert!(done.contains("login-"), "{done}");
        assert!(text_of(&agent.answers(2)["\"a\""]).contains("tester"));
    }
}

#[test]
fn a_modern_agent_is_asked_too_and_comes_back() {
    comes_back(|daemon| daemon.attach("h"));
}

/// Over HTTP, it comes back with another request, which nothing connects to the first but what it brings.
#[test]
fn a_modern_agent_comes_back_over_http() {
    comes_back(|daemon| Agent::http(daemon.endpoint(Some("h"))));
}

fn comes_back(attach: fn(&Daemon) -> Agent) {
    let server = AuthServer::start();
    let issuer = server.issuer.clone();
    let mock = Mock::start(move |request, reply| {
        let own = format!("http://{}/mcp", request.header("host").unwrap_or_default());
        if request.path.starts_with("/.well-known/oauth-protected-resource") {
            let metadata = json!({ "resource": own, "authorization_servers": [issuer], "scopes_supported": ["mcp"] });
            return reply.json(&metadata.to_string());
        }
        let id = request.json()["id"].clone();
        let result = match (request.rpc().as_str(), request.header("authorization")) {
            ("server/discover", _) => {
                json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private" })
            }
            (_, Some(_)) => json!({ "resultType": "complete", "content": [{ "type": "text", "text": request.body }] }),
            (_, None) => return reply.answer(401, "WWW-Authenticate: Bearer\r\n", ""),
        };
        reply.json(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
    });
    server.faults(&json!({ "resources": [mock.url] }));
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", mock.entry("")));
    let call = |id: u64, more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t",{more}"arguments":{{"n":1E5}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"a","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{"url":{{}}}}}}}}}}}}"#
        )
    };
    let mut agent = attach(&daemon);
    let asked: Value = serde_json::from_str(&agent.ask(&call(1, ""))).expect("JSON");
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let question = &asked["result"]["inputRequests"]["login"];
    assert_eq!(
        (question["method"].as_str(), question["params"]["mode"].as_str()),
        (Some("elicitation/create"), Some("url"))
    );
    let state = asked["result"]["requestState"].to_string();
    let back = |id: u64, action: &str| {
        call(id, &format!(r#""inputResponses":{{"login":{{"action":"{action}"}}}},"requestState":{state},"#))
    };
    // Another agent cannot use it.
    assert!(daemon.attach("h").ask(&back(2, "accept")).contains("not known"));
    agent.send(&back(3, "accept"));
    let (page, _) = browse(question["params"]["url"].as_str().expect("a URL"));
    assert!(page.contains("Logged in"), "{page}");
    let sent = text_of(&agent.answer("3"));
    assert!(
        sent.contains(r#""arguments":{"n":1E5}"#) && !sent.contains("inputResponses") && !sent.contains("requestState"),
        "{sent}"
    );
    assert!(agent.ask(&back(4, "accept")).contains("was used before"));
    assert!(daemon.run(&["logout", "h"]).status.success());
    let again: Value = serde_json::from_str(&agent.ask(&call(5, ""))).expect("JSON");
    let declined = call(
        6,
        &format!(
            r#""inputResponses":{{"login":{{"action":"decline"}}}},"requestState":{},"#,
            again["result"]["requestState"]
        ),
    );
    assert!(agent.ask(&declined).contains("trunkline login h"));
}

#[test]
fn more_rights_are_asked_for_once() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    daemon.log_in("guarded");
    let mut agent = daemon.agent("guarded");
    let error = error_of(&agent.call("1", "admin", "{}"));
    assert!(error.contains("more rights (`admin`)") && error.contains("trunkline login guarded"), "{error}");
    assert_eq!(whoami(&mut agent, "2")["scope"], "mcp", "what it may do, it still does");
    daemon.log_in("guarded");
    assert_eq!(text_of(&agent.call("3", "admin", "{}")), "done");
    let scope = whoami(&mut agent, "4")["scope"].clone();
    assert!(
        scope.as_str().is_some_and(|scope| scope.contains("mcp") && scope.contains("admin")),
        "and what it could: {scope}"
    );
    assert_eq!(server.log("as").iter().filter(|entry| entry["path"] == "/reg").count(), 1, "the client is still good");
}

#[test]
fn a_logout_takes_everything_back() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    daemon.log_in("guarded");
    let mut agent = daemon.agent("guarded");
    whoami(&mut agent, "1");
    assert_eq!(server.refresh_tokens(), 1);
    assert!(daemon.run(&["logout", "guarded"]).status.success());
    assert_eq!(server.refresh_tokens(), 0);
    assert!(error_of(&agent.call("2", "whoami", "{}")).contains("you have logged out"));
    let again = daemon.run(&["logout", "guarded"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there was no login"));
    // A refresh that is under way when the person logs out brings nothing back.
    daemon.log_in("guarded");
    server.faults(&json!({ "token_delay_ms": 1500 }));
    let mut late = daemon.agent("guarded");
    eventually("the token has to be refreshed", || {
        late.call("3", "echo", "{}");
        server.grants("refresh_token").iter().any(|entry| entry["status"].is_null())
    });
    assert!(daemon.run(&["logout", "guarded"]).status.success());
    assert_eq!(server.refresh_tokens(), 0, "not even the new one");
    let folder = daemon.restart();
    let daemon = Daemon::start_in(folder);
    assert!(error_of(&daemon.agent("guarded").call("1", "whoami", "{}")).contains("needs a login"));
}

#[test]
fn two_accounts_at_one_server_stay_apart() {
    let server = AuthServer::start();
    let entries = server.entry("one", "account = \"home\"") + &server.entry("two", "account = \"work\"");
    let daemon = Daemon::start(&entries);
    daemon.log_in("one");
    assert_eq!(whoami(&mut daemon.agent("one"), "1")["sub"], "tester");
    let mut two = daemon.agent("two");
    assert!(error_of(&two.call("1", "whoami", "{}")).contains("`two` needs a login"));
    daemon.log_in("two");
    let clients =
        [daemon.agent("one"), daemon.agent("two")].map(|mut agent| whoami(&mut agent, "2")["client_id"].clone());
    assert_ne!(clients[0], clients[1]);
    assert!(daemon.run(&["logout", "one"]).status.success());
    assert_eq!(whoami(&mut daemon.agent("two"), "3")["sub"], "tester");
}

#[test]
fn a_client_of_ones_own_and_one_that_logs_in_by_itself() {
    let server = AuthServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let robot = r#"oauth = { grant = "client_credentials", client_id = "robot", client_secret = "${keyring:robot}", scopes = ["mcp"] }"#;
    let preset = r#"oauth = { client_id = "preset", client_secret = "preset-secret" }"#;
    let config = server.entry("robot", robot)
        + &server.entry("preset", preset).replace("[servers.preset]", "[servers.preset]\naccount = \"p\"");
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let mut set = command(folder.path());
    let mut set = set.args(["secret", "set", "robot"]).stdin(Stdio::piped()).spawn().expect("the program starts");
    set.stdin.take().expect("piped").write_all(b"robot-secret\n").expect("sent");
    assert!(set.wait().expect("ended").success());
    let daemon = Daemon::start_in(folder);
    assert_eq!(whoami(&mut daemon.agent("robot"), "1")["client_id"], "robot", "without a person");
    let asked = server.grants("client_credentials");
    assert_eq!((asked[0]["resource"].as_str(), asked[0]["scope"].as_str()), (Some(server.mcp.as_str()), Some("mcp")));
    daemon.log_in("preset");
    assert_eq!(whoami(&mut daemon.agent("preset"), "1")["client_id"], "preset");
    assert_eq!(server.grants("authorization_code")[0]["client_auth"], "client_secret_basic");
    let folder = daemon.restart();
    let daemon = Daemon::start_in(folder);
    server.forget_log();
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(whoami(&mut daemon.agent("preset"), "2")["client_id"], "preset");
    assert_eq!(
        server.grants("refresh_token")[0]["client_auth"],
        "client_secret_basic",
        "its secret is in the configuration"
    );
}

#[test]
fn a_client_that_the_authorization_server_has_forgotten_is_registered_anew() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    daemon.log_in("guarded");
    let mut agent = daemon.agent("guarded");
    let first = whoami(&mut agent, "1")["client_id"].clone();
    server.faults(&json!({ "forget_clients": true }));
    eventually("the refresh fails", || agent.call("2", "echo", "{}").contains("needs a login"));
    let error = error_of(&agent.call("3", "echo", "{}"));
    assert!(error.contains("invalid_client"), "{error}");
    daemon.log_in("guarded");
    assert_ne!(whoami(&mut agent, "4")["client_id"], first);
    // Also where the person sees it before the daemon does: the second try brings another client.
    server.faults(&json!({ "forget_clients": true, "ttl": 3600 }));
    let (page, _) = browse(&daemon.begin_login("guarded"));
    assert!(!page.contains("Logged in"), "{page}");
    daemon.log_in("guarded");
}

#[test]
fn all_servers_together_tell_of_a_server_when_it_is_logged_in() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut agent = daemon.agent_of_all();
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#).contains(r#""tools":[]"#));
    assert!(error_of(&agent.call("3", "guarded__whoami", "{}")).contains("trunkline login guarded"));
    daemon.log_in("guarded");
    agent.until(|line| line.contains("notifications/tools/list_changed"));
    assert!(text_of(&agent.call("4", "guarded__whoami", "{}")).contains("tester"));
    let greeted = daemon.attach("guarded").ask(&legacy("{}"));
    assert!(greeted.contains(r#""name":"guarded""#), "the server's own handshake now: {greeted}");
}
