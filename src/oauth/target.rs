//! For which server, and as whom, a login is.

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{BadTemplate, Given, Http, OAuth};
use crate::credentials::{Client, ClientAuth, CredentialId, Origin};
use crate::names::ServerName;

/// A server's entry, as far as its login goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub id: CredentialId,
    /// One of the entries with this login.
    pub server: ServerName,
    pub url: Url,
    pub oauth: OAuth,
    client_secret: Option<SecretString>,
    private_key: Option<SecretString>,
}

impl Target {
    pub(super) fn new(server: &ServerName, url: &Url, http: &Http, given: Given<'_>) -> Result<Self, BadTemplate> {
        let expand = |template: &Option<crate::config::Template>| {
            template.as_ref().map(|template| template.expand(given).map(SecretString::from)).transpose()
        };
        Ok(Self {
            id: CredentialId { url: url.to_string(), account: http.account.clone() },
            server: server.clone(),
            url: url.clone(),
            client_secret: expand(&http.oauth.client_secret)?,
            private_key: expand(&http.oauth.private_key)?,
            oauth: http.oauth.clone(),
        })
    }

    /// The client that the configuration names, if it names one. How it shows its secret is the authorization server's to
    /// say.
    pub(super) fn configured_client(&self) -> Option<Client> {
        let id = self.oauth.client_id.clone()?;
        let (secret, auth) = match (&self.private_key, &self.client_secret) {
            (Some(key), _) => (Some(key.clone()), ClientAuth::PrivateKey(self.oauth.algorithm.name().to_owned())),
            (None, Some(secret)) => (Some(secret.clone()), ClientAuth::Basic),
            (None, None) => (None, ClientAuth::None),
        };
        Some(Client { id, secret, auth, origin: Origin::Configured })
    }

    /// Whether another entry's login is made in the same way.
    pub(super) fn logs_in_like(&self, other: &Self) -> bool {
        let same = |one: &Option<SecretString>, two: &Option<SecretString>| {
            one.as_ref().map(ExposeSecret::expose_secret) == two.as_ref().map(ExposeSecret::expose_secret)
        };
        self.oauth == other.oauth
            && same(&self.client_secret, &other.client_secret)
            && same(&self.private_key, &other.private_key)
    }
}
