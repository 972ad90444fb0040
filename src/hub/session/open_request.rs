//! A request that waits for an agent's answer, and the ids of such requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hub::ids::InstanceId;
use tokio::sync::oneshot;

/// A request that waits for this agent's answer.
#[derive(Debug)]
pub enum OpenRequest {
    /// A server's.
    Server {
        instance: InstanceId,
        /// The server's own id, raw.
        id: Box<str>,
        /// The server's own progress token, raw.
        token: Option<Box<str>>,
    },
    /// The hub's own `roots/list`.
    Roots,
    /// A modern server's, one of those that were asked together.
    InputRound {
        /// The call that waits for the answers, under the agent's id, raw.
        call: Box<str>,
        /// The number of the round.
        round: u64,
        index: usize,
    },
    /// Whether the person wants to log in, which the hub asks itself.
    Login(oneshot::Sender<Accepted>),
}

/// What a person says to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    Yes,
    No,
}

impl Accepted {
    /// From an answer: the whole of it, or one of several under this name.
    pub(in crate::hub) fn of(answer: &str, name: Option<&str>) -> Self {
        let value = serde_json::from_str::<serde_json::Value>(answer).unwrap_or_default();
        let answer = name.map_or(&value, |name| &value[name]);
        if answer["action"] == "accept" { Self::Yes } else { Self::No }
    }
}

/// Ids of questions: unlike those of any daemon before this one, because an agent that outlives its daemon may still
/// answer the old one. They stay below 2^53, which is as far as JavaScript counts.
pub(in crate::hub) fn next_question() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let first = (seconds & 0xffff_ffff) << 20;
    NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed).ok();
    NEXT.fetch_add(1, Ordering::Relaxed)
}
