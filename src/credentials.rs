//! Logins and secrets at rest: one encrypted file in the state folder, and its key in the keyring of the operating system or,
//! where there is none, in a file beside it.

mod codex;
mod file;
mod key;
mod keyring;
mod keys;
mod record;
mod vault;

pub use codex::ForeignLogin;
pub use key::Place;
pub use record::{Client, ClientAuth, Credential, CredentialId, Endpoints, Origin, Records, Tokens};
pub use vault::{Vault, VaultError};

/// Keeps what is in memory to this process: no core dumps, and no other process of the user may look into it.
pub fn hide_memory() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
