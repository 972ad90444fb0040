//! What is kept of a login: all that it takes to refresh it without asking anybody where.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// Whose login at which server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CredentialId {
    /// The MCP endpoint.
    pub url: String,
    pub account: String,
}

/// One login.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    pub id: CredentialId,
    /// What the server is called in requests for tokens (RFC 8707).
    pub resource: String,
    pub endpoints: Endpoints,
    pub client: Client,
    pub redirect_uri: Option<String>,
    /// Every scope that was asked for.
    pub scopes: Vec<String>,
    pub tokens: Tokens,
}

/// Where an authorization server does what, from its metadata (RFC 8414).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    pub issuer: String,
    pub token: String,
    pub revocation: Option<String>,
}

/// What trunkline is to an authorization server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Client {
    pub id: String,
    /// A secret, or the key in PEM that signs in its place.
    #[serde(serialize_with = "exposed_option", default)]
    pub secret: Option<SecretString>,
    pub auth: ClientAuth,
    pub origin: Origin,
}

/// How a client shows the token endpoint who it is (OAuth 2.1 section 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    None,
    Basic,
    Post,
    /// A signature of this algorithm (RFC 7518).
    PrivateKey(String),
}

/// Where a client's id is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration, which also has the secret.
    Configured,
    /// The URL of a metadata document.
    Document,
    /// The authorization server registered it.
    Registered,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(serialize_with = "exposed")]
    pub access: SecretString,
    #[serde(serialize_with = "exposed_option", default)]
    pub refresh: Option<SecretString>,
    /// Seconds since 1970.
    pub expires_at: Option<u64>,
    /// Counts the tokens of a login.
    pub generation: u64,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Records {
    pub credentials: Vec<Credential>,
    #[serde(serialize_with = "exposed_map")]
    pub secrets: BTreeMap<String, SecretString>,
}

impl Credential {
    /// Without what the configuration has.
    pub fn for_the_records(&self) -> Self {
        let mut credential = self.clone();
        if credential.client.origin == Origin::Configured {
            credential.client.secret = None;
        }
        credential
    }

    /// With what the configuration has; nothing where it names another client by now.
    pub fn completed(mut self, configured: Option<Client>) -> Option<Self> {
        match (self.client.origin, configured) {
            (Origin::Configured, Some(client)) if client.id == self.client.id => {
                let shows_secret = |auth: &ClientAuth| matches!(auth, ClientAuth::Basic | ClientAuth::Post);
                // Which way of showing a secret the authorization server takes was found out at the login.
                if !(shows_secret(&client.auth) && shows_secret(&self.client.auth)) {
                    self.client.auth = client.auth;
                }
                self.client.secret = client.secret;
                Some(self)
            }
            (Origin::Configured, _) | (Origin::Document | Origin::Registered, Some(_)) => None,
            (Origin::Document | Origin::Registered, None) => Some(self),
        }
    }
}

impl Tokens {
    /// Before the first ones.
    pub fn none() -> Self {
        Self { access: String::new().into(), refresh: None, expires_at: None, generation: 0 }
    }
}

impl Records {
    pub fn find(&self, id: &CredentialId) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.id == *id)
    }

    /// Puts a login in the place of the one that it follows.
    pub fn put(&mut self, credential: Credential) {
        self.remove(&credential.id);
        self.credentials.push(credential);
    }

    pub fn remove(&mut self, id: &CredentialId) {
        self.credentials.retain(|credential| credential.id != *id);
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn exposed_option<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
}

fn exposed_map<S: Serializer>(secrets: &BTreeMap<String, SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose_secret())))
}
