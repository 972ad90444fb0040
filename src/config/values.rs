//! Values with a form of their own: durations, sizes, and text with `${…}` in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::decode::Decode;
use crate::config::node::{Node, Value};
use crate::config::problems::Problems;
use secrecy::ExposeSecret;

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A length of time, or "never" for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

/// A number of bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

/// Text that may name an environment variable, a file or the agent's project, read when a server starts. It may hold a
/// secret once expanded, so its expansion is never shown.
#[derive(Debug, Clone, Default)]
pub struct Template {
    text: String,
    /// Line in the configuration file, counted from 1.
    pub line: usize,
    /// The folder of the configuration file.
    base: Option<PathBuf>,
}

/// Where it stands in the file makes no difference.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadTemplate {
    #[error("`${{{0}` has no closing brace")]
    Open(String),
    #[error("`${{{0}}}` is not known: use ${{env:NAME}}, ${{file:PATH}}, ${{keyring:NAME}} or ${{project}}")]
    Unknown(String),
    #[error(
        "`${{input:{0}}}` asks for a value in VS Code's window: keep it with `trunkline secret set {0}`, and write `${{keyring:{0}}}`"
    )]
    Input(String),
    #[error("environment variable {0} is not set (or not text): set it for the daemon, or take ${{env:{0}}} out")]
    Unset(String),
    #[error("no secret is named {0}: keep one with `trunkline secret set {0}`")]
    NoSecret(String),
    #[error("${{project}} is not known: the agent did not say in which folder it works")]
    NoProject,
    #[error("cannot read {0}, named by ${{file:…}}: {1}")]
    File(String, String),
}

/// What `${…}` calls the folder that the agent works in.
const PROJECT: &str = "project";

/// What a `${…}` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Project,
    Env,
    File,
    Keyring,
}

/// The secrets that a person keeps under names, for `${keyring:NAME}`.
pub type Secrets = BTreeMap<String, secrecy::SecretString>;

/// What `${project}` and `${keyring:NAME}` stand for.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    pub project: Option<&'a Path>,
    pub secrets: &'a Secrets,
}

