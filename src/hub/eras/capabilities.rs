//! What a client must have declared to be asked something by a server.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::envelope::Envelope;
use crate::era::ClientProfile;
use crate::method::Method;

/// Whether an agent that declared this answers this request of a server.
pub(in crate::hub) fn declares(profile: &ClientProfile, asked: &Envelope<'_>) -> bool {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    let params = || serde_json::from_str::<Request<'_>>(asked.frame).ok()?.params.map(RawValue::get);
    match asked.method {
        Some(method) if method.of_client().is_some() => {
            may_be_asked(profile, Some(method), params().unwrap_or_default())
        }
        // A method of an extension is of the capability that it begins with.
        _ => profile.has(asked.method_name.split('/').next().unwrap_or_default()),
    }
}

/// Likewise, of a method with its params, raw.
pub(in crate::hub) fn may_be_asked(profile: &ClientProfile, method: Option<Method>, params: &str) -> bool {
    #[derive(Deserialize, Default)]
    struct Params<'a> {
        #[serde(borrow)]
        mode: Option<Cow<'a, str>>,
        tools: Option<IgnoredAny>,
    }
    let Some(capability) = method.and_then(Method::of_client) else { return false };
    let params = || serde_json::from_str::<Params<'_>>(params).unwrap_or_default();
    profile.has(capability)
        && match method {
            Some(Method::Elicit) => profile.shows_urls() || params().mode.is_none_or(|mode| mode != "url"),
            Some(Method::CreateMessage) => profile.declares("/sampling/tools") || params().tools.is_none(),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::era::LEGACY;

    #[test]
    fn an_agent_is_asked_what_it_declared() {
        for (capabilities, asked, expected) in [
            ("{}", r#"{"id":1,"method":"elicitation/create"}"#, false),
            (r#"{"elicitation":{}}"#, r#"{"id":1,"method":"elicitation/create"}"#, true),
            (
                r#"{"elicitation":{"form":{}}}"#,
                r#"{"id":1,"method":"elicitation/create","params":{"mode":"url"}}"#,
                false,
            ),
            (
                r#"{"elicitation":{"url":{}}}"#,
                r#"{"id":1,"method":"elicitation/create","params":{"mode":"url"}}"#,
                true,
            ),
            (r#"{"sampling":{}}"#, r#"{"id":1,"method":"sampling/createMessage","params":{"tools":[]}}"#, false),
            (
                r#"{"sampling":{"tools":{}}}"#,
                r#"{"id":1,"method":"sampling/createMessage","params":{"tools":[]}}"#,
                true,
            ),
            (r#"{"sampling":{}}"#, r#"{"id":1,"method":"sampling/createMessage","params":{}}"#, true),
            (r#"{"tasks":{}}"#, r#"{"id":1,"method":"tasks/get","params":{"taskId":"1"}}"#, true),
            (r#"{"x":{}}"#, r#"{"id":1,"method":"x/y"}"#, true),
            (r#"{"x":{}}"#, r#"{"id":1,"method":"y/x"}"#, false),
        ] {
            let profile = ClientProfile::of(LEGACY, capabilities).expect("an object");
            let asked = Envelope::parse(asked.as_bytes()).expect("valid");
            assert_eq!(declares(&profile, &asked), expected, "{capabilities} {}", asked.frame);
        }
    }
}
