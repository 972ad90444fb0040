//! What a client signs to say who it is (RFC 7523 section 2.2, `private_key_jwt`).

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// How long an assertion holds, in seconds.
const LIFE: u64 = 300;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

/// An assertion of `client` for the authorization server `issuer`, signed with a key in PEM.
pub(super) fn sign(client: &str, issuer: &str, key: &SecretString, algorithm: &str) -> Result<SecretString, String> {
    let pem = key.expose_secret().as_bytes();
    let signature: Algorithm = algorithm.parse().map_err(|_| format!("`{algorithm}` is no algorithm to sign with"))?;
    let key = if algorithm.starts_with("ES") { EncodingKey::from_ec_pem(pem) } else { EncodingKey::from_rsa_pem(pem) };
    let key = key.map_err(|error| format!("`private_key` is no key in PEM for {algorithm}: {error}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let jti = crate::random::random_text();
    let claims = Claims { iss: client, sub: client, aud: issuer, iat: now, exp: now + LIFE, jti };
    let signed = jsonwebtoken::encode(&Header::new(signature), &claims, &key);
    signed.map(Into::into).map_err(|error| format!("`private_key` does not sign: {error}"))
}
