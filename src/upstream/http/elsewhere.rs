//! Answers that a server gives on the stream of what belongs to no request, though the specification forbids it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::upstream::http::done::{About, Done};
use crate::upstream::http::owner::Owner;
use crate::upstream::http::shared::Shared;
use crate::upstream::quirks::Quirk;

/// How long an answer is waited for that is to come on another stream; a call that takes longer must say so there.
const ELSEWHERE: Duration = Duration::from_secs(300);

/// How many answers are remembered that came before it was known that they would.
const EARLY: usize = 64;

impl Shared {
    /// Notes an answer that came on the stream of what belongs to no request.
    pub(super) fn answered_elsewhere(&self, envelope: &Envelope<'_>) {
        let id = self.tap.meant(envelope, None).or_else(|| envelope.id.parse().ok());
        let Some(id) = id else { return };
        self.tap.note(&Quirk::AnswerElsewhere);
        let mut elsewhere = self.elsewhere.lock();
        match elsewhere.waiting.remove(&id) {
            Some(over) => over.cancel(),
            None => {
                elsewhere.early.push_back(id);
                if elsewhere.early.len() > EARLY {
                    elsewhere.early.pop_front();
                }
            }
        }
    }
}

impl Shared {
    /// Nobody waits for this answer any more.
    pub(super) fn not_elsewhere(&self, id: u64) {
        self.elsewhere.lock().waiting.remove(&id);
    }
}

impl Owner {
    /// Waits for an answer on the stream of what belongs to no request, and tells the one who asked when it does not come.
    pub(super) fn wait_elsewhere(&mut self, id: u64) {
        let (shared, over) = (self.shared.clone(), CancellationToken::new());
        let mut elsewhere = shared.elsewhere.lock();
        if elsewhere.early.contains(&id) {
            return;
        }
        elsewhere.waiting.insert(id, over.clone());
        drop(elsewhere);
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
            shared.elsewhere.lock().waiting.remove(&id);
            Done::Over
        };
        self.exchanges.push(Box::pin(async move { (About::Request(id), ends.run_until_cancelled_owned(wait).await) }));
    }
}
