//! The codemap in `lib.rs` is true: imports go down, no files import each other in a circle, and dependencies and the names of
//! methods stay in their homes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// Dependencies and the only modules that may name them.
const HOMES: [(&str, &[&str]); 18] = [
    ("toml::", &["config", "setup"]),
    ("jsonc_parser::", &["config", "setup"]),
    ("jsonrpsee::", &["control", "cli"]),
    ("rmcp::", &["upstream", "oauth"]),
    ("reqwest::", &["upstream", "oauth", "setup"]),
    ("sse_stream::", &["upstream"]),
    ("axum::", &["oauth", "downstream", "http1", "cli"]),
    ("hyper::", &["http1"]),
    ("hyper_util::", &["http1"]),
    ("tower::", &["http1"]),
    ("prometheus_client::", &["downstream"]),
    ("subtle::", &["downstream", "cli"]),
    ("keyring_core::", &["credentials"]),
    ("zbus::", &["credentials"]),
    ("aws_lc_rs::", &["credentials", "oauth", "random"]),
    ("process_wrap::", &["upstream"]),
    ("clap::", &["cli"]),
    ("tracing_subscriber::", &["daemon"]),
];

/// A path of modules from the crate's root.
type Module = Vec<String>;

/// A source file of the library.
struct Source {
    path: PathBuf,
    text: String,
    /// Without comments, texts and tests.
    code: String,
}

/// The sources of the library, by their modules.
fn sources() -> BTreeMap<Module, Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (BTreeMap::new(), vec![src.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(&src).expect("inside").with_extension("");
                let module = module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                let text = fs::read_to_string(&path).expect("text");
                found.insert(module, Source { code: code_of(&text), path, text });
            }
        }
    }
    found
}

/// A source without its tests, comments and texts.
fn code_of(text: &str) -> String {
    let replace = |text: &str, pattern: &str, with: &str| {
        Regex::new(pattern).expect("a pattern").replace_all(text, with).into_owned()
    };
    replace(&replace(&shipped(text), r"(?m)//.*$", ""), r#""(\\.|[^"\\])*""#, "\"\"")
}

/// A source without its tests.
fn shipped(text: &str) -> String {
    let tests = Regex::new(r"(?m)^#\[cfg\((all\()?test").expect("a pattern");
    tests.find(text).map_or(text, |found| &text[..found.start()]).to_owned()
}

/// The paths of a `use`, without what is in braces being so.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((start, inner)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inner.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            letter => parts.last_mut().expect("one").push(letter),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expanded(part)).map(|part| format!("{start}{part}")).collect()
}

/// The files that each file imports from, or names in a path: the file of the longest module that a path leads through.
fn imports(sources: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let uses = Regex::new(r"\buse\s+([^;]+);").expect("a pattern");
    let paths = Regex::new(r"(?:^|[^:\w])((?:[a-z_0-9]+::)+\w+)").expect("a pattern");
    let mut all = BTreeMap::new();
    for (module, source) in sources {
        let code = Regex::new(r"pub\(in [^)]*\)").expect("a pattern").replace_all(&source.code, "pub").into_owned();
        let rest = uses.replace_all(&code, "");
        let used = uses.captures_iter(&code).flat_map(|found| expanded(&found[1])).collect::<Vec<_>>();
        let named = paths.captures_iter(&rest).map(|found| found[1].to_owned());
        let found: BTreeSet<_> =
            used.into_iter().chain(named).filter_map(|path| leads_to(sources, module, &path)).collect();
        all.insert(module, found.into_iter().filter(|found| *found != module).collect());
    }
    all
}

fn leads_to<'s>(sources: &'s BTreeMap<Module, Source>, from: &Module, path: &str) -> Option<&'s Module> {
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut at: Module = match *parts.peek()? {
        "crate" => Vec::new(),
        "self" | "super" => from.clone(),
        child if sources.contains_key(&[from.as_slice(), &[child.to_owned()]].concat()) => from.clone(),
        _ => return None,
    };
    for part in parts {
        match part {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            part => {
                let next = [at.as_slice(), &[part.to_owned()]].concat();
                if !sources.contains_key(&next) {
                    break;
                }
                at = next;
            }
        }
    }
    sources.get_key_value(&at).map(|(module, _)| module)
}

/// The floor of each module, read from the table in the codemap: lines like `//! 4.1 hub::eras  …`.
fn floors(codemap: &str) -> BTreeMap<Module, (u32, u32)> {
    let rows = codemap.lines().filter_map(|line| {
        let mut words = line.strip_prefix("//! ")?.split_whitespace();
        let (floor, level) = words.next().map(|floor| floor.split_once('.').unwrap_or((floor, "0")))?;
        let floor = (floor.parse().ok()?, level.parse().ok()?);
        Some((words.next()?.split("::").map(str::to_owned).collect(), floor))
    });
    rows.collect()
}

