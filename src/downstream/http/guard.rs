//! Who may come in: pages from elsewhere are kept out by `Host` and `Origin`, other users by the token.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::downstream::http::answer::refused;
use crate::envelope::reply::code;
use crate::files::{check_ours, is_private, replace};
use crate::random::random_text;

/// What this machine calls itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Where the token is kept.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join("http-token")
}

pub(super) struct Guard {
    token: SecretString,
    file: PathBuf,
    /// Origins that may come in besides those of this machine.
    origins: Vec<String>,
}

impl Guard {
    /// Takes the token that is kept in the state folder, or makes one.
    pub(super) fn open(state: &Path, origins: Vec<String>) -> io::Result<Self> {
        let file = file(state);
        let kept = match std::fs::read_to_string(&file) {
            Ok(text) => {
                check_ours(&file)?;
                // What others could read is no secret any more.
                let private = is_private(&file)?;
                if !private {
                    tracing::warn!(file = %file.display(), "others could read the token for HTTP: it is another one now, which your agents must be given");
                }
                Some(text.trim().to_owned()).filter(|token| private && !token.is_empty())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let token = match kept {
            Some(token) => token,
            None => {
                let token = random_text();
                replace(&file, format!("{token}\n").as_bytes())?;
                token
            }
        };
        Ok(Self { token: token.into(), file, origins })
    }

    /// Why a request must not come in, if it must not.
    pub(super) fn check(&self, target: &Uri, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let refuse = |status, message: &str| Err(Box::new(refused(status, code::INVALID_REQUEST, message)));
        let only = |name| {
            let mut all = headers.get_all(name).iter();
            all.next().filter(|_| all.next().is_none())
        };
        let host = only(header::HOST).and_then(|host| host.to_str().ok());
        // A target that names a host itself is what counts (RFC 9112 section 3.2.2).
        let target = target.authority().is_none_or(|authority| is_own_name(authority.as_str()));
        if !host.is_some_and(is_own_name) || !target {
            return refuse(
                StatusCode::FORBIDDEN,
                "the header `Host`, or the target, names another machine than this one",
            );
        }
        let is_named = |origin: &HeaderValue| {
            origin.to_str().is_ok_and(|origin| self.origins.iter().any(|named| named.eq_ignore_ascii_case(origin)))
        };
        if !headers.get_all(header::ORIGIN).iter().all(|origin| is_own_origin(origin) || is_named(origin)) {
            let message = "requests of pages from elsewhere are refused (`Origin`); `[http] origins` in the configuration names others that may come in";
            return refuse(StatusCode::FORBIDDEN, message);
        }
        let given = only(header::AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer);
        let right = given.is_some_and(|given| bool::from(given.ct_eq(self.token.expose_secret().as_bytes())));
        if !right {
            let message = format!("send `Authorization: Bearer …` with the token in {}", self.file.display());
            let mut response = refused(StatusCode::UNAUTHORIZED, code::INVALID_REQUEST, &message);
            let challenge = HeaderValue::from_static("Bearer realm=\"trunkline\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return Err(Box::new(response));
        }
        Ok(())
    }
}

/// The token of the scheme, whose name is in whatever case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether a `Host` is this machine, on whatever port.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_own_origin(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(is_own_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:7337", "[::1]", "[::1]:80"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in [
            "",
            "evil.example.com",
            "localhost.evil.com",
            "127.0.0.1.nip.io:80",
            "localhost:80@evil",
            "::1",
            "[::2]:1",
            "0.0.0.0",
        ] {
            assert!(!is_own_name(host), "{host}");
        }
        let origin = |text: &str| is_own_origin(&HeaderValue::from_str(text).expect("a value"));
        assert!(origin("http://localhost:6274") && origin("https://127.0.0.1"));
        for other in
            ["null", "http://evil.example.com", "file://", "http://localhost@evil.com", "http://localhost:1/evil"]
        {
            assert!(!origin(other), "{other}");
        }
        assert_eq!(bearer(b"bEaReR  x "), Some(&b"x"[..]));
        assert_eq!((bearer(b"Basic x"), bearer(b"Bear")), (None, None));
    }
}
