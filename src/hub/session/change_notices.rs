//! What an agent hears of changes: by its handshake in the legacy era, by its subscriptions in the modern one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::envelope::{Edit, Envelope, splice};
use crate::hub::eras::{at_params, put_first};
use crate::hub::session::Session;
use crate::hub::session::change_notice_rate::Due;
use crate::hub::session::subscription::SUBSCRIPTION;
use crate::lists::ListKind;
use crate::names::lies_under;
use crate::wire::To;

impl Session {
    /// Whether the agent wants to hear of changes.
    pub(in crate::hub) fn hears_news(&self) -> bool {
        self.is_greeted() || !self.listens().is_empty()
    }

    /// Tells the agent now that a list changed.
    pub(in crate::hub) fn announce(&self, kind: ListKind, frame: &str) {
        if self.is_greeted() {
            self.tell(To::Agent, frame);
        }
        for (id, filter) in self.listens() {
            if filter.wants(kind)
                && let Some(tagged) = tagged(frame, &id)
            {
                self.tell(To::Call(&id), &tagged);
            }
        }
    }

    /// Tells the agent that a resource changed; the frame names it as the agent does.
    pub(in crate::hub) fn tell_updated(&self, uri: &str, frame: &str) {
        if self.profile().is_some() {
            self.tell(To::Agent, frame);
        }
        for (id, filter) in self.listens() {
            if filter.resource_subscriptions.iter().any(|known| lies_under(uri, known))
                && let Some(tagged) = tagged(frame, &id)
            {
                self.tell(To::Call(&id), &tagged);
            }
        }
    }

    /// Tells the agent that a list changed: in the legacy era as such, on its subscriptions in the modern one.
    /// `frame` is what a legacy agent reads.
    pub(in crate::hub) fn tell_changed(self: &Arc<Self>, kind: ListKind, frame: &str) {
        match self.announced.note(kind.changed(), frame, Instant::now()) {
            Due::Now => self.announce(kind, frame),
            Due::Joined => {}
            Due::In(pause) => {
                let session = self.clone();
                self.tasks.spawn(async move {
                    let pause = tokio::time::sleep(pause);
                    if session.gone.run_until_cancelled(pause).await.is_some()
                        && let Some(frame) = session.announced.take(kind.changed())
                    {
                        session.announce(kind, &frame);
                    }
                });
            }
        }
    }

    /// Tells the agent that lists changed: one notification for each kind of list.
    pub(in crate::hub) fn tell_all_changed(self: &Arc<Self>, kinds: impl IntoIterator<Item = ListKind>) {
        let mut told = BTreeSet::new();
        for kind in kinds {
            if told.insert(kind.changed()) {
                self.tell_changed(kind, &kind.notification());
            }
        }
    }
}

/// A notification with the subscription that it is for.
fn tagged(frame: &str, id: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let tag = format!(r#""{SUBSCRIPTION}":{id}"#);
    let (at, with) = match envelope.params.meta_raw.filter(|meta| meta.starts_with('{')) {
        Some(meta) => (envelope.span(meta), put_first(meta, &tag)),
        None => at_params(frame, &format!(r#""_meta":{{{tag}}}"#))?,
    };
    let mut out = Vec::with_capacity(frame.len() + with.len());
    splice(frame, &mut [Edit { at, with: &with }], &mut out);
    String::from_utf8(out).ok()
}
