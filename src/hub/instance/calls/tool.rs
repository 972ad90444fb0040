//! What a request is about: which tool it calls, which prompt or resource it wants.

use std::sync::Arc;

use crate::envelope::{Edit, Envelope, text};
use crate::method::{Method, Names};

/// How long a name may be that is remembered, in bytes.
const LONGEST: usize = 512;

/// The tool that a request calls, as the server will read its name.
pub(in crate::hub) fn tool_of(envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> Option<Arc<str>> {
    subject_of(envelope, edits).filter(|_| envelope.method == Some(Method::CallTool))
}

/// The tool, prompt or URI that a request names, as the server will read it.
pub(in crate::hub) fn subject_of(envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> Option<Arc<str>> {
    let names = match envelope.method?.names() {
        Names::Task | Names::Nothing => return None,
        names @ (Names::Tool | Names::Prompt | Names::Resource | Names::Reference) => names,
    };
    let raw = envelope.params.named(names).filter(|raw| raw.len() <= LONGEST)?;
    let at = envelope.span(raw);
    let renamed = edits.iter().find(|edit| edit.at == at).map_or(raw, |edit| edit.with);
    text(renamed).map(Into::into)
}
