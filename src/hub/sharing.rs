//! How far a process of a server is shared: what the configuration orders, what is known of the server, what it has shown.
//! Pure: from these to who may use a process, and what is promised to it.

pub(in crate::hub) mod share_key;

use crate::config::{Known, ServerConfig, Share, Transport};
use crate::era::ClientProfile;
use crate::method::Method;
use crate::upstream::catalog::Shown;

/// What a server asks of a client to learn the folders that it may work in.
pub(in crate::hub) const ROOTS: &str = Method::ListRoots.name();

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Scope {
    /// Everybody's.
    All,
    /// One folder's.
    Project,
    /// One agent's.
    Session,
}

/// What agents must have declared alike to share a process within its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) enum Clients {
    /// The same revision and capabilities: it is known to make a difference, or an order says no more.
    Same,
    /// The same of these capabilities: it looks at no others.
    Only(Vec<String>),
    /// It is not known to make a difference. Those who were offered the same share a process that was promised as much as
    /// each can answer.
    Alike,
}

/// How a server is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Sharing {
    pub scope: Scope,
    pub clients: Clients,
    /// Why, in words for `status`.
    pub because: String,
}

impl Sharing {
    pub(in crate::hub) fn of(server: &ServerConfig, shown: &Shown) -> Self {
        let order = |scope, words: &str| Self { scope, clients: Clients::Same, because: format!("{words}: ordered") };
        match server.share {
            Share::All => order(Scope::All, "shared by all"),
            Share::Project => order(Scope::Project, "by project"),
            Share::Session => order(Scope::Session, "a process for each agent"),
            Share::Auto => Self::found_out(server, shown),
        }
    }

    fn found_out(server: &ServerConfig, shown: &Shown) -> Self {
        let known = server.known.as_ref();
        let (scope, why) = Self::scope(server, known, shown);
        let mut asks = shown.asks.iter().filter(|method| *method != ROOTS);
        let (clients, more) =
            match (asks.next(), shown.by_client, known.and_then(|known| known.package.clients.clone())) {
                (Some(method), _, _) => (Clients::Same, Some(format!("it asks for {}", subject(method)))),
                (None, true, _) => {
                    (Clients::Same, Some("it offers one client what it does not offer another".to_owned()))
                }
                (None, false, Some(only)) => (Clients::Only(only), None),
                (None, false, None) => (Clients::Alike, None),
            };
        let by = match (scope, &more) {
            (Scope::All, None) => "shared by all",
            (Scope::All, Some(_)) => "by client",
            (Scope::Project, None) => "by project",
            (Scope::Project, Some(_)) => "by project and client",
            (Scope::Session, _) => "a process for each agent",
        };
        let reasons: Vec<_> = [Some(why), more].into_iter().flatten().collect();
        Self { scope, clients, because: format!("{by}: {}", reasons.join("; ")) }
    }

    fn scope(server: &ServerConfig, known: Option<&Known>, shown: &Shown) -> (Scope, String) {
        if let Some(known) = known.filter(|known| known.package.share == Share::Session) {
            return (Scope::Session, format!("{} keeps a state of each client's own", known.name));
        }
        if shown.asks.contains(ROOTS) {
            return (Scope::Project, "it asks for roots".to_owned());
        }
        if matches!(server.transport, Transport::Http(_)) {
            return (Scope::All, "it is not on this machine".to_owned());
        }
        if server.templates().any(|template| template.names_project()) {
            return (Scope::Project, "its settings name ${project}".to_owned());
        }
        match known {
            Some(known) if known.package.share == Share::All => {
                (Scope::All, format!("{} is known to be the same in every folder", known.name))
            }
            Some(known) => (Scope::Project, format!("{} is known to work in its folder", known.name)),
            None => (Scope::Project, "it may depend on the folder that it runs in".to_owned()),
        }
    }

