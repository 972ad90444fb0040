//! The words of other tools, and ours for them. Pure.

use std::ops::Range;

use crate::config::problems::Problems;

/// Our words for keys that others spell in their own way, by their letters alone.
const SPELLINGS: [(&str, &str); 31] = [
    ("command", "command"),
    ("args", "args"),
    ("arguments", "args"),
    ("env", "env"),
    ("environment", "env"),
    ("envvars", "env_vars"),
    ("cwd", "cwd"),
    ("workingdirectory", "cwd"),
    ("workingdir", "cwd"),
    ("workdir", "cwd"),
    ("url", "url"),
    ("serverurl", "url"),
    ("httpurl", "url"),
    ("endpoint", "url"),
    ("headers", "headers"),
    ("httpheaders", "headers"),
    ("enabled", "enabled"),
    ("isactive", "enabled"),
    ("disabled", "disabled"),
    ("tools", "tools"),
    ("includetools", "allow"),
    ("enabledtools", "allow"),
    ("excludetools", "deny"),
    ("disabledtools", "deny"),
    ("type", "type"),
    ("transport", "type"),
    ("transporttype", "type"),
    ("oauth", "oauth"),
    ("auth", "oauth"),
    ("requestinit", "requestInit"),
    ("account", "account"),
];
/// Keys of ours that no other tool has.
pub(super) const OWN: [&str; 8] =
    ["era", "startup_timeout", "call_timeout", "start", "share", "max_instances", "max_calls", "env_vars"];
/// The same of `oauth`.
pub(super) const OAUTH: [(&str, &str); 12] = [
    ("clientid", "client_id"),
    ("clientsecret", "client_secret"),
    ("clientmetadataurl", "client_metadata_url"),
    ("scopes", "scopes"),
    ("scope", "scopes"),
    ("callbackport", "callback_port"),
    ("callbackurl", "callback_url"),
    ("redirecturi", "callback_url"),
    ("grant", "grant"),
    ("privatekey", "private_key"),
    ("algorithm", "algorithm"),
    ("issuer", "issuer"),
];

/// The letters of a key, however it joins its words.
pub(super) fn letters(key: &str) -> String {
    key.chars().filter(|letter| !matches!(letter, '_' | '-' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

pub(super) fn spelled(key: &str) -> Option<&'static str> {
    let letters = letters(key);
    SPELLINGS.iter().find(|(spelling, _)| *spelling == letters).map(|(_, ours)| *ours)
}

/// Whether a text is a variable's name, in capitals.
fn is_shouted(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A text with every `${…}` in our spelling.
pub(super) fn respelled(text: &str) -> String {
    // Gemini CLI; one that is not set may be meant as it stands.
    if let Some(name) = text.strip_prefix('$').filter(|name| is_shouted(name)) {
        return format!("${{env:{name}:-{text}}}");
    }
    // opencode.
    let text = &text.replace("{env:", "${env:").replace("{file:", "${file:").replace("$${", "${");
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((reference, behind)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        let (name, _) = reference.split_once(":-").unwrap_or((reference, ""));
        let is_variable = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match reference {
            "workspaceFolder" | "workspaceRoot" | "project" => out.push_str("${project}"),
            "userHome" => out.push_str("${env:HOME}"),
            "pathSeparator" | "/" => out.push(std::path::MAIN_SEPARATOR),
            _ if is_variable => out.push_str(&format!("${{env:{reference}}}")),
            _ => out.push_str(&format!("${{{reference}}}")),
        }
        rest = behind;
    }
    out + rest
}

/// Notes that a setting is not taken.
pub(super) fn passed_over(at: &Range<usize>, name: &str, problems: &mut Problems<'_>) {
    let message = match &*letters(name) {
        "envfile" => "variables are not read from a file here: name them in `env`, or pass yours on with `env_vars`",
        _ => "this setting of another tool is passed over",
    };
    problems.note(at.start, message.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_respelled() {
        for (theirs, ours) in [
            ("${K}", "${env:K}"),
            ("${B:-https://h}/mcp", "${env:B:-https://h}/mcp"),
            ("${env:K}${keyring:x}", "${env:K}${keyring:x}"),
            ("${workspaceFolder}${/}x", "${project}/x"),
            ("${userHome}/x ${input:pat}", "${env:HOME}/x ${input:pat}"),
            ("$5 {} ${", "$5 {} ${"),
            ("$API_KEY", "${env:API_KEY:-$API_KEY}"),
            ("Bearer {env:KEY}", "Bearer ${env:KEY}"),
            ("$ecret", "$ecret"),
            ("a ${1} b", "a ${1} b"),
        ] {
            assert_eq!(respelled(theirs), ours);
        }
    }
}
