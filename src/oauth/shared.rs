//! What all keepers have in common.

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::{CredentialId, Vault};

#[derive(Debug)]
pub(super) struct Shared {
    pub vault: Vault,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Told of each login that is done.
    pub news: broadcast::Sender<CredentialId>,
}
