//! The configured servers: in the order of the configuration, and by name.

use std::ops::Deref;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::hub::failure::Failure;
use crate::hub::server::Server;
use crate::names::ServerName;

#[derive(Debug, Default)]
pub struct Servers {
    all: Vec<Arc<Server>>,
    by_name: FxHashMap<ServerName, Arc<Server>>,
}

impl FromIterator<Arc<Server>> for Servers {
    fn from_iter<I: IntoIterator<Item = Arc<Server>>>(servers: I) -> Self {
        let all: Vec<_> = servers.into_iter().collect();
        let by_name = all.iter().map(|server| (server.name.clone(), server.clone())).collect();
        Self { all, by_name }
    }
}

impl Deref for Servers {
    type Target = [Arc<Server>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Servers {
    /// The server of this name, or the one that the configuration writes so.
    pub fn find(&self, name: &str) -> Result<&Arc<Server>, Failure> {
        let written = || self.all.iter().find(|server| server.settings().written.as_deref() == Some(name));
        let found = self.by_name.get(name).or_else(written);
        found.ok_or_else(|| Failure::unknown(name, self.all.iter().map(|server| &server.name)))
    }
}
