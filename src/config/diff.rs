//! What a new configuration changes, decided before anything is touched.

use crate::config::Config;
use crate::config::server::ServerConfig;
use crate::names::ServerName;

/// What happens to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    /// Settings that count at once, without a new process: filters, limits, timeouts.
    Settings,
    /// Another command, or another way to share it: new processes take over from the old ones.
    Process,
}

/// The steps from one configuration to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub added: Vec<ServerName>,
    pub removed: Vec<ServerName>,
    /// Servers that need new processes.
    pub changed: Vec<ServerName>,
    /// Servers whose settings count at once.
    pub tuned: Vec<ServerName>,
    /// Settings that count from the daemon's next start.
    pub restart: Vec<&'static str>,
}

impl Change {
    pub fn between(old: &ServerConfig, new: &ServerConfig) -> Self {
        let as_process = |server: &ServerConfig| ServerConfig {
            call_timeout: new.call_timeout,
            startup_timeout: new.startup_timeout,
            start: new.start,
            tools: new.tools.clone(),
            max_instances: new.max_instances,
            max_calls: new.max_calls,
            record: new.record,
            ..server.clone()
        };
        if old == new {
            Self::None
        } else if as_process(old) == *new {
            Self::Settings
        } else {
            Self::Process
        }
    }
}

impl Diff {
    pub fn new(old: &Config, new: &Config) -> Self {
        let find = |config: &Config, name: &ServerName| {
            config.servers.iter().find(|(known, _)| known == name).map(|(_, server)| server.clone())
        };
        let mut diff = Self::default();
        for (name, server) in &new.servers {
            match find(old, name).map(|old| Change::between(&old, server)) {
                None => diff.added.push(name.clone()),
                Some(Change::Process) => diff.changed.push(name.clone()),
                Some(Change::Settings) => diff.tuned.push(name.clone()),
                Some(Change::None) => {}
            }
        }
        let gone = old.servers.iter().filter(|(name, _)| find(new, name).is_none());
        diff.removed = gone.map(|(name, _)| name.clone()).collect();
        if old.daemon.max_frame != new.daemon.max_frame {
            diff.restart.push("daemon.max_frame");
        }
        if old.daemon.max_memory != new.daemon.max_memory {
            diff.restart.push("daemon.max_memory");
        }
        if old.http != new.http {
            diff.restart.push("http");
        }
        diff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_toml(text).expect("valid")
    }

    #[test]
    fn each_kind_of_change() {
        let old = config(
            "[daemon]\nmax_frame = \"1MiB\"\nmax_memory = \"1GiB\"\n[servers.same]\ncommand = \"a\"\n[servers.gone]\ncommand = \"b\"\n[servers.tuned]\ncommand = \"c\"\n[servers.changed]\ncommand = \"d\"\n[servers.off]\ncommand = \"e\"\n",
        );
        let new = config(
            "[servers.fresh]\ncommand = \"z\"\n\n[servers.tuned]\ncommand = \"c\"\ntools = { deny = [\"x\"] }\n[servers.same]\n# moved\ncommand = \"a\"\n[servers.changed]\ncommand = \"d\"\nargs = [\"1\"]\n[servers.off]\ncommand = \"e\"\nenabled = false\n",
        );
        let names = |names: &[ServerName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let diff = Diff::new(&old, &new);
        assert_eq!(names(&diff.added), "fresh");
        assert_eq!(names(&diff.removed), "gone");
        assert_eq!(names(&diff.tuned), "tuned");
        assert_eq!(names(&diff.changed), "changed off");
        assert_eq!(diff.restart, ["daemon.max_frame", "daemon.max_memory"]);
        assert_eq!(Diff::new(&new, &new), Diff::default());
    }
}
