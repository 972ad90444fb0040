//! What is proposed for servers that must not be shared blindly: the table is `config/packages.toml`. Pure.

use std::path::{Path, PathBuf};

use toml_edit::{Item, Table, Value, value};

use crate::config::{self, Known, ServerConfig, Share, Transport};

/// A proposal for one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    pub share: Share,
    /// The folder in its arguments that `${project}` takes the place of.
    pub folder: Option<String>,
    /// A fixed folder that a person may want to give up for each agent's project: that is another server, with other files.
    pub fixed: Option<String>,
    /// The package, and why.
    pub why: String,
}

/// Folders below the home folder that are no projects.
const NO_PROJECTS: [&str; 6] = ["Documents", "Desktop", "Downloads", "Pictures", "Library", ".config"];

impl Preset {
    /// What the table proposes; nothing where the entry says itself how it is shared. `project` is the folder that the entry is
    /// for, if it is for one.
    pub(super) fn find(server: &ServerConfig, project: Option<&Path>) -> Option<Self> {
        let Transport::Stdio(stdio) = &server.transport else { return None };
        let Known { name, package } = server.known.clone()?;
        if server.share != Share::Auto {
            return None;
        }
        let preset = package.preset?;
        let words = stdio.args.iter().map(|word| word.text().to_owned());
        let mut folders = words.filter(|word| is_folder(word));
        let folder = folders.next().filter(|_| folders.next().is_none());
        let folder = folder.filter(|_| preset == config::Preset::Folder);
        let (folder, fixed) = match folder {
            Some(folder) if is_the_project(&folder, project) => (Some(folder), None),
            folder => (None, folder),
        };
        // What works on one folder for everybody is the same for everybody.
        if fixed.as_ref().is_some_and(|fixed| !may_be_project(fixed)) {
            return None;
        }
        let why = format!("{name}: {}", package.why.unwrap_or_default());
        Some(Self { share: package.share, folder, fixed, why })
    }

    /// Writes it into the entry.
    pub fn apply(&self, table: &mut Table) {
        if let Some(folder) = &self.folder
            && let Some(Item::Value(Value::Array(words))) = table.get_mut("args")
        {
            for word in words.iter_mut().filter(|word| word.as_str() == Some(folder)) {
                *word = "${project}".into();
            }
            table.remove("cwd");
        }
        table.insert("share", value(self.share_word()));
    }

    pub fn share_word(&self) -> &'static str {
        match self.share {
            Share::Auto => "auto",
            Share::All => "all",
            Share::Project => "project",
            Share::Session => "session",
        }
    }

    /// What it would write, in words.
    pub fn told(&self) -> String {
        let share = self.share_word();
        match &self.folder {
            Some(folder) => format!("share = \"{share}\", and ${{project}} instead of {folder}"),
            None if self.fixed.is_some() => format!(
                "it works in {} for every agent; share = \"{share}\" and ${{project}} in its place give each its own project",
                self.fixed.as_deref().unwrap_or_default()
            ),
            None => format!("share = \"{share}\""),
        }
    }
}

/// Whether an argument is a folder: by its form, since it may be on another machine.
fn is_folder(word: &str) -> bool {
    let has_end =
        Path::new(word).file_name().is_some_and(|name| name.to_string_lossy().trim_start_matches('.').contains('.'));
    let drive = word.len() > 2 && word.as_bytes()[1] == b':' && matches!(word.as_bytes()[2], b'\\' | b'/');
    word == "."
        || word == "${project}"
        || ((word.starts_with(['/', '~']) || word.starts_with("./") || drive) && !has_end)
}

/// Whether a folder is that of the project which the entry is for.
fn is_the_project(folder: &str, project: Option<&Path>) -> bool {
    folder == "."
        || folder == "${project}"
        || project.is_some_and(|project| project == Path::new(folder.trim_end_matches('/')))
}

/// Whether a fixed folder may be a project's: not the home folder itself, nor one that everybody has.
fn may_be_project(folder: &str) -> bool {
    let path = PathBuf::from(folder);
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let depth = path.components().count();
    depth > 2 && !NO_PROJECTS.contains(&last.as_str()) && std::env::home_dir().is_none_or(|home| home != path)
}

impl Preset {
    /// The same, with the fixed folder given up.
    pub fn moved(&self) -> Self {
        Self { folder: self.fixed.clone(), fixed: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_proposed() {
        let of = |entry: &str| {
            let config = Config::from_toml(&format!("[servers.x]\n{entry}")).expect("valid");
            Preset::find(&config.servers[0].1, Some(Path::new("/p"))).map(|preset| preset.told())
        };
        let files = |args: &str| {
            of(&format!("command = \"npx\"\nargs = [\"-y\", \"@modelcontextprotocol/server-filesystem\", {args}]"))
        };
        for (found, expected) in [
            (of("command = \"npx\"\nargs = [\"@playwright/mcp@latest\"]"), Some("share = \"session\"")),
            (of("command = \"npx\"\nargs = [\"@modelcontextprotocol/server-memory\"]"), Some("share = \"all\"")),
            (of("command = \"uvx\"\nargs = [\"mcp-server-time\"]"), None),
            (of("command = \"npx\"\nargs = [\"@playwright/mcp\"]\nshare = \"project\""), None),
            (
                files("\"/home/a/work/shop\""),
                Some(
                    "it works in /home/a/work/shop for every agent; share = \"project\" and ${project} in its place give each its own project",
                ),
            ),
            (files("\"/p\""), Some("share = \"project\", and ${project} instead of /p")),
            (files("\"/home/a/Documents\""), None),
            (files("\"/a/b/c\", \"/a/b/d\""), Some("share = \"project\"")),
            (files("\"${project}\""), Some("share = \"project\", and ${project} instead of ${project}")),
        ] {
            assert_eq!(found.as_deref(), expected);
        }
    }
}