/// The row of the table that a file belongs to: the longest that it is under.
fn row_of<'f>(floors: &'f BTreeMap<Module, (u32, u32)>, module: &[String]) -> Option<(&'f Module, (u32, u32))> {
    let rows = (1..=module.len()).rev().filter_map(|length| floors.get_key_value(&module[..length]));
    rows.map(|(row, floor)| (row, *floor)).next()
}

#[test]
fn imports_go_down() {
    let sources = sources();
    let codemap = &sources[&vec!["lib".to_owned()]].text;
    let floors = floors(codemap);
    let declared: BTreeSet<_> =
        codemap.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let named: BTreeSet<_> = floors.keys().map(|row| &*row[0]).collect();
    assert_eq!(declared, named, "the codemap names every module");
    let mut wrong: Vec<_> = floors
        .keys()
        .filter(|row| !sources.contains_key(*row))
        .map(|row| format!("the codemap names {row:?}, which there is not"))
        .collect();
    for (module, imported) in imports(&sources) {
        let Some((row, floor)) = row_of(&floors, module) else { continue };
        for other in imported {
            let Some((other_row, other_floor)) = row_of(&floors, other) else { continue };
            if row != other_row && other_floor >= floor {
                wrong.push(format!("{} ({floor:?}) imports {} ({other_floor:?})", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let imports = imports(&sources);
    let reached = |from: &Module| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = next.pop() {
            for other in imports.get(&at).into_iter().flatten() {
                if reached.insert((*other).clone()) {
                    next.push((*other).clone());
                }
            }
        }
        reached
    };
    let circles: Vec<_> = imports
        .iter()
        .filter(|(module, _)| reached(module).contains(**module))
        .map(|(module, imported)| {
            let back = imported.iter().filter(|other| reached(other).contains(*module));
            format!("{} -> {}", module.join("::"), back.map(|other| other.join("::")).collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn each_thing_has_its_home() {
    let sources = sources();
    let methods = &sources[&vec!["method".to_owned()]].text;
    let rows = Regex::new(r#"(?:request|notification)\("([\w/]+)"\)"#).expect("a pattern");
    let methods: BTreeSet<_> = rows.captures_iter(methods).map(|found| found[1].to_owned()).collect();
    assert!(methods.len() > 30, "the rows of `method` are read");
    let mut wrong = Vec::new();
    for (module, source) in &sources {
        let (name, text) = (source.path.display(), shipped(&source.text));
        for (dependency, homes) in HOMES {
            if source.text.contains(dependency) && !homes.contains(&&*module[0]) {
                wrong.push(format!("{name}: {dependency} belongs to {homes:?}"));
            }
        }
        let code = Regex::new(r"(?m)^\s*//.*$").expect("a pattern").replace_all(&text, "").into_owned();
        let literals = methods.iter().filter(|method| code.contains(&format!("\"{method}\"")) && module[0] != "method");
        wrong.extend(literals.map(|method| format!("{name}: `{method}` stands in `method`, and nowhere else")));
        if source.text.lines().count() > 400 {
            wrong.push(format!("{name} has more than 400 lines"));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{name} does not say what it owns"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_of_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut pages, mut folders) = (Vec::new(), vec![root.join("docs")]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let (inner, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        pages.extend(files);
    }
    pages.extend(
        ["README.md", "CHANGELOG.md", "SECURITY.md", "fuzz/README.md", "tests/bench/README.md"]
            .map(|page| root.join(page)),
    );
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    let text = |page: &Path| fs::read_to_string(page).unwrap_or_default();
    let links = Regex::new(r"\]\(([^)#:]*)(?:#([^)]*))?\)").expect("a pattern");
    let mut wrong = Vec::new();
    for page in &pages {
        for found in links.captures_iter(&text(page)) {
            let to = page.parent().expect("a folder").join(&found[1]);
            let to = if found[1].is_empty() { page.clone() } else { to };
            let anchor = found.get(2).map(|anchor| anchor.as_str());
            let is_there = to.exists() && anchor.is_none_or(|anchor| anchors(&text(&to)).contains(anchor));
            if !is_there {
                wrong.push(format!("{}: {}", page.display(), &found[0]));
            }
        }
    }
    assert!(pages.len() > 15 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the headings of a page can be linked to by.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}
