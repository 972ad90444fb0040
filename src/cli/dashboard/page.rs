//! The page, as HTML. Text of servers and agents is escaped twice: for HTML, and so that nothing in it hides or turns text round.

use maud::{DOCTYPE, Markup, html};

use crate::cli::calls::{ended, when};
use crate::cli::dashboard::drawings;
use crate::cli::dashboard::drawings::text;
use crate::cli::figures::{age, count, memory, size, took};
use crate::control::{LoginStatus, ServerStatus, SessionStatus, Status};
use crate::record::{CallShape, Point, subject_shown};

/// What the page shows.
pub(super) struct Shown {
    pub status: Status,
    pub calls: Vec<CallShape>,
    pub timeline: Vec<Point>,
}

fn or_dash(value: Option<&str>) -> String {
    value.map_or_else(|| "–".to_owned(), text)
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                // One that needs no request.
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
                script src="/script.js" defer {}
            }
            body { (body) }
        }
    }
}

pub(super) fn refused(why: &str) -> Markup {
    document("trunkline", &html! { main { h1 { "trunkline" } p role="alert" { (text(why)) } } })
}

pub(super) fn whole(shown: &Shown) -> Markup {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header {
            h1 { "trunkline" }
            nav aria-label="Sections" {
                @for (id, name) in [("problems", "Problems"), ("servers", "Servers"), ("agents", "Agents"), ("sharing", "Sharing"), ("rate", "Rate"), ("calls", "Calls"), ("logins", "Logins")] {
                    a href={ "#" (id) } { (name) }
                }
            }
            label.filter for="filter" { "Filter" input #filter type="search" placeholder="server, agent, tool" autocomplete="off"; }
            p #live role="status" { "live" }
        }
        main #main tabindex="-1" { (sections(shown)) }
    };
    document("trunkline", &body)
}

/// What changes: one section for each thing, by its id.
pub(super) fn sections(shown: &Shown) -> Markup {
    let status = &shown.status;
    html! {
        (summary(shown))
        (problems(status))
        section #servers aria-labelledby="servers-title" {
            h2 #servers-title { "Servers" }
            (table(&["Server", "State", "Since", "Calls/h", "Failed", "Open", "Memory", "Agents", "Processes"], "Servers",
                status.servers.iter().map(server_row).collect()))
        }
        section #agents aria-labelledby="agents-title" {
            h2 #agents-title { "Agents" }
            @if status.sessions.is_empty() { p { "No agent is attached." } }
            @else {
                (table(&["Agent", "Session", "Process", "Sees", "Attached", "Open", "Folder"], "Agents",
                    status.sessions.iter().map(agent_row).collect()))
            }
        }
        section #sharing aria-labelledby="sharing-title" {
            h2 #sharing-title { "Who shares what with whom" }
            (drawings::sharing(status))
        }
        section #rate aria-labelledby="rate-title" {
            h2 #rate-title { "Calls and their duration in the last hour" }
            (drawings::timeline(&shown.timeline))
        }
        section #calls aria-labelledby="calls-title" {
            h2 #calls-title { "Calls" }
            @if shown.calls.is_empty() { p { "No call is recorded yet." } }
            @else { (calls(&shown.calls)) }
        }
        section #logins aria-labelledby="logins-title" {
            h2 #logins-title { "Logins" }
            @if status.credentials.logins.is_empty() { p { "No server has asked for a login." } }
            @else {
                (table(&["Server", "Account", "State", "At", "Token ends in"], "Logins",
                    status.credentials.logins.iter().map(login_row).collect()))
            }
        }
    }
}

/// A table that can be scrolled to the side where it has no room.
fn table(heads: &[&str], label: &str, rows: Vec<Markup>) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

fn summary(shown: &Shown) -> Markup {
    let status = &shown.status;
    let calls: u64 = status.servers.iter().map(|server| server.calls).sum();
    let failures: u64 = status.servers.iter().map(|server| server.failures).sum();
    let (used, unshared) = (status.memory.used, status.memory.used + status.memory.saved);
    html! {
        section #summary aria-label="Summary" {
            dl.figures {
                div { dt { "servers" } dd { (status.servers.len()) } }
                div { dt { "agents" } dd { (status.sessions.len()) } }
                div { dt { "calls in the last hour" } dd { (count(calls)) } }
                div { dt { "of them failed" } dd { (count(failures)) } }
                div { dt { "memory of all servers" } dd { (memory(used)) } }
                div { dt { "if every agent had its own" } dd { (memory(unshared)) } }
            }
            (drawings::memory(used, unshared))
            p.small { "version " (status.version) ", process " (status.pid) ", up " (age(status.uptime)) }
        }
    }
}

