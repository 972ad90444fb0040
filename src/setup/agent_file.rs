//! One file of an agent on this machine, as it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{ForeignFile, Format, Transport, text_of};
use crate::setup::agent::{Agent, agent_of};
use crate::setup::entry::{decoded, is_trunkline};

/// The largest file that is read: settings are small, and a log is none.
const MOST: u64 = 32 << 20;

/// A file with servers of an agent, or of nobody that is known.
#[derive(Debug)]
pub struct AgentFile {
    pub agent: Option<&'static Agent>,
    pub path: PathBuf,
    pub format: Format,
    pub text: String,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CannotRead {
    #[error("{0} is not there")]
    Missing(PathBuf),
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0} is no file of settings: it has more than 32 MiB")]
    Large(PathBuf),
}

impl AgentFile {
    pub fn open(path: &Path) -> Result<Self, CannotRead> {
        let wrong = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                CannotRead::Missing(path.to_owned())
            } else {
                CannotRead::Io(path.to_owned(), error)
            }
        };
        if std::fs::metadata(path).map_err(wrong)?.len() > MOST {
            return Err(CannotRead::Large(path.to_owned()));
        }
        let text = std::fs::read(path).and_then(text_of).map_err(wrong)?;
        let agent = agent_of(path);
        let format = agent.map_or_else(|| Format::of(path, &text), |agent| agent.format);
        Ok(Self { agent, path: path.to_owned(), format, text })
    }

    /// What servers it has.
    pub fn servers(&self) -> ForeignFile {
        ForeignFile::read(&self.text, self.format)
    }

    /// The programs of its entries that start trunkline.
    pub fn trunklines(&self) -> Vec<String> {
        let servers = self.servers().servers.into_iter().filter_map(|foreign| decoded(&foreign.table).ok());
        let ours = servers.filter(is_trunkline);
        ours.filter_map(|server| match server.transport {
            Transport::Stdio(stdio) => Some(stdio.command.text().to_owned()),
            Transport::Http(_) => None,
        })
        .collect()
    }

    /// Whose file it is, in words.
    pub fn title(&self) -> String {
        let name = || self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned();
        self.agent.map_or_else(name, |agent| agent.title.clone())
    }

    /// The folder that its servers are for, if it is a project's file.
    pub fn project(&self) -> Option<PathBuf> {
        let agent = self.agent?;
        // In another home folder, a user's file is no project's.
        if agent.user_files().contains(&self.path) || agent.is_user_place(&self.path) {
            return None;
        }
        self.path
            .ancestors()
            .skip(1)
            .find(|folder| agent.project_files(folder).contains(&self.path))
            .map(Path::to_owned)
    }
}