    /// What an order would save where several processes run, and what it would take for granted.
    pub(in crate::hub) fn advice(&self, server: &ServerConfig, processes: usize, projects: usize) -> Option<String> {
        if server.share != Share::Auto || processes < 2 {
            return None;
        }
        let named = server.templates().any(|template| template.names_project());
        match self.scope {
            Scope::Project if projects > 1 && !named => Some(format!(
                "`share = \"all\"` would make its {processes} processes fewer; it takes for granted that it does not matter to it in which folder it runs, and that agents of all projects may see each other's"
            )),
            Scope::Session => Some(format!(
                "`share = \"project\"` would make its {processes} processes fewer; it takes for granted that agents of one project do not get in each other's way"
            )),
            Scope::Project | Scope::All => None,
        }
    }

    /// What is to be promised to a process that is started for an agent of this profile.
    pub(in crate::hub) fn promise(&self, profile: &ClientProfile, shown: &Shown) -> ClientProfile {
        match &self.clients {
            Clients::Same => profile.clone(),
            // In a revision that trunkline does not know, the server itself answers the agent.
            Clients::Only(capabilities) => {
                let only = profile.only(capabilities);
                ClientProfile { version: only.version.max(profile.version.clone()), ..only }
            }
            Clients::Alike if shown.alike.contains(profile) => {
                // In the newest revision: each agent is greeted in its own.
                let alike = shown.alike.iter().filter(|other| same_roots(other, profile, shown));
                alike.fold(profile.with(&ClientProfile::plain()), |promise, other| promise.with(other))
            }
            Clients::Alike => profile.clone(),
        }
    }

    /// Whether a process that was promised one profile can serve an agent of another.
    pub(in crate::hub) fn admits(&self, promised: &ClientProfile, profile: &ClientProfile, shown: &Shown) -> bool {
        promised == profile
            || match &self.clients {
                Clients::Same => false,
                // An agent is answered in the revision that it asked for, which an older one does not have.
                Clients::Only(_) | Clients::Alike if promised.version < profile.version => false,
                Clients::Only(capabilities) => promised.only(capabilities) == profile.only(capabilities),
                Clients::Alike => {
                    let alike = [promised, profile].into_iter().all(|one| shown.alike.contains(one));
                    alike && promised.covers(profile) && same_roots(promised, profile, shown)
                }
            }
    }
}

/// A server that asks for roots is not to ask those who have none.
fn same_roots(one: &ClientProfile, other: &ClientProfile, shown: &Shown) -> bool {
    !shown.asks.contains(ROOTS) || one.has("roots") == other.has("roots")
}

