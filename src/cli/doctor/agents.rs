//! The agents' files: entries of trunkline that lead nowhere, and servers that an agent starts beside it.

use std::path::Path;

use crate::cli::attach::{agents_here, known};
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::look::Look;
use crate::setup::{AgentFile, Attachment};

pub(super) fn look(look: &Look<'_>) -> Vec<Finding> {
    let attachments = Attachment::all(&look.places.state);
    let mut findings = Vec::new();
    let mut attached = 0;
    for (agent, path) in agents_here() {
        let Ok(file) = AgentFile::open(&path) else { continue };
        let programs = file.trunklines();
        attached += usize::from(!programs.is_empty());
        for program in
            programs.iter().filter(|program| Path::new(program).is_absolute() && !Path::new(program).is_file())
        {
            findings.push(Finding::problem(
                "agents",
                format!("{} starts {program}, which is not there any more ({})", agent.title, path.display()),
                format!("trunkline attach {}", agent.id),
            ));
        }
        let twice = known(&path, &look.config, look.places);
        if !programs.is_empty() && !twice.is_empty() {
            findings.push(Finding::problem(
                "agents",
                format!("{} starts for itself what it has through trunkline too: {}", agent.title, twice.join(", ")),
                format!("trunkline attach {} --replace", agent.id),
            ));
        }
    }
    for attachment in attachments.iter().filter(|attachment| !attachment.file.exists()) {
        findings.push(Finding::note(
            "agents",
            format!("{} is gone, in which trunkline was", attachment.file.display()),
            format!("trunkline detach {}", attachment.agent),
        ));
    }
    if attached == 0 {
        findings.push(Finding::note("agents", "no agent's own file names trunkline", "trunkline attach AGENT"));
    } else {
        let what = if attached == 1 {
            "1 agent attaches through its own file".to_owned()
        } else {
            format!("{attached} agents attach through their own files")
        };
        findings.push(Finding::good("agents", what));
    }
    findings
}
