//! Servers that become entries of the configuration: what is shown of them, what their person is asked, and the writing.
//! `import`, `add` and `init` do it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::cli::ask::Consent;
use crate::cli::done::{Trouble, complain, out};
use crate::cli::reach::{block_on, connect};
use crate::cli::secret::kept;
use crate::cli::table::{table, wrapped};
use crate::config::Config;
use crate::control::DaemonClient;
use crate::credentials::{Vault, hide_memory};
use crate::paths::Places;
use crate::setup::{Agreed, Document, Literal, Origin, Plan, Planned, Preset, Skipped, Source};

/// A plan, and the file that it is for.
pub(super) struct TakeOver {
    pub plan: Plan,
    document: Document,
}

/// The plan for scripts: no value of a secret.
#[derive(Serialize)]
struct Told<'a> {
    config: &'a Path,
    servers: Vec<ToldServer>,
    there: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
    written: bool,
}

#[derive(Serialize)]
struct ToldServer {
    name: String,
    from: Vec<String>,
    what: String,
    notes: Vec<String>,
    preset: Option<String>,
    secrets: Vec<String>,
    needs: Vec<String>,
}

impl TakeOver {
    pub(super) fn new(places: &Places, sources: &[Source]) -> Result<Self, Trouble> {
        let document = Document::open(&places.config).map_err(anyhow::Error::from)?;
        let config = document.config();
        let plan = Plan::new(sources, &config, &kept(&config, places));
        Ok(Self { plan, document })
    }

