//! Getting the next token, from the look at the records to the saving: a refresh, or a client's own login.
//!
//! The records are looked at before and, where the refresh token is refused, after: another process may have been faster.
//! The new token is saved before anybody sees it, unless the login was ended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credential, Records, Tokens, Vault, VaultError};
use crate::oauth::discovery::Discovered;
use crate::oauth::guard::{Guard, Guards};
use crate::oauth::target::Target;
use crate::oauth::token;
use crate::oauth::token::{Granted, TokenError};
use crate::oauth::wall_clock::wall;

/// What came of it.
#[derive(Debug)]
pub(super) enum Renewed {
    /// A new token, which is on the disk, or could not be put there for this reason.
    New { credential: Credential, unsaved: Option<String> },
    /// The records have a newer one.
    Adopted(Credential),
    /// The login was ended, or made anew, meanwhile; what came of the refresh, if anything did, is not saved.
    Ended(Option<Credential>),
    /// The authorization server ended the login; `client_gone` says that it does not even know the client.
    Refused { reason: String, client_gone: bool },
    /// It may work later.
    Failed { reason: String, after: Option<Duration> },
}

/// What is to be renewed.
pub(super) struct Renewal {
    pub target: Arc<Target>,
    pub vault: Vault,
    pub guards: Guards,
    /// The login at hand.
    pub credential: Option<Credential>,
    /// The number of the next token.
    pub generation: u64,
    /// Cancelled when the login is ended, or made anew.
    pub ended: CancellationToken,
    pub challenge: Option<String>,
    /// Scopes that the server asked for on top.
    pub wanted: Vec<String>,
}

impl Renewal {
    pub(super) async fn run(self) -> Renewed {
        let guard = match self.guards.get(&self.target.url).await {
            Ok(guard) => guard,
            Err(error) => return Renewed::Failed { reason: error.to_string(), after: None },
        };
        match &self.credential {
            _ if self.target.is_client_credentials() => self.log_in_as_client(&guard).await,
            Some(credential) => self.refresh(&guard, credential).await,
            None => Renewed::Refused { reason: "nobody has logged in yet".to_owned(), client_gone: false },
        }
    }

    async fn refresh(&self, guard: &Guard, credential: &Credential) -> Renewed {
        match self.newer().await {
            Ok(Some(newer)) => return Renewed::Adopted(newer),
            Ok(None) => {}
            // The login at hand is the one that was read last.
            Err(error) => tracing::warn!(%error, "records not looked at before a refresh"),
        }
        let Some(refresh) = &credential.tokens.refresh else {
            let reason = "the token has ended, and there is none to refresh it with".to_owned();
            return Renewed::Refused { reason, client_gone: false };
        };
        let mut parameters = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
        // Empty where the entry has it so.
        parameters.extend(Some(("resource", credential.resource.as_str())).filter(|(_, name)| !name.is_empty()));
        match token::request(guard, &credential.endpoints, &credential.client, &parameters).await {
            Ok(granted) => {
                let tokens = next_tokens(granted, &credential.tokens, self.generation);
                self.save(Credential { tokens, ..credential.clone() }).await
            }
            Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
            Err(error @ TokenError::Refused { .. }) => match self.newer().await {
                Ok(Some(newer)) => Renewed::Adopted(newer),
                Ok(None) | Err(_) => {
                    Renewed::Refused { client_gone: error.is_about_the_client(), reason: error.to_string() }
                }
            },
        }
    }

    /// The client's own login (OAuth 2.1 section 4.2, with RFC 7523 where it signs).
    async fn log_in_as_client(&self, guard: &Guard) -> Renewed {
        let failed = |reason: String| Renewed::Failed { reason, after: None };
        let discovered = match Discovered::find(&self.target, guard, self.challenge.as_deref()).await {
            Ok(discovered) => discovered,
            Err(error) => return failed(error.to_string()),
        };
        let scopes = discovered.client_scopes(&self.target, &self.wanted);
        let Some(client) = discovered.configured_client(&self.target) else {
            return failed("`oauth` names no `client_id`".to_owned());
        };
        let endpoints = discovered.endpoints.clone();
        let resource = match discovered.resource(&self.target, &client).await {
            Ok(resource) => resource,
            Err(error) => return failed(error.to_string()),
        };
        let joined = scopes.join(" ");
        let mut parameters = vec![("grant_type", "client_credentials")];
        parameters.extend(resource.as_deref().map(|resource| ("resource", resource)));
        if !scopes.is_empty() {
            parameters.push(("scope", &joined));
        }
        match token::request(guard, &endpoints, &client, &parameters).await {
            Ok(granted) => {
                let tokens = next_tokens(granted, &Tokens::none(), self.generation);
                let (id, redirect_uri) = (self.target.id.clone(), None);
                let resource = resource.unwrap_or_default();
                self.save(Credential { id, resource, endpoints, client, redirect_uri, scopes, tokens }).await
            }
            Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
            Err(error @ TokenError::Refused { .. }) => failed(error.to_string()),
        }
    }

    /// A newer token in the records.
    async fn newer(&self) -> Result<Option<Credential>, VaultError> {
        let own = self.credential.as_ref().map_or(0, |credential| credential.tokens.generation);
        let id = self.target.id.clone();
        let found = self.vault.read(move |records| records.find(&id).cloned()).await?;
        let newer = found.filter(|found| found.tokens.generation > own);
        Ok(newer.and_then(|newer| newer.completed(self.target.configured_client())))
    }

    async fn save(&self, credential: Credential) -> Renewed {
        match save(&self.vault, credential.clone(), self.ended.clone()).await {
            Ok(true) => Renewed::New { credential, unsaved: None },
            Ok(false) => Renewed::Ended(Some(credential)),
            Err(_) if self.ended.is_cancelled() => Renewed::Ended(Some(credential)),
            Err(error) => Renewed::New { credential, unsaved: Some(error.to_string()) },
        }
    }
}

/// Puts a login into the records in the place of an older one, unless it was ended; tells whether it did.
pub(super) async fn save(vault: &Vault, credential: Credential, ended: CancellationToken) -> Result<bool, VaultError> {
    let put = move |records: &mut Records| {
        let older =
            records.find(&credential.id).is_none_or(|found| found.tokens.generation < credential.tokens.generation);
        // Looked at here, where nothing comes between: whoever ends it says so before the records are told.
        let holds = older && !ended.is_cancelled();
        if holds {
            records.put(credential.for_the_records());
        }
        holds
    };
    vault.update(put).await
}

/// The tokens of an answer. One without a refresh token leaves the last one in force (RFC 6749 section 6).
pub(super) fn next_tokens(granted: Granted, before: &Tokens, generation: u64) -> Tokens {
    Tokens {
        access: granted.access,
        // Some write an empty one where they give none.
        refresh: granted.refresh.filter(|token| !token.expose_secret().is_empty()).or_else(|| before.refresh.clone()),
        expires_at: granted.expires_in.map(|life| wall().saturating_add(life)),
        generation,
    }
}
