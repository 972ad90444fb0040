//! Getting the next token, from the look at the records to the saving: a refresh, or a client's own login.
//!
//! The records are looked at before and, where the refresh token is refused, after: another process may have been faster.
//! The new token is saved before anybody sees it, unless the login was ended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credential, Records, Tokens, Vault, VaultError};
use crate::oauth::guard::Guards;
use crate::oauth::target::Target;
use crate::oauth::token::Granted;
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
        self.target.oauth.grant.obtain(&self, &guard).await
    }

    /// A newer token in the records.
    pub(super) async fn newer(&self) -> Result<Option<Credential>, VaultError> {
        let own = self.credential.as_ref().map_or(0, |credential| credential.tokens.generation);
        let id = self.target.id.clone();
        let found = self.vault.read(move |records| records.find(&id).cloned()).await?;
        let newer = found.filter(|found| found.tokens.generation > own);
        Ok(newer.and_then(|newer| newer.completed(self.target.configured_client())))
    }

    pub(super) async fn save(&self, credential: Credential) -> Renewed {
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
