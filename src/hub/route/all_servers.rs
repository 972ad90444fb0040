//! The all-servers view: one handshake, merged lists, names as `server__name`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, quoted, text};
use crate::era::{AgentTerms, ClientProfile, Era};
use crate::hub::agent::View;
use crate::hub::client_timeouts::Awaited;
use crate::hub::eras::{Disposition, bad_level, no_method, unsupported};
use crate::hub::failure::Failure;
use crate::hub::instance::calls::pending_call::OnReply;
use crate::hub::log_level::Level;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::{Hub, Site, client_timeouts, eras};
use crate::lists::ListKind;
use crate::method::Method;
use crate::names::{self, MAX_QUALIFIED, ServerName};
use crate::upstream::catalog::List;
use crate::wire::{Message, To};

const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}"#;

/// One kind of list of each server.
#[derive(Default)]
pub(in crate::hub) struct Lists {
    /// In the order of the configuration.
    pub there: Vec<(Arc<Server>, List)>,
    /// Why some could not be read.
    unread: BTreeMap<ServerName, Arc<str>>,
}

impl Hub {
    /// The answer to `initialize`: at once, from what is known.
    pub(in crate::hub) fn greeting(&self, session: &Session, id: &str, profile: &ClientProfile) -> String {
        let version = profile.answer_version();
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
        let known = visible.iter().filter_map(|server| Some((&server.name, server.instructions()?)));
        let mut parts: Vec<_> = known.map(|(name, text)| format!("# {name}\n\n{}", text.trim())).collect();
        let late: Vec<_> = visible.iter().filter(|server| !server.has_said()).collect();
        if !late.is_empty() {
            let names: Vec<_> = late.iter().map(|server| format!("`{}`", server.name)).collect();
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
        terms: AgentTerms,
    ) -> Routed {
        if self.unheard(session).is_empty() {
            session.reply(envelope.id, &self.discover(session, envelope.id));
            return Routed::Done;
        }
        let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
        Routed::Later(cancellable(session, envelope, async move {
            hub.hear(&who, &terms).await;
            who.reply(&id, &hub.discover(&who, &id));
        }))
    }

    /// Answers `initialize`, likewise.
    pub(in crate::hub) fn greet_when_known(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        profile: &ClientProfile,
    ) -> Routed {
        let id = envelope.id;
        if self.unheard(session).is_empty() {
            session.greet(id, &self.greeting(session, id, profile));
            return Routed::Done;
        }
        let Some(waits) = session.wait_with(envelope) else { return Routed::Done };
        let (hub, who, id, profile) = (self.clone(), session.clone(), id.to_owned(), Arc::new(profile.clone()));
        Routed::Later(Box::pin(async move {
            let _waits = waits;
            hub.hear(&who, &AgentTerms::Legacy(profile.clone())).await;
            who.greet(&id, &hub.greeting(&who, &id, &profile));
        }))
    }

    /// The servers that have not said yet what they are.
    fn unheard(&self, session: &Session) -> Vec<Arc<Server>> {
        let visible = self.visible(session);
        visible.into_iter().filter(|server| !server.has_said()).collect()
    }

    /// Waits until every server has said what it is, has failed, or the agent would not wait any longer.
    async fn hear(self: &Arc<Self>, session: &Arc<Session>, terms: &AgentTerms) {
        let until = client_timeouts::until(&session.names(), session.since, Instant::now(), Awaited::Handshake);
        let starts = self.unheard(session).into_iter().map(|server| {
            let (hub, who, terms) = (self.clone(), session.clone(), terms.clone());
            // Goes on when nobody waits any more: the lists are asked for next.
            self.services
                .around
                .tasks
                .spawn(async move { drop(hub.find_instance(&who, server.name.as_str(), &terms).await) })
        });
        drop(tokio::time::timeout_at(until.into(), join_all(starts)).await);
    }

    /// Takes a request of the all-servers view.
    pub(in crate::hub) fn merged(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        terms: AgentTerms,
    ) -> Routed {
        let era = terms.era();
        if let Some(refusal) = unsupported(envelope) {
            session.reply(envelope.id, &refusal);
            return Routed::Done;
        }
        if let Some(kind) = ListKind::of_method(envelope.method) {
            let (hub, who, id) = (self.clone(), session.clone(), envelope.id.to_owned());
            return Routed::Later(cancellable(session, envelope, async move {
                let result = hub.merged_list(&who, kind, &terms).await;
                who.reply(&id, &reply::result(&id, &result));
            }));
        }
        match envelope.method {
            Some(Method::CallTool | Method::GetPrompt) => self.by_name(session, envelope, terms),
            Some(Method::ReadResource | Method::Complete) => self.by_resource(session, envelope, terms),
            Some(Method::Subscribe | Method::Unsubscribe) if era == Era::Legacy => {
                self.by_resource(session, envelope, terms)
            }
            Some(Method::Listen) if era == Era::Modern => self.listen_to_all(session, envelope, terms),
            method => {
                session.reply(envelope.id, &match method {
                    Some(Method::Discover) => return self.discover_when_known(session, envelope, terms),
                    _ if eras::disposition(method, era) == Disposition::NoMethod => no_method(envelope),
                    Some(Method::Ping) => reply::result(envelope.id, "{}"),
                    Some(Method::SetLevel) => set_level(self, session, envelope),
                    _ => {
                        let message = format!("`{}` is not offered for all servers together: connect to one server with `trunkline connect SERVER`", envelope.method_name);
                        reply::error(envelope.id, code::METHOD_NOT_FOUND, &message)
                    }
                });
                Routed::Done
            }
        }
    }

    async fn merged_list(self: &Arc<Self>, session: &Arc<Session>, kind: ListKind, terms: &AgentTerms) -> String {
        let Lists { there: lists, unread } = self.lists(session, kind, terms).await;
        let missing = self.missing(session, kind, &lists, &unread);
        let mut items: Vec<String> = Vec::new();
        let mut seen: HashMap<String, ServerName> = HashMap::new();
        for (server, list) in &lists {
            let shown = match kind {
                ListKind::Tools => server.spelled.shown_names(list),
                ListKind::Prompts | ListKind::Resources | ListKind::Templates => Vec::new(),
            };
            for (index, item) in list.iter().enumerate() {
                match kind {
                    ListKind::Tools if !server.allows(&item.key) => {}
                    ListKind::Tools | ListKind::Prompts => {
                        let qualified = server.name.qualify(shown.get(index).unwrap_or(&item.key));
                        if qualified.len() > MAX_QUALIFIED {
                            server.note_hidden(&item.key);
                        } else {
                            items.push(item.renamed(&qualified));
                        }
                    }
                    ListKind::Resources | ListKind::Templates => match seen.get(&item.key) {
                        Some(_) => items.push(item.renamed(&server.name.qualify_uri(&item.key))),
                        None => {
                            seen.insert(item.key.clone(), server.name.clone());
                            items.push(item.raw.to_string());
                        }
                    },
                }
            }
        }
        if kind == ListKind::Resources {
            session.note_uris(seen);
        }
        let modern = match terms {
            AgentTerms::Modern(_) => r#","resultType":"complete","ttlMs":0,"cacheScope":"private""#,
            AgentTerms::Legacy(_) => "",
        };
        format!(r#"{{"{}":[{}]{modern}{missing}}}"#, kind.member(), items.join(","))
    }

    /// What a list has to go without, said to the agent: a member of the result, raw, with the reasons, and in the legacy
    /// era a log message too. Empty where nothing is missing.
    fn missing(
        &self,
        session: &Session,
        kind: ListKind,
        lists: &[(Arc<Server>, List)],
        unread: &BTreeMap<ServerName, Arc<str>>,
    ) -> String {
        let all = self.servers();
        let is_absent = |server: &Arc<Server>| {
            let settings = server.settings();
            (settings.is_usable() || settings.wrong.is_some())
                && self.sees(session, &server.name)
                && lists.iter().all(|(there, _)| there.name != server.name)
        };
        let absent = all.iter().filter(|server| is_absent(server));
        let why = |server: &Server| match unread.get(&server.name) {
            Some(error) => error.to_string(),
            None => server.absence(),
        };
        let absent: Vec<_> = absent.map(|server| (&server.name, why(server))).collect();
        if absent.is_empty() {
            return String::new();
        }
        let members = absent.iter().map(|(name, why)| format!("{}:{}", quoted(name.as_str()), quoted(why)));
        let members = members.collect::<Vec<_>>().join(",");
        let wants = session.level().as_deref().and_then(Level::parse).is_none_or(|level| level <= Level::Warning);
        if session.profile().is_some() && kind == ListKind::Tools && wants {
            let names: Vec<_> = absent.iter().map(|(name, why)| format!("{name} ({why})")).collect();
            let text = quoted(&format!("the list is without these servers: {}", names.join("; ")));
            let params = format!(r#"{{"level":"warning","logger":"trunkline","data":{text}}}"#);
            session.tell(To::Agent, &reply::notification(Method::Log, &params));
        }
        format!(r#","_meta":{{"io.github.trunkline/missing":{{{members}}}}}"#)
    }

    /// Each server's list, in the order of the configuration, of those that are there in time.
    pub(in crate::hub) async fn lists(
        self: &Arc<Self>,
        session: &Arc<Session>,
        kind: ListKind,
        terms: &AgentTerms,
    ) -> Lists {
        let visible = self.visible(session);
        let until = client_timeouts::until(&session.names(), session.since, Instant::now(), Awaited::List);
        let lists = visible.iter().map(|server| async move {
            if let Some(list) = self.recall_list(session, server, kind, terms) {
                return Some((server.clone(), Ok(list)));
            }
            let gone = session.gone.clone();
            let (hub, who, name, terms) = (self.clone(), session.clone(), server.name.clone(), terms.clone());
            // Goes on when its time is over: who was given a list without it is told when it is there.
            let list = async move {
                let site = match hub.instance(&who, name.as_str(), &terms).await {
                    Ok(site) => site,
                    Err(failure) => {
                        if let Failure::NeedsLogin { .. } = failure {
                            who.note_missed(&name, kind);
                        }
                        return None;
                    }
                };
                let list = site.server.list(&site.instance, kind).await;
                Some(list.inspect_err(|error| tracing::warn!(server = %name, %error, "list not read")))
            };
            let list = self.services.around.tasks.spawn(gone.run_until_cancelled_owned(list));
            match tokio::time::timeout_at(until.into(), list).await {
                Ok(list) => Some((server.clone(), list.ok()???)),
                Err(_) => {
                    session.note_missed(&server.name, kind);
                    None
                }
            }
        });
        let mut all = Lists::default();
        for (server, list) in join_all(lists).await.into_iter().flatten() {
            match list {
                Ok(list) => all.there.push((server, list)),
                Err(error) => drop(all.unread.insert(server.name.clone(), error)),
            }
        }
        all
    }

    fn by_name(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>, terms: AgentTerms) -> Routed {
        let raw = envelope.params.name.unwrap_or("\"\"");
        let name = text(raw).unwrap_or_default();
        let Some((server, own)) = names::split(&name) else {
            let message = format!("`{name}` names no server: names are `server__name` here");
            session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_PARAMS, &message));
            return Routed::Done;
        };
        let found = self.server(server).ok().filter(|_| envelope.method == Some(Method::CallTool));
        let spelled = found.and_then(|found| found.own_tool_name(own));
        let own = spelled.as_deref().unwrap_or(own);
        if let Some(failure) = self.not_offered(session, server, own, envelope.method) {
            self.refuse_request(session, envelope, &failure);
            return Routed::Done;
        }
        let own = quoted(own);
        if let Some(site) = self.joined(session, server, &terms) {
            return self.send(session, &site, envelope, vec![envelope.edit(raw, &own)], OnReply::Nothing);
        }
        let (hub, who, server, frame) = (self.clone(), session.clone(), server.to_owned(), envelope.frame.to_owned());
        let at = envelope.span(raw);
        Routed::Later(cancellable(session, envelope, async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            match hub.instance_for_call(&who, &server, &terms).await {
                Ok(site) => {
                    let edit = crate::envelope::Edit { at, with: &own };
                    hub.send_patiently(&who, site, envelope, vec![edit], OnReply::Nothing).await;
                }
                Err(failure) => hub.refuse_request(&who, envelope, &failure),
            }
        }))
    }

    /// Why a session may not call this, if it may not.
    fn not_offered(&self, session: &Session, server: &str, name: &str, method: Option<Method>) -> Option<Failure> {
        let known = self.server(server).ok();
        let found = known.as_ref().filter(|found| found.name.as_str() == server && self.sees(session, &found.name));
        let Some(found) = found.filter(|found| found.settings().is_usable()) else {
            // A disabled server says so itself.
            let outside = session.view == View::All && known.is_some();
            let visible = || self.visible(session).into_iter().map(|visible| visible.name.clone()).collect::<Vec<_>>();
            return (!outside).then(|| Failure::unknown(server, &visible()));
        };
        if method == Some(Method::CallTool) { found.refuses(name) } else { None }
    }

    /// A list of a server that is not up, if it is known.
    fn recall_list(
        self: &Arc<Self>,
        session: &Session,
        server: &Arc<Server>,
        kind: ListKind,
        terms: &AgentTerms,
    ) -> Option<List> {
        if self.joined(session, server.name.as_str(), terms).is_some() {
            return None;
        }
        let key = server.recall_key(session, terms)?;
        let list = server.recall_list(&server.audience(&key)?, kind)?;
        server.confirm_later(&key);
        Some(list)
    }

    /// Why servers are missing from the lists, for an error that they explain.
    pub(in crate::hub) fn absent(&self, session: &Session) -> Vec<(ServerName, String)> {
        let visible = self.visible(session);
        let failed = visible.iter().filter(|server| server.instances().is_empty());
        failed.filter_map(|server| Some((server.name.clone(), server.known().last_error?.to_string()))).collect()
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
    for Site { instance, .. } in hub.sites(session) {
        if instance.handshake().is_some_and(|handshake| handshake.offers("logging")) {
            instance.tell_level(session.id, level);
        }
    }
    reply::result(envelope.id, "{}")
}