/// What is wrong, and the command that mends it.
fn problems(status: &Status) -> Markup {
    let mut all: Vec<(String, String)> = Vec::new();
    for problem in &status.problems {
        all.push((problem.clone(), "trunkline check".to_owned()));
    }
    for server in &status.servers {
        let name = &server.name;
        let cause = server.last_error.clone().unwrap_or_default();
        let command = match server.state.as_str() {
            "needs_login" => format!("trunkline login {name}"),
            "broken" | "failed" | "backoff" => format!("trunkline why {name}"),
            "misconfigured" => "trunkline check".to_owned(),
            "stopped" => format!("trunkline start {name}"),
            _ => continue,
        };
        all.push((
            format!("{name} is {}: {cause}", server.state.replace('_', " ")).trim_end_matches(": ").to_owned(),
            command,
        ));
    }
    for server in &status.servers {
        for call in server.instances.iter().flat_map(|instance| &instance.calls).filter(|call| call.age >= 60) {
            let what = subject_shown(&call.method, call.subject.as_deref());
            let text = format!("{} has been at {what} for {}", server.name, age(call.age));
            all.push((text, format!("trunkline why {}", server.name)));
        }
    }
    if let Some(problem) = &status.record.problem {
        all.push((format!("calls are not recorded: {problem}"), "trunkline doctor".to_owned()));
    }
    html! {
        section #problems aria-labelledby="problems-title" {
            h2 #problems-title { "Problems" }
            @if all.is_empty() { p.good { "None." } }
            @else {
                ul.problems {
                    @for (what, command) in all {
                        li { span { (text(&what)) } code { (text(&command)) } }
                    }
                }
            }
        }
    }
}

fn state(state: &str) -> Markup {
    let class = match state {
        "ready" | "ok" => "state good",
        "broken" | "failed" | "misconfigured" => "state bad",
        "needs_login" | "backoff" | "starting" | "draining" => "state warn",
        _ => "state",
    };
    html! { span class=(class) { (state.replace('_', " ")) } }
}

fn server_row(server: &ServerStatus) -> Markup {
    html! {
        tr data-words=(text(&server.name)) {
            th scope="row" { (text(&server.name)) }
            td { (state(&server.state)) }
            td { (server.since.map_or("–".to_owned(), age)) }
            td { (count(server.calls)) }
            td class=[(server.failures > 0).then_some("bad")] { (count(server.failures)) }
            td { (server.in_flight()) }
            td { (server.memory().map_or("–".to_owned(), memory)) }
            td { (server.agents()) }
            td { @if server.instances.len() > 1 { (server.instances.len()) " (" (text(&server.sharing)) ")" } @else { (server.instances.len()) } }
        }
    }
}

fn agent_row(agent: &SessionStatus) -> Markup {
    let sees = agent.server.clone().or_else(|| agent.profile.clone()).unwrap_or_else(|| "all servers".to_owned());
    let folder = agent.project.as_ref().map(|folder| folder.display().to_string());
    html! {
        tr data-words=(or_dash(agent.name.as_deref())) {
            th scope="row" { (or_dash(agent.name.as_deref())) }
            td { (agent.session) }
            td { (agent.pid.map_or("–".to_owned(), |pid| pid.to_string())) }
            td { (text(&sees)) }
            td { (age(agent.age)) }
            td { (agent.in_flight) }
            td { (or_dash(folder.as_deref())) }
        }
    }
}

fn login_row(login: &LoginStatus) -> Markup {
    html! {
        tr data-words=(text(&login.server)) {
            th scope="row" { (text(&login.server)) }
            td { (text(&login.account)) }
            td { (state(&login.state)) @if let Some(reason) = &login.reason { " " (text(reason)) } }
            td { (or_dash(login.issuer.as_deref())) }
            td { (login.expires_in.map_or("–".to_owned(), age)) }
        }
    }
}

