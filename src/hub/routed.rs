//! What became of a frame that an agent sent.

use std::pin::Pin;
use std::sync::Arc;

use crate::envelope::Envelope;
use crate::hub::session::Session;

/// The rest of a frame's handling, when a server must be waited for.
pub type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a frame.
pub enum Routed {
    Done,
    /// What comes after it must not overtake it.
    Later(Later),
    /// It waits for itself alone.
    Aside(Later),
}

/// A request that waits, until its agent cancels it; it is refused where as much waits as may.
pub(in crate::hub) fn cancellable(
    session: &Arc<Session>,
    envelope: &Envelope<'_>,
    work: impl Future<Output = ()> + Send + 'static,
) -> Later {
    match session.wait_with(envelope) {
        Some(waits) => Box::pin(async move { waits.cancelled().run_until_cancelled(work).await.unwrap_or_default() }),
        None => Box::pin(std::future::ready(())),
    }
}
