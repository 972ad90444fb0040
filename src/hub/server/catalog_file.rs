//! Where what is known of a server is kept, and how much of it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::ServerConfig;
use crate::names::ServerName;
use crate::upstream::InstanceServices;
use crate::upstream::catalog::{self, Bounds, Catalogs};

/// Where the catalogs of one server are kept.
#[derive(Debug)]
pub(in crate::hub) struct CatalogFile {
    pub path: PathBuf,
    pub fingerprint: String,
    pub changed: Arc<Notify>,
    /// Cancelled when nothing will change any more.
    pub over: CancellationToken,
    _over: DropGuard,
}

impl CatalogFile {
    pub(in crate::hub) fn new(path: PathBuf, server: &ServerConfig) -> Self {
        let over = CancellationToken::new();
        let fingerprint = catalog::fingerprint(server);
        Self { path, fingerprint, changed: Arc::default(), _over: over.clone().drop_guard(), over }
    }

    /// What an earlier daemon left.
    pub(in crate::hub) fn load(&self) -> Catalogs {
        catalog::load(&self.path, &self.fingerprint)
    }
}

/// How much is kept of what a server offers: a list as large as one message may be.
pub(in crate::hub) fn bounds(name: &ServerName, around: &InstanceServices) -> Bounds {
    let account = around.budget.account(format!("what server `{name}` offers"), usize::MAX, CancellationToken::new());
    Bounds { account, list: around.max_frame }
}
