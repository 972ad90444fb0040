//! Getting the next token, from the look at the records to the saving: a refresh, or a client's own login.
//!
//! The records are looked at before and, where the refresh token is refused, after: another process may have been faster.
//! The new token is saved before anybody sees it, and only in the place of the one that it follows.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::discovery::Discovered;
use super::guard::Guard;
use super::state::wall;
use super::target::Target;
use super::token::{self, Granted, TokenError};
use crate::credentials::{ClientAuth, Credential, CredentialId, Tokens, Vault, VaultError};

/// What came of it.
#[derive(Debug)]
pub(super) enum Renewed {
    /// A new token, which is on the disk, or could not be put there for this reason.
    New { credential: Credential, unsaved: Option<String> },
    /// The records have a newer one.
    Adopted(Credential),
    /// The login was ended, or made anew, meanwhile; what came of the refresh is of no use.
    Superseded(Option<Credential>),
    /// The authorization server ended the login; `client_gone` says that it does not even know the client.
    Refused { reason: String, client_gone: bool },
    /// It may work later.
    Failed { reason: String, after: Option<Duration> },
}

/// What is to be renewed.
pub(super) struct Renewal {
    pub target: Arc<Target>,
    pub vault: Vault,
    pub guard: Guard,
    /// The login at hand.
    pub credential: Option<Credential>,
    /// The generation that stands in the records.
    pub saved: Option<u64>,
    pub challenge: Option<String>,
    /// Scopes that the server asked for on top.
    pub wanted: Vec<String>,
}

impl Renewal {
    pub(super) async fn run(self) -> Renewed {
        if self.target.is_client_credentials() {
            return self.log_in_as_client().await;
        }
        match &self.credential {
            Some(credential) => self.refresh(credential).await,
            None => Renewed::Refused { reason: "nobody has logged in yet".to_owned(), client_gone: false },
        }
    }

    async fn refresh(&self, credential: &Credential) -> Renewed {
        match self.newer().await {
            Ok(Found::Newer(newer)) => return Renewed::Adopted(*newer),
            Ok(Found::Same) => {}
            Ok(Found::Gone) => return Renewed::Superseded(None),
            // It cannot be read now; the login at hand is the one that was read last.
            Err(error) => tracing::warn!(%error, "records not looked at before a refresh"),
        }
        let Some(refresh) = &credential.tokens.refresh else {
            let reason = "the token has ended, and there is none to refresh it with".to_owned();
            return Renewed::Refused { reason, client_gone: false };
        };
        let parameters = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose_secret()),
            ("resource", credential.resource.as_str()),
        ];
        let granted = token::request(&self.guard, &credential.endpoints, &credential.client, &parameters).await;
        match granted {
            Ok(granted) => {
                let tokens = next_tokens(granted, &credential.tokens);
                self.save(Credential { tokens, ..credential.clone() }).await
            }
            Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
            Err(error @ TokenError::Refused { .. }) => match self.newer().await {
                Ok(Found::Newer(newer)) => Renewed::Adopted(*newer),
                Ok(Found::Gone) => Renewed::Superseded(None),
                Ok(Found::Same) | Err(_) => refused(&error),
            },
        }
    }

    /// The client's own login (OAuth 2.1 section 4.2, with RFC 7523 where it signs).
    async fn log_in_as_client(&self) -> Renewed {
        let failed = |reason: String| Renewed::Failed { reason, after: None };
        let discovered = match Discovered::find(&self.target, &self.guard, self.challenge.as_deref()).await {
            Ok(discovered) => discovered,
            Err(error) => return failed(error.to_string()),
        };
        let scopes = discovered.client_scopes(&self.target, &self.wanted);
        let auth = discovered.auth(None, true);
        let Some(client) = self.target.configured_client(auth) else {
            return failed("`oauth` names no `client_id`".to_owned());
        };
        let endpoints = discovered.endpoints.clone();
        let resource = match discovered.resource(&client).await {
            Ok(resource) => resource,
            Err(error) => return failed(error.to_string()),
        };
        let joined = scopes.join(" ");
        let mut parameters = vec![("grant_type", "client_credentials"), ("resource", resource.as_str())];
        if !scopes.is_empty() {
            parameters.push(("scope", &joined));
        }
        match token::request(&self.guard, &endpoints, &client, &parameters).await {
            Ok(granted) => {
                let none = Tokens { access: "".into(), refresh: None, expires_at: None, generation: self.generation() };
                let tokens = next_tokens(granted, &none);
                let (id, redirect_uri) = (self.target.id.clone(), None);
                self.save(Credential { id, resource, endpoints, client, redirect_uri, scopes, tokens }).await
            }
            Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
            Err(error @ TokenError::Refused { .. }) => failed(error.to_string()),
        }
    }

    fn generation(&self) -> u64 {
        self.credential.as_ref().map_or(0, |credential| credential.tokens.generation)
    }

    /// What the records have.
    async fn newer(&self) -> Result<Found, VaultError> {
        let id = self.target.id.clone();
        let found = self.vault.read(move |records| records.find(&id).cloned()).await?;
        Ok(match found {
            Some(found) if found.tokens.generation > self.generation() => Found::Newer(Box::new(found)),
            Some(_) => Found::Same,
            // One that was never saved is no less valid.
            None if self.saved.is_none() => Found::Same,
            None => Found::Gone,
        })
    }

    async fn save(&self, credential: Credential) -> Renewed {
        match save(&self.vault, credential.clone(), self.saved).await {
            Ok(true) => Renewed::New { credential, unsaved: None },
            Ok(false) => Renewed::Superseded(Some(credential)),
            Err(error) => Renewed::New { credential, unsaved: Some(error.to_string()) },
        }
    }
}

enum Found {
    Newer(Box<Credential>),
    Same,
    Gone,
}

/// Puts a login into the records in the place of the generation `after`; tells whether that was still there.
pub(super) async fn save(vault: &Vault, credential: Credential, after: Option<u64>) -> Result<bool, VaultError> {
    let put = move |records: &mut crate::credentials::Records| {
        let found = records.find(&credential.id).map(|found| found.tokens.generation);
        let follows = found == after;
        if follows {
            records.put(credential.for_the_records());
        }
        follows
    };
    vault.update(put).await
}

/// A login as it is when it was read: what the configuration has is not in the records.
pub(super) async fn load(vault: &Vault, target: &Target) -> Result<Option<Credential>, VaultError> {
    let id: CredentialId = target.id.clone();
    let found = vault.read(move |records| records.find(&id).cloned()).await?;
    Ok(found.and_then(|credential| credential.completed(target.configured_client(ClientAuth::Basic))))
}

/// The tokens of an answer. One without a refresh token leaves the last one in force (RFC 6749 section 6).
pub(super) fn next_tokens(granted: Granted, before: &Tokens) -> Tokens {
    Tokens {
        access: granted.access,
        refresh: granted.refresh.or_else(|| before.refresh.clone()),
        expires_at: granted.expires_in.map(|seconds| wall().saturating_add(seconds)),
        generation: before.generation + 1,
    }
}

fn refused(error: &TokenError) -> Renewed {
    let client_gone =
        matches!(error, TokenError::Refused { code, .. } if code == "invalid_client" || code == "unauthorized_client");
    Renewed::Refused { reason: error.to_string(), client_gone }
}
