//! The conformance suite: its client scenarios through a running daemon (`tests/conformance/agent.rs`), and its server
//! scenarios against a server (`tests/conformance/server`), bare and behind the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Daemon, Served, example, peers};

/// Extensions of the authorization that trunkline does not speak; the suite does not score them.
const NOT_SPOKEN: [&str; 4] =
    ["auth/dpop", "auth/dpop-nonce", "auth/enterprise-managed-authorization", "auth/wif-jwt-bearer"];
/// Scenarios of an extension, which no revision requires.
const SKILLS: [&str; 3] = ["sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest"];

/// How often each check ended in each way, by scenario.
type Checks = BTreeMap<String, BTreeMap<(String, String), usize>>;

fn checks(folder: &Path, above: &str, found: &mut Checks) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if let Ok(text) = fs::read_to_string(entry.join("checks.json")) {
            // The name ends in the time of the run.
            let scenario = name.rsplitn(7, '-').last().unwrap_or_default();
            let all: Vec<Value> = serde_json::from_str(&text).expect("a list");
            let counts = found.entry(format!("{above}{scenario}")).or_default();
            for check in all {
                let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
                *counts.entry((text("id"), text("status"))).or_default() += 1;
            }
        } else if entry.is_dir() {
            checks(&entry, &format!("{above}{name}/"), found);
        }
    }
}

fn with_status(counts: &BTreeMap<(String, String), usize>, status: &str) -> usize {
    counts.iter().filter(|((_, own), _)| own == status).map(|(_, count)| count).sum()
}

/// Scenarios in which something failed, or nothing was tried.
fn wrong(found: &Checks) -> BTreeSet<&str> {
    let wrong = found.iter().filter(|(_, counts)| {
        with_status(counts, "FAILURE") + with_status(counts, "WARNING") > 0 || with_status(counts, "SUCCESS") == 0
    });
    wrong.map(|(scenario, _)| scenario.as_str()).collect()
}

fn client(revision: &str, scored: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut suite = Command::new(peers::node24());
    suite.arg(peers::conformance()).args(["client", "--requirements", revision, "--command"]);
    let output =
        suite.arg(example("conformance-agent")).arg("-o").arg(folder.path()).output().expect("the suite starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut found = Checks::new();
    checks(folder.path(), "", &mut found);
    assert_eq!(wrong(&found), BTreeSet::from(NOT_SPOKEN), "{said}");
    assert_eq!(found.len(), scored + 7, "each scenario ran: {:?}", found.keys());
    assert!(output.status.success(), "{said}");
}

#[test]
fn clients_of_2025_11_25() {
    client("2025-11-25", 18);
}

#[test]
fn clients_of_2026_07_28() {
    client("2026-07-28", 32);
}

/// What the suite finds of the server at a URL.
fn scenarios(url: &str, words: &[&str]) -> Checks {
    let folder = tempfile::tempdir().expect("a folder");
    let mut suite = Command::new(peers::node24());
    suite.arg(peers::conformance()).args(["server", "--url", url]).args(words).arg("-o").arg(folder.path());
    let output = suite.output().expect("the suite starts");
    let mut found = Checks::new();
    checks(folder.path(), "", &mut found);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words:?} at {url}: {said}{}", String::from_utf8_lossy(&output.stderr));
    found
}

/// The daemon in front of a server, and a way in for clients that have no token.
struct Behind {
    daemon: Daemon,
    forwarder: Served,
}

impl Behind {
    fn new(entry: &str) -> Self {
        let folder: TempDir = tempfile::tempdir().expect("a folder");
        let config = format!("[http]\nlisten = \"127.0.0.1:0\"\n[servers.c]\n{entry}\n");
        fs::write(folder.path().join("config.toml"), config).expect("written");
        let daemon = Daemon::start_in(folder);
        let endpoint = daemon.endpoint(Some("c"));
        let mut forwarder = Command::new(peers::node24());
        forwarder.arg(peers::folder().join("forwarder.mjs")).arg(&endpoint.token);
        forwarder.arg(format!("http://{}", endpoint.authority)).arg(&endpoint.path);
        Self { daemon, forwarder: Served::start(&mut forwarder) }
    }
}

/// The suite finds the same of a server, on either wire, behind the daemon as in front of it.
fn server(runs: &[&[&str]], scored: usize) {
    let bare = Served::start(Command::new(example("conformance-server")).arg("--http"));
    let behind = [
        Behind::new(&format!("command = {:?}", example("conformance-server"))),
        Behind::new(&format!("url = {:?}", bare.url)),
    ];
    for words in runs {
        let expected = scenarios(&bare.url, words);
        for behind in &behind {
            let found = scenarios(&behind.forwarder.url, words);
            for (scenario, counts) in &expected {
                let other = found.get(scenario).unwrap_or_else(|| panic!("{scenario} did not run"));
                let told = |counts: &BTreeMap<(String, String), usize>| {
                    let told = counts.iter().filter(|((_, status), _)| status != "INFO");
                    told.map(|(check, count)| (check.clone(), *count)).collect::<BTreeMap<_, _>>()
                };
                assert_eq!(told(other), told(counts), "{scenario}; {}", behind.daemon.log());
            }
            assert_eq!(found.len(), expected.len());
        }
        // The suite itself passes over one of the unscored.
        let wrong: Vec<_> =
            wrong(&expected).into_iter().filter(|name| !name.contains("status-notifications")).collect();
        assert_eq!(wrong, Vec::<&str>::new(), "of {words:?}");
        assert!(expected.len() >= scored, "{words:?}: {} scenarios", expected.len());
    }
}

#[test]
fn servers_of_2025_11_25() {
    server(&[&["--requirements", "2025-11-25"]], 30);
}

#[test]
fn servers_of_2026_07_28() {
    server(&[&["--requirements", "2026-07-28"]], 37);
}

#[test]
fn servers_with_skills() {
    let run = |scenario| ["--scenario", scenario, "--spec-version", "2026-07-28", "--force"];
    let runs = SKILLS.map(run);
    server(&runs.each_ref().map(<[&str; 5]>::as_slice), 1);
}
