//! What the requests of one connection know of it: an extension of each.

use tokio_util::sync::CancellationToken;

use crate::strangers::Stranger;

#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Ends it.
    pub cut: CancellationToken,
    pub stranger: Stranger,
}