/// What a server wants that sends this request, in a person's words.
fn subject(method: &str) -> &str {
    Method::of(method).and_then(Method::of_client).unwrap_or(method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn server(text: &str) -> ServerConfig {
        let config = Config::from_toml(&format!("[servers.s]\n{text}\n")).expect("valid");
        config.servers.into_iter().next().expect("one").1
    }

    fn shown(asks: &[&str], by_client: bool) -> Shown {
        Shown { asks: asks.iter().map(|method| (*method).to_owned()).collect(), by_client, ..Shown::default() }
    }

    /// A server's settings, what it asks, whether its offers differ; then its scope, and how the reason begins.
    const TABLE: [(&str, &[&str], bool, Scope, &str); 14] = [
        ("command = 'x'", &[], false, Scope::Project, "by project: it may depend on the folder"),
        (TIME, &[], false, Scope::All, "shared by all: mcp-server-time is known to be the same"),
        (BROWSER, &[], false, Scope::Session, "a process for each agent: @playwright/mcp keeps"),
        (BROWSER, &[ROOTS], false, Scope::Session, "a process for each agent"),
        ("command = 'uvx'\nargs = ['serena']", &[], false, Scope::Project, "by project: serena is known to work in"),
        (TIME, &[ROOTS], false, Scope::Project, "by project: it asks for roots"),
        ("command = 'x'", &[ASKS], false, Scope::Project, "by project and client: it may depend on the folder"),
        (TIME, &[], true, Scope::All, "by client: "),
        ("url = 'https://x/mcp'", &[], false, Scope::All, "shared by all: it is not on this machine"),
        ("url = 'https://x/mcp'", &[ROOTS], false, Scope::Project, "by project: it asks for roots"),
        ("command = 'x'\nargs = ['${project}']", &[], false, Scope::Project, "by project: its settings name"),
        ("command = 'x'\nshare = 'all'", &[ROOTS], true, Scope::All, "shared by all: ordered"),
        ("command = 'x'\nshare = 'session'", &[], false, Scope::Session, "a process for each agent: ordered"),
        ("command = 'x'\nstart = 'eager'", &[], false, Scope::All, "shared by all: ordered"),
    ];
    const TIME: &str = "command = 'uvx'\nargs = ['mcp-server-time']";
    const BROWSER: &str = "command = 'npx'\nargs = ['@playwright/mcp']";
    const ASKS: &str = "elicitation/create";

    #[test]
    fn who_shares_a_process() {
        for (text, asks, by_client, scope, because) in TABLE {
            let sharing = Sharing::of(&server(text), &shown(asks, by_client));
            assert_eq!(sharing.scope, scope, "{text} {asks:?}");
            assert!(sharing.because.starts_with(because), "{text} {asks:?}: {}", sharing.because);
        }
    }

    fn files() -> Sharing {
        let files = server("command = \"npx\"\nargs = [\"@modelcontextprotocol/server-filesystem\"]");
        Sharing::of(&files, &Shown::default())
    }

    fn ordered() -> Sharing {
        Sharing::of(&server("command = \"x\"\nshare = \"all\""), &Shown::default())
    }

    #[test]
    fn what_is_promised_and_who_is_admitted() {
        let profile = |text| ClientProfile::of("2025-06-18", text).expect("an object");
        let (none, roots, form) = (profile("{}"), profile(r#"{"roots":{}}"#), profile(r#"{"elicitation":{}}"#));
        let alike = Shown { alike: vec![none.clone(), roots.clone(), form.clone()], ..Shown::default() };
        let open = Sharing::of(&server("command = \"x\""), &Shown::default());
        // Not known yet: each its own.
        assert_eq!(open.promise(&roots, &Shown::default()), roots);
        assert!(!open.admits(&roots, &none, &Shown::default()));
        // Alike: what covers all of them serves each, and what was promised less does not.
        let all = open.promise(&none, &alike);
        assert!(all.covers(&roots) && all.covers(&form));
        assert!(open.admits(&roots, &none, &alike) && !open.admits(&none, &roots, &alike));
        // One that asks for roots is promised some by those alone who have some.
        let rooted = Shown { asks: [ROOTS.to_owned()].into(), ..alike.clone() };
        assert!(!open.promise(&none, &rooted).has("roots") && open.promise(&roots, &rooted).covers(&roots));
        assert!(!open.admits(&roots, &none, &rooted));
        // Whatever is promised for an agent serves it, also one of a revision that is not known here.
        for sharing in [&open, &files(), &ordered()] {
            for version in ["2024-11-05", "2026-07-28", "x"] {
                let profile = ClientProfile { version: version.to_owned(), ..roots.clone() };
                for shown in [&Shown::default(), &rooted] {
                    assert!(
                        sharing.admits(&sharing.promise(&profile, shown), &profile, shown),
                        "{sharing:?} {profile:?}"
                    );
                }
            }
        }
        // Told apart: exactly the same.
        let apart = Sharing::of(&server("command = \"x\""), &Shown { by_client: true, ..alike.clone() });
        assert!(apart.admits(&roots, &roots, &alike) && !apart.admits(&roots, &none, &alike));
        assert_eq!(apart.promise(&none, &alike), none);
        // Known to look at roots alone.
        let files = files();
        assert!(files.admits(&none, &form, &Shown::default()) && !files.admits(&none, &roots, &Shown::default()));
        assert_eq!(files.promise(&form, &Shown::default()).capabilities, "{}");
    }
}
