//! Windows: a task that starts the daemon at logon (Task Scheduler, schema 1.2).

use std::path::Path;

use crate::paths::Places;

/// A task that runs with the user's own rights, also on batteries, for as long as it wants, and again after it failed.
fn task(program: &Path, places: &Places) -> String {
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let flags = places.flags();
    let words = std::iter::once("run".to_owned())
        .chain(flags)
        .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { word });
    let words = words.collect::<Vec<_>>().join(" ");
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>trunkline, the owner of all MCP connections</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Principals><Principal id="Author"><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>20</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author"><Exec><Command>{}</Command><Arguments>{}</Arguments></Exec></Actions>
</Task>
"#,
        escaped(&program.display().to_string()),
        escaped(&words)
    )
}

#[cfg(windows)]
mod commands {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use anyhow::{Context, bail};

    use crate::cli::service::Standing;
    use crate::paths::Places;

    const NAME: &str = "trunkline";

    /// The task's description, beside the state: the scheduler keeps a copy.
    pub(in crate::cli::service) fn units(program: &Path, places: &Places) -> anyhow::Result<Vec<(PathBuf, String)>> {
        Ok(vec![(places.state.join("logon-task.xml"), super::task(program, places))])
    }

    fn schtasks(words: &[&str]) -> anyhow::Result<String> {
        let output =
            Command::new("schtasks").args(words).stdin(Stdio::null()).output().context("cannot start schtasks")?;
        if !output.status.success() {
            bail!("`schtasks {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(in crate::cli::service) fn check() -> anyhow::Result<()> {
        Ok(())
    }

    pub(in crate::cli::service) fn start(places: &Places) -> anyhow::Result<()> {
        let file = places.state.join("logon-task.xml").display().to_string();
        crate::cli::reach::stop_daemon(places)?;
        schtasks(&["/Create", "/F", "/TN", NAME, "/XML", &file])?;
        schtasks(&["/Run", "/TN", NAME]).map(drop)
    }

    pub(in crate::cli::service) fn stop() -> anyhow::Result<()> {
        drop(schtasks(&["/End", "/TN", NAME]));
        schtasks(&["/Delete", "/F", "/TN", NAME]).map(drop)
    }

    pub(in crate::cli::service) fn forget() {}

    pub(in crate::cli::service) fn standing(places: &Places) -> Standing {
        let installed = places.state.join("logon-task.xml").is_file();
        let listed = schtasks(&["/Query", "/TN", NAME, "/FO", "CSV", "/NH"]).unwrap_or_default();
        let running = listed.to_ascii_lowercase().contains("running");
        Standing { installed, enabled: !listed.is_empty(), running, ..Standing::default() }
    }
}

#[cfg(windows)]
pub(super) use commands::{check, forget, standing, start, stop, units};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Named;

    #[test]
    fn the_task_names_this_program() {
        let named = Named { state: Some("/a & b".into()), socket: Some("/s".into()), ..Named::default() };
        let text = task(Path::new("C:\\Program Files\\trunkline.exe"), &Places::find(named).expect("found"));
        assert!(text.contains("<Command>C:\\Program Files\\trunkline.exe</Command>"), "{text}");
        assert!(text.contains("<Arguments>run --socket /s --state-dir &quot;/a &amp; b&quot;</Arguments>"), "{text}");
    }
}
