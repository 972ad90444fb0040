//! The HTTP client for everything that metadata names: it speaks `https` only, and reaches no address that the person who
//! wrote the server's URL could not have meant. Addresses are checked when a connection is made, since a name can mean
//! another address each time it is asked for.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Request, StatusCode, Url};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use url::Host;

/// How long an authorization server may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const CAP: usize = 1 << 20;
/// Where proxies are named.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What kind of network an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Public,
    Private,
    Loopback,
    /// Link-local, multicast, reserved: nothing that serves people lives there, but cloud metadata does.
    Never,
}

impl Reach {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_private() || (a == 100 && (64..128).contains(&b)) || (a == 198 && matches!(b, 18 | 19)) {
            Self::Private
        } else if matches!(address.octets(), [0 | 224..=255, ..] | [192, 0, 0, _])
            || address.is_link_local()
            || address.is_documentation()
        {
            Self::Never
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h] = address.segments();
        let embedded = |high: u16, low: u16| Self::of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
        match [a, b, c, d, e, f] {
            _ if address.is_loopback() => Self::Loopback,
            // IPv4-mapped, IPv4-translated, NAT64, ISATAP and 6to4 addresses are what they hold.
            [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(g, h),
            [.., 0 | 0x200, 0x5efe] => embedded(g, h).max(Self::of_prefix(a)),
            [0x2002, high, low, ..] => embedded(high, low),
            [0, 0, 0, 0, 0, 0] | [0x64, 0xff9b, ..] | [0x2001, 0, ..] => Self::Never,
            _ => Self::of_prefix(a),
        }
    }

