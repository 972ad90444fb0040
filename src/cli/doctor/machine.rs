//! The machine: PATH, proxies and certificates, the keyring, the clock, ports, and the programs that servers are started with.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::look::Look;
use crate::cli::service::missing_in_service;
use crate::config::{Transport, find_program};
use crate::credentials::{Place, Vault};

/// Programs that start others, whose versions are worth knowing.
const RUNNERS: [&str; 9] = ["node", "npx", "bunx", "deno", "python3", "uvx", "uv", "docker", "podman"];
/// How long one may take to say its version.
const VERSION_WAIT: Duration = Duration::from_secs(3);
/// When this was written: a clock that shows less is wrong, and certificates and tokens are with it.
const WRITTEN: u64 = 1_790_000_000;

pub(super) async fn look(look: &Look<'_>) -> Vec<Finding> {
    let mut findings = commands(look);
    findings.extend(runners(look));
    findings.push(environment(look));
    findings.push(keyring(look).await);
    findings.push(clock());
    findings.extend(ports(look));
    findings
}

/// The PATH that servers have: the daemon's, where the system tells it.
fn path(look: &Look<'_>) -> Option<OsString> {
    let told = look.environment.as_ref().map(|environment| OsString::from(&environment.path));
    told.or_else(|| std::env::var_os("PATH"))
}

/// Whether each command is found, and where.
fn commands(look: &Look<'_>) -> Vec<Finding> {
    let path = path(look);
    let servers = look.config.servers.iter().filter(|(_, server)| server.is_usable());
    let commands = servers.filter_map(|(name, server)| match &server.transport {
        Transport::Stdio(stdio) if !stdio.command.text().contains("${") => Some((name, stdio)),
        Transport::Stdio(_) | Transport::Http(_) => None,
    });
    commands
        .map(|(name, stdio)| {
            let command = stdio.command.text();
            match find_program(&stdio.program(command), path.clone()) {
                Some(found) => Finding::good("commands", format!("{name}: {command} is {}", found.display())),
                None => {
                    let shell = find_program(Path::new(command), std::env::var_os("PATH"));
                    let fix = match shell {
                        Some(found) => format!("it is in this shell's PATH ({}): `trunkline service install` keeps that for the daemon, or write the full path", found.display()),
                        None => install_hint(command),
                    };
                    Finding::problem("commands", format!("{name}: `{command}` is not in the daemon's PATH"), fix)
                }
            }
        })
        .collect()
}

/// Where a program comes from that servers are started with.
fn install_hint(command: &str) -> String {
    match command.rsplit('/').next().unwrap_or(command) {
        "npx" | "node" | "npm" => "install Node.js: https://nodejs.org, or your system's package `nodejs`".to_owned(),
        "uvx" | "uv" => "install uv: https://docs.astral.sh/uv, or `pipx install uv`".to_owned(),
        "bunx" | "bun" => "install Bun: https://bun.sh".to_owned(),
        "docker" => "install Docker: https://docs.docker.com/engine/install".to_owned(),
        _ => "install it, or write its full path into `command`".to_owned(),
    }
}

fn runners(look: &Look<'_>) -> Vec<Finding> {
    let path = path(look);
    let mut used = BTreeSet::new();
    for (_, server) in &look.config.servers {
        if let Transport::Stdio(stdio) = &server.transport {
            let name = stdio.command.text().rsplit('/').next().unwrap_or_default().to_owned();
            if name == "npx" {
                used.insert("node".to_owned());
            }
            used.insert(name);
        }
    }
    let used = used.into_iter().filter(|name| RUNNERS.contains(&name.as_str()));
    let found = used.filter_map(|name| find_program(Path::new(&name), path.clone()).map(|place| (name, place)));
    found
        .map(|(name, place)| match version(&place) {
            Some(version) => Finding::good("runners", format!("{name}: {version}")),
            None => Finding::note(
                "runners",
                format!("{name} did not say its version within {} s", VERSION_WAIT.as_secs()),
                format!("{} --version", place.display()),
            ),
        })
        .collect()
}

/// The first line of `PROGRAM --version`.
fn version(program: &PathBuf) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let end = Instant::now() + VERSION_WAIT;
    loop {
        match child.try_wait().ok()? {
            Some(_) => break,
            None if Instant::now() > end => {
                drop(child.kill());
                drop(child.wait());
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout?, &mut text).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

/// What this shell has and the login shell does not: a service has the login shell's.
fn environment(look: &Look<'_>) -> Finding {
    let lacks = |name: &str, value: &str| match &look.environment {
        // Of PATH, the folders count.
        Some(has) if name == "PATH" => {
            let has: Vec<_> = std::env::split_paths(&has.path).collect();
            std::env::split_paths(value).any(|folder| !has.contains(&folder))
        }
        Some(has) => !has.names.iter().any(|known| known == name),
        None => true,
    };
    let missing: Vec<_> =
        missing_in_service().into_iter().filter(|(name, value)| lacks(name, value)).map(|(name, _)| name).collect();
    if missing.is_empty() {
        return Finding::good("environment", "what a daemon has of your environment is what this shell has");
    }
    Finding::note(
        "environment",
        format!("this shell has what the daemon does not get from your login shell: {}", missing.join(", ")),
        "put it into your login shell's profile, or let `trunkline service install` keep it",
    )
}

async fn keyring(look: &Look<'_>) -> Finding {
    let credentials = look.status.as_ref().map(|status| &status.credentials);
    if let Some(notice) = credentials.and_then(|credentials| credentials.notice.clone()) {
        return Finding::problem("keyring", notice, "unlock the keyring; docs/guide/log-in.md says where the key is");
    }
    let vault = Vault::open(&look.places.state);
    match vault.read(|records| records.secrets.len()).await {
        Ok(0) if vault.place().is_none() => Finding::good("keyring", "no login and no secret is kept yet"),
        Ok(_) => match vault.place() {
            Some(Place::File) => Finding::note(
                "keyring",
                "there was no keyring when the first secret was kept: the key is in a file",
                "nothing, if nobody else can read your files",
            ),
            Some(Place::Keyring) | None => {
                Finding::good("keyring", "logins and secrets can be read, their key is in the keyring")
            }
        },
        Err(error) => Finding::problem("keyring", error.to_string(), "unlock the keyring, and look again"),
    }
}

fn clock() -> Finding {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    if now < WRITTEN {
        return Finding::problem(
            "clock",
            "the clock is years behind: certificates and logins will be refused",
            "set it: timedatectl set-ntp true",
        );
    }
    Finding::good("clock", "the clock looks right")
}

/// Ports that are to be opened, and that somebody else has.
fn ports(look: &Look<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(http) = look.status.as_ref().and_then(|status| status.http.as_ref()) {
        findings.push(match (&http.url, &http.problem) {
            (Some(url), _) => Finding::good("ports", format!("agents attach over HTTP at {url}")),
            (None, problem) => Finding::problem(
                "ports",
                format!("HTTP: {}", problem.as_deref().unwrap_or("not open")),
                "name another port under [http] `listen`",
            ),
        });
    }
    for (name, server) in &look.config.servers {
        let Transport::Http(http) = &server.transport else { continue };
        let Some(port) = http.oauth.callback_port else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
            findings.push(Finding::note(
                "ports",
                format!("{name}: port {port}, where its login leads back to, is in use"),
                "if no login is under way, find who has it: ss -ltnp",
            ));
        }
    }
    findings
}
