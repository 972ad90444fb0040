//! From a server's challenge to the URL that a person opens: where to log in, as whom, for what (MCP 2026-07-28
//! `basic/authorization`). `rmcp` finds the metadata and makes the URL; what trunkline is stricter about is checked here.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Url;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, OAuthClientConfig, StateStore, StoredAuthorizationState,
};
use secrecy::SecretString;
use serde::Deserialize;

use crate::config::{Pkce, Resource};
use crate::credentials::{Client, Endpoints};
use crate::oauth::guard::Guard;
use crate::oauth::pinned::{Pinned, way_out};
use crate::oauth::target::Target;

/// What discovery found.
pub(super) struct Discovered {
    manager: AuthorizationManager,
    pub(super) metadata: AuthorizationMetadata,
    states: States,
    pub endpoints: Endpoints,
    /// The scopes that the challenge, or else the server's metadata, asks for.
    pub scopes: Vec<String>,
}

/// What a login was begun with, and is finished with.
pub(super) struct Begun {
    pub url: Url,
    pub state: String,
    pub verifier: SecretString,
    /// None if the entry has it so.
    pub resource: Option<String>,
    pub scopes: Vec<String>,
    pub issuer: String,
    /// Whether the authorization server says that its answers name it (RFC 9207).
    pub names_issuer: bool,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct DiscoveryError(pub String);

pub(super) fn wrong(text: impl Into<String>) -> DiscoveryError {
    DiscoveryError(text.into())
}

/// Where `rmcp` keeps what belongs to a login that was begun.
#[derive(Debug, Clone, Default)]
struct States(Arc<Mutex<Option<StoredAuthorizationState>>>);

#[async_trait]
impl StateStore for States {
    async fn save(&self, _csrf_token: &str, state: StoredAuthorizationState) -> Result<(), AuthError> {
        *self.0.lock() = Some(state);
        Ok(())
    }

    async fn load(&self, _csrf_token: &str) -> Result<Option<StoredAuthorizationState>, AuthError> {
        Ok(self.0.lock().clone())
    }

