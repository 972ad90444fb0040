//! Why a server is as it is: all that is known of it, in one answer.

use std::time::SystemTime;

use super::shapes::{LoginStatus, Moment, OpenCall, ServerStatus, Started, Why};
use crate::config::{Given, Secrets, Stdio, Transport, find_program};
use crate::environment;
use crate::hub::Server;
use crate::record::CallShape;
use chrono::{DateTime, SecondsFormat, Utc};

/// How many lines of its standard error are shown.
const LINES: usize = 12;

/// How trunkline's own variables begin, which are nobody else's.
const OWN: &str = "TRUNKLINE_";

/// What is known of a server; `failed` are its last calls that failed.
pub(super) fn why(server: &Server, status: &ServerStatus, login: Option<LoginStatus>, failed: Vec<CallShape>) -> Why {
    let settings = server.settings();
    let known = server.known();
    let stderr: Vec<_> = server.log.lines.tail(LINES).iter().map(|line| line.to_string()).collect();
    let cause = status.last_error.clone();
    let words = format!("{} {}", cause.as_deref().unwrap_or_default(), stderr.join(" "));
    let (command, url) = match &settings.transport {
        Transport::Stdio(stdio) => (Some(started(&status.name, stdio, &words)), None),
        Transport::Http(http) => (None, Some(http.url.text().to_owned())),
    };
    let (waiting, pause) = server.awaited();
    let moment = |at: SystemTime| DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true);
    let calls: Vec<_> = status.instances.iter().flat_map(|instance| instance.calls.clone()).collect();
    Why {
        server: status.name.clone(),
        state: status.state.clone(),
        sentence: sentence(status, &calls),
        since: status.since,
        next: next(status, command.as_ref(), &calls),
        cause,
        command,
        url,
        login,
        stderr,
        history: known.history.all().map(|one| Moment { at: moment(one.at), what: one.what.to_string() }).collect(),
        waiting,
        next_start: pause.map(|pause| pause.as_secs() + 1),
        calls,
        last_hour: (status.calls, status.failures),
        failed,
        notes: status.notes.clone(),
    }
}

/// How a server is started, and what of that is there.
fn started(name: &str, stdio: &Stdio, said: &str) -> Started {
    let given = Given { project: None, secrets: &Secrets::new() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The value of a reference may be a secret: where the program is found is shown only if its name is in the file.
    let is_plain = !stdio.command.text().contains("${");
    let program = stdio.command.expand(given).ok().filter(|_| is_plain);
    let program = program.and_then(|command| find_program(&stdio.program(&command), Some(path.clone())));
    let passes = |name: &String| environment::passes(name, stdio.env_vars.iter().map(String::as_str));
    let own = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let (mut passed, mut withheld): (Vec<_>, Vec<_>) = own.partition(passes);
    passed.extend(stdio.env.keys().cloned());
    withheld.retain(|name| !stdio.env.contains_key(name) && !name.starts_with(OWN));
    passed.sort_unstable();
    passed.dedup();
    withheld.sort_unstable();
    let words: Vec<_> = std::iter::once(&stdio.command).chain(&stdio.args).map(|word| word.text().to_owned()).collect();
    Started {
        missed: environment::missed(&withheld, name, &words.join(" "), said),
        words,
        program: program.map(|program| program.display().to_string()),
        path: path.to_string_lossy().into_owned(),
        folder: stdio.cwd.as_ref().map(|folder| folder.text().to_owned()),
        given: passed,
        withheld,
    }
}

/// From how many seconds on a call is said to hang.
const LONG: u64 = 60;

/// The state in words.
fn sentence(status: &ServerStatus, calls: &[OpenCall]) -> String {
    let processes = status.instances.len();
    let text = match status.state.as_str() {
        "ready" => match calls.iter().map(|call| call.age).max() {
            Some(age) if age >= LONG => "it runs, and has not answered a call for long",
            Some(_) => "it runs, and is at work",
            None => "it runs, and has nothing to do",
        },
        "starting" => "it is starting: it has not finished the handshake yet",
        "idle" if status.starts == 0 => "nobody has needed it yet: it starts with the first request for it",
        "idle" => "it does not run, because nobody needs it: it starts with the next request for it",
        "backoff" => "it failed, and is started again after a pause",
        "broken" => "it failed too often in a row, and is tried again only now and then",
        "failed" => "it did not start, or ended by itself; the next request for it starts it again",
        "needs_login" => "a person must log in first",
        "stopped" => "a person stopped it",
        "disabled" => "the configuration has it switched off (enabled = false)",
        "misconfigured" => "its entry in the configuration is wrong",
        "draining" => "it is being replaced, or ends as soon as its calls have",
        other => other,
    };
    if processes > 1 { format!("{text}; {processes} processes: {}", status.sharing) } else { text.to_owned() }
}

/// What to type next.
fn next(status: &ServerStatus, command: Option<&Started>, calls: &[OpenCall]) -> Vec<String> {
    let name = &status.name;
    let hint = |command: &str, what: &str| format!("{command:<34} # {what}");
    let mut next = Vec::new();
    match status.state.as_str() {
        "misconfigured" => next.push(hint("trunkline check", "names every problem with its line")),
        "disabled" => next.push("set `enabled = true` in its entry, or leave that out".to_owned()),
        "stopped" => next.push(hint(&format!("trunkline start {name}"), "starts it again")),
        "needs_login" => next.push(hint(&format!("trunkline login {name}"), "opens its page in a browser")),
        "idle" => next.push(hint(&format!("trunkline start {name}"), "starts it, to see whether it does")),
        "ready" if calls.iter().any(|call| call.age >= LONG) => {
            next.push(hint(&format!("trunkline logs {name} -f"), "what it writes meanwhile"));
            next.push(hint(&format!("trunkline restart {name}"), "fails its calls, and starts it anew"));
        }
        "ready" | "starting" => next.push(hint(&format!("trunkline calls --server {name}"), "what was asked of it")),
        _ => {
            if command.is_some_and(|command| command.program.is_none()) {
                next.push("give the full path of the program in `command`, or install it".to_owned());
                next.push(hint("trunkline doctor", "shows the daemon's PATH beside your shell's"));
            } else {
                next.push(hint(&format!("trunkline logs {name}"), "all that it wrote"));
            }
            if let Some(missed) = command.map(|command| &command.missed).filter(|missed| !missed.is_empty()) {
                let names: Vec<_> = missed.iter().map(|name| format!("\"{name}\"")).collect();
                next.push(format!("env_vars = [{}] in its entry, if it needs them", names.join(", ")));
            }
            next.push(hint(&format!("trunkline restart {name}"), "tries it again at once"));
        }
    }
    next
}
