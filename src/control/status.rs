//! The daemon's state, in the shapes of the calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::shapes::{
    Credentials, HttpStatus, Instance, LoginStatus, Memory, OpenCall, RecordStatus, ServerStatus, SessionStatus,
};
use crate::credentials::{Place, Vault};
use crate::hub::{self, Hub, Server, Session, View};
use crate::names::ServerName;
use crate::oauth::{Keepers, LoginState};
use crate::processes::group_memory;

/// How many of the calls are named that a process is at.
const OPEN_CALLS: usize = 100;

/// One server, likewise.
pub(super) async fn one(upstream: &Server) -> ServerStatus {
    let pids: Vec<u32> = upstream.all_instances().iter().filter_map(|line| line.connection()?.pid).collect();
    let memory = tokio::task::spawn_blocking(move || group_memory(&pids)).await.unwrap_or_default();
    server(upstream, &memory)
}

/// Every server, with what its processes hold in memory.
pub(super) async fn servers(hub: &Hub) -> Vec<ServerStatus> {
    let servers = hub.servers();
    let lines = servers.iter().flat_map(|upstream| upstream.all_instances());
    let pids: Vec<u32> = lines.filter_map(|line| line.connection()?.pid).collect();
    // Reads a file for each process of the machine.
    let memory = tokio::task::spawn_blocking(move || group_memory(&pids)).await.unwrap_or_default();
    servers.iter().map(|upstream| server(upstream, &memory)).collect()
}

fn server(upstream: &Server, memory: &HashMap<u32, u64>) -> ServerStatus {
    let (known, hour) = (upstream.known(), upstream.tally().last_hour());
    let instance = |line: &Arc<hub::Instance>| {
        let connection = line.connection()?;
        Some(Instance {
            pid: connection.pid,
            era: connection.era,
            project: line.audience().and_then(|audience| audience.project.clone()),
            age: connection.started.elapsed().as_secs(),
            in_flight: line.in_flight(),
            questions: line.questions(),
            draining: line.is_draining(),
            calls: line.open_calls(OPEN_CALLS).into_iter().map(open_call).collect(),
            memory: connection.pid.and_then(|pid| memory.get(&pid).copied()),
            sessions: line.session_ids().into_iter().map(|id| id.0).collect(),
        })
    };
    ServerStatus {
        name: upstream.name.to_string(),
        state: upstream.condition().to_owned(),
        era: upstream.era(),
        share: format!("{:?}", upstream.settings().share).to_lowercase(),
        sharing: upstream.shared_because(),
        advice: upstream.advice(),
        instances: upstream.all_instances().iter().filter_map(instance).collect(),
        starts: known.starts,
        since: since(&known),
        calls: hour.calls,
        failures: hour.failures,
        last_error: upstream.settings().wrong.clone().or(known.last_error.map(|error| error.to_string())),
        hidden: known.hidden.into_iter().collect(),
        denied: known.denied.into_iter().collect(),
        ambiguous_request: upstream.interactive(),
        notes: upstream.notes(),
    }
}

fn open_call(call: hub::OpenCall) -> OpenCall {
    OpenCall {
        session: call.session.0,
        agent: call.agent.name.clone(),
        method: call.method.into_owned(),
        subject: call.subject.map(|subject| subject.to_string()),
        age: call.age.as_secs(),
    }
}

/// Seconds since the last start or end.
fn since(known: &hub::Known) -> Option<u64> {
    let last = known.history.all().last()?;
    Some(SystemTime::now().duration_since(last.at).unwrap_or_default().as_secs())
}

/// How the record of calls fares.
pub(super) fn record(hub: &Hub) -> RecordStatus {
    let recorder = hub.recorder();
    RecordStatus { calls: hub.config().record.calls, lost: recorder.lost(), problem: recorder.trouble() }
}

/// Where agents attach over HTTP, if that is wanted.
pub(super) fn http(hub: &Hub) -> Option<HttpStatus> {
    let state = hub.http.read().clone()?;
    let (url, problem) = (state.as_ref().ok().cloned(), state.err());
    Some(HttpStatus { url, problem })
}

/// What is kept of logins and secrets.
pub(super) fn credentials(vault: &Vault, keepers: &Keepers) -> Credentials {
    let login = |login: LoginState| LoginStatus {
        server: login.server,
        account: login.account,
        url: login.url,
        issuer: login.issuer,
        scopes: login.scopes,
        state: match (&login.need, login.has_token) {
            (Some(_), _) => "needs_login",
            (None, true) => "ok",
            (None, false) => "none",
        }
        .to_owned(),
        expires_in: login.expires_in.map(|left| left.as_secs()),
        reason: login.need.or(login.trouble),
    };
    let key = vault.place().map(|place| match place {
        Place::Keyring => "keyring".to_owned(),
        Place::File => "file".to_owned(),
    });
    Credentials { key, notice: vault.notice(), logins: keepers.states().into_iter().map(login).collect() }
}

/// What the servers hold, and what they would hold more if every agent had its own.
pub(super) fn memory(hub: &Hub, servers: &[ServerStatus]) -> Memory {
    let instances = || servers.iter().flat_map(|server| &server.instances);
    let extra = |instance: &Instance| instance.sessions.len().saturating_sub(1) as u64;
    Memory {
        used: instances().filter_map(|instance| instance.memory).sum(),
        saved: instances().filter_map(|instance| Some(instance.memory? * extra(instance))).sum(),
        waiting: hub.budget().used() as u64,
        most: hub.budget().most() as u64,
    }
}

pub(super) fn session(session: &Session) -> SessionStatus {
    let agent = session.agent();
    let (server, profile) = match &session.view {
        View::One(server) => (Some(ServerName::to_string(server)), None),
        View::All => (None, None),
        View::Profile(profile) => (None, Some(profile.to_string())),
    };
    SessionStatus {
        session: session.id.0,
        name: agent.name.clone(),
        server,
        profile,
        cwd: agent.cwd.clone(),
        host: agent.host.clone(),
        project: session.project_now(),
        pid: agent.pid,
        era: session.era(),
        age: session.since.elapsed().as_secs(),
        in_flight: session.in_flight(),
        waiting: session.account().held() as u64,
    }
}
