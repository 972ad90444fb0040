//! What an agent sends, brought to the server it is for.

pub(in crate::hub) mod all_servers;
pub(in crate::hub) mod cached_answers;
pub(in crate::hub) mod find_instance;
pub(in crate::hub) mod other_era;
pub(in crate::hub) mod plan;
pub(in crate::hub) mod refuse;
pub(in crate::hub) mod resource_uris;
pub(in crate::hub) mod send;

use std::sync::Arc;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind, text};
use crate::era::{AgentTerms, ClientProfile, Era};
use crate::fault;
use crate::hub::agent::View;
use crate::hub::eras::{incomplete, no_method};
use crate::hub::failure::Failure;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::OnReply;
use crate::hub::log_level::Level;
use crate::hub::route::plan::Plan;
use crate::hub::route::refuse::is_own_task;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::session::Session;
use crate::hub::session::open_request::{Accepted, OpenRequest};
use crate::hub::{Hub, Site};
use crate::lists::ListKind;
use crate::method::Method;
use crate::names::ServerName;
use crate::wire::Message;

/// The id of a task that no server has, raw.
const NO_TASK: &str = "\"no-task-of-this-agent\"";

impl Hub {
    /// Takes one message of an agent. What can be done at once is done at once.
    pub fn take(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        fault::provoked_by(&envelope.method_name);
        session.hear(envelope.frame);
        match envelope.kind {
            Kind::Request => self.request(session, envelope),
            Kind::Notification => {
                self.notification(session, envelope);
                Routed::Done
            }
            Kind::Response => {
                match session.take_open_request(envelope.id) {
                    Some(OpenRequest::Server { instance, id, .. }) => {
                        if let Some(site) = self.site(instance) {
                            site.instance.answer(session, &id, envelope);
                        }
                    }
                    Some(OpenRequest::InputRound { call, round: number, index }) => {
                        let round = self.rounds.get(session.id, &call).filter(|round| round.number == number);
                        if let Some(round) = round {
                            self.answer_round(&round, index, envelope.id, envelope);
                        }
                    }
                    Some(OpenRequest::Roots) => self.take_roots(session, Some(envelope)),
                    Some(OpenRequest::Login(sender)) => {
                        let answer = Accepted::of(envelope.result.unwrap_or_default(), None);
                        if sender.send(answer).is_err() {
                            tracing::debug!(session = session.id.0, "nobody waits for this login any more");
                        }
                    }
                    None => tracing::debug!(session = session.id.0, id = envelope.id, "dropped an answer to nothing"),
                }
                Routed::Done
            }
        }
    }

    /// Likewise, and waits until it is done.
    pub async fn take_to_end(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) {
        match self.take(session, envelope) {
            Routed::Done => {}
            Routed::Later(later) | Routed::Aside(later) => later.await,
        }
    }

    fn request(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        session.missing.lock().supersede(envelope);
        if envelope.method == Some(Method::Initialize) {
            if !envelope.is_modern() {
                return self.initialize(session, envelope);
            }
            // To a server, it would begin a session; the era has none.
            session.reply(envelope.id, &no_method(envelope));
            return Routed::Done;
        }
        if let Some(refusal) = incomplete(envelope) {
            session.reply(envelope.id, &refusal);
            return Routed::Done;
        }
        if envelope.is_modern() && session.client_info().is_none() {
            introduce(session, envelope.params.meta.client_info);
        }
        let terms = session.terms(envelope);
        if let Some(routed) = self.resume(session, envelope) {
            return routed;
        }
        let Some(terms) = terms else {
            // Both eras let an agent ask whether anybody is there before it introduces itself.
            let answer = match envelope.method {
                Some(Method::Ping) => reply::result(envelope.id, "{}"),
                _ => {
                    let message = "the session has not begun: send `initialize`, or carry `io.modelcontextprotocol/protocolVersion` in `params._meta`";
                    reply::error(envelope.id, code::INVALID_REQUEST, message)
                }
            };
            session.reply(envelope.id, &answer);
            return Routed::Done;
        };
        match &session.view {
            View::All | View::Profile(_) => self.merged(session, envelope, terms),
            View::One(server) => match self
                .with_task(session, server, envelope)
                .or_else(|| self.joined(session, server.as_str(), &terms))
            {
                Some(site) => self.send_own(session, &site, envelope),
                None => self.without_line(session, server, terms, envelope),
            },
        }
    }

