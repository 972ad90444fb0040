//! Which folder an agent works in: the first of its roots if it has any, else the folder that it was started in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::envelope::{Envelope, reply};
use crate::hub::session::Session;
use crate::hub::session::open_request::OpenRequest;
use crate::hub::session::place::{Place, named_roots};
use crate::hub::sharing::ROOTS;
use crate::hub::{Hub, Site};
use crate::method::Method;
use crate::names::ServerName;
use crate::wire::To;

/// How long calls of a process that belongs to one agent may go on when that agent moves to another project.
const MOVE_GRACE: Duration = Duration::from_secs(60);
/// How long a call waits for a server that was just started to ask for roots, and be told; or to show that it does not ask.
const ROOTS_TOLD: Duration = Duration::from_millis(600);
/// How long a server may take to look at the folders that it was told.
const ROOTS_READ: Duration = Duration::from_millis(20);
/// How long an agent may take to name its roots.
const ROOTS_WAIT: Duration = Duration::from_secs(5);

impl Hub {
    /// Asks an agent for its roots, if it has any and a server depends on them. Where the project is not known meanwhile,
    /// requests that need it wait.
    pub(in crate::hub) fn ask_roots(self: &Arc<Self>, session: &Arc<Session>) {
        if !self.is_to_name_roots(session) {
            return self.take_roots(session, None);
        }
        let id = session.ask(OpenRequest::Roots);
        session.tell(To::Agent, &reply::request(id, Method::ListRoots, ""));
        let (hub, session) = (self.clone(), session.clone());
        self.services.around.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(ROOTS_WAIT) => {}
                () = session.gone.cancelled() => return,
            }
            if session.is_asked(id) {
                hub.take_roots(&session, None);
            }
        });
    }

    /// Whether an agent has roots, and a server for which that matters.
    pub(in crate::hub) fn is_to_name_roots(&self, session: &Session) -> bool {
        session.profile().is_some_and(|profile| profile.has("roots"))
            && self.visible(session).iter().any(|server| server.depends_on_project())
    }

    /// Asks the agents of a server for their roots that were not asked when they attached, because it did not matter then.
    pub(in crate::hub) fn ask_those_not_asked(self: &Arc<Self>, name: &ServerName) {
        for session in self.sessions() {
            let unasked = session.is_greeted() && session.last_place().roots.is_none();
            let sees = self.visible(&session).iter().any(|server| server.name == *name);
            if unasked && sees && self.is_to_name_roots(&session) && !session.is_being_asked() {
                session.unsettle_roots();
                self.ask_roots(&session);
            }
        }
    }

    /// Has requests wait that depend on where an agent works, until it has said so. A process of its own stays its own.
    pub(in crate::hub) fn wait_for_roots(self: &Arc<Self>, session: &Session) {
        for Site { server, instance, .. } in self.sites(session) {
            if instance.owner().is_none() && server.depends_on_project() {
                instance.retire(session);
            }
        }
        session.set_place(None);
    }

    /// Takes an agent's answer, or does without. In another project it gets other processes; what is in flight goes on.
    pub(in crate::hub) fn take_roots(self: &Arc<Self>, session: &Arc<Session>, answer: Option<&Envelope<'_>>) {
        let known = session.last_place();
        let place = match answer {
            Some(answer) => {
                let agent = session.agent();
                // What it names on another machine is no folder here.
                let named = first_root(answer).filter(|_| agent.host.is_none());
                let folder = named.or_else(|| agent.cwd.as_ref().map(PathBuf::from));
                Place { folder, roots: answer.result.and_then(named_roots) }
            }
            None => known.clone(),
        };
        if place.folder != known.folder {
            self.leave_project(session);
            for server in self.visible(session).iter().filter(|server| server.depends_on_project()) {
                server.drain_owned_within(session.id, MOVE_GRACE);
            }
        }
        self.move_to(session, place);
    }

    /// Takes the roots that a modern agent brought when it was asked in a call.
    pub(in crate::hub) fn take_modern_roots(self: &Arc<Self>, session: &Arc<Session>, result: &str) {
        if let (None, Some(roots)) = (session.profile(), named_roots(result)) {
            self.move_to(session, Place { roots: Some(roots), ..session.last_place() });
        }
    }

    /// Notes where an agent works. A process of its own learns of other roots; what others share, it leaves.
    fn move_to(self: &Arc<Self>, session: &Arc<Session>, place: Place) {
        let roots = || session.last_terms().and_then(|terms| session.roots(terms.profile()));
        let before = roots();
        session.set_place(Some(place));
        let now = roots();
        if before != now {
            for server in self.visible(session).iter().filter(|server| server.depends_on_project()) {
                server.take_other_roots(session, &before, &now);
            }
        }
    }

    /// Takes a session off the processes that depend on its project; what is in flight goes on.
    fn leave_project(self: &Arc<Self>, session: &Session) {
        for Site { instance, .. } in self.sites(session).iter().filter(|site| site.server.depends_on_project()) {
            instance.retire(session);
        }
        for server in self.servers().iter().filter(|server| server.depends_on_project()) {
            server.forget(session.id);
        }
    }
}

