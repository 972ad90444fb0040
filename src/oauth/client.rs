//! As whom to log in: which client is used at an authorization server, and how one is registered there (RFC 7591).

use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::credentials::{Client, ClientAuth, Credential, Origin};
use crate::oauth::discovery::{Discovered, DiscoveryError, oauth_error, wrong};
use crate::oauth::guard::Guard;
use crate::oauth::target::Target;

/// What an authorization server is told that trunkline is called.
const CLIENT_NAME: &str = "trunkline";

impl Discovered {
    /// As whom to log in: the configured client, else a metadata document, else the client of an earlier login that still
    /// holds, else one that is registered now (RFC 7591).
    pub(super) async fn client(
        &self,
        target: &Target,
        guard: &Guard,
        redirect_uri: &str,
        earlier: Option<&Credential>,
    ) -> Result<Client, DiscoveryError> {
        if let Some(client) = self.configured_client(target) {
            return Ok(client);
        }
        if let Some(document) = &target.oauth.client_metadata_url
            && self.flag("client_id_metadata_document_supported")
        {
            return Ok(Client { id: document.clone(), secret: None, auth: ClientAuth::None, origin: Origin::Document });
        }
        let same = earlier.filter(|earlier| {
            earlier.client.origin == Origin::Registered
                && earlier.endpoints.issuer == self.endpoints.issuer
                && earlier.redirect_uri.as_deref() == Some(redirect_uri)
        });
        match same {
            Some(earlier) => Ok(earlier.client.clone()),
            None => self.register(guard, redirect_uri).await,
        }
    }

    /// What else a redirect to this machine can be called, where its address is refused.
    pub(super) fn as_localhost(redirect_uri: &str) -> String {
        redirect_uri.replacen("://127.0.0.1:", "://localhost:", 1)
    }

    /// The client that the configuration names, which shows its secret in the way that is taken here.
    pub(super) fn configured_client(&self, target: &Target) -> Option<Client> {
        let client = target.configured_client()?;
        let auth = match client.auth {
            ClientAuth::Basic | ClientAuth::Post => self.auth(None, client.secret.is_some()),
            ClientAuth::None | ClientAuth::PrivateKey(_) => client.auth,
        };
        Some(Client { auth, ..client })
    }

    /// How a client shows who it is, as far as the authorization server says; `said` is what it said at the registration.
    fn auth(&self, said: Option<&str>, has_secret: bool) -> ClientAuth {
        let supported = self.metadata.additional_fields.get("token_endpoint_auth_methods_supported");
        let supported: Vec<_> = supported.and_then(|value| value.as_array()).into_iter().flatten().collect();
        let offers = |method: &str| supported.iter().any(|known| known.as_str() == Some(method));
        match said {
            _ if !has_secret => ClientAuth::None,
            Some("client_secret_post") => ClientAuth::Post,
            Some("client_secret_basic") => ClientAuth::Basic,
            Some("none") => ClientAuth::None,
            _ if supported.is_empty() || offers("client_secret_basic") => ClientAuth::Basic,
            _ if offers("client_secret_post") => ClientAuth::Post,
            _ if offers("none") => ClientAuth::None,
            _ => ClientAuth::Basic,
        }
    }

    async fn register(&self, guard: &Guard, redirect_uri: &str) -> Result<Client, DiscoveryError> {
        #[derive(Serialize)]
        struct Request<'a> {
            client_name: &'a str,
            redirect_uris: [&'a str; 1],
            grant_types: [&'a str; 2],
            response_types: [&'a str; 1],
            token_endpoint_auth_method: &'a str,
            application_type: &'a str,
        }
        #[derive(Deserialize)]
        struct Registered {
            client_id: String,
            client_secret: Option<SecretString>,
            token_endpoint_auth_method: Option<String>,
        }
        let issuer = &self.endpoints.issuer;
        let Some(endpoint) = &self.metadata.registration_endpoint else {
            return Err(wrong(format!(
                "{issuer} registers no clients by itself: ask its owner for a client id, and name it in `oauth = {{ client_id = … }}`"
            )));
        };
        let method = match self.auth(None, true) {
            // A program on somebody's machine keeps no secret from that person: none is asked for where that will do.
            ClientAuth::Basic if !self.requires_secret() => "none",
            ClientAuth::Basic => "client_secret_basic",
            ClientAuth::Post => "client_secret_post",
            ClientAuth::None | ClientAuth::PrivateKey(_) => "none",
        };
        let request = Request {
            client_name: CLIENT_NAME,
            redirect_uris: [redirect_uri],
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            token_endpoint_auth_method: method,
            application_type: "native",
        };
        let refused = |reason: String| wrong(format!("{issuer} did not register a client: {reason}"));
        let url: Url = endpoint.parse().map_err(|_| refused(format!("`{endpoint}` is no URL")))?;
        let body = serde_json::to_vec(&request).map_err(|error| refused(error.to_string()))?;
        let request = guard.post(&url).header(CONTENT_TYPE, "application/json").body(body).build();
        let request = request.map_err(|error| refused(error.to_string()))?;
        let answer = guard.send(request).await.map_err(|error| refused(error.to_string()))?;
        if !answer.status.is_success() {
            return Err(refused(oauth_error(&answer.body).unwrap_or_else(|| format!("HTTP {}", answer.status))));
        }
        let registered: Registered =
            serde_json::from_slice(&answer.body).map_err(|_| refused("its answer names no client".to_owned()))?;
        let said = registered.token_endpoint_auth_method.as_deref();
        let auth = self.auth(said, registered.client_secret.is_some());
        Ok(Client { id: registered.client_id, secret: registered.client_secret, auth, origin: Origin::Registered })
    }

    /// Whether the metadata names ways to show a secret only.
    fn requires_secret(&self) -> bool {
        let supported = self.metadata.additional_fields.get("token_endpoint_auth_methods_supported");
        supported.and_then(|value| value.as_array()).is_some_and(|all| !all.iter().any(|method| method == "none"))
    }
}
