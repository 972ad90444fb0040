//! The all-servers view: one handshake, merged lists, names as `server__name`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, quoted, text};
use crate::era::{Class, Era, Speech};
use crate::hub::agent::View;
use crate::hub::eras::{Fate, bad_level, no_method, unsupported};
use crate::hub::failure::Failure;
use crate::hub::instance::calls::pending::Then;
use crate::hub::level::Level;
use crate::hub::patience::Awaited;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::server::Upstream;
use crate::hub::session::Session;
use crate::hub::{Hub, Site, eras, patience};
use crate::lists::ListKind;
use crate::names::{self, MAX_QUALIFIED, ServerName};
use crate::upstream::catalog::List;
use crate::wire::{Message, To};

const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}"#;

/// One kind of list of each server.
#[derive(Default)]
pub(in crate::hub) struct Lists {
    /// In the order of the configuration.
    pub there: Vec<(Arc<Upstream>, List)>,
    /// Why some could not be read.
    unread: BTreeMap<ServerName, Arc<str>>,
}

impl Hub {
    /// The answer to `initialize`: at once, from what is known.
    pub(in crate::hub) fn greeting(&self, session: &Session, id: &str, class: &Class) -> String {
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
        let mut parts: Vec<_> = known.map(|(name, text)| format!("# {name}\n\n{}", text.trim())).collect();
        let late: Vec<_> = visible.iter().filter(|upstream| !upstream.has_said()).collect();
        if !late.is_empty() {
            let names: Vec<_> = late.iter().map(|upstream| format!("`{}`", upstream.name)).collect();
            parts.push(format!(
                "# trunkline\n\nThese servers are not there yet, or do not start: {}. `trunkline status` says why.",
                names.join(", ")
            ));
        }
        if parts.is_empty() { String::new() } else { format!(r#","instructions":{}"#, quoted(&parts.join("\n\n"))) }
    }

    /// The answer to `server/discover`.
    fn discover(&self, session: &Session, id: &str) -> String {
        let (info, instructions, supported) = (server_info(), self.instructions(session), eras::supported());
        reply::result(
            id,
            &format!(
                r#"{{"resultType":"complete","supportedVersions":{supported},"capabilities":{CAPABILITIES}{instructions},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}}}"#
            ),
        )
    }

    /// Likewise, once it is known what the servers say of themselves.
    fn discover_when_known(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        speech: Speech,
    ) -> Routed {
        if self.unheard(session).is_empty() {
            session.reply(envelope.id, &self.discover(session, envelope.id));
            return Routed::Done;
        }
        let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
        Routed::Later(cancellable(session, envelope, async move {
            hub.hear(&who, &speech).await;
            who.reply(&id, &hub.discover(&who, &id));
        }))
    }

    /// Answers `initialize`, likewise.
    pub(in crate::hub) fn greet_when_known(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        class: &Class,
    ) -> Routed {
        let id = envelope.id;
        if self.unheard(session).is_empty() {
            session.greet(id, &self.greeting(session, id, class));
            return Routed::Done;
        }
        let Some(waits) = session.wait_with(envelope) else { return Routed::Done };
        let (hub, who, id, class) = (self.clone(), session.clone(), id.to_owned(), Arc::new(class.clone()));
        Routed::Later(Box::pin(async move {
            let _waits = waits;
            hub.hear(&who, &Speech::Legacy(class.clone())).await;
            who.greet(&id, &hub.greeting(&who, &id, &class));
        }))
    }

    /// The servers that have not said yet what they are.
    fn unheard(&self, session: &Session) -> Vec<Arc<Upstream>> {
        let visible = self.visible(session);
        visible.into_iter().filter(|upstream| !upstream.has_said()).collect()
    }

    /// Waits until every server has said what it is, has failed, or the agent would not wait any longer.
    async fn hear(self: &Arc<Self>, session: &Arc<Session>, speech: &Speech) {
        let until = patience::until(&session.names(), session.since, Instant::now(), Awaited::Handshake);
        let starts = self.unheard(session).into_iter().map(|upstream| {
            let (hub, who, speech) = (self.clone(), session.clone(), speech.clone());
            // Goes on when nobody waits any more: the lists are asked for next.
            self.services
                .around
                .tasks
                .spawn(async move { drop(hub.find_line(&who, upstream.name.as_str(), &speech).await) })
        });
        drop(tokio::time::timeout_at(until.into(), join_all(starts)).await);
    }

    /// Takes a request of the all-servers view.
    pub(in crate::hub) fn merged(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        speech: Speech,
    ) -> Routed {
        let era = speech.era();
        if let Some(refusal) = unsupported(envelope) {
            session.reply(envelope.id, &refusal);
            return Routed::Done;
        }
        if let Some(kind) = ListKind::of_method(&envelope.method) {
            let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
            return Routed::Later(cancellable(session, envelope, async move {
                let result = hub.merged_list(&who, kind, &speech).await;
                who.reply(&id, &reply::result(&id, &result));
            }));
        }
        match &*envelope.method {
            "tools/call" | "prompts/get" => self.by_name(session, envelope, speech),
            "resources/read" | "completion/complete" => self.by_resource(session, envelope, speech),
            "resources/subscribe" | "resources/unsubscribe" if era == Era::Legacy => {
                self.by_resource(session, envelope, speech)
            }
            "subscriptions/listen" if era == Era::Modern => self.listen_to_all(session, envelope, speech),
            method => {
                session.reply(envelope.id, &match method {
                    "server/discover" => return self.discover_when_known(session, envelope, speech),
                    _ if eras::fate(method, era) == Fate::NoMethod => no_method(envelope),
                    "ping" => reply::result(envelope.id, "{}"),
                    "logging/setLevel" => set_level(self, session, envelope),
                    _ => {
                        let message = format!("`{method}` is not offered for all servers together: connect to one server with `trunkline connect SERVER`");
                        reply::error(envelope.id, code::METHOD_NOT_FOUND, &message)
                    }
                });
                Routed::Done
            }
        }
    }

    async fn merged_list(self: &Arc<Self>, session: &Arc<Session>, kind: ListKind, speech: &Speech) -> String {
        let Lists { there: lists, unread } = self.lists(session, kind, speech).await;
        let missing = self.missing(session, kind, &lists, &unread);
        let mut items: Vec<String> = Vec::new();
        let mut seen: HashMap<String, ServerName> = HashMap::new();
        for (upstream, list) in &lists {
            let shown = match kind {
                ListKind::Tools => upstream.spelled.shown_names(list),
                ListKind::Prompts | ListKind::Resources | ListKind::Templates => Vec::new(),
            };
            for (index, item) in list.iter().enumerate() {
                match kind {
                    ListKind::Tools if !upstream.allows(&item.key) => {}
                    ListKind::Tools | ListKind::Prompts => {
                        let qualified = upstream.name.qualify(shown.get(index).unwrap_or(&item.key));
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
        let modern = match speech {
            Speech::Modern(_) => r#","resultType":"complete","ttlMs":0,"cacheScope":"private""#,
            Speech::Legacy(_) => "",
        };
        format!(r#"{{"{}":[{}]{modern}{missing}}}"#, kind.member(), items.join(","))
    }

    /// What a list has to go without, said to the agent: a member of the result, raw, with the reasons, and in the legacy
    /// era a log message too. Empty where nothing is missing.
    fn missing(
        &self,
        session: &Session,
        kind: ListKind,
        lists: &[(Arc<Upstream>, List)],
        unread: &BTreeMap<ServerName, Arc<str>>,
    ) -> String {
        let all = self.upstreams();
        let is_absent = |upstream: &Arc<Upstream>| {
            let settings = upstream.settings();
            (settings.is_usable() || settings.wrong.is_some())
                && self.sees(session, &upstream.name)
                && lists.iter().all(|(there, _)| there.name != upstream.name)
        };
        let absent = all.iter().filter(|upstream| is_absent(upstream));
        let why = |upstream: &Upstream| match unread.get(&upstream.name) {
            Some(error) => error.to_string(),
            None => upstream.absence(),
        };
        let absent: Vec<_> = absent.map(|upstream| (&upstream.name, why(upstream))).collect();
        if absent.is_empty() {
            return String::new();
        }
        let members = absent.iter().map(|(name, why)| format!("{}:{}", quoted(name.as_str()), quoted(why)));
        let members = members.collect::<Vec<_>>().join(",");
        let wants = session.level().as_deref().and_then(Level::parse).is_none_or(|level| level <= Level::Warning);
        if session.class().is_some() && kind == ListKind::Tools && wants {
            let names: Vec<_> = absent.iter().map(|(name, why)| format!("{name} ({why})")).collect();
            let text = quoted(&format!("the list is without these servers: {}", names.join("; ")));
            let params = format!(r#"{{"level":"warning","logger":"trunkline","data":{text}}}"#);
            session.tell(To::Agent, &reply::notification("notifications/message", &params));
        }
        format!(r#","_meta":{{"io.github.trunkline/missing":{{{members}}}}}"#)
    }

    /// Each server's list, in the order of the configuration, of those that are there in time.
    pub(in crate::hub) async fn lists(
        self: &Arc<Self>,
        session: &Arc<Session>,
        kind: ListKind,
        speech: &Speech,
    ) -> Lists {
        let visible = self.visible(session);
        let until = patience::until(&session.names(), session.since, Instant::now(), Awaited::List);
        let lists = visible.iter().map(|upstream| async move {
            if let Some(list) = self.recall_list(session, upstream, kind, speech) {
                return Some((upstream.clone(), Ok(list)));
            }
            let gone = session.gone.clone();
            let (hub, who, name, speech) = (self.clone(), session.clone(), upstream.name.clone(), speech.clone());
            // Goes on when its time is over: who was given a list without it is told when it is there.
            let list = async move {
                let site = match hub.line(&who, name.as_str(), &speech).await {
                    Ok(site) => site,
                    Err(failure) => {
                        if let Failure::NeedsLogin { .. } = failure {
                            who.note_missed(&name, kind);
                        }
                        return None;
                    }
                };
                let list = site.server.list(&site.line, kind).await;
                Some(list.inspect_err(|error| tracing::warn!(server = %name, %error, "list not read")))
            };
            let list = self.services.around.tasks.spawn(gone.run_until_cancelled_owned(list));
            match tokio::time::timeout_at(until.into(), list).await {
                Ok(list) => Some((upstream.clone(), list.ok()???)),
                Err(_) => {
                    session.note_missed(&upstream.name, kind);
                    None
                }
            }
        });
        let mut all = Lists::default();
        for (upstream, list) in join_all(lists).await.into_iter().flatten() {
            match list {
                Ok(list) => all.there.push((upstream, list)),
                Err(error) => drop(all.unread.insert(upstream.name.clone(), error)),
            }
        }
        all
    }

    fn by_name(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>, speech: Speech) -> Routed {
        let raw = envelope.params.name.unwrap_or("\"\"");
        let name = text(raw).unwrap_or_default();
        let Some((server, own)) = names::split(&name) else {
            let message = format!("`{name}` names no server: names are `server__name` here");
            session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_PARAMS, &message));
            return Routed::Done;
        };
        let upstream = self.upstream(server).ok().filter(|_| envelope.method == "tools/call");
        let spelled = upstream.and_then(|upstream| upstream.own_tool_name(own));
        let own = spelled.as_deref().unwrap_or(own);
        if let Some(failure) = self.not_offered(session, server, own, &envelope.method) {
            session.reply(envelope.id, &failure.frame(envelope.id));
            return Routed::Done;
        }
        let own = quoted(own);
        if let Some(site) = self.joined(session, server, &speech) {
            return self.send(session, &site, envelope, vec![envelope.edit(raw, &own)], Then::Nothing);
        }
        let (hub, who, server, frame) = (self.clone(), session.clone(), server.to_owned(), envelope.frame.to_owned());
        let at = envelope.span(raw);
        Routed::Later(cancellable(session, envelope, async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            match hub.line_for_call(&who, &server, &speech).await {
                Ok(site) => {
                    let edit = crate::envelope::Edit { at, with: &own };
                    hub.send_patiently(&who, site, envelope, vec![edit], Then::Nothing).await;
                }
                Err(failure) => who.reply(envelope.id, &failure.frame(envelope.id)),
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
        if method == "tools/call" { upstream.refuses(name) } else { None }
    }

    /// A list of a server that is not up, if it is known.
    fn recall_list(
        self: &Arc<Self>,
        session: &Session,
        upstream: &Arc<Upstream>,
        kind: ListKind,
        speech: &Speech,
    ) -> Option<List> {
        if self.joined(session, upstream.name.as_str(), speech).is_some() {
            return None;
        }
        let key = upstream.recall_key(session, speech)?;
        let list = upstream.recall_list(&upstream.audience(&key)?, kind)?;
        upstream.confirm_later(&key);
        Some(list)
    }

    /// Why servers are missing from the lists, for an error that they explain.
    pub(in crate::hub) fn absent(&self, session: &Session) -> Vec<(ServerName, String)> {
        let visible = self.visible(session);
        let failed = visible.iter().filter(|upstream| upstream.lines().is_empty());
        failed.filter_map(|upstream| Some((upstream.name.clone(), upstream.known().last_error?.to_string()))).collect()
    }
}

fn server_info() -> String {
    format!(r#"{{"name":"trunkline","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
}

fn set_level(hub: &Arc<Hub>, session: &Session, envelope: &Envelope<'_>) -> String {
    let Some((raw, level)) = envelope.params.level.and_then(|raw| Some((raw, Level::parse(raw)?))) else {
        return bad_level(envelope.id);
    };
    session.set_level(raw);
    for Site { line, .. } in hub.sites(session) {
        if line.handshake().is_some_and(|handshake| handshake.offers("logging")) {
            line.tell_level(session.id, level);
        }
    }
    reply::result(envelope.id, "{}")
}
