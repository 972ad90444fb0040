//! The next token by the refresh token, after a person has logged in (RFC 6749 section 6). The code of a login is exchanged in
//! `login`.

use secrecy::ExposeSecret;

use crate::credentials::Credential;
use crate::oauth::guard::Guard;
use crate::oauth::renew::{Renewal, Renewed, next_tokens};
use crate::oauth::token::{self, TokenError};

/// Gets the next token by the refresh token.
pub(super) async fn obtain(renewal: &Renewal, guard: &Guard) -> Renewed {
    let Some(credential) = &renewal.credential else {
        return Renewed::Refused { reason: "nobody has logged in yet".to_owned(), client_gone: false };
    };
    match renewal.newer().await {
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
            let tokens = next_tokens(granted, &credential.tokens, renewal.generation);
            renewal.save(Credential { tokens, ..credential.clone() }).await
        }
        Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
        Err(error @ TokenError::Refused { .. }) => match renewal.newer().await {
            Ok(Some(newer)) => Renewed::Adopted(newer),
            Ok(None) | Err(_) => {
                Renewed::Refused { client_gone: error.is_about_the_client(), reason: error.to_string() }
            }
        },
    }
}
