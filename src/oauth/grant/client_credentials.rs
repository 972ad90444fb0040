//! The client logs in by itself (OAuth 2.1 section 4.2, with RFC 7523 where it signs).

use crate::credentials::{Credential, Tokens};
use crate::oauth::discovery::Discovered;
use crate::oauth::guard::Guard;
use crate::oauth::renew::{Renewal, Renewed, next_tokens};
use crate::oauth::token::{self, TokenError};

/// The client's own login (OAuth 2.1 section 4.2, with RFC 7523 where it signs).
pub(super) async fn obtain(renewal: &Renewal, guard: &Guard) -> Renewed {
    let failed = |reason: String| Renewed::Failed { reason, after: None };
    let discovered = match Discovered::find(&renewal.target, guard, renewal.challenge.as_deref()).await {
        Ok(discovered) => discovered,
        Err(error) => return failed(error.to_string()),
    };
    let scopes = discovered.client_scopes(&renewal.target, &renewal.wanted);
    let Some(client) = discovered.configured_client(&renewal.target) else {
        return failed("`oauth` names no `client_id`".to_owned());
    };
    let endpoints = discovered.endpoints.clone();
    let resource = match discovered.resource(&renewal.target, &client).await {
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
            let tokens = next_tokens(granted, &Tokens::none(), renewal.generation);
            let (id, redirect_uri) = (renewal.target.id.clone(), None);
            let resource = resource.unwrap_or_default();
            renewal.save(Credential { id, resource, endpoints, client, redirect_uri, scopes, tokens }).await
        }
        Err(TokenError::Unavailable { reason, after }) => Renewed::Failed { reason, after },
        Err(error @ TokenError::Refused { .. }) => failed(error.to_string()),
    }
}
