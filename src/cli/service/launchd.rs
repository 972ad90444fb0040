//! launchd: an agent in `~/Library/LaunchAgents`.

use std::path::Path;

use crate::paths::Places;

/// The program in the property list of the repository.
const PROGRAM: &str = "<string>@HOME@/.cargo/bin/trunkline</string>";

fn list(program: &Path, home: &Path, places: &Places) -> String {
    let escaped = |path: &Path| path.display().to_string().replace('&', "&amp;").replace('<', "&lt;");
    let socket = places.socket.parent().unwrap_or(Path::new("/"));
    let flags = places.flags();
    let flags: String =
        flags.iter().map(|flag| format!("\n    <string>{}</string>", escaped(Path::new(flag)))).collect();
    include_str!("../../../launchd/org.trunkline.daemon.plist")
        .replace(PROGRAM, &format!("<string>{}</string>", escaped(program)))
        .replace("<string>run</string>", &format!("<string>run</string>{flags}"))
        .replace("@HOME@", &escaped(home))
        .replace("@SOCKET@", &escaped(socket))
}

#[cfg(target_os = "macos")]
mod commands {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use anyhow::{Context, bail};

    use crate::cli::service::Standing;
    use crate::paths::Places;

    const LABEL: &str = "org.trunkline.daemon";

    /// The property list, where it belongs.
    pub(in crate::cli::service) fn units(program: &Path, places: &Places) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let home = std::env::home_dir().ok_or_else(|| anyhow::anyhow!("there is no home folder: set HOME"))?;
        let path = home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
        Ok(vec![(path, super::list(program, &home, places))])
    }

    fn domain() -> String {
        format!("gui/{}", rustix::process::geteuid().as_raw())
    }

    fn launchctl(words: &[&str]) -> anyhow::Result<String> {
        let output =
            Command::new("launchctl").args(words).stdin(Stdio::null()).output().context("cannot start launchctl")?;
        if !output.status.success() {
            bail!("`launchctl {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(in crate::cli::service) fn check() -> anyhow::Result<()> {
        launchctl(&["print", &domain()])
            .map(drop)
            .context("nobody is logged in at this Mac's screen: launchd has agents only then")
    }

    pub(in crate::cli::service) fn start(places: &Places) -> anyhow::Result<()> {
        if let Some(folder) = places.socket.parent() {
            crate::files::create_private(folder)?;
        }
        crate::cli::reach::stop_daemon(places)?;
        // One that is loaded already is loaded anew.
        drop(launchctl(&["bootout", &format!("{}/{LABEL}", domain())]));
        let home = std::env::home_dir().context("there is no home folder")?;
        let plist = home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
        launchctl(&["bootstrap", &domain(), &plist.display().to_string()]).map(drop)
    }

    pub(in crate::cli::service) fn stop() -> anyhow::Result<()> {
        launchctl(&["bootout", &format!("{}/{LABEL}", domain())]).map(drop)
    }

    pub(in crate::cli::service) fn forget() {}

    pub(in crate::cli::service) fn standing(_places: &Places) -> Standing {
        let mut standing = Standing::default();
        let Some(home) = std::env::home_dir() else { return standing };
        let plist = home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
        let Ok(text) = std::fs::read_to_string(&plist) else { return standing };
        standing.installed = true;
        let words = text.split_once("<key>ProgramArguments</key>").map(|(_, rest)| rest);
        let first = words.and_then(|rest| rest.split_once("<string>")?.1.split_once("</string>"));
        standing.program = first.map(|(program, _)| program.into());
        let printed = launchctl(&["print", &format!("{}/{LABEL}", domain())]).unwrap_or_default();
        standing.enabled = !printed.is_empty();
        standing.running = printed.contains("state = running");
        standing
    }
}

#[cfg(target_os = "macos")]
pub(super) use commands::{check, forget, standing, start, stop, units};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Named;

    #[test]
    fn the_list_names_this_program() {
        let named = Named { socket: Some("/t/s & x/trunkline.sock".into()), ..Named::default() };
        let places = Places::find(named).expect("found");
        let text = list(Path::new("/opt/a b/trunkline"), Path::new("/Users/a"), &places);
        assert!(
            text.contains(
                "<string>/opt/a b/trunkline</string>\n    <string>run</string>\n    <string>--socket</string>"
            ),
            "{text}"
        );
        assert!(text.contains("<string>/t/s &amp; x/trunkline.sock</string>") && !text.contains('@'), "{text}");
    }
}
