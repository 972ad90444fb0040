//! Answers that a server gives on the stream of what belongs to no request, though the specification forbids it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::exchange::Done;
use super::{About, Owner};
use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};

/// How long an answer is waited for that is to come on another stream; a call that takes longer must say so there.
const ELSEWHERE: Duration = Duration::from_secs(300);

impl Owner {
    /// Waits for an answer on the stream of what belongs to no request, and tells the one who asked when it does not come.
    pub(super) fn wait_elsewhere(&mut self, id: u64) {
        let (shared, over) = (self.shared.clone(), CancellationToken::new());
        shared.elsewhere.lock().insert(id, over.clone());
        let ends = CancellationToken::new();
        self.open.insert(id, ends.clone());
        let wait = async move {
            if over.run_until_cancelled(tokio::time::sleep(ELSEWHERE)).await.is_some() {
                let reason = "it took the request and gave no answer, on any stream";
                let error =
                    reply::error(&id.to_string(), code::TIMEOUT, &format!("server `{}`: {reason}", shared.name));
                if let Ok(envelope) = Envelope::parse(error.as_bytes()) {
                    shared.tap.sort(&envelope, None, &shared.inbound);
                }
            }
            shared.elsewhere.lock().remove(&id);
            Done::Over
        };
        self.exchanges.push(Box::pin(async move { (About::Request(id), ends.run_until_cancelled_owned(wait).await) }));
    }
}
