//! The login that a server asks for: who keeps it, whether it is needed, how it is begun.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{Given, Secrets, Transport, check_url};
use crate::envelope::quoted;
use crate::hub::failure::Failure;
use crate::hub::server::Server;
use crate::oauth::{Afresh, Keeper, Login};

/// How long a person may take to log in before the call that waits for it fails.
pub(in crate::hub) const PATIENCE: Duration = Duration::from_secs(10 * 60);
impl Server {
    /// The keeper of its login; nobody for a server that is started by a command, or has credentials in its entry.
    pub async fn keeper(&self) -> Result<Option<Keeper>, Failure> {
        let settings = self.settings();
        let Transport::Http(http) = &settings.transport else { return Ok(None) };
        if http.has_own_authorization() {
            return Ok(None);
        }
        let unusable = |reason: String| self.unavailable(reason);
        let names = settings.templates().flat_map(|template| template.secret_names()).collect();
        let secrets: Secrets = self.around.vault.secrets(names).await.map_err(|error| unusable(error.to_string()))?;
        let given = Given { project: None, secrets: &secrets };
        let text = http.url.expand(given).map_err(|error| unusable(error.to_string()))?;
        let url = check_url(&text).map_err(unusable)?;
        let keeper =
            self.around.keepers.keeper(&self.name, &url, http, given).map_err(|error| unusable(error.to_string()))?;
        *self.keeper.lock() = Some(keeper.clone());
        Ok(Some(keeper))
    }

    /// Likewise, once it is known what the server asks for.
    pub async fn login_keeper(self: &Arc<Self>) -> Result<Option<Keeper>, Failure> {
        if let Some(reason) = &self.settings().wrong {
            return Err(Failure::Misconfigured { server: self.name.clone(), reason: reason.as_str().into() });
        }
        let keeper = self.keeper().await?;
        if keeper.as_ref().is_some_and(|keeper| !keeper.is_challenged()) {
            // What comes of it does not matter: if it asks for a login, it says where.
            drop(self.instance(&self.own_key(None)).await);
        }
        Ok(keeper)
    }

    /// Why a login is needed, if one is.
    pub fn login_need(&self) -> Option<Arc<str>> {
        self.keeper.lock().as_ref().and_then(Keeper::need)
    }

    /// Begins a login, or joins the one that is under way.
    pub(in crate::hub) async fn begin_login(&self) -> Option<(Keeper, Arc<Login>)> {
        let keeper = self.keeper().await.ok()??;
        match keeper.login(Afresh::Join).await {
            Ok(login) => Some((keeper, login)),
            Err(error) => {
                tracing::warn!(server = %self.name, error, "login not begun");
                None
            }
        }
    }

    /// Whether more logins than `before` are done, or are in time.
    pub(in crate::hub) async fn logged_in(&self, before: u64) -> bool {
        let Ok(Some(keeper)) = self.keeper().await else { return false };
        match keeper.open_login() {
            _ if keeper.logins() > before => true,
            Some(login) => timeout(PATIENCE, keeper.logged_in(&login, before)).await.unwrap_or(false),
            None => false,
        }
    }

    /// What a person is told.
    pub(in crate::hub) fn login_message(&self) -> String {
        quoted(&format!("The MCP server `{}` asks you to log in. Open the page to go on.", self.name))
    }
}
