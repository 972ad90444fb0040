//! How a login gets its tokens: a row for each grant, and a file for how it is done.

mod client_credentials;
mod refresh_token;

use crate::config::Grant;
use crate::credentials::Credential;
use crate::oauth::guard::Guard;
use crate::oauth::renew::{Renewal, Renewed};

impl Grant {
    /// Whether a person must log in before there is a token.
    pub(super) fn needs_person(self) -> bool {
        match self {
            Self::AuthorizationCode => true,
            Self::ClientCredentials => false,
        }
    }

    /// Whether the next token can be had without a person, by what is there.
    pub(super) fn can_renew(self, credential: Option<&Credential>) -> bool {
        match self {
            Self::AuthorizationCode => credential.is_some_and(|credential| credential.tokens.refresh.is_some()),
            Self::ClientCredentials => true,
        }
    }

    /// Gets the next token, and keeps it.
    pub(super) async fn obtain(self, renewal: &Renewal, guard: &Guard) -> Renewed {
        match self {
            Self::AuthorizationCode => refresh_token::obtain(renewal, guard).await,
            Self::ClientCredentials => client_credentials::obtain(renewal, guard).await,
        }
    }
}