/// A piece of a template.
#[derive(Debug, Clone, Copy)]
enum Piece<'t> {
    Text(&'t str),
    Reference(Kind, &'t str),
}

impl Template {
    /// The text with every `${env:NAME}`, `${env:NAME:-DEFAULT}`, `${file:PATH}`, `${keyring:NAME}` and `${project}`
    /// replaced; of a file, without its last line end.
    pub fn expand(&self, given: Given<'_>) -> Result<String, BadTemplate> {
        let mut out = String::new();
        for piece in self.pieces() {
            match piece? {
                Piece::Text(text) => out.push_str(text),
                Piece::Reference(kind, name) => out.push_str(&self.value(kind, name, given)?),
            }
        }
        Ok(out)
    }

    /// All that stands in the way of expanding it.
    pub fn obstacles(&self, given: Given<'_>) -> Vec<BadTemplate> {
        let obstacle = |piece: Result<Piece<'_>, BadTemplate>| match piece {
            Ok(Piece::Text(_)) => None,
            Ok(Piece::Reference(kind, name)) => self.value(kind, name, given).err(),
            Err(error) => Some(error),
        };
        self.pieces().filter_map(obstacle).collect()
    }

    fn value(&self, kind: Kind, name: &str, given: Given<'_>) -> Result<String, BadTemplate> {
        match kind {
            Kind::Project => given.project.map(|folder| folder.display().to_string()).ok_or(BadTemplate::NoProject),
            Kind::Env => {
                let (name, default) = match name.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (name, None),
                };
                let unset = || BadTemplate::Unset(name.to_owned());
                std::env::var(name).ok().or_else(|| default.map(str::to_owned)).ok_or_else(unset)
            }
            Kind::Keyring => match given.secrets.get(name) {
                Some(secret) => Ok(secret.expose_secret().to_owned()),
                None => Err(BadTemplate::NoSecret(name.to_owned())),
            },
            Kind::File => match std::fs::read_to_string(self.located(name)) {
                Ok(text) => Ok(text
                    .strip_suffix('\n')
                    .map(|text| text.strip_suffix('\r').unwrap_or(text))
                    .unwrap_or(&text)
                    .to_owned()),
                Err(error) => Err(BadTemplate::File(name.to_owned(), error.to_string())),
            },
        }
    }

    /// A path that the text names: `~` is the home folder, and a relative one counts from the configuration file's folder.
    fn located(&self, path: &str) -> PathBuf {
        let path = at_home(path);
        match &self.base {
            Some(base) => base.join(path),
            None => path,
        }
    }

    /// The names in its `${keyring:NAME}`.
    pub fn secret_names(&self) -> BTreeSet<String> {
        // What is wrong with it was said when it was read.
        let pieces = self.pieces().filter_map(Result::ok);
        pieces
            .filter_map(|piece| match piece {
                Piece::Reference(Kind::Keyring, name) => Some(name.to_owned()),
                Piece::Reference(Kind::Project | Kind::Env | Kind::File, _) | Piece::Text(_) => None,
            })
            .collect()
    }

    /// As it stands in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn names_project(&self) -> bool {
        self.text.contains("${project}")
    }

    /// From where the relative paths that it names count.
    pub(super) fn set_base(&mut self, folder: &Path) {
        self.base = Some(folder.to_owned());
    }

    /// The text in pieces; one that is wrong does not keep the others back.
    fn pieces(&self) -> impl Iterator<Item = Result<Piece<'_>, BadTemplate>> {
        let mut rest = self.text.as_str();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // `$${` stands for `${`.
            if rest.starts_with("$${") {
                let text = &rest[1..3];
                rest = &rest[3..];
                return Some(Ok(Piece::Text(text)));
            }
            let Some(reference) = rest.strip_prefix("${") else {
                // A `$` before it belongs to it; one at the end of all is text.
                let next = rest.find("${").map_or(rest.len(), |at| at - usize::from(rest[..at].ends_with('$')));
                let (text, behind) = rest.split_at(next);
                rest = behind;
                return Some(Ok(Piece::Text(text)));
            };
            let Some((reference, behind)) = reference.split_once('}') else {
                rest = "";
                return Some(Err(BadTemplate::Open(reference.to_owned())));
            };
            rest = behind;
            let (kind, name) = reference.split_once(':').unwrap_or((reference, ""));
            Some(match (kind, name.is_empty()) {
                (PROJECT, true) if reference == PROJECT => Ok(Piece::Reference(Kind::Project, "")),
                ("env", false) => Ok(Piece::Reference(Kind::Env, name)),
                ("file", false) => Ok(Piece::Reference(Kind::File, name)),
                ("keyring", false) => Ok(Piece::Reference(Kind::Keyring, name)),
                ("input", false) => Err(BadTemplate::Input(name.to_owned())),
                _ => Err(BadTemplate::Unknown(reference.to_owned())),
            })
        })
    }
}

/// A path as it is written, `~` at its beginning replaced by the home folder.
pub(super) fn at_home(path: &str) -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default();
    match path.strip_prefix('~') {
        Some("") => home(),
        Some(rest) if rest.starts_with(['/', std::path::MAIN_SEPARATOR]) => home().join(&rest[1..]),
        Some(_) | None => PathBuf::from(path),
    }
}

impl Decode for Template {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let at = node.at.start;
        let template = Self { line: problems.line(at), text: String::decode(node, problems)?, base: None };
        let wrong: Vec<_> = template.pieces().filter_map(Result::err).collect();
        wrong.iter().for_each(|error| problems.add(at, error.to_string()));
        if template.text.contains('\0') {
            problems.add(at, "no argument, variable, header or path can have a NUL character in it".to_owned());
            return None;
        }
        wrong.is_empty().then_some(template)
    }
}

impl Decode for Limit {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        if matches!(&node.value, Value::String(text) if text == "never") {
            return Some(Self(None));
        }
        Span::decode(node, problems).map(|span| Self(Some(span.0)))
    }
}

impl Decode for Span {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let at = node.at.start;
        let ms = measured(node, &units, "a duration", "\"30s\", \"5m\"", problems)?;
        if ms == 0 {
            problems.add(at, "a duration must be longer than nothing".to_owned());
        }
        (ms > 0).then(|| Self(Duration::from_millis(ms)))
    }
}

