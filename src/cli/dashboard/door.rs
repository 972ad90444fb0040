//! Who may see the page: whoever has the URL that was printed, once, and from then on that browser. Pure.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{HeaderMap, Method, Uri, header};
use subtle::ConstantTimeEq;

use crate::random::random_text;

/// The key of the page.
#[derive(Debug)]
pub(super) struct Door {
    port: u16,
    /// In the URL, and good once.
    token: String,
    used: AtomicBool,
    /// In the browser's cookie.
    cookie: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    In,
    /// It had the token: the browser gets this cookie, and comes again without it.
    WithCookie(String),
    Refused(&'static str),
}

const USED: &str = "This link was used already. Run `trunkline dashboard` once more for another one.";
const UNKNOWN: &str = "Open the link that `trunkline dashboard` has printed.";
const ELSEWHERE: &str = "This request comes from another page.";

impl Door {
    pub(super) fn new(port: u16) -> Self {
        Self { port, token: random_text(), used: AtomicBool::new(false), cookie: random_text() }
    }

    /// Where the page is, with the key.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    /// What the cookie is called: cookies are the same for every port of a machine.
    fn cookie_name(&self) -> String {
        format!("trunkline-{}", self.port)
    }

    pub(super) fn enter(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Entered {
        let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // A name that leads here by DNS is no name of this page's.
        let host = text(&header::HOST).unwrap_or_default();
        let is_ours =
            |host: &str| host == format!("127.0.0.1:{}", self.port) || host == format!("localhost:{}", self.port);
        if method != Method::GET || !is_ours(host) {
            return Entered::Refused(UNKNOWN);
        }
        if text(&header::ORIGIN).is_some_and(|origin| !origin.strip_prefix("http://").is_some_and(is_ours))
            || headers
                .get("sec-fetch-site")
                .is_some_and(|site| site != "same-origin" && site != "none" && uri.path() != "/")
        {
            return Entered::Refused(ELSEWHERE);
        }
        let is_same = |one: &str, other: &str| bool::from(one.as_bytes().ct_eq(other.as_bytes()));
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        if pairs.into_iter().any(|(found, value)| found == name && is_same(value, &self.cookie)) {
            return Entered::In;
        }
        let token = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
        match token {
            Some(token) if uri.path() == "/" && is_same(token, &self.token) => {
                if self.used.swap(true, Ordering::Relaxed) {
                    return Entered::Refused(USED);
                }
                Entered::WithCookie(format!("{name}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie))
            }
            Some(_) | None => Entered::Refused(UNKNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_link_comes_in_and_once() {
        let door = Door::new(7);
        let enter = |path: &str, lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().expect("a value"));
            }
            door.enter(&Method::GET, &path.parse().expect("a path"), &headers)
        };
        let host = ("host", "127.0.0.1:7");
        let path = door.url().replace("http://127.0.0.1:7", "");
        assert_eq!(enter("/", &[host]), Entered::Refused(UNKNOWN));
        assert_eq!(enter("/?token=x", &[host]), Entered::Refused(UNKNOWN));
        assert_eq!(enter(&path, &[("host", "evil.example:7")]), Entered::Refused(UNKNOWN));
        assert_eq!(enter(&path, &[host, ("origin", "https://evil.example")]), Entered::Refused(ELSEWHERE));
        let Entered::WithCookie(cookie) = enter(&path, &[host]) else { panic!("not let in") };
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        assert_eq!(enter(&path, &[host]), Entered::Refused(USED));
        let own = cookie.split(';').next().expect("a pair");
        assert_eq!(enter("/part", &[host, ("cookie", own)]), Entered::In);
        assert_eq!(enter("/part", &[host, ("cookie", &format!("other=1; {own}"))]), Entered::In);
        assert_eq!(enter("/part", &[host, ("cookie", "trunkline-7=x")]), Entered::Refused(UNKNOWN));
        assert_eq!(enter("/part", &[("host", "evil.example"), ("cookie", own)]), Entered::Refused(UNKNOWN));
        // Another port of this machine is the same site, and gets its cookies.
        for site in ["cross-site", "same-site"] {
            let entered = enter("/part", &[host, ("cookie", own), ("sec-fetch-site", site)]);
            assert_eq!(entered, Entered::Refused(ELSEWHERE), "{site}");
        }
        assert_eq!(enter("/part", &[host, ("cookie", own), ("sec-fetch-site", "same-origin")]), Entered::In);
        let headers = HeaderMap::from_iter([(header::HOST, "127.0.0.1:7".parse().expect("a value"))]);
        assert_eq!(door.enter(&Method::POST, &Uri::from_static("/"), &headers), Entered::Refused(UNKNOWN));
    }
}
