//! The person's environment: what the login shell sets, for a daemon that a service manager or an agent's shim started.
//! Their own is bare, and npx, uvx, certificates and proxies would not be found.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::environment;

/// Set for a daemon that a shim has started, and that nobody waits for.
pub const DETACHED: &str = "TRUNKLINE_DETACHED";
/// Set once the environment is the person's.
const ADOPTED: &str = "TRUNKLINE_ENVIRONMENT";
/// Told to the person's profile, which may want to leave out what takes long.
const RESOLVING: &str = "TRUNKLINE_RESOLVING_ENVIRONMENT";
/// How long the login shell may take.
const SHELL_WAIT: Duration = Duration::from_secs(8);
/// Stands before the variables in what the shell prints, since its profile may print too.
const MARK: &[u8] = b"\ntrunkline-environment:\0";
/// What a shell says of itself, and not of the person.
const OF_THE_SHELL: [&str; 5] = ["_", "SHLVL", "PWD", "OLDPWD", RESOLVING];

type Variables = Vec<(OsString, OsString)>;

/// Prints this process's environment, for [`adopt`].
#[cfg(unix)]
pub fn print() -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut out = MARK.to_vec();
    for (name, value) in std::env::vars_os() {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    std::io::stdout().write_all(&out)
}

/// The file of variables beside a configuration: what the daemon is to have whatever starts it, as `NAME=value` lines.
pub fn environment_file(config: &Path) -> PathBuf {
    config.with_file_name("environment")
}

/// What that file says; nothing if there is none, or if others may write to it.
fn kept(config: &Path) -> Variables {
    let path = environment_file(config);
    if !path.exists() {
        return Variables::new();
    }
    let read = crate::files::check_ours(&path).map_err(|error| error.to_string()).and_then(|()| {
        let lines = dotenvy::from_path_iter(&path).map_err(|error| error.to_string())?;
        // The words of an error quote the line, which may hold a secret.
        lines.map(|line| line.map_err(|_| "a line in it is not NAME=value".to_owned())).collect::<Result<Vec<_>, _>>()
    });
    match read {
        Ok(all) => all.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        Err(reason) => {
            super::log::early(&format!("the variables in {} are not used: {reason}", path.display()));
            Variables::new()
        }
    }
}

/// Begins this process anew with the person's environment, if it was started with another, and with the variables in the file
/// beside the configuration. Returns if there is nothing to do, or if it cannot be done.
#[cfg(unix)]
pub fn adopt(config: &Path) {
    use std::os::unix::process::CommandExt;
    let set = |name: &str| std::env::var_os(name).is_some();
    let managed = set("NOTIFY_SOCKET") || std::env::var_os("XPC_SERVICE_NAME").is_some_and(|name| name != "0");
    let (foreign, kept) = (managed || set(DETACHED), kept(config));
    if set(ADOPTED) || (!foreign && kept.is_empty()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(&program);
    // Called by the same name: that is where a new program will stand.
    command.arg0(std::env::args_os().next().unwrap_or_else(|| program.clone().into()));
    command.args(std::env::args_os().skip(1));
    let own: Variables = std::env::vars_os().collect();
    let found = if foreign { told(Base::Own) } else { None };
    if foreign && found.is_none() {
        super::log::early(
            "the login shell did not tell its environment: servers get the one that this daemon was started with",
        );
    }
    let all = found.map_or(own.clone(), |found| merged(found, own));
    command.env_clear().envs(with_kept(all, kept)).env(ADOPTED, "1");
    // Returns only if it failed: then it goes on with the environment that it has.
    drop(command.exec());
}

#[cfg(windows)]
pub fn adopt(_config: &Path) {}

/// What the login shell of the person sets by itself, as a service would have it; `None` if it does not tell.
#[cfg(unix)]
pub fn login_shell() -> Option<Vec<(OsString, OsString)>> {
    told(Base::Bare)
}

/// What a shell is started with.
#[cfg(unix)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// This process's environment.
    Own,
    /// What a service manager has.
    Bare,
}

