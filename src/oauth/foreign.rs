//! A login that another program made, as one of trunkline's own: the rest of it is found out anew.

use crate::credentials::{Client, ClientAuth, Credential, ForeignLogin, Origin, Tokens};
use crate::oauth::discovery::Discovered;
use crate::oauth::guard::Guard;
use crate::oauth::target::Target;

pub(super) async fn credential(target: &Target, login: ForeignLogin) -> Result<Credential, String> {
    let guard = Guard::new(&target.url).await.map_err(|error| error.to_string())?;
    let discovered = Discovered::find(target, &guard, None).await.map_err(|error| error.to_string())?;
    let client = match discovered.configured_client(target) {
        Some(configured) if configured.id != login.client_id => {
            return Err(format!(
                "that login is one of the client `{}`, and the entry's `oauth` names another",
                login.client_id
            ));
        }
        Some(configured) => configured,
        None => Client { id: login.client_id, secret: None, auth: ClientAuth::None, origin: Origin::Registered },
    };
    let endpoints = discovered.endpoints.clone();
    let resource = discovered.resource(target, &client).await.map_err(|error| error.to_string())?.unwrap_or_default();
    Ok(Credential {
        id: target.id.clone(),
        resource,
        endpoints,
        client,
        redirect_uri: None,
        scopes: login.scopes,
        // Its number is given where it is taken over.
        tokens: Tokens { access: login.access, refresh: login.refresh, expires_at: login.expires_at, generation: 0 },
    })
}
