//! What a server's answer lacks, or says otherwise, for an agent of the other era.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::object::before;
use crate::envelope::Envelope;
use crate::envelope::reply::code;
use crate::era::Era;
use crate::lists::ListKind;
use crate::method::Method;

/// What is changed in an answer for an agent of the other era, but for its id.
pub(in crate::hub) fn translate_result(
    envelope: &Envelope<'_>,
    agent: Era,
    method: Option<Method>,
) -> Vec<(Range<usize>, String)> {
    let code = envelope.error.and_then(|error| error_code(agent, method, error));
    let code = code.map(|(raw, code)| (envelope.span(raw), code.to_string()));
    let members = envelope.result.filter(|_| agent == Era::Modern);
    let members = members.and_then(|result| {
        let at = envelope.span(result).start + 1;
        Some((at..at, modern_members(method, result)?))
    });
    code.into_iter().chain(members).collect()
}

/// The members that a legacy server's result lacks in the modern era, to stand first in it; `None` if it lacks none.
pub(in crate::hub) fn modern_members(method: Option<Method>, result: &str) -> Option<String> {
    let inner = result.strip_prefix('{')?;
    if has_member(result, "resultType") {
        return None;
    }
    let cacheable = ListKind::of_method(method).is_some() || method == Some(Method::ReadResource);
    let hints = if cacheable { r#","ttlMs":0,"cacheScope":"private""# } else { "" };
    Some(before(inner, &format!(r#""resultType":"complete"{hints}"#)))
}

/// Whether a raw object has this member; looked at closely only where its name stands somewhere.
fn has_member(object: &str, name: &str) -> bool {
    memchr::memmem::find(object.as_bytes(), name.as_bytes()).is_some()
        && members(object).is_some_and(|members| members.contains_key(name))
}

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn members(object: &str) -> Option<Members<'_>> {
    serde_json::from_str(object).ok()
}

/// The code of an error, raw, and what it is to an agent of era `to`, where that is another.
fn error_code(to: Era, method: Option<Method>, error: &str) -> Option<(&str, i32)> {
    let members = members(error)?;
    let raw = members.get("code")?.get();
    let names_uri = || members.get("data").is_some_and(|data| has_member(data.get(), "uri"));
    match (to, raw.parse().ok()?) {
        (Era::Modern, code::RESOURCE_NOT_FOUND) => Some((raw, code::INVALID_PARAMS)),
        (Era::Legacy, code::INVALID_PARAMS) if method == Some(Method::ReadResource) && names_uri() => {
            Some((raw, code::RESOURCE_NOT_FOUND))
        }
        (Era::Modern | Era::Legacy, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_get_what_they_lack() {
        let members = |method, result: &str| modern_members(method, result).unwrap_or_default();
        assert_eq!(members(Some(Method::CallTool), r#"{"content":[]}"#), r#""resultType":"complete","#);
        assert_eq!(members(Some(Method::CallTool), "{ }"), r#""resultType":"complete""#);
        assert_eq!(
            members(Some(Method::ListTools), r#"{"tools":[]}"#),
            r#""resultType":"complete","ttlMs":0,"cacheScope":"private","#
        );
        assert_eq!(members(Some(Method::CallTool), r#"{"resultType":"task"}"#), "");
        assert_eq!(members(Some(Method::CallTool), r#"{"content":"resultType"}"#), r#""resultType":"complete","#);
        assert_eq!(members(Some(Method::CallTool), "null"), "");
    }

    #[test]
    fn codes_of_resources_that_are_not_there() {
        let not_found = r#"{"code":-32002,"message":"x"}"#;
        assert_eq!(error_code(Era::Modern, Some(Method::ReadResource), not_found), Some(("-32002", -32602)));
        let invalid = r#"{"code":-32602,"message":"x","data":{"uri":"a:b"}}"#;
        assert_eq!(error_code(Era::Legacy, Some(Method::ReadResource), invalid), Some(("-32602", -32002)));
        assert_eq!(error_code(Era::Legacy, Some(Method::CallTool), invalid), None);
        assert_eq!(error_code(Era::Legacy, Some(Method::ReadResource), r#"{"code":-32602,"message":"x"}"#), None);
    }
}
