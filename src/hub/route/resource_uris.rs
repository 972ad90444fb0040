//! Which server a resource belongs to, in the all-servers view.

use std::sync::Arc;

use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, quoted, text};
use crate::era::{AgentTerms, Era};
use crate::hub::Hub;
use crate::hub::instance::calls::pending_call::OnReply;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::session::Session;
use crate::lists::ListKind;
use crate::method::Method;
use crate::names::{self, ServerName};
use crate::wire::Message;

/// Where a request goes: the server, and what it calls the thing.
struct Target {
    server: ServerName,
    own: String,
}

impl Hub {
    /// Takes a request that names a resource, or completes an argument of a prompt or of a resource template.
    pub(in crate::hub) fn by_resource(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        terms: AgentTerms,
    ) -> Routed {
        let (hub, who, frame) = (self.clone(), session.clone(), envelope.frame.to_owned());
        Routed::Later(cancellable(session, envelope, async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            let completion = envelope.method == Some(Method::Complete);
            let part = if completion {
                envelope.params.reference.name.or(envelope.params.reference.uri)
            } else {
                envelope.params.uri
            };
            let Some((raw, named)) = part.and_then(|raw| Some((raw, text(raw)?))) else {
                who.reply(
                    envelope.id,
                    &reply::error(envelope.id, code::INVALID_PARAMS, "the request names no resource and no prompt"),
                );
                return;
            };
            let target = if completion && envelope.params.reference.name.is_some() {
                names::split(&named).and_then(|(server, own)| {
                    Some(Target { server: hub.visible_named(&who, server)?, own: own.to_owned() })
                })
            } else {
                hub.resolve(&who, &named, &terms).await
            };
            let Some(target) = target else {
                who.reply(
                    envelope.id,
                    &reply::error(envelope.id, code::RESOURCE_NOT_FOUND, &hub.nobody_has(&who, &named)),
                );
                return;
            };
            match hub.instance_for_call(&who, target.server.as_str(), &terms).await {
                Ok(site) => {
                    let instance = &site.instance;
                    let own = quoted(&target.own);
                    let edit = Edit { at: envelope.span(raw), with: &own };
                    let mut on_reply = OnReply::Nothing;
                    let subscribes = envelope.method == Some(Method::Subscribe);
                    if instance.era() == Era::Modern && (subscribes || envelope.method == Some(Method::Unsubscribe)) {
                        if subscribes {
                            instance.begin_subscription(&who, &target.own, &named);
                        } else {
                            instance.finish_subscription(who.id, &named);
                        }
                        return who.reply(envelope.id, &reply::result(envelope.id, "{}"));
                    }
                    if subscribes {
                        if instance.subscribe(who.id, &target.own, &named) {
                            on_reply = OnReply::Subscribe(target.own.clone());
                        }
                    } else if envelope.method == Some(Method::Unsubscribe) && instance.unsubscribe(who.id, &target.own)
                    {
                        who.reply(envelope.id, &reply::result(envelope.id, "{}"));
                        return;
                    }
                    hub.send_patiently(&who, site, envelope, vec![edit], on_reply).await;
                }
                Err(failure) => hub.refuse_request(&who, envelope, &failure),
            }
        }))
    }

    /// The server that a URI belongs to, and what that calls it.
    pub(in crate::hub) async fn owner_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        uri: &str,
        terms: &AgentTerms,
    ) -> Option<(ServerName, String)> {
        let Target { server, own } = self.resolve(session, uri, terms).await?;
        Some((server, own))
    }

    /// The server that a URI was listed for, else the one whose template it fits best, else the only one with resources.
    async fn resolve(self: &Arc<Self>, session: &Arc<Session>, uri: &str, terms: &AgentTerms) -> Option<Target> {
        if let Some((server, own)) = names::split_uri(uri)
            && let Some(server) = self.visible_named(session, server)
        {
            return Some(Target { server, own: own.to_owned() });
        }
        let target = |server: &ServerName| Some(Target { server: server.clone(), own: uri.to_owned() });
        if let Some(server) = session.server_of_uri(uri).and_then(|server| self.visible_named(session, server.as_str()))
        {
            return target(&server);
        }
        let listed = self.lists(session, ListKind::Resources, terms).await.there;
        if let Some((server, _)) = listed.iter().find(|(_, list)| list.iter().any(|item| item.key == uri)) {
            return target(&server.name);
        }
        let templates = self.lists(session, ListKind::Templates, terms).await.there;
        let fitting = templates
            .iter()
            .flat_map(|(server, list)| list.iter().filter_map(move |item| Some((fit(&item.key, uri)?, server))));
        // The first of equals: `max_by_key` would take the last.
        let best = fitting.fold(
            None,
            |best: Option<(usize, _)>, next| if best.is_some_and(|best| best.0 >= next.0) { best } else { Some(next) },
        );
        if let Some((_, server)) = best {
            return target(&server.name);
        }
        let sites = self.sites(session);
        let mut offering = sites
            .iter()
            .map(|site| &site.instance)
            .filter(|instance| instance.handshake().is_some_and(|handshake| handshake.offers("resources")));
        match (offering.next(), offering.next()) {
            (Some(only), None) => target(&only.name),
            (_, _) => None,
        }
    }

    fn visible_named(&self, session: &Session, name: &str) -> Option<ServerName> {
        let mut visible = self.visible(session).into_iter();
        visible.find(|server| server.name.as_str() == name).map(|server| server.name.clone())
    }

    fn nobody_has(&self, session: &Session, named: &str) -> String {
        let absent: Vec<_> =
            self.absent(session).into_iter().map(|(server, error)| format!("{server}: {error}")).collect();
        let absent = if absent.is_empty() { String::new() } else { format!("; not there: {}", absent.join("; ")) };
        format!("no server offers `{named}`{absent}")
    }
}

/// How many literal characters of a URI template `uri` matches at its start, or `None` if it does not fit (RFC 6570,
/// as far as it takes to tell servers apart).
fn fit(template: &str, uri: &str) -> Option<usize> {
    if template == uri {
        return Some(usize::MAX);
    }
    let (start, rest) = template.split_once('{')?;
    let end = rest.rsplit_once('}').map_or("", |(_, end)| end);
    let middle = uri.strip_prefix(start)?;
    middle.ends_with(end).then_some(start.len() + end.len())
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn templates_fit_by_their_literals() {
        assert_eq!(fit("demo://r/{id}", "demo://r/1"), Some(9));
        assert_eq!(fit("demo://r/{id}.txt", "demo://r/1"), None);
        assert_eq!(fit("demo://r/{id}", "other://r/1"), None);
        assert_eq!(fit("demo://r/{id}", "demo://r/{id}"), Some(usize::MAX));
        assert_eq!(fit("demo://r/1", "demo://r/2"), None);
    }
}
