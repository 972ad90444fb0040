//! The secrets that this process has given to servers, to keep them out of what is recorded.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};

/// What is shorter than this is no secret, and would turn up in any text.
const SHORTEST: usize = 6;
/// How many are remembered; the oldest are forgotten.
const MOST: usize = 1024;
/// What stands in the place of a secret.
const MASK: &str = "[secret]";

/// Secrets that were given out. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Masks(Arc<RwLock<Vec<SecretString>>>);

impl Masks {
    /// Notes a secret, as it is and as a JSON string writes it.
    pub fn note(&self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let written = serde_json::Value::from(secret).to_string();
        let written = &written[1..written.len() - 1];
        if self.0.read().iter().any(|known| known.expose_secret() == secret) {
            return;
        }
        let mut known = self.0.write();
        for form in [secret, written] {
            if !known.iter().any(|known| known.expose_secret() == form) {
                if known.len() >= MOST {
                    known.remove(0);
                }
                known.push(form.into());
            }
        }
        // What contains another one goes first.
        known.sort_by_key(|known| std::cmp::Reverse(known.expose_secret().len()));
    }

    /// Notes what stands in a header, without the scheme before it.
    pub fn note_header(&self, value: &str) {
        self.note(value.split_once(' ').map_or(value, |(_, credentials)| credentials));
    }

    /// A text without them.
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.read().iter() {
            let secret = secret.expose_secret();
            if memchr::memmem::find(text.as_bytes(), secret.as_bytes()).is_some() {
                text = text.replace(secret, MASK).into();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_as_they_are_and_in_json() {
        let masks = Masks::default();
        ["s3cr\"et-value", "short", "longer-s3cret", "s3cret-"].iter().for_each(|secret| masks.note(secret));
        masks.note_header("Bearer token-of-mine");
        assert_eq!(masks.apply("a s3cr\"et-value b s3cr\\\"et-value short"), "a [secret] b [secret] short");
        assert_eq!(masks.apply("longer-s3cret"), "[secret]");
        assert_eq!(masks.apply(r#"{"h":"Bearer token-of-mine"}"#), r#"{"h":"Bearer [secret]"}"#);
    }
}
