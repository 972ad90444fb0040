//! Logins that Codex keeps: in the keyring or, where it has none, in a file of its home folder.
//!
//! The form is that of its `rmcp-client`, as of 2026: an entry is found by the server's name and a hash of its URL.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// What its entries in the keyring belong to.
pub(super) const SERVICE: &str = "Codex MCP Credentials";
/// Its file, below its home folder.
const FILE: &str = ".credentials.json";

/// A login as another program made it.
#[derive(Debug, Clone)]
pub struct ForeignLogin {
    pub client_id: String,
    pub access: SecretString,
    pub refresh: Option<SecretString>,
    pub scopes: Vec<String>,
    /// Seconds since 1970.
    pub expires_at: Option<u64>,
}

/// Under which name the keyring has the login at a server.
pub(super) fn account(server: &str, url: &str) -> String {
    let key = format!(r#"{{"type":"http","url":{},"headers":{{}}}}"#, serde_json::Value::from(url));
    let hash = digest(&SHA256, key.as_bytes());
    let hex: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{server}|{hex}")
}

/// Reads an entry of the keyring.
pub(super) fn of_keyring(entry: &SecretString) -> Option<ForeignLogin> {
    #[derive(Deserialize)]
    struct Entry {
        client_id: String,
        token_response: Tokens,
        /// Milliseconds.
        expires_at: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Tokens {
        access_token: SecretString,
        refresh_token: Option<SecretString>,
        scope: Option<String>,
    }
    let Entry { client_id, token_response: tokens, expires_at } = serde_json::from_str(entry.expose_secret()).ok()?;
    Some(ForeignLogin {
        client_id,
        access: tokens.access_token,
        refresh: tokens.refresh_token,
        scopes: tokens.scope.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        expires_at: expires_at.map(|at| at / 1000),
    })
}

/// Looks the login at `url` up in Codex's file; one of the same server name, if there are several.
pub(super) fn in_file(home: &Path, server: &str, url: &str) -> io::Result<Option<ForeignLogin>> {
    #[derive(Deserialize)]
    struct Entry {
        server_name: String,
        server_url: String,
        client_id: String,
        access_token: SecretString,
        refresh_token: Option<SecretString>,
        #[serde(default)]
        scopes: Vec<String>,
        /// Milliseconds.
        expires_at: Option<u64>,
    }
    let text = match fs::read_to_string(home.join(FILE)) {
        Ok(text) => SecretString::from(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Its words could quote what is secret.
    let entries: BTreeMap<String, Entry> =
        serde_json::from_str(text.expose_secret()).map_err(|_| io::Error::other("it is not as Codex writes it"))?;
    let same = |entry: &Entry| entry.server_url.trim_end_matches('/') == url.trim_end_matches('/');
    let mut found: Vec<Entry> = entries.into_values().filter(same).collect();
    found.sort_by_key(|entry| entry.server_name != server);
    Ok(found.into_iter().next().map(|entry| ForeignLogin {
        client_id: entry.client_id,
        access: entry.access_token,
        refresh: entry.refresh_token,
        scopes: entry.scopes,
        expires_at: entry.expires_at.map(|at| at / 1000),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_called_as_codex_calls_it() {
        // Seen on a machine where Codex had logged in.
        let account = account("cloudflare-api", "https://mcp.cloudflare.com/mcp");
        assert_eq!(account, "cloudflare-api|2e40c71145c8b601");
    }
}
