//! Requests that are refused because of the revision in which they are spoken.

use super::disposition::era_of;
use super::handshake::supported;
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, text};
use crate::era::{LEGACY_ALL, MODERN};

/// The refusal of a request of a revision that trunkline cannot translate.
pub(in crate::hub) fn unsupported(envelope: &Envelope<'_>) -> Option<String> {
    let version = text(envelope.params.meta.protocol_version?)?;
    (version != MODERN).then(|| not_modern(envelope.id, &version))
}

/// The refusal of a request that stands for itself, in a revision in which none does.
pub fn not_modern(id: &str, version: &str) -> String {
    let message = match LEGACY_ALL.contains(&version) {
        true => {
            format!("in revision {version} a session begins with `initialize`, and requests carry no `_meta` for it")
        }
        false => format!("revision {version} is not supported"),
    };
    reply::unsupported_version(id, &message, &supported(), version)
}

/// The refusal of a request that comes back for something that is not there.
pub(in crate::hub) fn unknown_state(id: &str) -> String {
    let message = "this `requestState` is not known here, has expired, was used before, or belongs to another request: call again without it";
    reply::error(id, code::INVALID_PARAMS, message)
}

pub(in crate::hub) fn no_method(envelope: &Envelope<'_>) -> String {
    let message = format!("revision {} has no method `{}`", era_of(envelope).revision(), envelope.method_name);
    reply::error(envelope.id, code::METHOD_NOT_FOUND, &message)
}

pub(in crate::hub) fn bad_level(id: &str) -> String {
    reply::error(id, code::INVALID_PARAMS, "`level` is not one of the log levels of RFC 5424")
}

/// The refusal of a request of the modern era that does not say of itself what it must.
pub fn incomplete(envelope: &Envelope<'_>) -> Option<String> {
    let meta = &envelope.params.meta;
    if !envelope.is_modern() {
        return None;
    }
    let missing = match meta.protocol_version.and_then(text) {
        None => "protocolVersion",
        Some(_) if !meta.client_capabilities.is_some_and(|raw| raw.starts_with('{')) => "clientCapabilities",
        Some(_) => return None,
    };
    let message = format!("`params._meta` lacks `io.modelcontextprotocol/{missing}`");
    Some(reply::error(envelope.id, code::INVALID_PARAMS, &message))
}
