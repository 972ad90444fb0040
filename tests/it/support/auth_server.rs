//! A real authorization server and an MCP server that it guards (`tests/peers/auth-server.mjs`), and a browser.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Daemon, http, peers};

pub(crate) struct AuthServer {
    child: Child,
    pub issuer: String,
    pub mcp: String,
    control: String,
}

impl AuthServer {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("node");
        command
            .arg(peers::script("auth-server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("node starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let places: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| places[name].as_str().expect("a URL").to_owned();
        Self { issuer: text("issuer"), mcp: text("mcp"), control: text("control"), child }
    }

    /// The server as a table of the configuration.
    pub(crate) fn entry(&self, name: &str, more: &str) -> String {
        format!("[servers.{name}]\nurl = {:?}\n{more}\n", self.mcp)
    }

    pub(crate) fn faults(&self, faults: &Value) {
        let answer = http::request("POST", &format!("{}/faults", self.control), &[], &faults.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn get(&self, what: &str) -> Value {
        let answer = http::request("GET", &format!("{}/{what}", self.control), &[], "");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The requests to the authorization server (`as`) or to the MCP server (`mcp`).
    pub(crate) fn log(&self, whose: &str) -> Vec<Value> {
        self.get("log")[whose].as_array().expect("a list").clone()
    }

    /// The requests to the token endpoint with this grant.
    pub(crate) fn grants(&self, grant: &str) -> Vec<Value> {
        self.log("as").into_iter().filter(|entry| entry["grant_type"] == grant).collect()
    }

    pub(crate) fn forget_log(&self) {
        http::request("DELETE", &format!("{}/log", self.control), &[], "");
    }

    pub(crate) fn refresh_tokens(&self) -> u64 {
        self.get("stats")["refresh_tokens"].as_u64().expect("a number")
    }

    /// Every token that was given out.
    pub(crate) fn issued(&self) -> Vec<String> {
        serde_json::from_value(self.get("issued")).expect("strings")
    }
}

/// A verifier and its challenge (RFC 7636 appendix B).
const PKCE: (&str, &str) =
    ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");

impl AuthServer {
    /// The answer of the token endpoint to a login that another program makes, and that program's client id.
    pub(crate) fn login_of_another(&self) -> (String, Value) {
        let redirect = "http://127.0.0.1:9/callback";
        let client = json!({ "redirect_uris": [redirect], "token_endpoint_auth_method": "none", "application_type": "native", "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"] });
        let json = [("Content-Type", "application/json")];
        let registered = http::request("POST", &format!("{}/reg", self.issuer), &json, &client.to_string());
        let registered: Value = serde_json::from_str(&registered.body).expect("JSON");
        let id = registered["client_id"].as_str().unwrap_or_else(|| panic!("{registered}")).to_owned();
        let (verifier, challenge) = PKCE;
        let resource = self.mcp.replace(':', "%3A").replace('/', "%2F");
        let end = redirect_of(&format!(
            "{}/auth?client_id={id}&response_type=code&redirect_uri={redirect}&scope=mcp%20offline_access&prompt=consent&resource={resource}&code_challenge={challenge}&code_challenge_method=S256",
            self.issuer
        ));
        let code = end.split(['?', '&']).find_map(|part| part.strip_prefix("code=")).unwrap_or_else(|| panic!("{end}"));
        let form = format!(
            "grant_type=authorization_code&client_id={id}&code={code}&redirect_uri={redirect}&code_verifier={verifier}&resource={resource}"
        );
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        let granted = http::request("POST", &format!("{}/token", self.issuer), &kind, &form);
        (id, serde_json::from_str(&granted.body).unwrap_or_else(|error| panic!("{error}: {}", granted.body)))
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Opens a page as a browser would, and follows it to its end; `jar` keeps its cookies.
pub(crate) fn browse(url: &str) -> (String, String) {
    let output = Command::new("curl").args(["-sL", "-b", "", "-w", "\n%{url_effective}", url]).output();
    let output = output.expect("curl starts: install it (Debian: sudo apt-get install curl)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (page, end) = text.rsplit_once('\n').expect("where it ended");
    (page.to_owned(), end.to_owned())
}

/// Follows a page up to the redirect that leads back to the program, and returns that.
pub(crate) fn redirect_of(url: &str) -> String {
    let mut jar = String::new();
    let mut at = url.to_owned();
    loop {
        let answer = http::request("GET", &at, &[("Cookie", &jar)], "");
        let next =
            answer.header("location").unwrap_or_else(|| panic!("no redirect from {at}: {}", answer.body)).to_owned();
        for line in answer.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("set-cookie:")) {
            let cookie = line.split_once(':').expect("a value").1.split(';').next().unwrap_or_default().trim();
            jar = format!("{jar}{}{cookie}", if jar.is_empty() { "" } else { "; " });
        }
        if next.contains("code=") || next.contains("error=") {
            return next;
        }
        at = if next.starts_with("http") {
            next
        } else {
            let origin: Vec<_> = at.splitn(4, '/').take(3).collect();
            format!("{}{next}", origin.join("/"))
        };
    }
}

impl Daemon {
    /// A login, begun by the control call: the URL to open.
    pub(crate) fn begin_login(&self, server: &str) -> String {
        let mut script = super::Agent::socket(&self.socket());
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "daemon.login", "params": { "server": server } });
        let answer: Value = serde_json::from_str(&script.ask(&call.to_string())).expect("JSON");
        answer["result"]["url"].as_str().unwrap_or_else(|| panic!("no login: {answer}")).to_owned()
    }

    /// A whole login, by a browser that reaches the daemon.
    pub(crate) fn log_in(&self, server: &str) {
        let (page, _) = browse(&self.begin_login(server));
        assert!(page.contains("Logged in"), "{page}");
    }

    /// What `status` says of the login at a server.
    pub(crate) fn login_state(&self, server: &str) -> Value {
        let status = self.status();
        let logins = status["credentials"]["logins"].as_array().expect("a list").clone();
        logins.into_iter().find(|login| login["server"] == server).unwrap_or_default()
    }
}
