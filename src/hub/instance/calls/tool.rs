//! Which tool a request calls.

use crate::envelope::{Edit, Envelope, text};
use crate::method::Method;

/// How long a name of a tool may be that is remembered, in bytes.
const LONGEST_TOOL: usize = 512;

/// The tool that a request calls, as the server will read its name.
pub(in crate::hub) fn tool_of(envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> Option<Box<str>> {
    let raw =
        envelope.params.name.filter(|raw| envelope.method == Some(Method::CallTool) && raw.len() <= LONGEST_TOOL)?;
    let at = envelope.span(raw);
    let renamed = edits.iter().find(|edit| edit.at == at).map_or(raw, |edit| edit.with);
    text(renamed).map(Into::into)
}