fn calls(calls: &[CallShape]) -> Markup {
    let bars = drawings::Waterfall::of(calls);
    let row = |call: &CallShape| {
        let agent = call.agent.name.clone().unwrap_or_else(|| format!("session {}", call.session));
        let what = subject_shown(&call.method, call.subject.as_deref());
        let words = format!("{agent} {} {what} {}", call.server, call.outcome);
        html! {
            tr data-words=(text(&words)) {
                td { (when(&call.at)) }
                td { (text(&agent)) }
                td { (text(&call.server)) }
                th scope="row" {
                    @if let Some(id) = call.id { a href={ "/call/" (id) } { (what) } } @else { (what) }
                }
                td { (bars.bar(call)) }
                td { (took(call.took_ms)) }
                td { (size(call.received)) }
                td class=[call.failed.then_some("bad")] { (ended(call)) }
            }
        }
    };
    let heads = ["When", "Agent", "Server", "What", "Waterfall", "Took", "Answer", "Ended"];
    table(&heads, "Calls, the newest first", calls.iter().rev().map(row).collect())
}

/// All that is known of one call.
pub(super) fn one_call(call: &CallShape) -> Markup {
    let agent = &call.agent;
    let mut rows: Vec<(&str, String)> = vec![
        ("When", call.at.clone()),
        ("Agent", format!("{}, session {}", or_dash(agent.name.as_deref()), call.session)),
        ("Folder", or_dash(agent.folder.as_deref())),
        ("Server", call.server.clone()),
        ("What", subject_shown(&call.method, call.subject.as_deref())),
        ("Ended", ended(call)),
        ("Took", took(call.took_ms)),
        ("First word after", call.first_ms.map_or("–".to_owned(), took)),
        ("Request", size(call.sent)),
        ("Answer", format!("{}, about {} tokens", size(call.received), call.tokens)),
        ("Progress", format!("{} times", call.progress)),
    ];
    for asked in &call.asked {
        rows.push(("Asked", format!("{}: {}", asked.method, asked.ended.as_deref().unwrap_or("no answer"))));
    }
    rows.extend(call.arguments.iter().map(|raw| ("Arguments", raw.clone())));
    rows.extend(call.result.iter().map(|raw| ("Result", raw.clone())));
    let body = html! {
        main {
            p { a href="/" { "← all calls" } }
            h1 { "Call " (call.id.unwrap_or_default()) }
            dl.details { @for (name, value) in rows { dt { (name) } dd { (text(&value)) } } }
        }
    };
    document("A call – trunkline", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_text() {
        let evil = "<script>alert(1)</script>\u{202e}\u{1b}[31m\"'&";
        let status = serde_json::json!({ "version": "0", "pid": 1, "uptime": 5, "socket": "/s", "config": "/c", "problems": [evil],
            "memory": { "used": 5, "saved": 7 }, "credentials": { "key": null, "notice": null, "logins": [] },
            "servers": [{ "name": evil, "state": "failed", "era": null, "share": "auto", "sharing": evil, "starts": 0, "last_error": evil,
                "instances": [{ "pid": 3, "era": "legacy", "project": null, "age": 1, "in_flight": 0, "draining": false, "memory": 1, "sessions": [4, 5] }],
                "hidden": [], "denied": [], "ambiguous_request": null }],
            "sessions": [{ "session": 4, "name": evil, "server": null, "profile": null, "cwd": evil, "project": evil, "pid": 9,
                "era": "legacy", "age": 7, "in_flight": 0 }] });
        let call: CallShape = serde_json::from_value(serde_json::json!({ "id": 1, "at": "2026-01-01T00:00:00Z", "agent": { "name": evil },
            "session": 4, "server": evil, "method": evil, "subject": evil, "took_ms": 1.5, "sent": 1, "received": 2, "tokens": 1,
            "progress": 0, "outcome": "result", "failed": false, "arguments": evil, "result": evil }))
        .expect("a call");
        let status = serde_json::from_value(status).expect("a status");
        let one = one_call(&call).into_string();
        let page = whole(&Shown { status, calls: vec![call], timeline: Vec::new() }).into_string();
        for page in [page, one] {
            assert!(page.contains("&lt;script&gt;alert"));
            for bad in ["<script>alert", "\u{202e}", "\u{1b}", "\"'&\""] {
                assert!(!page.contains(bad), "{bad:?} in {page}");
            }
        }
    }
}
