//! The conformance suite's client scenarios, through a running daemon (`tests/conformance/agent.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{peers, test_server};

/// Extensions of the authorization that trunkline does not speak; the suite does not score them.
const NOT_SPOKEN: [&str; 4] =
    ["auth/dpop", "auth/dpop-nonce", "auth/enterprise-managed-authorization", "auth/wif-jwt-bearer"];

/// How often each status was given, by scenario.
type Checks = BTreeMap<String, BTreeMap<String, usize>>;

fn checks(folder: &Path, above: &str, found: &mut Checks) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if let Ok(text) = fs::read_to_string(entry.join("checks.json")) {
            // The name ends in the time of the run.
            let scenario = name.rsplitn(7, '-').last().unwrap_or_default();
            let all: Vec<Value> = serde_json::from_str(&text).expect("a list");
            let counts = found.entry(format!("{above}{scenario}")).or_default();
            for check in all {
                *counts.entry(check["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        } else if entry.is_dir() {
            checks(&entry, &format!("{above}{name}/"), found);
        }
    }
}

fn run(revision: &str, scored: usize) {
    let agent = Path::new(&test_server()).with_file_name("conformance-agent");
    assert!(agent.exists(), "{} is missing: run plain `cargo test`, which builds it", agent.display());
    let folder = tempfile::tempdir().expect("a folder");
    let mut suite = Command::new(peers::node24());
    suite.arg(peers::conformance()).args(["client", "--requirements", revision, "--command"]).arg(agent);
    let output = suite.arg("-o").arg(folder.path()).output().expect("the suite starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut found = Checks::new();
    checks(folder.path(), "", &mut found);
    let count = |scenario: &str, status: &str| found[scenario].get(status).copied().unwrap_or(0);
    let wrong = |scenario: &&String| {
        count(scenario, "FAILURE") + count(scenario, "WARNING") > 0 || count(scenario, "SUCCESS") == 0
    };
    let failed: BTreeSet<&str> = found.keys().filter(wrong).map(String::as_str).collect();
    assert_eq!(failed, BTreeSet::from(NOT_SPOKEN), "{said}");
    assert_eq!(found.len(), scored + 7, "each scenario ran: {:?}", found.keys());
    assert!(output.status.success(), "{said}");
}

#[test]
fn of_2025_11_25() {
    run("2025-11-25", 18);
}

#[test]
fn of_2026_07_28() {
    run("2026-07-28", 32);
}
