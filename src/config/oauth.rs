//! `oauth = { … }`: what a server's entry says of its login, where discovery does not.

use crate::config::decode::{Decode, Fields, one_of};
use crate::config::node::Node;
use crate::config::problems::Problems;
use crate::config::values::Template;
use schemars::JsonSchema;

/// How to log in. All of it is optional: a server tells where, and most authorization servers register clients by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OAuth {
    /// The client id that the authorization server gave out; without it, one is registered.
    pub client_id: Option<String>,
    /// The secret that belongs to it; `${…}` is replaced.
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<Template>,
    /// The `https:` URL of a Client ID Metadata Document, used as the client id where the authorization server takes it.
    pub client_metadata_url: Option<String>,
    /// The scopes to ask for, instead of those that the server names.
    #[schemars(default)]
    pub scopes: Vec<String>,
    /// The port on 127.0.0.1 for the browser's redirect; any free one if not set.
    pub callback_port: Option<u16>,
    /// The redirect URI, word for word, where the authorization server knows one only.
    pub callback_url: Option<String>,
    /// "authorization_code": a person logs in with a browser. "client_credentials": the client logs in by itself, with
    /// `client_secret` or `private_key`.
    #[schemars(with = "Option<Grant>")]
    pub grant: Grant,
    /// The key that signs the client's assertions (RFC 7523), in PEM; `${file:PATH}` reads it.
    #[schemars(with = "Option<String>")]
    pub private_key: Option<Template>,
    /// How it signs.
    #[schemars(with = "Option<Algorithm>")]
    pub algorithm: Algorithm,
    /// The issuer of the authorization server, word for word, where its metadata names another one than it should. Nothing
    /// checks any more that the metadata is its own.
    pub issuer: Option<String>,
    /// "assume" logs in where the metadata does not say that PKCE with S256 is supported. If it is not, whoever sees the
    /// redirect can take the login.
    #[schemars(with = "Option<Pkce>")]
    pub pkce: Pkce,
    /// The resource to ask for a token for, instead of the one that the server names; "none" names none, and then the token may
    /// be good for other servers too.
    #[schemars(with = "Option<String>")]
    pub resource: Option<Resource>,
}

/// Whether PKCE must be named (RFC 7636, RFC 8414).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Pkce {
    #[default]
    Required,
    Assume,
}

/// What a token is asked for (RFC 8707).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    None,
    Named(String),
}

/// Who logs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Grant {
    #[default]
    AuthorizationCode,
    ClientCredentials,
}

/// A signature algorithm (RFC 7518).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub enum Algorithm {
    #[default]
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// Its name in RFC 7518.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }
}

impl Decode for OAuth {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let at = fields.at();
        let oauth = Self {
            client_id: fields.take("client_id"),
            client_secret: fields.take("client_secret"),
            client_metadata_url: fields.take("client_metadata_url"),
            scopes: fields.take("scopes").unwrap_or_default(),
            callback_port: fields.take("callback_port"),
            callback_url: fields.take("callback_url"),
            grant: fields.take("grant").unwrap_or_default(),
            private_key: fields.take("private_key"),
            algorithm: fields.take("algorithm").unwrap_or_default(),
            issuer: fields.take("issuer"),
            pkce: fields.take("pkce").unwrap_or_default(),
            resource: fields.take("resource"),
        };
        let mut wrong = |message: &str| fields.problems.add(at, message.to_owned());
        if oauth.client_secret.is_some() && oauth.client_id.is_none() {
            wrong("`client_secret` needs the `client_id` that it belongs to");
        }
        if oauth.grant == Grant::ClientCredentials {
            if oauth.client_id.is_none() {
                wrong("`grant = \"client_credentials\"` needs a `client_id`");
            }
            if oauth.client_secret.is_some() == oauth.private_key.is_some() {
                wrong("`grant = \"client_credentials\"` needs a `client_secret` or a `private_key`, and not both");
            }
        } else if oauth.private_key.is_some() {
            wrong("`private_key` needs `grant = \"client_credentials\"`");
        }
        let is_document = |url: &str| {
            url::Url::parse(url)
                .is_ok_and(|url| url.scheme() == "https" && url.path() != "/" && url.fragment().is_none())
        };
        if oauth.client_metadata_url.as_deref().is_some_and(|url| !is_document(url)) {
            wrong("`client_metadata_url` must be an `https:` URL with a path");
        }
        if oauth.issuer.as_deref().is_some_and(|url| url::Url::parse(url).is_err()) {
            wrong("`issuer` is not a URL");
        }
        if oauth.callback_url.as_deref().is_some_and(|url| url::Url::parse(url).is_err()) {
            wrong("`callback_url` is not a URL");
        }
        fields.finish();
        Some(oauth)
    }
}

impl Decode for u16 {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let at = node.at.start;
        let port = usize::decode(node, problems)?;
        Self::try_from(port).map_err(|_| problems.add(at, format!("{port} is no port: they end at 65535"))).ok()
    }
}

impl Decode for Pkce {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("required", Self::Required), ("assume", Self::Assume)], problems)
    }
}

impl Decode for Resource {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let at = node.at.start;
        let text = String::decode(node, problems)?;
        if text == "none" {
            return Some(Self::None);
        }
        if url::Url::parse(&text).is_err() {
            problems.add(at, format!("`{text}` is neither \"none\" nor a URL"));
            return None;
        }
        Some(Self::Named(text))
    }
}

impl Decode for Grant {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let choices =
            [("authorization_code", Self::AuthorizationCode), ("client_credentials", Self::ClientCredentials)];
        one_of(node, &choices, problems)
    }
}

impl Decode for Algorithm {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let all = [Self::Es256, Self::Es384, Self::Rs256, Self::Rs384, Self::Rs512];
        one_of(node, &all.map(|algorithm| (algorithm.name(), algorithm)), problems)
    }
}