/// What a service manager knows of a person.
#[cfg(unix)]
const BARE: [&str; 7] = ["HOME", "USER", "LOGNAME", "SHELL", "LANG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

#[cfg(unix)]
fn told(base: Base) -> Option<Variables> {
    let program = std::env::current_exe().ok()?;
    let shell = std::env::var_os("SHELL").or_else(account_shell).unwrap_or_else(|| "/bin/sh".into());
    // Many set PATH where only an interactive shell looks.
    ask(&shell, &["-i", "-l", "-c"], &program, base).or_else(|| ask(&shell, &["-l", "-c"], &program, base))
}

#[cfg(windows)]
pub fn login_shell() -> Option<Vec<(OsString, OsString)>> {
    None
}

/// With the variables of the file, which have the last word; of PATH, its folders behind the others.
fn with_kept(mut all: Variables, kept: Variables) -> Variables {
    for (name, value) in kept {
        let known = all.iter_mut().find(|(known, _)| *known == name);
        match known {
            Some((_, known)) if name == "PATH" => {
                let mut folders: Vec<_> = std::env::split_paths(known).collect();
                let more = std::env::split_paths(&value).filter(|folder| !folders.contains(folder)).collect::<Vec<_>>();
                folders.extend(more);
                if let Ok(path) = std::env::join_paths(folders) {
                    *known = path;
                }
            }
            Some((_, known)) => *known = value,
            None => all.push((name, value)),
        }
    }
    all
}

/// The shell of the account, where the environment does not say.
#[cfg(unix)]
fn account_shell() -> Option<OsString> {
    let account = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok()??;
    Some(account.shell.into_os_string())
}

/// What a shell's environment is, once it has read the person's profile.
#[cfg(unix)]
fn ask(shell: &OsStr, words: &[&str], program: &Path, base: Base) -> Option<Variables> {
    use std::os::unix::process::CommandExt;
    let quoted = program.display().to_string().replace('\'', r"'\''");
    let mut command = Command::new(shell);
    if base == Base::Bare {
        let known = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| BARE.contains(&name)));
        command.env_clear().envs(known.collect::<Vec<_>>());
    }
    command.args(words).arg(format!("'{quoted}' print-environment")).env(RESOLVING, "1");
    let own = |name: &OsString| name.to_str().is_some_and(environment::is_service_managers);
    for (name, _) in std::env::vars_os().filter(|(name, _)| own(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let (sender, output) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(std::io::Read::read_to_end(&mut stdout, &mut bytes));
        drop(sender.send(bytes));
    });
    let bytes = output.recv_timeout(SHELL_WAIT).ok();
    if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?) {
        // What its profile started and left behind would hold the pipe.
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }
    drop(child.wait());
    variables(&bytes?)
}

/// The variables behind the mark.
fn variables(output: &[u8]) -> Option<Variables> {
    let at = memchr::memmem::rfind(output, MARK)? + MARK.len();
    let all = output[at..].split(|byte| *byte == 0).filter_map(|entry| {
        let border = memchr::memchr(b'=', entry)?;
        Some((text(&entry[..border]), text(&entry[border + 1..])))
    });
    Some(all.collect())
}

#[cfg(unix)]
fn text(bytes: &[u8]) -> OsString {
    <OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec())
}

/// What the shell told, with what is the daemon's own, and with the folders of programs that only the starter knew.
fn merged(shell: Variables, own: Variables) -> Variables {
    let is_own = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            environment::is_service_managers(name) || name.starts_with("TRUNKLINE_") || name == "XPC_SERVICE_NAME"
        })
    };
    let of_shell = |name: &OsStr| name.to_str().is_some_and(|name| OF_THE_SHELL.contains(&name));
    let path = |all: &Variables| all.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let mut folders: Vec<_> = path(&shell).iter().flat_map(std::env::split_paths).collect();
    for folder in path(&own).iter().flat_map(std::env::split_paths) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let mut all: Variables =
        shell.into_iter().filter(|(name, _)| !is_own(name) && !of_shell(name) && name != "PATH").collect();
    all.extend(own.into_iter().filter(|(name, _)| is_own(name)));
    if let Ok(path) = std::env::join_paths(folders) {
        all.push(("PATH".into(), path));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talkative_profile_does_not_matter() {
        let output = b"Welcome!\n\ntrunkline-environment:\0no\n\ntrunkline-environment:\0A=1\0B=x=y\nz\0bye";
        assert_eq!(variables(output), Some(vec![("A".into(), "1".into()), ("B".into(), "x=y\nz".into())]));
        assert_eq!(variables(b"Welcome!\n"), None);
    }

    #[test]
    fn the_file_has_the_last_word() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let all = with_kept(
            vec![pair("PATH", "/a:/b"), pair("X", "0")],
            vec![pair("PATH", "/b:/c"), pair("X", "1"), pair("Y", "2")],
        );
        assert_eq!(all, [pair("PATH", "/a:/b:/c"), pair("X", "1"), pair("Y", "2")]);
    }

    #[test]
    fn the_shell_has_the_last_word_but_for_what_is_the_daemons() {
        let pairs = |all: &[(&str, &str)]| -> Variables {
            all.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
        };
        let shell = pairs(&[("PATH", "/b:/c"), ("X", "1"), ("SHLVL", "2"), ("TRUNKLINE_LOG", "no")]);
        let own =
            pairs(&[("PATH", "/a:/b"), ("X", "0"), ("GONE", "1"), ("TRUNKLINE_LOG", "debug"), ("NOTIFY_SOCKET", "@n")]);
        assert_eq!(
            merged(shell, own),
            pairs(&[("X", "1"), ("TRUNKLINE_LOG", "debug"), ("NOTIFY_SOCKET", "@n"), ("PATH", "/b:/c:/a")])
        );
    }
}
