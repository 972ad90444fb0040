//! What can be seen of a server from outside: what its calls come to, what goes over its wires, who waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::reply;
use crate::hub::instance::recorded::Records;
use crate::hub::server::Server;
use crate::hub::server::slot::Slot;
use crate::lists::ListKind;
use crate::method::Method;
use crate::record::{Outcome, Tally};
use crate::recording::Tee;
use crate::upstream::catalog::{Audience, next_cursor};
use crate::upstream::state::State as Life;

/// How many requests and answers about lists a recording begins with, at most.
const PAGES: usize = 1_000;

impl Server {
    /// Where copies of its messages come from.
    pub fn tee(&self) -> &Tee {
        &self.around.tee
    }

    /// What its connections have said before a recording begins that agents are told again: the answer to the handshake, and
    /// what is known of its lists, each with the request that it answers. With the connections' numbers in recordings.
    pub fn said_before(&self) -> Vec<(u64, Arc<str>)> {
        let instances = self.instances();
        let mut said: Vec<(u64, Arc<str>)> = Vec::new();
        for instance in &instances {
            let number = instance.link.connection();
            let handshake = instance.handshake().cloned().unwrap_or_default();
            said.extend([handshake.initialize, handshake.discover].into_iter().flatten().map(|frame| (number, frame)));
            if let Some(audience) = instance.audience() {
                said.extend(self.lists_of(audience).into_iter().map(|frame| (number, frame.into())));
            }
        }
        if let Some(audience) = self.audience(&self.own_key(None)).filter(|_| instances.is_empty()) {
            said.extend(self.recall_handshake(&audience).map(|(_, frame)| (0, frame.into())));
            said.extend(self.lists_of(&audience).into_iter().map(|frame| (0, frame.into())));
        }
        said
    }

    /// Requests and answers, in turn.
    fn lists_of(&self, audience: &Audience) -> Vec<String> {
        let mut frames = Vec::new();
        for kind in ListKind::ALL {
            let mut cursor = None;
            while let Some((_, page)) = self.recall_page(audience, kind, cursor.as_deref()) {
                let id = frames.len();
                let params = cursor.map(|cursor| format!(r#"{{"cursor":{cursor}}}"#)).unwrap_or_default();
                frames.push(reply::request(id as u64, kind.method(), &params));
                frames.push(reply::result(&id.to_string(), &page));
                match next_cursor(&page).filter(|_| frames.len() < PAGES) {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        frames
    }

    /// Puts a call of a person's command into the record that was not passed on, with the code of its error.
    pub fn note_refused(&self, tool: &str, code: i32) {
        let records = Records::of(&self.around, None);
        let begun = records.begin_own(Method::CallTool, tool, "");
        records.end(Some(begun), Outcome::Refused(code.into()), None);
    }

    /// What its calls come to.
    pub fn tally(&self) -> &Tally {
        &self.around.tally
    }

    /// How many wait for it to be up, and in how long it may be started, where that is known.
    pub fn awaited(&self) -> (usize, Option<Duration>) {
        let state = self.state.lock();
        let waits = |slot: &&Slot| slot.up().is_none_or(|instance| !instance.roots_read.initialized());
        let waiting = state.slots.iter().filter(waits).map(|slot| slot.phase.receiver_count()).sum();
        let now = Instant::now();
        let until = state.slots.iter().filter_map(|slot| state_until(&slot.life)).max();
        (waiting, until.map(|until| until.saturating_duration_since(now)))
    }
}

/// Until when a slot is not started.
fn state_until(life: &Life) -> Option<Instant> {
    match life {
        Life::Backoff { until } => Some(*until),
        Life::Idle | Life::Starting | Life::Ready { .. } | Life::Draining { .. } | Life::Broken => None,
    }
}
