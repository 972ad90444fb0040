//! The words of other tools, and ours for them. Pure.

use std::ops::Range;

use crate::config::problems::Problems;

/// Our words for keys that others spell in their own way, by their letters alone.
const SPELLINGS: [(&str, &str); 61] = [
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
    ("transport", "transport"),
    ("transporttype", "type"),
    ("oauth", "oauth"),
    ("auth", "oauth"),
    ("requestinit", "requestInit"),
    ("requestoptions", "requestInit"),
    ("account", "account"),
    ("cmd", "command"),
    ("envs", "env"),
    ("envkeys", "env_vars"),
    ("envfile", "env_file"),
    ("uri", "url"),
    ("availabletools", "allow"),
    ("bearertokenenvvar", "bearer_variable"),
    ("bearertoken", "bearer"),
    ("apikey", "bearer"),
    ("connectiontimeout", "startup_ms"),
    ("connecttimeout", "startup_ms"),
    ("envhttpheaders", "header_variables"),
    ("envheaders", "header_variables"),
    ("scopes", "scopes"),
    ("startuptimeout", "startup_seconds"),
    ("startuptimeoutsec", "startup_seconds"),
    ("startuptimeoutseconds", "startup_seconds"),
    ("startuptimeoutms", "startup_ms"),
    ("inittimeout", "startup_ms"),
    ("tooltimeout", "call_seconds"),
    ("tooltimeoutsec", "call_seconds"),
    ("tooltimeoutseconds", "call_seconds"),
    ("tooltimeoutms", "call_ms"),
    ("requesttimeoutms", "call_ms"),
    // What a window shows of a server.
    ("name", "shown"),
    ("title", "shown"),
    ("displayname", "shown"),
    ("description", "shown"),
    ("icon", "shown"),
];
/// Keys of ours that no other tool has.
pub(super) const OWN: [&str; 7] =
    ["era", "startup_timeout", "call_timeout", "start", "share", "max_instances", "max_calls"];
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

/// What editors put in the place of `${…}`, and trunkline cannot know.
const OF_EDITORS: [&str; 14] = [
    "workspaceFolderBasename",
    "file",
    "fileBasename",
    "fileBasenameNoExtension",
    "fileExtname",
    "fileDirname",
    "fileWorkspaceFolder",
    "relativeFile",
    "relativeFileDirname",
    "lineNumber",
    "selectedText",
    "cwd",
    "execPath",
    "defaultBuildTask",
];

/// The words in a text that only an editor knows.
pub(super) fn of_editors(text: &str) -> impl Iterator<Item = &'static str> {
    OF_EDITORS.into_iter().filter(|word| text.contains(&format!("${{{word}}}")))
}

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

/// A text with every `${…}` in our spelling, and the other spellings of the same.
pub(super) fn respelled(text: &str) -> String {
    let text = &of_shell(text).replace("$PROJECT_DIR$", "${project}").replace("$USER_HOME$", "${env:HOME}");
    // opencode.
    let text = &of_opencode(text);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        // What is escaped there is escaped here.
        if before.ends_with('$') {
            out.push_str("${");
            rest = after;
            continue;
        }
        let Some((reference, behind)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        let (name, _) = reference.split_once(":-").unwrap_or((reference, ""));
        // Continue's, which are in double braces.
        if let Some(name) = reference.strip_prefix('{').map(str::trim) {
            let (_, name) = name.split_once('.').unwrap_or(("", name));
            out.push_str(&format!("${{keyring:{name}}}"));
            rest = behind.strip_prefix('}').unwrap_or(behind);
            continue;
        }
        let is_variable = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match reference {
            "workspaceFolder" | "workspaceRoot" | "project" | "CLAUDE_PROJECT_DIR" => out.push_str("${project}"),
            "userHome" => out.push_str("${env:HOME}"),
            "pathSeparator" | "/" => out.push(std::path::MAIN_SEPARATOR),
            _ if is_variable => out.push_str(&format!("${{env:{reference}}}")),
            _ => out.push_str(&format!("${{{reference}}}")),
        }
        rest = behind;
    }
    out + rest
}

/// opencode's references, which have no `$`.
fn of_opencode(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["{env:", "{file:"].iter().filter_map(|start| rest.find(start)).min() {
        out.push_str(&rest[..at]);
        if !out.ends_with('$') {
            out.push('$');
        }
        out.push('{');
        rest = &rest[at + 1..];
    }
    out + rest
}

/// Variables as a shell names them, at the beginning of a word or behind `=` (Gemini CLI, Crush); one that is not set may be
/// meant as it stands.
fn of_shell(text: &str) -> String {
    let mut out = String::new();
    for (at, piece) in text.split_inclusive([' ', '=']).enumerate() {
        let is_start = at == 0 || out.ends_with([' ', '=']);
        let inner = piece.strip_prefix("$(").and_then(|rest| rest.split_once(')'));
        let (name, behind) = match inner {
            Some((name, behind)) => (name, behind),
            None => {
                let rest = piece.strip_prefix('$').unwrap_or_default();
                let end =
                    rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        let whole = &piece[..piece.len() - behind.len()];
        // A `$` in the middle of a word is more often a password's.
        let ends = behind.is_empty() || behind.starts_with([' ', '/', ':', '=', '"']);
        if is_start && is_shouted(name) && name.len() > 1 && ends && whole != "$" {
            out.push_str(&format!("${{env:{name}:-{whole}}}{behind}"));
        } else {
            out.push_str(piece);
        }
    }
    out
}

/// Notes that a setting is not taken.
pub(super) fn passed_over(at: &Range<usize>, name: &str, problems: &mut Problems<'_>) {
    let message = match &*letters(name) {
        "headershelper" => {
            "no command is run for headers here: write what it prints as `${keyring:…}` or `${env:…}` in `headers`"
        }
        "alwaysallow"
        | "autoapprove"
        | "autoallow"
        | "trust"
        | "trusted"
        | "trustedtools"
        | "approvalmode"
        | "defaulttoolsapprovalmode"
        | "permissions" => {
            "which tools run without a question is the agent's own affair: say it there, of the server that trunkline is"
        }
        "watch" | "dev" | "devmode" => {
            "a server under development is started again by `trunkline restart`: passed over"
        }
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
            ("Bearer $GH_PAT", "Bearer ${env:GH_PAT:-$GH_PAT}"),
            ("--dir=$HOME/data pa$${word}x", "--dir=${env:HOME:-$HOME}/data pa$${word}x"),
            ("pa$SWORD $(KEY)", "pa$SWORD ${env:KEY:-$(KEY)}"),
            ("Bearer ${{ secrets.DOCS }}", "Bearer ${keyring:DOCS}"),
            ("$PROJECT_DIR$/x", "${project}/x"),
            ("a ${1} b", "a ${1} b"),
        ] {
            assert_eq!(respelled(theirs), ours);
        }
    }
}
