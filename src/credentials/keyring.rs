//! The keyring of the operating system: Secret Service (Linux), Keychain (macOS), Credential Manager (Windows).
//!
//! Its calls block, and may ask the user for a password: they are made from one thread of their own. The store is opened
//! for each call, because a daemon may start before its session's D-Bus does, and outlive a keyring.

use keyring_core::{CredentialStore, Entry, Error};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// Why a keyring did not do as it was told.
#[derive(Debug, Clone)]
pub(super) enum KeyringError {
    /// There is none.
    Absent(String),
    /// It is locked, and nobody unlocked it.
    Locked(String),
    Failed(String),
}

/// What stands under these names, if anything does. A keyring that is locked may say that nothing does.
pub(super) fn get(service: &str, user: &str) -> Result<Option<SecretString>, KeyringError> {
    with(service, user, |entry| match entry.get_password() {
        Ok(secret) => Ok(Some(secret.into())),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    })
}

/// Keeps text, since some keyrings keep nothing else.
pub(super) fn set(service: &str, user: &str, secret: &SecretString) -> Result<(), KeyringError> {
    with(service, user, |entry| entry.set_password(secret.expose_secret()))
}

/// Forgets what stands under these names.
pub(super) fn remove(service: &str, user: &str) -> Result<(), KeyringError> {
    with(service, user, |entry| match entry.delete_credential() {
        Err(Error::NoEntry) => Ok(()),
        done => done,
    })
}

fn with<T>(service: &str, user: &str, work: impl Fn(&Entry) -> keyring_core::Result<T>) -> Result<T, KeyringError> {
    let done = open().and_then(|store| work(&Entry::new_in_store(&store, service, user)?));
    done.map_err(|error| classify(&error))
}

#[cfg(target_os = "linux")]
fn open() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn open() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn open() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn open() -> keyring_core::Result<Arc<CredentialStore>> {
    Err(Error::NoDefaultStore)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "open enums of others: the rest is said in their own words")]
fn classify(error: &Error) -> KeyringError {
    // Some errors' words would show the entries' names only to those who know D-Bus.
    let text = if let Error::Ambiguous(_) = error {
        "it has several entries of that name".to_owned()
    } else {
        error.to_string()
    };
    match error {
        Error::NoDefaultStore => KeyringError::Absent(text),
        Error::PlatformFailure(inner) | Error::NoStorageAccess(inner) => match kind(&**inner) {
            Kind::Absent => KeyringError::Absent(inner.to_string()),
            Kind::Locked => KeyringError::Locked(inner.to_string()),
            Kind::Other => KeyringError::Failed(text),
        },
        _ => KeyringError::Failed(text),
    }
}

/// What a platform's own error means.
enum Kind {
    Absent,
    Locked,
    Other,
}

#[cfg(target_os = "linux")]
#[expect(clippy::wildcard_enum_match_arm, reason = "open enums of others: the rest is said in their own words")]
fn kind(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Kind {
    use secret_service::Error as Service;
    match error.downcast_ref::<Service>() {
        // A keyring without a default collection keeps nothing.
        Some(Service::Unavailable | Service::NoResult) => Kind::Absent,
        Some(Service::Locked | Service::Prompt) => Kind::Locked,
        Some(Service::Zbus(error)) => match error {
            zbus::Error::Address(_) | zbus::Error::Handshake(_) | zbus::Error::Connection(..) => Kind::Absent,
            zbus::Error::MethodError(name, _, _) => match name.as_str() {
                "org.freedesktop.Secret.Error.IsLocked" => Kind::Locked,
                "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner"
                | "org.freedesktop.DBus.Error.TimedOut" => Kind::Absent,
                name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => Kind::Absent,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

#[cfg(not(target_os = "linux"))]
fn kind(_error: &(dyn std::error::Error + Send + Sync + 'static)) -> Kind {
    Kind::Other
}