impl Site {
    /// Answers a server that asks for roots and names no call, from what the agents of this process have named: they are the
    /// same for all of them, or the server is refused.
    pub(in crate::hub) fn answer_roots(&self, id: &str, otherwise: &'static str, ambiguous: bool) {
        let (site, id) = (self.clone(), id.to_owned());
        self.instance.around.tasks.spawn(async move {
            match site.roots().await {
                Some(roots) => {
                    site.instance.answer_text(&reply::result(&id, &format!(r#"{{"roots":{roots}}}"#)));
                    site.instance.told_roots.send_replace(Some(roots));
                }
                None => {
                    if ambiguous {
                        site.server.note_interactive(ROOTS);
                    }
                    site.instance.refuse(&id, otherwise);
                }
            }
        });
    }

    /// Waits until a server that asks for roots when it is greeted has been told them, and has looked at them: a call must
    /// not be faster.
    pub(in crate::hub) async fn roots_told(&self) {
        let told = async {
            let mut told = self.instance.told_roots.subscribe();
            // A server that asks has asked before it answers what comes behind the greeting.
            drop((&mut self.instance.ask(Method::Ping, "").answer).await);
            if !self.server.asks_roots_first() {
                return;
            }
            // It fails only with the instance itself.
            drop(told.wait_for(Option::is_some).await);
            // It has read them when it answers what comes behind.
            drop((&mut self.instance.ask(Method::Ping, "").answer).await);
            tokio::time::sleep(ROOTS_READ).await;
        };
        // Once: what it asks later, it asks beside calls.
        self.instance.roots_read.get_or_init(|| async { drop(tokio::time::timeout(ROOTS_TOLD, told).await) }).await;
    }

    /// The roots that all agents of this process have named, or the one for which it was started. One that names others
    /// later gets another process then.
    async fn roots(&self) -> Option<Arc<str>> {
        let mut sessions = self.instance.sessions();
        if sessions.is_empty() {
            sessions =
                self.hub.sessions().into_iter().filter(|session| Some(session.id) == self.instance.starter).collect();
        }
        sessions.retain(|session| session.answers(Some(Method::ListRoots)));
        let asked = self.server.depends_on_project();
        if asked {
            let all = sessions.iter().map(|session| session.roots_settled());
            drop(tokio::time::timeout(ROOTS_WAIT, join_all(all)).await);
        }
        let of = |session: &Arc<Session>| session.profiles().iter().find_map(|profile| session.roots(profile));
        let named: Vec<_> = sessions.iter().filter_map(of).collect();
        // One that was asked and does not answer has none; of one that was not, nobody knows.
        let known = asked || named.len() == sessions.len();
        let first = named.first().filter(|_| known)?;
        named.iter().all(|other| other == first).then(|| first.clone())
    }
}

/// The folder of the first root in an answer to `roots/list`.
fn first_root(answer: &Envelope<'_>) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Roots {
        roots: Vec<Root>,
    }
    #[derive(Deserialize)]
    struct Root {
        uri: String,
    }
    let roots: Roots = serde_json::from_str(answer.result?).ok()?;
    roots.roots.iter().find_map(|root| folder(&root.uri))
}

/// The folder that a `file:` URI names (RFC 8089).
fn folder(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let local = if cfg!(windows) { decoded.trim_start_matches('/') } else { &decoded };
    let folder = PathBuf::from(if local.len() > 1 { local.trim_end_matches('/') } else { local });
    folder.is_absolute().then_some(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn folders_of_uris() {
        for (uri, expected) in [
            ("file:///home/a%20b/c", Some("/home/a b/c")),
            ("file://localhost/x/", Some("/x")),
            ("file:///", Some("/")),
            ("file://elsewhere/x", None),
            ("https://x/y", None),
        ] {
            assert_eq!(folder(uri), expected.map(PathBuf::from), "{uri}");
        }
    }
}
