//! The largest result that an agent takes: some end the connection, and with it all servers, over a larger one.

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::hub::Site;
use crate::hub::session::Session;

/// Results up to here are taken by every agent that is known.
const SAFE: usize = 1 << 20;
/// What the TypeScript SDK reads at once from a process (`STDIO_DEFAULT_MAX_BUFFER_SIZE`, from 1.30 on), less what may come
/// in the same read.
const OF_SDK: usize = (10 << 20) - (128 << 10);
/// Clients that use it, by a part of their names, as found in their packages.
const BOUNDED: [&str; 4] = ["claude", "cline", "qwen", "mcp-inspector"];

impl Site {
    /// The error that stands in for an answer that is too large for its agent.
    pub(in crate::hub) fn too_large(&self, session: &Session, answer: &Envelope<'_>) -> Option<String> {
        let size = answer.frame.len();
        if size <= SAFE || session.is_over_http() {
            return None;
        }
        let configured = self.hub.config().daemon.max_result.map(|size| size.0);
        let names = session.names().to_ascii_lowercase();
        let own = BOUNDED.iter().any(|name| names.contains(name)).then_some(OF_SDK);
        let limit = configured.or(own).filter(|limit| size > *limit)?;
        let why =
            if configured.is_some() { "the most that `max_result` lets pass" } else { "what this agent reads at once" };
        let message = format!(
            "server `{}`: the result has {size} bytes, and {limit} are {why}: ask for less, or for a part",
            self.instance.name
        );
        Some(reply::error(answer.id, code::INTERNAL, &message))
    }
}
