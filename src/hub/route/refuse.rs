//! What an agent may not ask of a server: tools that are kept back, and what is another agent's. A server may read what a check
//! cannot, so that what cannot be checked is refused.

use serde::Deserialize;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, task_id, text};
use crate::hub::failure::Failure;
use crate::hub::instance::Instance;
use crate::hub::instance::recorded::Records;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::{Hub, Site};
use crate::method::Method;
use crate::names::ServerName;

impl Hub {
    /// Answers a request that is not passed on, and puts it into the record.
    pub(in crate::hub) fn refuse_request(&self, session: &Session, envelope: &Envelope<'_>, failure: &Failure) {
        let refusal = failure.frame(envelope.id);
        if let Some(name) = failure.server() {
            self.record_refused(session, envelope, name, &refusal);
        }
        session.reply(envelope.id, &refusal);
    }

    /// Puts a request into the record that was not passed on; `refusal` is the answer.
    pub(in crate::hub) fn record_refused(
        &self,
        session: &Session,
        envelope: &Envelope<'_>,
        server: &ServerName,
        refusal: &str,
    ) {
        if let Ok(server) = self.server(server.as_str()) {
            Records::of(&server.around, None).refused(session, envelope, &[], refusal);
        }
    }
}

/// The refusal of what an agent says in the name of a task that is not its own.
pub(in crate::hub) fn foreign_task(session: &Session, site: &Site, envelope: &Envelope<'_>) -> Option<String> {
    let id = task_id(envelope.params.meta.related_task?);
    let own = id.is_some_and(|id| {
        let calls = site.instance.calls.lock();
        calls.tasks.is_of(&id, session) || calls.agents_tasks.of(&id) == Some(session.id)
    });
    (!own).then(|| invalid(envelope, "no task of this agent's is the related task"))
}

/// The refusal of a request of a one-server view, if it is refused.
pub(in crate::hub) fn refusal(session: &Session, site: &Site, envelope: &Envelope<'_>) -> Option<String> {
    match envelope.method {
        Some(Method::CallTool) => tool(&site.server, envelope),
        Some(Method::GetTask | Method::TaskResult | Method::CancelTask | Method::UpdateTask)
            if envelope.params.task_id.is_none() =>
        {
            Some(invalid(envelope, "`taskId` is missing"))
        }
        Some(Method::Listen) => tasks(session, &site.instance, envelope).map(|message| invalid(envelope, message)),
        _ => None,
    }
}

/// Whether the server began the task of this raw id for the agent.
pub(in crate::hub) fn is_own_task(session: &Session, instance: &Instance, raw: &str) -> bool {
    text(raw).is_some_and(|id| instance.calls.lock().tasks.is_of(&id, session))
}

fn tool(server: &Server, envelope: &Envelope<'_>) -> Option<String> {
    match envelope.params.name.and_then(text) {
        Some(tool) => server.refuses(&tool).map(|failure| failure.frame(envelope.id)),
        None if server.offers_all() => None,
        None => Some(invalid(envelope, "`name` must be a string: `tools` in the configuration keeps some back")),
    }
}

fn tasks(session: &Session, instance: &Instance, envelope: &Envelope<'_>) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Filter {
        #[serde(default, rename = "taskIds")]
        tasks: Option<Vec<String>>,
    }
    let Some(raw) = envelope.params.notifications else {
        return Some("`notifications` is missing");
    };
    let filter = serde_json::from_str::<Filter>(raw).ok().filter(|_| raw.starts_with('{'));
    let Some(filter) = filter else {
        return Some("`notifications` must be an object, and `taskIds` in it a list of strings");
    };
    let calls = instance.calls.lock();
    let own = filter.tasks.iter().flatten().all(|id| calls.tasks.is_of(id, session));
    (!own).then_some("no task of this agent's has one of these ids")
}

fn invalid(envelope: &Envelope<'_>, message: &str) -> String {
    reply::error(envelope.id, code::INVALID_PARAMS, &format!("{}: {message}", envelope.method_name))
}