    /// Leaves out all but these servers, which are named as here or as their agents name them; all stay, if none is named.
    pub(super) fn keep_named(&mut self, names: &[String]) -> Result<(), Trouble> {
        if names.is_empty() {
            return Ok(());
        }
        let Plan { servers, there, skipped } = &mut self.plan;
        let own: Vec<_> = servers.iter().map(|planned| planned.name.to_string()).collect();
        // Its name here says which one is meant, where several have one name with their agents.
        let is_of = |name: &str, is: &str, from: &[Origin]| {
            is == name || !own.iter().any(|own| own == name) && from.iter().any(|origin| origin.name == name)
        };
        let is_known = |name: &String| {
            servers.iter().any(|planned| is_of(name, planned.name.as_str(), &planned.from))
                || there.iter().any(|(origin, own)| is_of(name, own.as_str(), std::slice::from_ref(origin)))
                || skipped.iter().any(|skipped| skipped.origin.name == *name)
        };
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            let all = servers.iter().map(|planned| planned.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Trouble::Other(anyhow::anyhow!(
                "no agent's file has a server `{unknown}`: there is {}",
                if all.is_empty() { "none to take over".to_owned() } else { all }
            )));
        }
        let is_named = |own: &str, from: &[Origin]| names.iter().any(|name| is_of(name, own, from));
        servers.retain(|planned| is_named(planned.name.as_str(), &planned.from));
        there.retain(|(origin, own)| is_named(own.as_str(), std::slice::from_ref(origin)));
        skipped.retain(|skipped| names.contains(&skipped.origin.name));
        Ok(())
    }

    /// Shows what would come over.
    pub(super) fn show(&self) -> Result<(), Trouble> {
        let mut out = out();
        let servers = &self.plan.servers;
        if !servers.is_empty() {
            let row = |planned: &Planned| vec![planned.name.to_string(), what(planned), froms(&planned.from)];
            table(&mut out, &["SERVER", "WHAT", "FROM"], &servers.iter().map(row).collect::<Vec<_>>())?;
        }
        drop(out);
        self.remarks()
    }

    /// What a person should know of what became of the entries, and what is proposed.
    pub(super) fn remarks(&self) -> Result<(), Trouble> {
        let mut out = out();
        let Plan { servers, there, skipped } = &self.plan;
        // What is to be said of several is said once.
        let mut said: Vec<(String, Vec<String>)> = Vec::new();
        let mut say = |text: String, name: String| match said.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(name),
            None => said.push((text, vec![name])),
        };
        for planned in servers {
            planned.notes.iter().for_each(|note| say(note.clone(), planned.name.to_string()));
            for folder in planned.from.iter().filter_map(|origin| origin.folder.as_ref()) {
                let text = format!("until now for {} only; here every agent has it", folder.display());
                say(text, planned.name.to_string());
            }
        }
        for (text, names) in said {
            writeln!(out, "{}", wrapped(&format!("{}: {text}", names.join(", ")), "  "))?;
        }
        for (origin, name) in there {
            let line = format!("{} of {}: there already, as `{name}`", origin.name, origin.title);
            writeln!(out, "{}", wrapped(&line, "  "))?;
        }
        for Skipped { origin, reason } in skipped {
            let line = format!("{} of {}: not taken over: {reason}", origin.name, origin.title);
            writeln!(out, "{}", wrapped(&line, "  "))?;
        }
        self.propose(&mut out)
    }

    /// Says what is proposed: nothing of it is done without a word.
    fn propose(&self, out: &mut impl Write) -> Result<(), Trouble> {
        if !self.presets().is_empty() {
            writeln!(out, "\nHow each of these should be shared:")?;
        }
        for (planned, preset) in self.presets() {
            writeln!(out, "{}", wrapped(&format!("{}: {} ({})", planned.name, preset.told(), preset.why), "  "))?;
        }
        if !self.secrets().is_empty() {
            writeln!(out, "\nSecrets that stand in these entries as they are:")?;
        }
        for (planned, literal) in self.secrets() {
            let line = format!("{}: {} -> ${{keyring:{}}}", planned.name, literal.place, literal.name);
            writeln!(out, "{}", wrapped(&line, "  "))?;
        }
        Ok(())
    }

    fn presets(&self) -> Vec<(&Planned, &Preset)> {
        self.plan.servers.iter().filter_map(|planned| Some((planned, planned.preset.as_ref()?))).collect()
    }

    /// Whether a preset is proposed that changes no folder.
    pub(super) fn has_presets(&self) -> bool {
        self.presets().iter().any(|(_, preset)| preset.fixed.is_none())
    }

    pub(super) fn secrets(&self) -> Vec<(&Planned, &Literal)> {
        let of = |planned| std::iter::repeat(planned);
        self.plan.servers.iter().flat_map(|planned| of(planned).zip(&planned.literals)).collect()
    }

    /// Asks for what is proposed; whoever cannot be asked has not agreed. A folder is given up only by a person's own word.
    pub(super) fn agree(&self, consent: Consent) -> Result<Agreed, Trouble> {
        let mut agreed = Agreed::default();
        if self.has_presets() {
            agreed.presets = consent.agrees("Write into their entries how they are shared?", true)?;
            if !agreed.presets {
                complain("`share` was left at \"auto\": trunkline finds it out; with --yes it is written");
            }
        }
        for (planned, fixed) in
            self.presets().iter().filter_map(|(planned, preset)| Some((planned, preset.fixed.clone()?)))
        {
            let question = format!("Give {} each agent's own project instead of {fixed}?", planned.name);
            if consent == Consent::Ask && consent.agrees(&question, false)? {
                agreed.moved.push(planned.name.clone());
            }
        }
        if !self.secrets().is_empty() {
            agreed.hide = consent.agrees("Keep the secrets encrypted, as ${keyring:…}?", true)?;
            if !agreed.hide {
                complain(
                    "the secrets stand in the configuration as they are, which only you can read; `trunkline secret set NAME` keeps one encrypted",
                );
            }
        }
        Ok(agreed)
    }

    /// The configuration as it would be.
    pub(super) fn config(&self, agreed: &Agreed) -> Result<Config, Trouble> {
        let mut document = self.document.clone();
        self.add_to(&mut document, agreed)?;
        let (_, text) = document.change();
        Ok(Config::from_toml(&text).unwrap_or_default())
    }

    fn add_to(&self, document: &mut Document, agreed: &Agreed) -> Result<(), Trouble> {
        for planned in &self.plan.servers {
            let from = format!("from {}", froms(&planned.from));
            let is_written = |preset: &&Preset| match preset.fixed {
                Some(_) => agreed.moved.contains(&planned.name),
                None => agreed.presets,
            };
            let preset = planned.preset.as_ref().filter(is_written).map(|preset| preset.why.clone());
            let comment: Vec<_> = std::iter::once(from).chain(preset).collect();
            let table = planned.agreed(agreed);
            document.add(&planned.name, &table, &comment).map_err(anyhow::Error::from)?;
        }
        Ok(())
    }

    /// Writes the entries, secrets first.
    pub(super) fn write(&self, agreed: &Agreed, places: &Places) -> Result<(), Trouble> {
        if self.plan.servers.is_empty() {
            return Ok(());
        }
        if agreed.hide {
            self.keep_secrets(places)?;
        }
        let mut document = self.document.clone();
        self.add_to(&mut document, agreed)?;
        document.save().map_err(anyhow::Error::from)?;
        // A daemon that runs need not wait until it notices; what it says of the file, `check` says too.
        drop(block_on(async { Ok(connect(places).await?.reload().await?) }));
        Ok(())
    }

    fn keep_secrets(&self, places: &Places) -> Result<(), Trouble> {
        let literals = self.plan.servers.iter().flat_map(|planned| &planned.literals);
        let secrets: Vec<_> = literals.map(|literal| (literal.name.clone(), literal.value.clone())).collect();
        if secrets.is_empty() {
            return Ok(());
        }
        // That it cannot be hidden is no reason not to keep it.
        drop(hide_memory());
        let vault = Vault::open(&places.state);
        block_on(async {
            let kept = vault.update(move |records| records.secrets.extend(secrets)).await;
            kept.map_err(|error| Trouble::Other(error.into()))
        })?;
        if let Some(notice) = vault.notice() {
            complain(&notice);
        }
        Ok(())
    }

    /// What the servers need that nobody has given yet.
    pub(super) fn needs(&self) -> BTreeMap<String, String> {
        self.plan.servers.iter().flat_map(|planned| planned.inputs.clone()).collect()
    }

    pub(super) fn print_json(&self, written: bool) -> Result<(), Trouble> {
        let origin = |origin: &Origin| format!("{} in {}", origin.name, origin.path.display());
        let server = |planned: &Planned| ToldServer {
            name: planned.name.to_string(),
            from: planned.from.iter().map(origin).collect(),
            what: what(planned),
            notes: planned.notes.clone(),
            preset: planned.preset.as_ref().map(|preset| preset.told()),
            secrets: planned.literals.iter().map(|literal| literal.name.clone()).collect(),
            needs: planned.inputs.keys().cloned().collect(),
        };
        let told = Told {
            config: self.document.path(),
            servers: self.plan.servers.iter().map(server).collect(),
            there: self.plan.there.iter().map(|(from, name)| (origin(from), name.to_string())).collect(),
            skipped: self
                .plan
                .skipped
                .iter()
                .map(|skipped| (origin(&skipped.origin), skipped.reason.clone()))
                .collect(),
            written,
        };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&told).map_err(anyhow::Error::from)?)?;
        Ok(())
    }
}

/// A command or a URL, without its secrets.
fn what(planned: &Planned) -> String {
    let text = |key: &str| planned.hidden.get(key).and_then(|item| item.as_str()).map(str::to_owned);
    if let Some(url) = text("url") {
        return url;
    }
    let words = planned.hidden.get("args").and_then(|item| item.as_array()).into_iter().flatten();
    let words = words.filter_map(|word| word.as_str().map(str::to_owned));
    std::iter::once(text("command").unwrap_or_default()).chain(words).collect::<Vec<_>>().join(" ")
}

fn froms(from: &[Origin]) -> String {
    let one = |origin: &Origin| match &origin.folder {
        Some(folder) => format!("{} ({})", origin.title, folder.display()),
        None => origin.title.clone(),
    };
    let mut all: Vec<_> = from.iter().map(one).collect();
    all.dedup();
    all.join(", ")
}
