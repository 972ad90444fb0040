//! The all-servers view: one handshake, merged lists, names as `server__name`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::Hub;
use super::failure::Failure;
use super::level::Level;
use super::registry::Upstream;
use super::router::{Routed, cancellable};
use super::session::{Session, View};
use super::table::Then;
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, quoted, text};
use crate::era::{self, Class, Dialect, Era};
use crate::lists::ListKind;
use crate::names::{self, MAX_QUALIFIED, ServerName};
use crate::upstream::catalog::List;

/// How long a list waits for a server that is starting; one that comes later is announced by `list_changed`.
const LIST_WAIT: Duration = Duration::from_secs(2);
const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}"#;

impl Hub {
    /// The answer to `initialize`: at once, from what is known.
    pub(super) fn greeting(&self, session: &Session, id: &str, class: &Class) -> String {
        let version = class.answer_version();
        let (info, instructions) = (server_info(), self.instructions(session));
        reply::result(
            id,
            &format!(
                r#"{{"protocolVersion":"{version}","capabilities":{CAPABILITIES},"serverInfo":{info}{instructions}}}"#
            ),
        )
    }

    /// Every server's instructions under its name, as a member to append.
    fn instructions(&self, session: &Session) -> String {
        let visible = self.visible(session);
        let known = visible.iter().filter_map(|upstream| Some((&upstream.name, upstream.instructions()?)));
        let parts: Vec<_> = known.map(|(name, text)| format!("# {name}\n\n{}", text.trim())).collect();
        if parts.is_empty() { String::new() } else { format!(r#","instructions":{}"#, quoted(&parts.join("\n\n"))) }
    }

    /// `server/discover`: answered as modern only when every server is known to be; an agent that speaks both eras
    /// then falls back to the one in which it reaches them all.
    fn discover(&self, session: &Session, id: &str) -> String {
        if !self.visible(session).iter().all(|upstream| upstream.era() == Some(Era::Modern)) {
            let message = format!(
                "not every server is known to speak revision {}: use `initialize` here, or connect to one server",
                era::MODERN
            );
            return reply::error(id, code::METHOD_NOT_FOUND, &message);
        }
        let (info, instructions) = (server_info(), self.instructions(session));
        reply::result(
            id,
            &format!(
                r#"{{"resultType":"complete","supportedVersions":["{}"],"capabilities":{CAPABILITIES}{instructions},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}}}"#,
                era::MODERN
            ),
        )
    }

    /// Takes a request of the all-servers view.
    pub(super) fn merged(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        dialect: Dialect,
    ) -> Routed {
        if let Some(kind) = ListKind::of_method(&envelope.method) {
            let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
            return Routed::Later(cancellable(session, envelope.id, async move {
                let result = hub.merged_list(&who, kind, &dialect).await;
                who.send_text(&reply::result(&id, &result));
            }));
        }
        match &*envelope.method {
            "tools/call" | "prompts/get" => self.by_name(session, envelope, dialect),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" | "completion/complete" => {
                self.by_resource(session, envelope, dialect)
            }
            method => {
                session.send_text(&match method {
                    "ping" => reply::result(envelope.id, "{}"),
                    "server/discover" => self.discover(session, envelope.id),
                    "logging/setLevel" => set_level(session, envelope),
                    _ => {
                        let message = format!("`{method}` is not offered for all servers together: connect to one server with `trunkline connect SERVER`");
                        reply::error(envelope.id, code::METHOD_NOT_FOUND, &message)
                    }
                });
                Routed::Done
            }
        }
    }

    async fn merged_list(self: &Arc<Self>, session: &Arc<Session>, kind: ListKind, dialect: &Dialect) -> String {
        let lists = self.lists(session, kind, dialect).await;
        let mut items: Vec<String> = Vec::new();
        let mut seen: HashMap<String, ServerName> = HashMap::new();
        for (upstream, list) in &lists {
            for item in list.iter() {
                match kind {
                    ListKind::Tools if !upstream.allows(&item.key) => {}
                    ListKind::Tools | ListKind::Prompts => {
                        let qualified = upstream.name.qualify(&item.key);
                        if qualified.len() > MAX_QUALIFIED {
                            upstream.note_hidden(&item.key);
                        } else {
                            items.push(item.renamed(&qualified));
                        }
                    }
                    ListKind::Resources | ListKind::Templates => match seen.get(&item.key) {
                        Some(_) => items.push(item.renamed(&upstream.name.qualify_uri(&item.key))),
                        None => {
                            seen.insert(item.key.clone(), upstream.name.clone());
                            items.push(item.raw.to_string());
                        }
                    },
                }
            }
        }
        if kind == ListKind::Resources {
            session.note_uris(seen);
        }
        let modern = match dialect {
            Dialect::Modern => r#","resultType":"complete","ttlMs":0,"cacheScope":"private""#,
            Dialect::Legacy(_) => "",
        };
        format!(r#"{{"{}":[{}]{modern}}}"#, kind.member(), items.join(","))
    }

    /// Each server's list, in the order of the configuration, of those that are there in time.
    pub(super) async fn lists(
        self: &Arc<Self>,
        session: &Arc<Session>,
        kind: ListKind,
        dialect: &Dialect,
    ) -> Vec<(Arc<Upstream>, List)> {
        let visible = self.visible(session);
        let lists = visible.iter().map(|upstream| async move {
            if let Some(list) = self.recall_list(session, upstream, kind, dialect) {
                return Some((upstream.clone(), list));
            }
            let (hub, who, name, dialect) = (self.clone(), session.clone(), upstream.name.clone(), dialect.clone());
            // Goes on when nobody waits any more: who was given a list without it is told when it is there.
            let list = self.around.tasks.spawn(async move {
                let line = match hub.line(&who, name.as_str(), &dialect).await {
                    Ok(line) => line,
                    Err(failure) => {
                        if let Failure::NeedsLogin { .. } = failure {
                            who.note_missed(&name, kind);
                        }
                        return None;
                    }
                };
                let list = line.list(kind).await;
                list.inspect_err(|error| tracing::warn!(server = %name, %error, "list not read")).ok()
            });
            match tokio::time::timeout(LIST_WAIT, list).await {
                Ok(list) => Some((upstream.clone(), list.ok()??)),
                Err(_) => {
                    session.note_missed(&upstream.name, kind);
                    None
                }
            }
        });
        join_all(lists).await.into_iter().flatten().collect()
    }

    fn by_name(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>, dialect: Dialect) -> Routed {
        let raw = envelope.params.name.unwrap_or("\"\"");
        let name = text(raw).unwrap_or_default();
        let Some((server, own)) = names::split(&name) else {
            let message = format!("`{name}` names no server: names are `server__name` here");
            session.send_text(&reply::error(envelope.id, code::INVALID_PARAMS, &message));
            return Routed::Done;
        };
        if let Some(failure) = self.not_offered(session, server, own, &envelope.method) {
            session.send_text(&failure.frame(envelope.id, &envelope.method));
            return Routed::Done;
        }
        let own = quoted(own);
        if let Some(line) = session.line(server, dialect.era()) {
            return self.send(session, &line, envelope, vec![envelope.edit(raw, &own)], Then::Nothing);
        }
        let (hub, who, server, frame) = (self.clone(), session.clone(), server.to_owned(), envelope.frame.to_owned());
        let at = envelope.span(raw);
        Routed::Later(cancellable(session, envelope.id, async move {
            let Ok(envelope) = Envelope::parse(frame.as_bytes()) else { return };
            match hub.line_for_call(&who, &server, &dialect, &envelope).await {
                Ok(line) => {
                    let edit = crate::envelope::Edit { at, with: &own };
                    hub.send_patiently(&who, line, &envelope, vec![edit], Then::Nothing).await;
                }
                Err(failure) => who.send_text(&failure.frame(envelope.id, &envelope.method)),
            }
        }))
    }

    /// Why a session may not call this, if it may not.
    fn not_offered(&self, session: &Session, server: &str, name: &str, method: &str) -> Option<Failure> {
        let visible = self.visible(session);
        let Some(upstream) = visible.iter().find(|upstream| upstream.name.as_str() == server) else {
            let outside = session.view == View::All && self.upstream(server).is_ok();
            // A disabled server says so itself.
            return (!outside).then(|| Failure::unknown(server, visible.iter().map(|upstream| &upstream.name)));
        };
        let denied = method == "tools/call" && !upstream.settings().tools.allows(name);
        denied.then(|| Failure::Denied { server: upstream.name.clone(), tool: name.to_owned() })
    }

    /// A list of a server that is not up, if it is known.
    fn recall_list(
        &self,
        session: &Session,
        upstream: &Arc<Upstream>,
        kind: ListKind,
        dialect: &Dialect,
    ) -> Option<List> {
        if session.line(upstream.name.as_str(), dialect.era()).is_some() {
            return None;
        }
        let key = upstream.recall_key(session, dialect)?;
        let list = upstream.recall_list(&upstream.audience(&key)?, kind)?;
        upstream.confirm_later(&key);
        Some(list)
    }

    /// Why servers are missing from the lists, for an error that they explain.
    pub(super) fn absent(&self, session: &Session) -> Vec<(ServerName, String)> {
        let visible = self.visible(session);
        let failed = visible.iter().filter(|upstream| upstream.lines().is_empty());
        failed.filter_map(|upstream| Some((upstream.name.clone(), upstream.known().last_error?.to_string()))).collect()
    }
}

fn server_info() -> String {
    format!(r#"{{"name":"trunkline","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
}

fn set_level(session: &Session, envelope: &Envelope<'_>) -> String {
    let Some((raw, level)) = envelope.params.level.and_then(|raw| Some((raw, Level::parse(raw)?))) else {
        return reply::error(envelope.id, code::INVALID_PARAMS, "`level` is not one of the log levels of RFC 5424");
    };
    session.set_level(raw);
    for line in session.lines() {
        if line.handshake().is_some_and(|handshake| handshake.offers("logging")) {
            line.tell_level(session.id, level);
        }
    }
    reply::result(envelope.id, "{}")
}
