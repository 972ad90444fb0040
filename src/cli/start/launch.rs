//! A daemon that an agent's shim starts is nobody's child: the service manager's where there is one, else of a session of
//! its own. It gets the person's environment, not the agent's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, bail};

use crate::cli::start::listening::try_connect;
use crate::daemon;
use crate::environment;
use crate::files::create_private;
use crate::paths::Places;
use crate::processes;
use crate::program;

pub(super) fn log_path(places: &Places) -> PathBuf {
    places.logs().join(daemon::LOG_FILE)
}

/// A daemon that this process had started, and where its words go.
pub(super) struct Launched {
    how: How,
    log: File,
    begins: u64,
}

enum How {
    /// The service manager's client, which ends when the daemon is up, or has failed.
    Managed(Child),
    /// The daemon holds the other end of this, until it is up or has failed.
    Detached(mpsc::Receiver<()>),
}

impl Launched {
    pub(super) fn new(places: &Places) -> anyhow::Result<Self> {
        create_private(&places.logs()).with_context(|| format!("cannot create {}", places.logs().display()))?;
        let path = log_path(places);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut log = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let begins = log.seek(SeekFrom::End(0))?;
        let how = match managed(places)? {
            Some(child) => How::Managed(child),
            None => How::Detached(detached(places, &log)?),
        };
        Ok(Self { how, log, begins })
    }

    /// Itself, if it may still come up. Fails with its own words if it ended, unless it gave way to another daemon.
    pub(super) fn still_up(mut self, places: &Places) -> anyhow::Result<Option<Self>> {
        match &mut self.how {
            How::Managed(child) => match child.try_wait()? {
                None => return Ok(Some(self)),
                Some(status) if status.success() => return Ok(Some(self)),
                // The service manager did not do it, for a reason of its own: without it, then.
                Some(_) if self.words()?.is_empty() => {
                    self.how = How::Detached(detached(places, &self.log)?);
                    return Ok(Some(self));
                }
                Some(_) => {}
            },
            How::Detached(ended) => {
                if matches!(ended.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                    return Ok(Some(self));
                }
                // It is up, or it has ended; which of the two, the next try to connect tells.
                if try_connect(places)?.is_some() {
                    return Ok(Some(self));
                }
            }
        }
        let words = self.words()?;
        // That one is about to listen, or about to end.
        if words.contains("already running") {
            return Ok(None);
        }
        let last = words.lines().rev().find(|line| line.starts_with("trunkline: "));
        let words = last.map_or(words.as_str(), |line| line.trim_start_matches("trunkline: "));
        bail!("the daemon did not start: {words}")
    }

    fn words(&mut self) -> io::Result<String> {
        let mut words = Vec::new();
        self.log.seek(SeekFrom::Start(self.begins))?;
        self.log.read_to_end(&mut words)?;
        Ok(String::from_utf8_lossy(&words).trim().to_owned())
    }
}

/// The command line of the daemon.
fn arguments(places: &Places) -> Vec<String> {
    std::iter::once("run".to_owned()).chain(places.flags()).collect()
}

/// What a daemon may know of the process that has it started: where the person is, and what every server gets.
fn known(name: &str) -> bool {
    // A daemon that a server of another one starts is none of that one's processes.
    environment::by_default(name) || name.starts_with("TRUNKLINE_") && name != processes::VARIABLE
}

/// Starts the daemon in a session of its own. What is returned ends when it is up, or has failed.
fn detached(places: &Places, log: &File) -> anyhow::Result<mpsc::Receiver<()>> {
    let mut command = Command::new(program::itself()?);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(known)));
    command.env(daemon::DETACHED, "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
    #[cfg(unix)]
    command.arg("daemonize").arg("--").args(arguments(places));
    #[cfg(windows)]
    {
        command.args(arguments(places));
        std::os::windows::process::CommandExt::creation_flags(
            &mut command,
            DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP,
        );
    }
    let mut child = command.spawn().context("cannot start the daemon")?;
    let up = child.stdout.take();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if let Some(mut up) = up {
            drop(up.read_to_end(&mut Vec::new()));
        }
        drop(sender);
        // On Windows it is the daemon itself, and stays.
        if cfg!(unix) {
            drop(child.wait());
        }
    });
    Ok(ended)
}

