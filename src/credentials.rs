//! Logins and secrets at rest: one encrypted file in the state folder, and its key in the keyring of the operating system or,
//! where there is none, in a file beside it.

mod file;
mod key;
mod keyring;
mod record;
mod vault;

pub use key::Place;
pub use record::{Client, ClientAuth, Credential, CredentialId, Endpoints, Origin, Records, Tokens};
pub use vault::{Vault, VaultError};