    fn initialize(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        let version = envelope.params.protocol_version.and_then(text);
        let profile =
            version.and_then(|version| ClientProfile::of(&version, envelope.params.capabilities.unwrap_or("{}")));
        let Some(profile) = profile else {
            let message = "initialize: `protocolVersion` must be a string and `capabilities` an object";
            session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_PARAMS, message));
            return Routed::Done;
        };
        introduce(session, envelope.params.client_info);
        for question in session.take_open_requests() {
            self.refuse(&question, "the agent that was asked began anew");
        }
        self.end_rounds(session);
        for site in session.begin(profile.clone()).into_iter().filter_map(|id| self.site(id)) {
            site.instance.detach(session);
        }
        self.forget(session);
        let View::One(name) = &session.view else {
            return self.greet_when_known(session, envelope, &profile);
        };
        let server = match self.server(name.as_str()) {
            Ok(server) => server,
            Err(failure) => {
                session.reply(envelope.id, &failure.frame(envelope.id));
                return Routed::Done;
            }
        };
        let terms = AgentTerms::Legacy(Arc::new(profile.clone()));
        if server.instances().is_empty()
            && let Some(answer) = self.recall(session, &server, &terms, envelope)
        {
            session.greet(envelope.id, &answer);
            return Routed::Done;
        }
        let Some(waits) = session.wait_with(envelope) else { return Routed::Done };
        let (hub, session, name, id) = (self.clone(), session.clone(), name.clone(), envelope.id.to_owned());
        Routed::Later(Box::pin(async move {
            let _waits = waits;
            match hub.find_instance(&session, name.as_str(), &terms).await {
                Ok(Site { instance, .. }) => {
                    let frame = instance.greeting(&id, profile.answer_version());
                    // Joined only behind its answer, so that no notification can overtake the handshake.
                    session.greet(
                        &id,
                        &frame.unwrap_or_else(|| {
                            reply::error(&id, code::INTERNAL, "the server's handshake was not kept")
                        }),
                    );
                    instance.attach(&session, terms.profile());
                }
                // It need not connect again when the login is done.
                Err(Failure::NeedsLogin { .. }) => session.greet(&id, &hub.greeting(&session, &id, &profile)),
                Err(failure) => session.reply(&id, &failure.frame(&id)),
            }
        }))
    }

    /// Where the task of the agent's runs that a request names, if the agent has another instance now.
    fn with_task(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &ServerName,
        envelope: &Envelope<'_>,
    ) -> Option<Site> {
        let task =
            envelope.params.task_id.filter(|_| envelope.method.is_some_and(Method::is_about_tasks)).and_then(text)?;
        let server = self.server(server.as_str()).ok()?;
        let began = |instance: &Arc<Instance>| instance.calls.lock().tasks.began(&task, session);
        let instance = server.all_instances().into_iter().find(|instance| !instance.is_closed() && began(instance))?;
        instance.borrow(session);
        Some(Site { hub: self.clone(), server, instance })
    }

    /// A request of a one-server view whose server is not up for it: answered from what is known, or when it is up.
    fn without_line(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &ServerName,
        terms: AgentTerms,
        envelope: &Envelope<'_>,
    ) -> Routed {
        let recalled = self.server(server.as_str()).ok();
        match recalled.and_then(|server| self.recall(session, &server, &terms, envelope)) {
            Some(answer) => {
                session.reply(envelope.id, &answer);
                Routed::Done
            }
            None => self.start_then_send(session, server.clone(), terms, envelope),
        }
    }

    /// Sends a request of a one-server view on, as it is.
    fn send_own(self: &Arc<Self>, session: &Arc<Session>, site: &Site, envelope: &Envelope<'_>) -> Routed {
        match self.own_plan(session, site, envelope) {
            Plan::Answered => Routed::Done,
            Plan::Send(edits, on_reply) => self.send(session, site, envelope, edits, on_reply),
        }
    }

    /// Brings a notification to the agent's servers of its own era; the other era has none of them.
    fn pass_on(self: &Arc<Self>, session: &Session, envelope: &Envelope<'_>) {
        let era = if session.profile().is_some() { Era::Legacy } else { Era::Modern };
        let sites = self.sites(session).into_iter().filter(|site| site.instance.era() == era);
        let sites = sites.filter(|site| refuse::foreign_task(session, site, envelope).is_none());
        sites.for_each(|site| site.instance.notify(session, envelope, &mut []));
    }

    /// What to do with a request of a one-server view.
    fn own_plan<'e>(self: &Arc<Self>, session: &Arc<Session>, site: &Site, envelope: &Envelope<'e>) -> Plan<'e> {
        let instance = &site.instance;
        if let Some(plan) = self.translation(session, site, envelope) {
            return plan;
        }
        let uri = || envelope.params.uri.and_then(text);
        if let Some(kind) = ListKind::of_method(envelope.method).filter(|_| !envelope.params.is_retry()) {
            return Plan::Send(Vec::new(), OnReply::List { kind, cursor: envelope.params.cursor.map(Into::into) });
        }
        if let Some(refusal) = refuse::refusal(session, site, envelope) {
            self.record_refused(session, envelope, &site.server.name, &refusal);
            session.reply(envelope.id, &refusal);
            return Plan::Answered;
        }
        match envelope.method {
            Some(Method::ListTasks) => Plan::Send(Vec::new(), OnReply::Tasks),
            Some(Method::GetTask | Method::TaskResult | Method::CancelTask | Method::UpdateTask) => {
                match envelope.params.task_id {
                    // To whoever did not begin a task, the server itself says that there is none.
                    Some(raw) if !is_own_task(session, instance, raw) => {
                        Plan::Send(vec![envelope.edit(raw, NO_TASK)], OnReply::Nothing)
                    }
                    // What is brought to a task is acknowledged, and it goes on.
                    Some(raw) if envelope.method != Some(Method::UpdateTask) => {
                        Plan::Send(Vec::new(), OnReply::Task(text(raw).unwrap_or_default().into()))
                    }
                    Some(_) | None => Plan::Send(Vec::new(), OnReply::Nothing),
                }
            }
            Some(Method::Listen) => Plan::Send(Vec::new(), OnReply::Listen),
            Some(Method::SetLevel) => match envelope.params.level.and_then(|raw| Some((raw, Level::parse(raw)?))) {
                Some((raw, level)) => {
                    let (before, effective) = instance.set_level(session.id, level);
                    Plan::Send(vec![envelope.edit(raw, effective)], OnReply::SetLevel(before))
                }
                None => Plan::Send(Vec::new(), OnReply::Nothing),
            },
            Some(Method::Subscribe) => match uri() {
                Some(uri) => {
                    let is_new = instance.subscribe(session.id, &uri, &uri);
                    let on_reply = if is_new { OnReply::Subscribe(uri.into_owned()) } else { OnReply::Nothing };
                    Plan::Send(Vec::new(), on_reply)
                }
                None => Plan::Send(Vec::new(), OnReply::Nothing),
            },
            Some(Method::Unsubscribe) if uri().is_some_and(|uri| instance.unsubscribe(session.id, &uri)) => {
                session.reply(envelope.id, &reply::result(envelope.id, "{}"));
                Plan::Answered
            }
            _ => Plan::Send(Vec::new(), OnReply::Nothing),
        }
    }

    fn start_then_send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: ServerName,
        terms: AgentTerms,
        envelope: &Envelope<'_>,
    ) -> Routed {
        let (hub, who, frame) = (self.clone(), session.clone(), envelope.frame.to_owned());
        let work = async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            let kind = ListKind::of_method(envelope.method);
            let found = match kind {
                Some(_) => hub.instance(&who, server.as_str(), &terms).await,
                None => hub.instance_for_call(&who, server.as_str(), &terms).await,
            };
            match (found, kind) {
                (Err(Failure::NeedsLogin { .. }), Some(kind)) if who.profile().is_some() => {
                    // What it offers is told when the login is done.
                    who.note_missed(&server, kind);
                    who.reply(envelope.id, &reply::result(envelope.id, &format!(r#"{{"{}":[]}}"#, kind.member())));
                }
                (Ok(site), _) => match hub.own_plan(&who, &site, envelope) {
                    Plan::Answered => {}
                    Plan::Send(edits, on_reply) => {
                        hub.send_patiently(&who, site.clone(), envelope, edits, on_reply).await
                    }
                },
                (Err(failure), _) => hub.refuse_request(&who, envelope, &failure),
            }
        };
        Routed::Later(cancellable(session, envelope, work))
    }

    fn notification(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) {
        match envelope.method {
            // rmcp said so to the server already, once for all who share it.
            Some(Method::Initialized) => {
                if self.is_to_name_roots(session) {
                    // The handshake went where the agent was before it could be asked.
                    self.wait_for_roots(session);
                }
                self.ask_roots(session);
            }
            Some(Method::RootsChanged) => {
                self.pass_on(session, envelope);
                self.ask_roots(session);
            }
            Some(Method::Cancelled) => {
                let waiting = envelope.params.request_id.is_some_and(|id| {
                    let round = self.rounds.get(session.id, id).is_some_and(|round| self.end_round(&round));
                    let waiting = session.cancel_waiting(id) || round;
                    if waiting {
                        session.over(id);
                    }
                    waiting || self.end_listen(session, id)
                });
                if !waiting && !self.sites(session).iter().any(|site| site.instance.cancel(session, envelope)) {
                    tracing::debug!(
                        session = session.id.0,
                        "a cancellation came too late, or names no call of this agent"
                    );
                }
            }
            Some(Method::Progress) => {
                let Some(token) = envelope.params.progress_token else { return };
                if let Some((asker, own)) = session.asker_of_token(token)
                    && let Some(site) = self.site(asker)
                {
                    site.instance.notify(session, envelope, &mut [envelope.edit(token, &own)]);
                }
            }
            // A task that the agent made of what a server asked is that server's.
            Some(Method::TaskStatus) => {
                let task = envelope.params.task_id.and_then(text);
                let is_asker = |site: &Site| {
                    let asker = task.as_ref().and_then(|id| site.instance.calls.lock().agents_tasks.of(id));
                    asker == Some(session.id)
                };
                let askers = self.sites(session).into_iter().filter(is_asker);
                askers.for_each(|site| site.instance.notify(session, envelope, &mut []));
            }
            _ => self.pass_on(session, envelope),
        }
    }
}

fn introduce(session: &Session, client_info: Option<&str>) {
    if let Some(client_info) = client_info {
        session.introduce(client_info);
    }
}