#[cfg(windows)]
const DETACHED_PROCESS: u32 = 0x0000_0008;
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// Has the user's service manager start the daemon, if there is one.
#[cfg(target_os = "linux")]
fn managed(places: &Places) -> anyhow::Result<Option<Child>> {
    let Some(runtime) = crate::paths::runtime_folder() else { return Ok(None) };
    if !runtime.join("systemd/private").exists() {
        return Ok(None);
    }
    let quiet = |program: &str| {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", &runtime).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // A unit of the user's own knows better how the daemon is to run.
    if places.is_default && !places.config_named {
        let started = quiet("systemctl").args(["--user", "start", "trunkline.service"]).status();
        if started.is_ok_and(|status| status.success()) {
            return Ok(quiet("true").spawn().ok());
        }
    }
    let mut command = quiet("systemd-run");
    let unit = format!("trunkline-{}-{:08x}", std::process::id(), fastrand::u32(..));
    command.args(["--user", "--quiet", "--collect", "--service-type=notify", "--unit", &unit]);
    for property in unit_properties(&log_path(places).display().to_string()) {
        command.arg("--property").arg(property);
    }
    for (name, value) in std::env::vars_os() {
        let is_place = |name: &str| {
            name == "HOME" || name.starts_with("XDG_") || name.starts_with("TRUNKLINE_") && name != processes::VARIABLE
        };
        if let Some(name) = name.to_str().filter(|name| is_place(name) && !name.contains("SESSION")) {
            let mut setting = std::ffi::OsString::from(format!("--setenv={name}="));
            setting.push(value);
            command.arg(setting);
        }
    }
    command.arg("--").arg(program::itself()?).args(arguments(places));
    Ok(command.spawn().ok())
}

/// As in `systemd/trunkline.service`.
#[cfg(target_os = "linux")]
fn unit_properties(log: &str) -> [String; 8] {
    [
        format!("StandardError=append:{log}"),
        "StandardOutput=null".to_owned(),
        "UMask=0077".to_owned(),
        "KillMode=mixed".to_owned(),
        "TimeoutStopSec=30".to_owned(),
        "WatchdogSec=30".to_owned(),
        "LimitCORE=0".to_owned(),
        "LimitNOFILE=65536".to_owned(),
    ]
}

/// Has launchd start the daemon, in the session of the person who is logged in.
#[cfg(target_os = "macos")]
fn managed(places: &Places) -> anyhow::Result<Option<Child>> {
    let label = format!("org.trunkline.on-demand.{}", std::process::id());
    let mut words = vec![program::itself()?.display().to_string()];
    words.extend(arguments(places));
    let plist = places.state.join("on-demand.plist");
    crate::files::replace(&plist, property_list(&label, &words, &log_path(places).display().to_string()).as_bytes())?;
    let domain = format!("gui/{}", rustix::process::geteuid().as_raw());
    let mut command = Command::new("launchctl");
    command.args(["bootstrap", &domain]).arg(plist);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok())
}

#[cfg(windows)]
fn managed(_places: &Places) -> anyhow::Result<Option<Child>> {
    Ok(None)
}

/// A launchd job that runs once (`launchd.plist(5)`).
#[cfg(any(target_os = "macos", test))]
fn property_list(label: &str, words: &[String], log: &str) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let words: String = words.iter().map(|word| format!("<string>{}</string>", escaped(word))).collect();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Label</key><string>{}</string><key>ProgramArguments</key><array>{words}</array><key>RunAtLoad</key><true/><key>ProcessType</key><string>Interactive</string><key>StandardErrorPath</key><string>{}</string></dict></plist>
"#,
        escaped(label),
        escaped(log)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_launchd_job_names_the_program_and_its_words() {
        let list = super::property_list("l", &["/a b/trunkline".into(), "run & <x>".into()], "/log");
        assert!(
            list.contains("<array><string>/a b/trunkline</string><string>run &amp; &lt;x></string></array>"),
            "{list}"
        );
        assert!(list.contains("<key>RunAtLoad</key><true/>"));
    }
}
