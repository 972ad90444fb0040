//! Another configuration, taken over while everything runs: what is unchanged is not touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::Config;
use crate::config::diff::Diff;
use crate::hub::Hub;
use crate::hub::agent::View;
use crate::hub::events::{Event, Reloaded};
use crate::hub::server::Server;
use crate::hub::servers::Servers;
use crate::hub::session::Session;
use crate::lists::ListKind;
use crate::names::ServerName;

/// How long the calls of a process that is replaced or removed may go on.
const DRAIN: Duration = Duration::from_secs(60);

impl Hub {
    /// Publishes why a configuration was not taken; the one that runs goes on.
    pub fn refuse_config(&self, problems: Vec<String>) {
        for problem in &problems {
            tracing::error!(problem, "configuration not taken: the last good one stays");
        }
        self.services.events.publish(Event::ConfigRefused { problems: problems.clone() });
        *self.problems.write() = problems;
    }

    /// Takes a configuration over, of whose file `problems` are known. Ends when every changed server runs, or failed to.
    pub async fn reload(self: &Arc<Self>, mut config: Config, problems: Vec<String>) -> Reloaded {
        let old_config = self.config();
        let diff = Diff::new(&old_config, &config);
        let old = self.servers();
        let find = |name: &ServerName| old.iter().find(|server| server.name == *name).cloned();
        let pairs: Vec<(Arc<Server>, Arc<Server>)> = diff
            .changed
            .iter()
            .filter_map(|name| {
                let (_, server) = config.servers.iter().find(|(known, _)| known == name)?;
                Some((find(name)?, self.new_server(name, server)))
            })
            .collect();
        let outcomes = join_all(pairs.iter().map(|(old, new)| new.take_over(old))).await;
        let (mut replaced, mut kept) = (Vec::new(), Vec::new());
        for ((old, new), outcome) in pairs.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => replaced.push((old, new)),
                Err(reason) => kept.push((old.name.to_string(), reason)),
            }
        }
        for (name, server) in &mut config.servers {
            if kept.iter().any(|(kept, _)| kept == name.as_str())
                && let Some((_, before)) = old_config.servers.iter().find(|(old, _)| old == name)
            {
                *server = before.clone();
            }
        }
        let sees: Vec<_> =
            self.sessions().into_iter().map(|session| (names(&self.visible(&session)), session)).collect();
        // What counts from the next start stays as it is: the size of messages is built into every queue.
        config.daemon.max_frame = old_config.daemon.max_frame;
        config.daemon.max_memory = old_config.daemon.max_memory;
        config.http.clone_from(&old_config.http);
        let servers = config.servers.iter().map(|(name, server)| {
            if let Some((_, new)) = replaced.iter().find(|(old, _)| old.name == *name) {
                return new.clone();
            }
            let Some(known) = find(name) else { return self.new_server(name, server) };
            if diff.tuned.contains(name) {
                known.set_settings(server.clone());
            }
            known
        });
        let servers: Servers = servers.collect();
        self.part_with_others(&old, &servers);
        *self.servers.write() = Arc::new(servers);
        self.services.set_config(config);
        self.apply_record();
        // Where a new process took over, it is asked what it offers, and a difference is told then.
        let unasked =
            replaced.iter().filter(|(_, new)| new.instances().is_empty()).map(|(old, _)| old.name.clone()).collect();
        self.hand_over(&old, &diff, &replaced);
        self.strangers.notify_one();
        self.announce_reload(&old_config, &diff, unasked, sees);
        let list = |names: &[ServerName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let not_kept = |name: &String| !kept.iter().any(|(kept, _)| kept == name);
        let reloaded = Reloaded {
            added: list(&diff.added),
            removed: list(&diff.removed),
            changed: list(&diff.changed).into_iter().filter(not_kept).collect(),
            tuned: list(&diff.tuned),
            needs_restart: diff.restart.iter().map(ToString::to_string).collect(),
            kept,
            problems,
        };
        self.publish_reload(&reloaded);
        reloaded
    }

    /// Ends the sessions at a server whose name here is another's now, or whose own name is another one: the agent attaches again
    /// by what the file calls it.
    fn part_with_others(&self, old: &[Arc<Server>], new: &[Arc<Server>]) {
        let written = |all: &[Arc<Server>], name: &ServerName| {
            let found = all.iter().find(|server| server.name == *name)?;
            Some(found.settings().written.clone().unwrap_or_else(|| name.to_string()))
        };
        for session in self.sessions() {
            let View::One(name) = &session.view else { continue };
            let (before, now) = (written(old, name), written(new, name));
            let was_made = before.as_ref().is_some_and(|before| before != name.as_str());
            if before != now && (was_made || now.is_some_and(|now| now != name.as_str())) {
                session.gone.cancel();
            }
        }
    }

    /// Ends what is not needed any more, and starts what is eager.
    fn hand_over(&self, old: &[Arc<Server>], diff: &Diff, replaced: &[(Arc<Server>, Arc<Server>)]) {
        let removed = old.iter().filter(|server| diff.removed.contains(&server.name));
        for server in replaced.iter().map(|(old, _)| old).chain(removed) {
            // Who joined it meanwhile looks for another one.
            for instance in server.instances() {
                instance.sessions().iter().for_each(|session| instance.retire(session));
            }
            server.retire("it was changed or removed in the configuration");
            server.drain(DRAIN);
        }
        for server in self.servers().iter() {
            if diff.added.contains(&server.name) || diff.tuned.contains(&server.name) {
                server.start_eagerly();
            }
        }
    }

    /// Tells each agent concerned, once.
    fn announce_reload(
        &self,
        old: &Config,
        diff: &Diff,
        unasked: BTreeSet<ServerName>,
        saw: Vec<(Vec<ServerName>, Arc<Session>)>,
    ) {
        let other_view = |(before, session): &(Vec<ServerName>, Arc<Session>)| *before != names(&self.visible(session));
        let others: Vec<_> = saw.into_iter().filter(other_view).map(|(_, session)| session).collect();
        let config = self.config();
        let filter = |config: &Config, name: &ServerName| {
            let server = config.servers.iter().find(|(known, _)| known == name);
            server.map(|(_, server)| server.tools.clone())
        };
        let filtered = diff.tuned.iter().filter(|name| filter(old, name) != filter(&config, name)).cloned();
        let more = !unasked.is_empty() || !others.is_empty();
        let news: BTreeSet<_> = filtered.chain(unasked).collect();
        if !more {
            self.announce(&news, &[ListKind::Tools], &[]);
        } else {
            self.announce(&news, &ListKind::ALL, &others);
        }
    }

    /// Tells every agent concerned, once, that these servers offer something else, or are or are not there.
    fn announce(&self, servers: &BTreeSet<ServerName>, kinds: &[ListKind], besides: &[Arc<Session>]) {
        for session in self.sessions() {
            let concerned = servers.iter().any(|server| self.sees(&session, server))
                || besides.iter().any(|other| other.id == session.id);
            if concerned && session.hears_news() {
                session.tell_all_changed(kinds.iter().copied());
            }
        }
    }

    fn publish_reload(&self, reloaded: &Reloaded) {
        let Reloaded { added, removed, changed, tuned, kept, needs_restart, problems } = reloaded;
        if kept.is_empty() || [added, removed, changed, tuned].iter().any(|names| !names.is_empty()) {
            tracing::info!(?added, ?removed, ?changed, ?tuned, "configuration taken");
        }
        for setting in needs_restart {
            tracing::warn!(setting, "this setting counts from the daemon's next start");
        }
        for (server, reason) in kept {
            tracing::error!(server, reason, "the changed server does not start: the old one stays");
        }
        let kept = kept.iter().map(|(server, reason)| {
            format!("server `{server}` does not start with its new settings, and goes on with the old ones: {reason}")
        });
        let restart = needs_restart.iter().map(|name| format!("`{name}` counts from the daemon's next start"));
        self.note_problems(problems.clone());
        self.problems.write().extend(kept.chain(restart));
        self.services.events.publish(Event::ConfigReloaded(reloaded.clone()));
    }
}

fn names(servers: &[Arc<Server>]) -> Vec<ServerName> {
    servers.iter().map(|server| server.name.clone()).collect()
}
