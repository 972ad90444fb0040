//! What a server's entry settles of its login, where its metadata breaks the rules: `oauth = { issuer = …, pkce = …,
//! resource = … }`. `rmcp` is shown the metadata as the entry has it; what each gives up stands in docs/guide/log-in.md.

use parking_lot::Mutex;
use reqwest::{Request, StatusCode, Url};
use rmcp::transport::auth::{AuthError, OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use serde_json::Value;

use crate::config::{OAuth, Resource};
use crate::oauth::guard::Guard;

/// Where authorization servers publish their metadata (RFC 8414, OpenID Connect Discovery).
const WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// Where servers publish theirs (RFC 9728).
const OF_RESOURCES: &str = "/.well-known/oauth-protected-resource";

/// The client that `rmcp` discovers with, for a server whose entry settles something.
pub(super) struct Pinned {
    guard: Guard,
    server: Url,
    oauth: OAuth,
    /// The authorization servers that the server names, word for word.
    named: Mutex<Vec<String>>,
    /// The issuers that `rmcp` was shown, and those that the documents name.
    shown: Mutex<Vec<(String, String)>>,
}

impl Pinned {
    pub(super) fn new(guard: Guard, server: Url, oauth: OAuth) -> Self {
        Self { guard, server, oauth, named: Mutex::default(), shown: Mutex::default() }
    }

    /// The issuer that metadata names, of which `rmcp` was shown this.
    pub(super) fn named_by(&self, shown: &str) -> Option<String> {
        let all = self.shown.lock();
        all.iter().find(|(known, _)| known == shown).map(|(_, named)| named.clone())
    }

    /// A document as the entry has it; nothing where it is as it should be.
    fn settled(&self, url: &Url, body: &[u8]) -> Option<Vec<u8>> {
        let mut document: Value = serde_json::from_slice(body).ok()?;
        let members = document.as_object_mut()?;
        if WELL_KNOWN.iter().any(|part| url.path().contains(part)) {
            let (issuer, expected) = (members.get("issuer")?.as_str()?.to_owned(), self.expected(url));
            if !(self.oauth.issuer.as_ref() == Some(&issuer) || self.is_the_origins(&issuer, url, &expected)) {
                return None;
            }
            members.insert("issuer".to_owned(), expected.clone().into());
            self.shown.lock().push((expected, issuer));
        } else if members.contains_key("authorization_servers") || members.contains_key("authorization_server") {
            let all = members.get("authorization_servers").and_then(Value::as_array).into_iter().flatten();
            self.named.lock().extend(all.filter_map(Value::as_str).map(str::to_owned));
            let replaces = match &self.oauth.resource {
                Some(Resource::None) => true,
                Some(Resource::Named(name)) => members.get("resource").is_none_or(|is| is == name.as_str()),
                None => false,
            };
            if !replaces {
                return None;
            }
            members.insert("resource".to_owned(), self.server.as_str().into());
        } else {
            return None;
        }
        serde_json::to_vec(&document).ok()
    }

    /// Whether metadata that was looked for by the server's own path is that of its whole origin, where the server names no
    /// authorization server (2025-03-26 `basic/authorization`, "Authorization Base URL"): many answer so at any path.
    fn is_the_origins(&self, issuer: &str, url: &Url, expected: &str) -> bool {
        let bare = issuer.trim_end_matches('/');
        self.named.lock().is_empty() && bare == url.origin().ascii_serialization() && bare != expected
    }

    /// The issuer that metadata at this place is to name (RFC 8414 section 3).
    fn expected(&self, url: &Url) -> String {
        let path = WELL_KNOWN.iter().fold(url.path().to_owned(), |path, part| path.replacen(part, "", 1));
        let mut issuer = url.clone();
        issuer.set_query(None);
        issuer.set_path(&path);
        let bare = issuer.as_str().trim_end_matches('/');
        let named = self.named.lock();
        named.iter().find(|named| named.trim_end_matches('/') == bare).cloned().unwrap_or_else(|| bare.to_owned())
    }
}

impl OAuthHttpClient for Pinned {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let request = Request::try_from(request.request)?;
            let url = request.url().clone();
            let answer = self.guard.send(request).await?;
            let settled = if answer.status.is_success() { self.settled(&url, &answer.body) } else { None };
            let mut response = http::Response::new(settled.unwrap_or(answer.body));
            // A server that cannot say which authorization server is its own has its origin's, as one that says nothing.
            let no_document = answer.status.is_server_error() && url.path().contains(OF_RESOURCES);
            *response.status_mut() = if no_document { StatusCode::NOT_FOUND } else { answer.status };
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// The key of the entry that lets pass what was refused, and what that gives up; empty where there is none.
#[expect(clippy::wildcard_enum_match_arm, reason = "rmcp's enum is open, and nothing helps with the rest")]
pub(super) fn way_out(error: &AuthError) -> String {
    match error {
        AuthError::AuthorizationServerMismatch { received_issuer, .. } => format!(
            "; if {received_issuer} is where this server's logins are made, say so with `oauth = {{ issuer = \"{received_issuer}\" }}`: then nothing checks any more that its metadata is its own"
        ),
        AuthError::ProtectedResourceMetadataInvalid { .. } => {
            "; `oauth = { resource = \"none\" }` logs in without naming the resource: then the token may be good for other servers too, and this one could use it there".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn metadata_is_what_the_entry_says() {
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        let server = url("http://127.0.0.1:1/mcp");
        let guard = Guard::new(&server).await.expect("a client");
        let oauth =
            OAuth { issuer: Some("https://as.test".to_owned()), resource: Some(Resource::None), ..OAuth::default() };
        let pinned = Pinned::new(guard, server, oauth);
        let settled = |at: &str, body: &str| {
            pinned.settled(&url(at), body.as_bytes()).map(|body| String::from_utf8(body).expect("text"))
        };
        let listed = settled("https://x/prm", r#"{"authorization_servers":["https://as.test/t1/"]}"#);
        assert_eq!(
            listed.as_deref(),
            Some(r#"{"authorization_servers":["https://as.test/t1/"],"resource":"http://127.0.0.1:1/mcp"}"#)
        );
        for (at, issuer) in [
            ("https://as.test/.well-known/oauth-authorization-server/t1", "https://as.test/t1/"),
            ("https://as.test/t2/.well-known/openid-configuration", "https://as.test/t2"),
            ("https://as.test/.well-known/openid-configuration", "https://as.test"),
        ] {
            assert_eq!(
                settled(at, r#"{"issuer":"https://as.test"}"#),
                Some(format!(r#"{{"issuer":"{issuer}"}}"#)),
                "{at}"
            );
        }
        assert_eq!(settled("https://as.test/.well-known/openid-configuration", r#"{"issuer":"https://evil"}"#), None);
        assert_eq!(settled("https://as.test/other", r#"{"issuer":"https://as.test"}"#), None);
    }
}
