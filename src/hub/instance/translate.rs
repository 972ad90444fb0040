//! A request on its way to a server of the other era.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::envelope::{Edit, Envelope, spliced};
use crate::era::{ClientProfile, Era};
use crate::hub::eras;
use crate::hub::eras::AsTask;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::Translation;
use crate::hub::instance::calls::tool::tool_of;
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::method::Method;
use crate::upstream::Handshake;

/// What is changed in a request for a server of the other era, and what is kept of it.
pub(in crate::hub) struct Translated {
    pub edits: Vec<(Range<usize>, String)>,
    pub translation: Box<Translation>,
}

impl Instance {
    /// What a request with the view's edits must be changed in for a server of the other era; `None` if it speaks the agent's.
    /// `ours` is the progress token towards the server, if the agent gave one.
    pub(in crate::hub) fn translate(
        &self,
        session: &Session,
        envelope: &Envelope<'_>,
        edits: &[Edit<'_>],
        ours: &str,
    ) -> Option<Translated> {
        let agent = eras::era_of(envelope);
        if agent == self.era() {
            return None;
        }
        let meta = envelope.params.meta_raw;
        let meta = meta.map(|meta| (meta, with_token(meta, envelope.params.meta.progress_token, ours)));
        let own = meta.as_ref().map(|(_, own)| &**own);
        let (with, level) = match agent {
            Era::Modern => (own.map(eras::legacy_meta), envelope.params.meta.log_level.and_then(Level::parse)),
            Era::Legacy => {
                let capabilities =
                    session.profile().map(|profile| profile.capabilities.clone()).unwrap_or("{}".to_owned());
                let capabilities = eras::without_tasks(&capabilities);
                let level = self.level_of(session.id).map(Level::raw);
                (Some(eras::modern_meta(own, session.client_info().as_deref(), &capabilities, level)), None)
            }
        };
        if let Some(level) = level {
            self.want_level(session.id, level);
        }
        let task = self.task_of(agent, envelope, edits);
        let mut more = Vec::new();
        // What is not there yet is put first in the params.
        let mut put = Vec::new();
        if task == AsTask::Allowed {
            put.push(eras::AS_TASK.to_owned());
        }
        match (meta, with) {
            (Some((meta, _)), Some(with)) => more.push((envelope.span(meta), with)),
            (None, Some(with)) => put.push(format!(r#""_meta":{with}"#)),
            (_, None) => {}
        }
        if !put.is_empty() {
            more.extend(eras::at_params(envelope.frame, &put.join(",")));
        }
        let asks_back = agent == Era::Legacy && envelope.method.is_some_and(Method::may_ask);
        let frame = (asks_back || task != AsTask::Never).then(|| {
            let own = more.iter().map(|(at, with)| Edit { at: at.clone(), with });
            spliced(envelope.frame, edits.iter().cloned().chain(own)).into()
        });
        let translation = Translation {
            agent,
            method: envelope.method,
            declared: session
                .terms(envelope)
                .map_or_else(|| Arc::new(ClientProfile::plain()), |terms| terms.profile().clone()),
            subject: eras::subject(envelope),
            frame,
            retried: None,
            task,
            level,
            rounds: 0,
            opened: Vec::new(),
            begun: None,
            _held: None,
        };
        Some(Translated { edits: more, translation: Box::new(translation) })
    }

    /// Whether the server may have to make a task of an agent's request, or does at once; `edits` are the view's.
    fn task_of(&self, agent: Era, envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> AsTask {
        match agent {
            _ if envelope.method != Some(Method::CallTool) => AsTask::Never,
            Era::Legacy => AsTask::IfNeeded,
            Era::Modern if !self.makes_tasks() => AsTask::Never,
            Era::Modern => {
                let only = tool_of(envelope, edits).is_some_and(|tool| self.task_tools.has(&tool));
                if only { AsTask::Allowed } else { AsTask::IfNeeded }
            }
        }
    }

    /// Whether a legacy server can make tasks of calls.
    pub(in crate::hub) fn makes_tasks(&self) -> bool {
        let declared = || self.handshake().is_some_and(Handshake::makes_tasks);
        *self.makes_tasks.get_or_init(|| self.era() == Era::Legacy && declared())
    }
}

/// `_meta`, raw, with another progress token in place of its own.
fn with_token<'m>(meta: &'m str, token: Option<&str>, ours: &str) -> Cow<'m, str> {
    let Some(token) = token.filter(|token| *token != "null") else { return meta.into() };
    let at = token.as_ptr() as usize - meta.as_ptr() as usize;
    format!("{}{ours}{}", &meta[..at], &meta[at + token.len()..]).into()
}