    /// What the first 16 bits of an IPv6 address say.
    fn of_prefix(first: u16) -> Self {
        if matches!(first & 0xffc0, 0xfe80 | 0xfec0) || first & 0xff00 == 0xff00 {
            Self::Never
        } else if first & 0xfe00 == 0xfc00 {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// Which addresses may be reached on behalf of one server.
#[derive(Debug)]
struct Bounds {
    /// What the server's own host means.
    own: String,
    own_reach: Reach,
    proxies: BTreeSet<String>,
}

impl Bounds {
    fn allow(&self, host: &str, address: IpAddr) -> bool {
        let reach = Reach::of(address);
        // The person named this host, and is asked for no more than that.
        if (host == self.own || self.proxies.contains(host)) && reach != Reach::Never {
            return true;
        }
        match reach {
            Reach::Public => true,
            Reach::Private => matches!(self.own_reach, Reach::Private | Reach::Loopback),
            Reach::Loopback => self.own_reach == Reach::Loopback,
            Reach::Never => false,
        }
    }
}

impl Resolve for Bounds {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let bounds = Self { own: self.own.clone(), own_reach: self.own_reach, proxies: self.proxies.clone() };
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed: Vec<_> = found.iter().copied().filter(|found| bounds.allow(&host, found.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(format!("{host} is at an address that may not be reached for this server").into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// A client for the authorization servers of one MCP server.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    client: Client,
    bounds: Arc<Bounds>,
}

/// The guard for one server, which is made when it is needed. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Guards(Arc<Mutex<Option<Guard>>>);

impl Guards {
    pub(super) async fn get(&self, url: &Url) -> Result<Guard, GuardError> {
        let known = self.0.lock().clone();
        if let Some(guard) = known {
            return Ok(guard);
        }
        let guard = Guard::new(url).await?;
        *self.0.lock() = Some(guard.clone());
        Ok(guard)
    }

    /// Has the server's host looked up anew the next time.
    pub(super) fn forget(&self) {
        self.0.lock().take();
    }
}

/// An answer, read whole.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum GuardError {
    /// It is not asked again.
    #[error("{0}")]
    Refused(String),
    /// It may go another time.
    #[error("{0}")]
    Failed(String),
}

impl Guard {
    /// For the server at `url`.
    pub(super) async fn new(url: &Url) -> Result<Self, GuardError> {
        let own = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let own_reach = match url.host() {
            Some(Host::Ipv4(address)) => Reach::of_v4(address),
            Some(Host::Ipv6(address)) => Reach::of_v6(address),
            _ if is_this_machine(&own) => Reach::Loopback,
            // A name is its owner's to point anywhere: it opens this network only if all of it is here, and this machine
            // never. Behind a proxy, names may mean nothing here.
            _ => {
                let found = tokio::net::lookup_host((own.as_str(), 0)).await;
                let is_private = found.is_ok_and(|mut all| all.all(|one| Reach::of(one.ip()) == Reach::Private));
                if is_private { Reach::Private } else { Reach::Public }
            }
        };
        let named = PROXIES.iter().filter_map(|name| std::env::var(name).ok());
        let host_of = |value: String| Url::parse(&value).ok()?.host_str().map(str::to_owned);
        let bounds = Arc::new(Bounds { own, own_reach, proxies: named.filter_map(host_of).collect() });
        let client = Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .dns_resolver(bounds.clone())
            .build()
            .map_err(|error| GuardError::Failed(format!("no HTTP client: {error}")))?;
        Ok(Self { client, bounds })
    }

    /// Whether a URL that metadata names may be used.
    pub(super) fn check(&self, url: &Url) -> Result<(), GuardError> {
        let place = if url.has_host() { url.origin().ascii_serialization() } else { format!("`{}:`", url.scheme()) };
        let refused = |why: &str| Err(GuardError::Refused(format!("{place} is not asked: {why}")));
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only `https` is used for logins");
        }
        let (host, address) = match url.host() {
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            Some(Host::Domain(domain)) => (domain.to_owned(), None),
            None => return refused("it names no host"),
        };
        if address.is_some_and(|address| !self.bounds.allow(&host, address)) {
            return refused("it is at an address that may not be reached for this server");
        }
        let loopback = match address {
            Some(address) => Reach::of(address) == Reach::Loopback,
            None => is_this_machine(&host),
        };
        match url.scheme() {
            "https" => Ok(()),
            "http" if loopback && self.bounds.own_reach == Reach::Loopback => Ok(()),
            _ => refused("only `https` is used for logins"),
        }
    }

    pub(super) async fn send(&self, request: Request) -> Result<Answer, GuardError> {
        self.check(request.url())?;
        let place = request.url().origin().ascii_serialization();
        let failed = |error: reqwest::Error| {
            let mut source = error.source();
            let mut last = None;
            while let Some(inner) = source {
                last = Some(inner.to_string());
                source = inner.source();
            }
            let how = if error.is_timeout() {
                "it took too long".to_owned()
            } else {
                last.unwrap_or_else(|| "no connection".to_owned())
            };
            GuardError::Failed(format!("{place} cannot be reached: {how}"))
        };
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > CAP {
                return Err(GuardError::Refused(format!("{place} answered with more than {CAP} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
    }

    pub(super) fn post(&self, url: &Url) -> reqwest::RequestBuilder {
        self.client.post(url.clone())
    }
}

/// Whether a name means this machine whatever anybody says (RFC 6761 section 6.3).
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// `rmcp` asks through the same client; redirects are its own to follow, and each is checked.
impl OAuthHttpClient for Guard {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let answer = self.send(Request::try_from(request.request)?).await?;
            let mut response = http::Response::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(own: Reach) -> Bounds {
        Bounds { own: "mcp.test".to_owned(), own_reach: own, proxies: BTreeSet::new() }
    }

    #[test]
    fn addresses_that_a_server_may_lead_to() {
        for (address, public, private, loopback) in [
            ("93.184.216.34", true, true, true),
            ("10.1.2.3", false, true, true),
            ("100.64.0.1", false, true, true),
            ("fd00::1", false, true, true),
            ("127.0.0.1", false, false, true),
            ("::1", false, false, true),
            ("::ffff:127.0.0.1", false, false, true),
            ("64:ff9b::7f00:1", false, false, true),
            ("2002:0a01:0203::", false, true, true),
            ("::ffff:0:127.0.0.1", false, false, true),
            ("::ffff:0:169.254.169.254", false, false, false),
            ("2606:4700::5efe:10.1.2.3", false, true, true),
            ("fd00::200:5efe:93.184.216.34", false, true, true),
            ("fe80::5efe:93.184.216.34", false, false, false),
            ("169.254.169.254", false, false, false),
            ("::ffff:169.254.169.254", false, false, false),
            ("fe80::1", false, false, false),
            ("0.0.0.0", false, false, false),
            ("192.0.0.192", false, false, false),
            ("fec0::1", false, false, false),
            ("224.0.0.1", false, false, false),
            ("255.255.255.255", false, false, false),
            ("::", false, false, false),
            ("2606:4700::1111", true, true, true),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            for (own, allowed) in [(Reach::Public, public), (Reach::Private, private), (Reach::Loopback, loopback)] {
                assert_eq!(bounds(own).allow("as.test", address), allowed, "{address} for a server at {own:?}");
            }
        }
        assert!(bounds(Reach::Private).allow("mcp.test", "10.1.2.3".parse().expect("an address")));
        assert!(!bounds(Reach::Private).allow("mcp.test", "169.254.169.254".parse().expect("an address")));
    }

    #[tokio::test]
    async fn urls_that_metadata_may_name() {
        let guard =
            |own: &'static str| async move { Guard::new(&own.parse().expect("a URL")).await.expect("a client") };
        let (outside, here) = (guard("https://93.184.216.34/mcp").await, guard("http://127.0.0.1:1/mcp").await);
        for (url, for_outside, for_here) in [
            ("https://as.example/token", true, true),
            ("http://as.example/token", false, false),
            ("http://127.0.0.1:2/token", false, true),
            ("http://localhost:2/token", false, true),
            ("https://169.254.169.254/latest", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url: Url = url.parse().expect("a URL");
            assert_eq!((outside.check(&url).is_ok(), here.check(&url).is_ok()), (for_outside, for_here), "{url}");
        }
    }
}
