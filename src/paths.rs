//! Where trunkline keeps its configuration, its socket and its state.

use std::env;
use std::path::PathBuf;

/// The three places, settled: flags before `TRUNKLINE_*` variables before the platform's folders.
#[derive(Debug, Clone)]
pub struct Places {
    pub config: PathBuf,
    /// Whether the person named the configuration: then it must exist.
    pub config_named: bool,
    /// Whether neither socket nor state were named: then they are those of the user's one daemon.
    pub is_default: bool,
    pub socket: PathBuf,
    pub state: PathBuf,
    /// Which of the two were named.
    named: (bool, bool),
}

/// What a command line may say of the places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub config: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    pub state: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    #[error("cannot tell where the {0} belongs: neither {1} is set; set one, or name the place with {2}")]
    Unset(&'static str, &'static str, &'static str),
    #[error("cannot tell your user id: {0}; name the socket with --socket")]
    User(String),
}

impl Places {
    pub fn find(named: Named) -> Result<Self, NoPlace> {
        let config_named = named.config.is_some();
        let is_named = (named.socket.is_some(), named.state.is_some());
        // The daemon that is started for them may work in another folder.
        let settled = |named: Option<PathBuf>| named.map(|path| std::path::absolute(&path).unwrap_or(path));
        Ok(Self {
            config: settled(named.config).map_or_else(|| Ok(config_dir()?.join("config.toml")), Ok)?,
            config_named,
            is_default: is_named == (false, false),
            named: is_named,
            socket: settled(named.socket).map_or_else(default_socket, Ok)?,
            state: settled(named.state).map_or_else(state_dir, Ok)?,
        })
    }

    /// Whether only a socket was named: then the daemon behind it is somebody else's to start, as one that was forwarded.
    pub fn is_a_socket_alone(&self) -> bool {
        self.named == (true, false)
    }

    /// What a command line must say to mean these places: only what was named, because the rest follows from the person's
    /// environment.
    pub fn flags(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut name = |flag: &str, path: &PathBuf| all.extend([flag.to_owned(), path.display().to_string()]);
        if self.named.0 {
            name("--socket", &self.socket);
        }
        if self.named.1 {
            name("--state-dir", &self.state);
        }
        if self.config_named {
            name("--config", &self.config);
        }
        all
    }

    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
}

/// An absolute folder named by an environment variable; the XDG specification says to ignore relative ones.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The home folder: what `HOME` says, or else the user database.
fn home() -> Option<PathBuf> {
    env::home_dir().filter(|home| home.is_absolute())
}

/// Where the running daemon of this user leaves word of its places: it follows from the user alone, because the programs
/// that agents start are given little of the environment.
pub fn signpost() -> Option<PathBuf> {
    let base = if cfg!(windows) { folder("LOCALAPPDATA") } else { home().map(|home| home.join(".local/state")) };
    Some(base?.join("trunkline").join("daemon.json"))
}

#[cfg(unix)]
fn config_dir() -> Result<PathBuf, NoPlace> {
    let base = folder("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    base.map(|base| base.join("trunkline")).ok_or(NoPlace::Unset(
        "configuration",
        "XDG_CONFIG_HOME nor HOME",
        "--config",
    ))
}

#[cfg(unix)]
fn state_dir() -> Result<PathBuf, NoPlace> {
    let base = folder("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local/state")));
    base.map(|base| base.join("trunkline")).ok_or(NoPlace::Unset("state", "XDG_STATE_HOME nor HOME", "--state-dir"))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "the Windows twin can fail")]
fn default_socket() -> Result<PathBuf, NoPlace> {
    let folder = match runtime_folder() {
        Some(runtime) => runtime.join("trunkline"),
        None => env::temp_dir().join(format!("trunkline-{}", rustix::process::geteuid().as_raw())),
    };
    Ok(folder.join("trunkline.sock"))
}

/// The folder for sockets of the login session: the one that is named, or the one that systemd makes for each user.
#[cfg(unix)]
pub fn runtime_folder() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let uid = rustix::process::geteuid().as_raw();
    let owner = |path: &PathBuf| std::fs::metadata(path).map(|found| found.uid());
    // One that `su` left behind is another user's.
    let named = folder("XDG_RUNTIME_DIR").filter(|path| owner(path).map_or(true, |owner| owner == uid));
    named.or_else(|| {
        // Whoever has another home than the account has is not whom that folder is for.
        let account = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
        let at_home = account.is_none_or(|account| home().is_none_or(|home| home == account.dir));
        Some(PathBuf::from(format!("/run/user/{uid}")))
            .filter(|path| at_home && owner(path).is_ok_and(|owner| owner == uid))
    })
}

#[cfg(windows)]
fn config_dir() -> Result<PathBuf, NoPlace> {
    folder("APPDATA").map(|base| base.join("trunkline")).ok_or(NoPlace::Unset("configuration", "APPDATA", "--config"))
}

#[cfg(windows)]
fn state_dir() -> Result<PathBuf, NoPlace> {
    folder("LOCALAPPDATA").map(|base| base.join("trunkline")).ok_or(NoPlace::Unset(
        "state",
        "LOCALAPPDATA",
        "--state-dir",
    ))
}

#[cfg(windows)]
fn default_socket() -> Result<PathBuf, NoPlace> {
    let output = std::process::Command::new("whoami").args(["/user", "/fo", "csv", "/nh"]).output();
    let output = output.map_err(|error| NoPlace::User(error.to_string()))?;
    let line = String::from_utf8_lossy(&output.stdout);
    let sid = sid_of(&line).ok_or_else(|| NoPlace::User(format!("`whoami /user` said {line:?}")))?;
    Ok(PathBuf::from(format!(r"\\.\pipe\trunkline-{sid}")))
}

/// The SID in the one line that `whoami /user /fo csv /nh` prints: `"DOMAIN\user","S-1-5-…"`.
#[cfg(any(windows, test))]
fn sid_of(line: &str) -> Option<&str> {
    let sid = line.trim().rsplit(',').next()?.trim_matches('"');
    let well_formed = sid.starts_with("S-1-") && sid[4..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    well_formed.then_some(sid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sid_is_taken_from_whoami() {
        assert_eq!(super::sid_of("\"pc\\ann, b\",\"S-1-5-21-1-2-3-1001\"\r\n"), Some("S-1-5-21-1-2-3-1001"));
        assert_eq!(super::sid_of("ERROR: no"), None);
    }
}
