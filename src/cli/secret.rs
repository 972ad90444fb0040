//! `secret`: values that the configuration names by `${keyring:NAME}`. Works without a daemon, and beside one.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use secrecy::SecretString;
use secrecy::zeroize::Zeroize;

use crate::cli::args::SecretCommand;
use crate::cli::done::{Done, Trouble, complain};
use crate::config::{Config, Secrets};
use crate::credentials::{Place, Vault, VaultError, hide_memory};
use crate::paths::Places;
use crate::setup::Kept;

pub(super) fn run(command: &SecretCommand, places: &Places, json: bool) -> Done {
    let vault = Vault::open(&places.state);
    // That it cannot be hidden is no reason not to keep it.
    drop(hide_memory());
    match command {
        SecretCommand::Set { name } => {
            check_name(name)?;
            let value = read_value()?;
            let key = name.clone();
            wait(vault.update(move |records| records.secrets.insert(key, value)))?;
            let place = match vault.place() {
                Some(Place::File) => "the key to it is in a file beside it, because there is no keyring",
                Some(Place::Keyring) | None => "the key to it is in the keyring",
            };
            complain(&format!(
                "kept as ${{keyring:{name}}}, encrypted, and {place}; `trunkline restart SERVER` has a running server use it"
            ));
        }
        SecretCommand::List => {
            let names: Vec<String> = wait(vault.read(|records| records.secrets.keys().cloned().collect()))?;
            let mut out = io::stdout().lock();
            if json {
                writeln!(out, "{}", serde_json::to_string(&names).map_err(anyhow::Error::from)?)?;
            } else {
                names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
            }
        }
        SecretCommand::Remove { name } => {
            let key = name.clone();
            if wait(vault.update(move |records| records.secrets.remove(&key)))?.is_none() {
                return Err(anyhow::anyhow!("no secret is named `{name}`: `trunkline secret list` names them").into());
            }
            complain(&format!("`{name}` is forgotten"));
        }
    }
    if let Some(notice) = vault.notice() {
        complain(&notice);
    }
    Ok(ExitCode::SUCCESS)
}

/// The secrets of these names, as far as there are any.
pub(super) fn find(places: &Places, names: BTreeSet<String>) -> Result<Secrets, Trouble> {
    if names.is_empty() { Ok(Secrets::new()) } else { wait(Vault::open(&places.state).secrets(names)) }
}

/// What the vault has of secrets; where it cannot be read, nothing is known of them.
pub(super) fn kept(config: &Config, places: &Places) -> Kept {
    let vault = Vault::open(&places.state);
    let names = wait(vault.read(|records| records.secrets.keys().cloned().collect())).unwrap_or_default();
    let values = find(places, config.secret_names()).unwrap_or_default();
    Kept { names, values }
}

fn wait<T>(work: impl Future<Output = Result<T, VaultError>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let result = runtime.context("cannot start the async runtime")?.block_on(work);
    result.map_err(|error| Trouble::Other(error.into()))
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !good {
        bail!("`{name}` is no name for a secret: use ASCII letters, digits, `-`, `_` and `.`");
    }
    Ok(())
}

fn read_value() -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        complain("type or paste the secret, which is not shown, and press Enter (several lines: pipe them in):");
        text = rpassword::read_password().context("cannot read the secret from the terminal")?;
    } else {
        io::stdin().read_to_string(&mut text).context("cannot read the secret from standard input")?;
    }
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        bail!(
            "the secret is empty: pipe it into standard input, like `pass show github | trunkline secret set github`"
        );
    }
    let secret = SecretString::from(value);
    text.zeroize();
    Ok(secret)
}
