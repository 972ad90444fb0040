//! What is to be kept of the calls of one server: as the configuration has it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all processes of a server. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    calls: AtomicBool,
    payloads: AtomicBool,
}

impl Kept {
    pub fn set(&self, calls: bool, payloads: bool) {
        self.0.calls.store(calls, Ordering::Relaxed);
        self.0.payloads.store(payloads, Ordering::Relaxed);
    }

    /// Whether its calls are recorded.
    pub fn calls(&self) -> bool {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Whether what is in them is recorded too.
    pub fn payloads(&self) -> bool {
        self.calls() && self.0.payloads.load(Ordering::Relaxed)
    }
}