impl Decode for Size {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let at = node.at.start;
        let size = measured(node, &units, "a size", "\"32MiB\", \"64KiB\"", problems)?;
        match usize::try_from(size) {
            Ok(size) if (1024..=1 << 31).contains(&size) => Some(Self(size)),
            Ok(_) | Err(_) => {
                problems.add(at, "a size must be between 1KiB and 2GiB".to_owned());
                None
            }
        }
    }
}

fn measured(node: Node, units: &[(&str, u64)], what: &str, examples: &str, problems: &mut Problems<'_>) -> Option<u64> {
    let at = node.at.start;
    let text = String::decode(node, problems)?;
    let amount = units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(*factor)
    });
    if amount.is_none() {
        problems.add(at, format!("`{text}` is not {what}: write a whole number and a unit, like {examples}"));
    }
    amount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, project: Option<&Path>) -> Result<String, BadTemplate> {
        let secrets = Secrets::from([("k".to_owned(), "hush".into())]);
        template(text).expand(Given { project, secrets: &secrets })
    }

    fn template(text: &str) -> Template {
        Template { text: text.to_owned(), line: 1, base: None }
    }

    #[test]
    fn what_no_process_and_no_header_can_have_is_named() {
        for (text, count) in [("a\0b", 1), ("\0 ${oops", 2), ("ab", 0)] {
            let mut problems = Problems::new("");
            let decoded = Template::decode(Node { at: 0..0, value: Value::String(text.to_owned()) }, &mut problems);
            assert_eq!((decoded.is_some(), problems.count()), (count == 0, count), "{text:?}");
        }
    }

    #[test]
    fn templates_expand() {
        let file = std::env::temp_dir().join(format!("trunkline-template-{}", std::process::id()));
        std::fs::write(&file, "secret\r\n").expect("written");
        let text = format!("a ${{file:{}}} b $ {{}} $5", file.display());
        assert_eq!(expand(&text, None).as_deref(), Ok("a secret b $ {} $5"));
        std::fs::remove_file(&file).expect("removed");
        assert!(matches!(expand(&text, None), Err(BadTemplate::File(..))));
        assert_eq!(expand("${env:TRUNKLINE_NO_SUCH}", None), Err(BadTemplate::Unset("TRUNKLINE_NO_SUCH".into())));
        assert_eq!(expand("${project}/x", Some(Path::new("/a b"))).as_deref(), Ok("/a b/x"));
        assert_eq!(expand("${project}", None), Err(BadTemplate::NoProject));
        assert_eq!(expand("a ${keyring:k}", None).as_deref(), Ok("a hush"));
        assert_eq!(expand("${keyring:none}", None), Err(BadTemplate::NoSecret("none".into())));
        assert_eq!(template("${keyring:a} ${env:b} ${keyring:c}").secret_names(), ["a", "c"].map(str::to_owned).into());
        assert_eq!(expand("pa$", None).as_deref(), Ok("pa$"));
        assert_eq!(expand("$", None).as_deref(), Ok("$"));
        assert_eq!(expand("$$$${x}$", None).as_deref(), Ok("$$${x}$"));
        assert_eq!(expand("a $${HOME} $$ $${x", None).as_deref(), Ok("a ${HOME} $$ ${x"));
        assert_eq!(expand("${oops", None), Err(BadTemplate::Open("oops".into())));
        assert_eq!(expand("${HOME}", None), Err(BadTemplate::Unknown("HOME".into())));
        assert_eq!(expand("${env:TRUNKLINE_NO_SUCH:-a:b}/c", None).as_deref(), Ok("a:b/c"));
        assert_eq!(expand("${env:TRUNKLINE_NO_SUCH:-}", None).as_deref(), Ok(""));
        assert_eq!(expand("${input:x}", None), Err(BadTemplate::Input("x".into())));
        let secrets = Secrets::new();
        let obstacles = template("${HOME} ${keyring:a} ${oops").obstacles(Given { project: None, secrets: &secrets });
        assert_eq!(obstacles.len(), 3, "{obstacles:?}");
        assert_eq!(at_home("~/x"), std::env::home_dir().unwrap_or_default().join("x"));
        assert_eq!(at_home("~x/y"), Path::new("~x/y"));
    }
}
