//! Which folder an agent works in: the first of its roots if it has any, else the folder that it was started in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::Hub;
use super::session::{Question, Session};
use crate::envelope::Envelope;
use crate::wire::To;

/// How long calls of a process that belongs to one agent may go on when that agent moves to another project.
const MOVE_GRACE: Duration = Duration::from_secs(60);
/// How long an agent may take to name its roots.
const ROOTS_WAIT: Duration = Duration::from_secs(5);

impl Hub {
    /// Asks an agent for its roots, if it has any and a server depends on them. Where the project is not known meanwhile,
    /// requests that need it wait.
    pub(super) fn ask_roots(self: &Arc<Self>, session: &Arc<Session>) {
        let has_roots = session.class().is_some_and(|class| class.has("roots"));
        if !has_roots || !self.visible(session).iter().any(|upstream| upstream.depends_on_project()) {
            return self.take_roots(session, None);
        }
        let id = session.ask(Question::Roots);
        session.tell(To::Agent, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list"}}"#));
        let (hub, session) = (self.clone(), session.clone());
        self.around.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(ROOTS_WAIT) => {}
                () = session.gone.cancelled() => return,
            }
            if session.is_asked(id) {
                hub.take_roots(&session, None);
            }
        });
    }

    /// Takes an agent's answer, or does without. In another project it gets other processes; what is in flight goes on.
    pub(super) fn take_roots(&self, session: &Session, answer: Option<&Envelope<'_>>) {
        let root = answer.and_then(first_root);
        let known = session.last_project();
        let project = match (root, answer) {
            (Some(root), _) => Some(root),
            (None, Some(_)) => session.agent().cwd.map(PathBuf::from),
            (None, None) => known.clone(),
        };
        if project != known {
            self.leave_project(session);
            for upstream in self.visible(session).iter().filter(|upstream| upstream.depends_on_project()) {
                upstream.drain_owned_within(session.id, MOVE_GRACE);
            }
        }
        session.set_project(Some(project));
    }

    /// Takes a session off the processes that depend on its project; what is in flight goes on.
    pub(super) fn leave_project(&self, session: &Session) {
        for line in session.lines() {
            if line.upstream.upgrade().is_some_and(|upstream| upstream.depends_on_project()) {
                line.part(session);
            }
        }
        for upstream in self.upstreams().iter().filter(|upstream| upstream.depends_on_project()) {
            upstream.forget(session.id);
        }
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
