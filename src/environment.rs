//! Which of a person's environment variables a server gets, and which of the others it may have missed.

use wildmatch::WildMatch;

/// What every server gets, by name or pattern: who and where the person is, the language, TLS, proxies, the desktop, and
/// where tools keep their programs and caches. A pattern never matches what looks like a secret.
const BY_DEFAULT: [&str; 88] = [
    // The person.
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "USER",
    "TERM",
    "TMPDIR",
    "TZ",
    "__CF_USER_TEXT_ENCODING",
    // The language.
    "LANG",
    "LANGUAGE",
    "LC_*",
    // Certificates.
    "SSL_CERT_*",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_SYSTEM_CA",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "DENO_CERT",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    // Proxies, in both spellings.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    // The desktop and the login session.
    "XDG_*",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    // Containers and clusters.
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "KUBECONFIG",
    // Node.
    "NODE_PATH",
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_PREFIX",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_USERCONFIG",
    "npm_config_cache",
    "npm_config_prefix",
    "npm_config_registry",
    "npm_config_userconfig",
    "NVM_*",
    "VOLTA_HOME",
    "FNM_*",
    "N_PREFIX",
    "PNPM_HOME",
    "COREPACK_HOME",
    "BUN_INSTALL",
    "DENO_DIR",
    // Python.
    "UV_CACHE_DIR",
    "UV_TOOL_DIR",
    "UV_TOOL_BIN_DIR",
    "UV_PYTHON",
    "UV_PYTHON_INSTALL_DIR",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "PIP_CACHE_DIR",
    "PIP_INDEX_URL",
    "PIPX_HOME",
    "PIPX_BIN_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    // Version managers, Rust, Go, Java.
    "ASDF_*",
    "MISE_*",
    "RTX_*",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "GOPATH",
    "GOBIN",
    "GOROOT",
    "GOCACHE",
    "JAVA_HOME",
    "JDK_HOME",
    "M2_HOME",
    "MAVEN_HOME",
    "GRADLE_USER_HOME",
];
/// What programs on Windows need besides.
const ON_WINDOWS: [&str; 14] = [
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERPROFILE",
];
/// Parts of a name, between underscores, that promise a secret.
const SECRET: [&str; 17] = [
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PASSPHRASE",
    "PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY",
    "KEYS",
    "APIKEY",
    "PAT",
    "AUTH",
    "COOKIE",
];
/// How many names an error message lists.
const MOST_NAMED: usize = 6;

/// Whether every server gets this variable.
pub fn by_default(name: &str) -> bool {
    let windows = ON_WINDOWS.iter().filter(|_| cfg!(windows));
    BY_DEFAULT.iter().chain(windows).any(|pattern| matches(pattern, name))
}

/// Whether a server gets this variable whose entry, and the daemon's table, name these: names, or patterns with `*` and `?`.
pub fn passes<'a>(name: &str, named: impl IntoIterator<Item = &'a str>) -> bool {
    !is_service_managers(name) && (by_default(name) || named.into_iter().any(|pattern| matches(pattern, name)))
}

/// A secret is passed on only where its whole name is written down.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.contains(['*', '?']) {
        !looks_secret(name) && WildMatch::new(pattern).matches(name)
    } else if cfg!(windows) {
        pattern.eq_ignore_ascii_case(name)
    } else {
        pattern == name
    }
}

/// Whether the name of a variable promises a secret.
pub fn looks_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.split(['_', '-', '.', ':', '/']).any(|part| SECRET.contains(&part) || part.ends_with("TOKEN"))
}

/// What a service manager tells the daemon is nobody else's: a child that answered for it would be taken for it.
pub fn is_service_managers(name: &str) -> bool {
    name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_") || name == "NOTIFY_SOCKET"
}

