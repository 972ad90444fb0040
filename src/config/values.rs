//! Values with a form of their own: durations, sizes, and text with `${…}` in it.

use std::path::Path;
use std::time::Duration;

use super::decode::{Decode, Problems};
use super::node::{Node, Value};

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
    #[error("`${{{0}}}` is not known: use ${{env:NAME}}, ${{file:PATH}} or ${{project}}")]
    Unknown(String),
    #[error("environment variable {0} is not set (or not text): set it for the daemon, or take ${{env:{0}}} out")]
    Unset(String),
    #[error("${{project}} is not known: the agent did not say in which folder it works")]
    NoProject,
    #[error("cannot read {0}, named by ${{file:…}}: {1}")]
    File(String, String),
}

/// What `${…}` calls the folder that the agent works in.
const PROJECT: &str = "project";

impl Template {
    /// The text with every `${env:NAME}`, `${file:PATH}` and `${project}` replaced; of a file, without its last line end.
    pub fn expand(&self, project: Option<&Path>) -> Result<String, BadTemplate> {
        self.replace(|kind, name| match kind {
            PROJECT => project.map(|folder| folder.display().to_string()).ok_or(BadTemplate::NoProject),
            "env" => std::env::var(name).map_err(|_| BadTemplate::Unset(name.to_owned())),
            _ => match std::fs::read_to_string(name) {
                Ok(text) => Ok(text
                    .strip_suffix('\n')
                    .map(|text| text.strip_suffix('\r').unwrap_or(text))
                    .unwrap_or(&text)
                    .to_owned()),
                Err(error) => Err(BadTemplate::File(name.to_owned(), error.to_string())),
            },
        })
    }

    /// As it stands in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn names_project(&self) -> bool {
        self.text.contains("${project}")
    }

    fn replace(&self, value: impl Fn(&str, &str) -> Result<String, BadTemplate>) -> Result<String, BadTemplate> {
        let mut out = String::new();
        let mut rest = self.text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (reference, behind) = after.split_once('}').ok_or_else(|| BadTemplate::Open(after.to_owned()))?;
            match reference.split_once(':') {
                None if reference == PROJECT => out.push_str(&value(PROJECT, "")?),
                Some((kind @ ("env" | "file"), name)) if !name.is_empty() => out.push_str(&value(kind, name)?),
                Some(_) | None => return Err(BadTemplate::Unknown(reference.to_owned())),
            }
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl Decode for Template {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let at = node.at.start;
        let template = Self { line: problems.line(at), text: String::decode(node, problems)? };
        match template.replace(|_, _| Ok(String::new())) {
            Ok(_) => Some(template),
            Err(error) => {
                problems.add(at, error.to_string());
                None
            }
        }
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

    fn template(text: &str) -> Template {
        Template { text: text.to_owned(), line: 1 }
    }

    #[test]
    fn templates_expand() {
        let file = std::env::temp_dir().join(format!("trunkline-template-{}", std::process::id()));
        std::fs::write(&file, "secret\r\n").expect("written");
        let text = format!("a ${{file:{}}} b $ {{}} $5", file.display());
        assert_eq!(template(&text).expand(None).as_deref(), Ok("a secret b $ {} $5"));
        std::fs::remove_file(&file).expect("removed");
        assert!(matches!(template(&text).expand(None), Err(BadTemplate::File(..))));
        assert_eq!(
            template("${env:TRUNKLINE_NO_SUCH}").expand(None),
            Err(BadTemplate::Unset("TRUNKLINE_NO_SUCH".into()))
        );
        assert_eq!(template("${project}/x").expand(Some(Path::new("/a b"))).as_deref(), Ok("/a b/x"));
        assert_eq!(template("${project}").expand(None), Err(BadTemplate::NoProject));
        assert_eq!(template("${oops").expand(None), Err(BadTemplate::Open("oops".into())));
        assert_eq!(template("${HOME}").expand(None), Err(BadTemplate::Unknown("HOME".into())));
    }
}
