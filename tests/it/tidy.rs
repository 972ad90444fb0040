//! The codemap in `lib.rs` is true: modules import from lower floors only, and dependencies stay in their home.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Dependencies and the only modules that may name them.
const HOMES: [(&str, &[&str]); 18] = [
    ("toml::", &["config"]),
    ("jsonc_parser::", &["config"]),
    ("jsonrpsee::", &["control", "cli"]),
    ("rmcp::", &["upstream", "oauth"]),
    ("reqwest::", &["upstream", "oauth"]),
    ("sse_stream::", &["upstream"]),
    ("axum::", &["oauth", "downstream", "http1"]),
    ("hyper::", &["http1"]),
    ("hyper_util::", &["http1"]),
    ("tower::", &["http1"]),
    ("prometheus_client::", &["downstream"]),
    ("subtle::", &["downstream"]),
    ("keyring_core::", &["credentials"]),
    ("zbus::", &["credentials"]),
    ("aws_lc_rs::", &["credentials", "oauth", "random"]),
    ("process_wrap::", &["upstream"]),
    ("clap::", &["cli"]),
    ("tracing_subscriber::", &["daemon"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The floor of each module, read from the table in the codemap: lines like `//! 4  hub  …`.
fn floors(codemap: &str) -> BTreeMap<String, u32> {
    let rows = codemap.lines().filter_map(|line| {
        let mut words = line.strip_prefix("//! ")?.split_whitespace();
        let floor: u32 = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), floor))
    });
    rows.collect()
}

#[test]
fn imports_go_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let codemap = fs::read_to_string(src.join("lib.rs")).expect("lib.rs");
    let floors = floors(&codemap);
    let declared: Vec<_> =
        codemap.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(
        declared.iter().all(|module| floors.contains_key(*module)) && declared.len() == floors.len(),
        "the codemap names every module: {declared:?} {floors:?}"
    );
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let module = file
            .strip_prefix(&src)
            .expect("inside")
            .iter()
            .next()
            .expect("a part")
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned();
        let Some(own) = floors.get(&module) else { continue };
        let text = fs::read_to_string(&file).expect("text");
        for used in text
            .match_indices("crate::")
            .filter_map(|(at, _)| text[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_').next())
        {
            let floor = floors.get(used).unwrap_or_else(|| panic!("{}: crate::{used} is no module", file.display()));
            if used != module && floor >= own {
                wrong.push(format!("{}: {module} (floor {own}) imports {used} (floor {floor})", file.display()));
            }
        }
        for (dependency, homes) in HOMES {
            if text.contains(dependency) && !homes.contains(&module.as_str()) {
                wrong.push(format!("{}: {dependency} belongs to {homes:?}", file.display()));
            }
        }
        if text.lines().count() > 400 {
            wrong.push(format!("{} has more than 400 lines", file.display()));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{} does not say what it owns", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