/// Of the variables that a server was not given, those that its last words or its kind point at: names only.
pub fn missed(withheld: &[String], server: &str, command: &str, words: &str) -> Vec<String> {
    let lower = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|word| lower.contains(word));
    let certificates = says(&["certificate", "self-signed", "self signed", "ssl", "tls", "unable_to_verify"]);
    let network = says(&["proxy", "econnrefused", "enotfound", "etimedout", "network", "getaddrinfo", "connect"]);
    let rights =
        says(&["token", "api key", "api_key", "apikey", "credential", "unauthorized", "401", "auth", "secret"]);
    let subjects: Vec<String> = [server, command]
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
        .map(str::to_ascii_uppercase)
        .filter(|part| part.len() > 2 && !matches!(part.as_str(), "SERVER" | "MCP" | "NODE" | "NPX" | "UVX" | "INDEX"))
        .collect();
    let tool = command.split(' ').next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let points_at = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let has = |any: &[&str]| any.iter().any(|part| upper.contains(part));
        let named = name.len() > 3 && words.contains(name.as_str());
        let own = upper.split('_').any(|part| subjects.iter().any(|subject| subject == part));
        named
            || (certificates && has(&["CERT", "SSL", "TLS", "CA_BUNDLE", "CAFILE"]))
            || (network && has(&["PROXY"]))
            || (rights && looks_secret(name) && own)
            || (own && says(&["environment", "env var", "not set", "required", "missing"]))
            || (matches!(tool, "docker" | "podman") && upper.starts_with("DOCKER_"))
            || (matches!(tool, "kubectl" | "helm") && upper.starts_with("KUBE"))
            || (matches!(tool, "node" | "npx" | "npm") && upper == "NODE_OPTIONS" && certificates)
    };
    let mut found: Vec<_> = withheld.iter().filter(|name| points_at(name)).cloned().collect();
    found.sort_unstable();
    found.truncate(MOST_NAMED);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes() {
        for (name, named, expected) in [
            ("HOME", &[][..], true),
            ("LC_TIME", &[], true),
            ("SSL_CERT_FILE", &[], true),
            ("https_proxy", &[], true),
            ("SSH_AUTH_SOCK", &[], true),
            ("XDG_RUNTIME_DIR", &[], true),
            ("NVM_DIR", &[], true),
            ("MISE_GITHUB_TOKEN", &[], false),
            ("GITHUB_TOKEN", &[], false),
            ("GITHUB_TOKEN", &["GITHUB_TOKEN"], true),
            ("GITHUB_TOKEN", &["GITHUB_*"], false),
            ("CORP_REGION", &["CORP_*"], true),
            ("CORP_REGION", &["CORP_"], false),
            ("NOTIFY_SOCKET", &["NOTIFY_SOCKET"], false),
            ("LISTEN_FDS", &["*"], false),
            ("EDITOR", &[], false),
        ] {
            assert_eq!(passes(name, named.iter().copied()), expected, "{name} {named:?}");
        }
    }

    #[test]
    fn what_a_failure_points_at() {
        let all: Vec<String> =
            ["GITHUB_TOKEN", "GITLAB_TOKEN", "CORP_CA_BUNDLE", "MY_PROXY", "EDITOR", "DOCKER_BUILDKIT"]
                .map(str::to_owned)
                .into();
        for (server, command, words, expected) in [
            ("github", "npx", "Error: GITHUB_TOKEN is required", &["GITHUB_TOKEN"][..]),
            ("github", "npx", "401 Unauthorized", &["GITHUB_TOKEN"]),
            ("time", "uvx", "error: self-signed certificate in certificate chain", &["CORP_CA_BUNDLE"]),
            ("time", "uvx", "connect ECONNREFUSED", &["MY_PROXY"]),
            ("db", "/usr/bin/docker", "", &["DOCKER_BUILDKIT"]),
            ("time", "uvx", "no such file", &[]),
        ] {
            assert_eq!(missed(&all, server, command, words), expected, "{server}: {words}");
        }
    }
}
