//! Log messages for an agent: the first to be left out where it reads slower than they come.

use std::sync::atomic::Ordering;

use crate::envelope::reply;
use crate::hub::session::Session;
use crate::method::Method;
use crate::wire::To;

/// They are left out where this part of what may wait for the agent does.
const PART: usize = 4;

impl Session {
    /// Tells the agent a log message, if there is room for it; what was left out is counted, and said with the next one.
    pub(in crate::hub) fn log(&self, to: To<'_>, frame: &str) {
        let account = self.account();
        if account.held() + frame.len() > account.limit() / PART {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.unlogged.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::warn!(
                session = self.id.0,
                left_out,
                "log messages left out: the agent reads slower than they come"
            );
            let data = format!("{left_out} log messages are left out here: they came faster than they were read");
            let params = format!(r#"{{"level":"warning","logger":"trunkline","data":"{data}"}}"#);
            self.tell(to, &reply::notification(Method::Log, &params));
        }
        self.tell(to, frame);
    }
}