    async fn delete(&self, _csrf_token: &str) -> Result<(), AuthError> {
        self.0.lock().take();
        Ok(())
    }
}

impl Discovered {
    /// Finds the authorization server behind a server's challenge, or behind the server itself.
    pub(super) async fn find(target: &Target, guard: &Guard, challenge: Option<&str>) -> Result<Self, DiscoveryError> {
        let failed = |error: AuthError| wrong(explain(&error) + &way_out(&error));
        let pinned = Arc::new(Pinned::new(guard.clone(), target.url.clone(), target.oauth.clone()));
        // The query may hold a secret, which has no place in what others are told.
        let mut url = target.url.clone();
        url.set_query(None);
        let mut manager =
            AuthorizationManager::new_with_oauth_http_client(url, pinned.clone()).await.map_err(failed)?;
        let states = States::default();
        manager.set_state_store(states.clone());
        let found = manager.resolve_metadata_from_challenge(challenge).await.map_err(failed)?;
        let mut metadata = found.metadata;
        if let Some(named) = metadata.issuer.as_deref().and_then(|shown| pinned.named_by(shown)) {
            metadata.issuer = Some(named);
        }
        if target.oauth.pkce == Pkce::Assume {
            metadata.code_challenge_methods_supported = Some(vec!["S256".to_owned()]);
        }
        // Servers of 2025-03-26 without metadata have fixed endpoints, and say nothing of PKCE.
        if found.source.is_discovered() {
            let methods = metadata.code_challenge_methods_supported.as_deref().unwrap_or_default();
            let needed = target.oauth.grant.needs_person();
            if needed && !methods.iter().any(|method| method == "S256") {
                let issuer = metadata.issuer.as_deref().unwrap_or("the authorization server");
                return Err(wrong(format!(
                    "{issuer} does not say that it supports PKCE with S256 (code_challenge_methods_supported), without which a login can be stolen; if it does support it, say so with `oauth = {{ pkce = \"assume\" }}`: if it does not, whoever sees the redirect can take the login"
                )));
            }
        }
        let issuer = match &metadata.issuer {
            Some(issuer) => issuer.clone(),
            None => target.url.origin().ascii_serialization(),
        };
        let more = |name: &str| metadata.additional_fields.get(name);
        let revocation = more("revocation_endpoint").and_then(|value| value.as_str()).map(str::to_owned);
        let endpoints = Endpoints { issuer, token: metadata.token_endpoint.clone(), revocation };
        manager.set_metadata(metadata.clone());
        let scopes = manager.select_initial_scopes(&[]).await;
        Ok(Self { manager, metadata, states, endpoints, scopes })
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.metadata.additional_fields.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    fn offers_offline_access(&self) -> bool {
        self.metadata.scopes_supported.iter().flatten().any(|scope| scope == "offline_access")
    }

    /// The scopes to ask for: what the configuration says, and nothing else; else what was asked for before and what is asked for now.
    pub(super) fn scopes_for(&self, target: &Target, before: &[String], wanted: &[String]) -> Vec<String> {
        if !target.oauth.scopes.is_empty() {
            return target.oauth.scopes.clone();
        }
        let mut scopes = self.scopes.clone();
        for scope in before.iter().chain(wanted) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        if !scopes.is_empty() && self.offers_offline_access() && !scopes.iter().any(|scope| scope == "offline_access") {
            scopes.push("offline_access".to_owned());
        }
        scopes
    }

    /// The scopes for a client's own login, which has nothing to refresh.
    pub(super) fn client_scopes(&self, target: &Target, wanted: &[String]) -> Vec<String> {
        let mut scopes = self.scopes_for(target, &[], wanted);
        scopes.retain(|scope| scope != "offline_access");
        scopes
    }

    /// Makes the URL that a person opens.
    pub(super) async fn begin(
        mut self,
        target: &Target,
        client: &Client,
        redirect_uri: &str,
        scopes: Vec<String>,
    ) -> Result<Begun, DiscoveryError> {
        if let Some(name) = own_parameter(&self.metadata.authorization_endpoint) {
            let issuer = &self.endpoints.issuer;
            return Err(wrong(format!(
                "the authorization endpoint that {issuer} names brings a `{name}` of its own: the answer could go elsewhere"
            )));
        }
        let failed = |error: AuthError| wrong(explain(&error));
        let config = OAuthClientConfig::new(client.id.clone(), redirect_uri).with_scopes(scopes.clone());
        self.manager.configure_client(config).map_err(failed)?;
        let wanted: Vec<_> = scopes.iter().map(String::as_str).collect();
        let text = self.manager.get_authorization_url(&wanted).await.map_err(failed)?;
        let mut url: Url = text
            .parse()
            .map_err(|_| wrong(format!("{} names no usable authorization endpoint", self.endpoints.issuer)))?;
        let parameter =
            |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let (Some(state), Some(resource)) = (parameter("state"), parameter("resource")) else {
            return Err(wrong("the authorization URL has no `state` and `resource`"));
        };
        let resource = match &target.oauth.resource {
            None => Some(resource),
            Some(settled) => {
                let named = match settled {
                    Resource::None => None,
                    Resource::Named(name) => Some(name.clone()),
                };
                let others = url.query_pairs().into_owned().filter(|(key, _)| key != "resource");
                let own = named.clone().map(|name| ("resource".to_owned(), name));
                let all: Vec<_> = others.chain(own).collect();
                url.query_pairs_mut().clear().extend_pairs(all);
                named
            }
        };
        let kept = self.states.0.lock().take().ok_or_else(|| wrong("the login was not begun"))?;
        Ok(Begun {
            state,
            resource,
            verifier: kept.pkce_verifier.into(),
            scopes,
            issuer: self.endpoints.issuer.clone(),
            names_issuer: self.flag("authorization_response_iss_parameter_supported"),
            url,
        })
    }

    /// What the server is called in a request for a token, where no person opens a URL.
    pub(super) async fn resource(self, target: &Target, client: &Client) -> Result<Option<String>, DiscoveryError> {
        Ok(self.begin(target, client, "http://127.0.0.1/", Vec::new()).await?.resource)
    }
}

/// The first parameter in the query of an authorization endpoint that is not its to set, in whatever case: which of two counts,
/// servers do not agree on (RFC 6749 section 3.1).
fn own_parameter(endpoint: &str) -> Option<&'static str> {
    const OURS: [&str; 11] = [
        "response_type",
        "response_mode",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "request",
        "request_uri",
    ];
    let url: Url = endpoint.parse().ok()?;
    OURS.into_iter().find(|ours| url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case(ours)))
}

/// The words of an error answer (RFC 7591 section 3.2.2).
pub(super) fn oauth_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
        error_description: Option<String>,
    }
    let Body { error, error_description } = serde_json::from_slice(body).ok()?;
    Some(error_description.map(|more| format!("{error} ({more})")).unwrap_or(error))
}

/// An error of `rmcp` with what lies behind it.
fn explain(error: &AuthError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::own_parameter;

    #[test]
    fn an_authorization_endpoint_brings_no_parameter_of_ours() {
        for (endpoint, found) in [
            ("https://as.example/authorize", None),
            ("https://as.example/authorize?tenant=a&p=b2c_1", None),
            ("https://as.example/authorize?state=fixed", Some("state")),
            ("https://as.example/authorize?a=1&Redirect_URI=https://evil.example", Some("redirect_uri")),
            ("https://as.example/authorize?%73tate=fixed", Some("state")),
            ("https://as.example/authorize?request_uri=urn:x", Some("request_uri")),
        ] {
            assert_eq!(own_parameter(endpoint), found, "{endpoint}");
        }
    }
}
