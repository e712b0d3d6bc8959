//! The text of a token: `ent_<id>_<secret>_<crc32>`.
//!
//! The prefix lets secret scanners find leaked tokens, the checksum lets them (and us) drop look-alikes without asking the
//! catalog. The id is public and names the row; of the secret only a SHA-256 is stored: it has 256 bits of entropy, so a
//! slow hash would add nothing.

use std::borrow::Cow;

use entrepot_kit::{Error, Result};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "ent_";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token as a client sent it: well formed, not yet known to be right.
pub(super) struct TokenText {
    /// The public identifier.
    pub(super) id: String,
    secret: SecretString,
}

impl TokenText {
    /// Makes a new one from the operating system's randomness.
    pub(super) fn random() -> Result<Self> {
        Ok(Self { id: random_text(ID_LENGTH)?, secret: random_text(SECRET_LENGTH)?.into() })
    }

    /// Reads one; `None` when the text is no token of ours or was cut or mistyped.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (body, checksum) = text.rsplit_once('_')?;
        let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        let well_formed = |part: &str, length| part.len() == length && is_alphanumeric(part);
        if !well_formed(id, ID_LENGTH) || !well_formed(secret, SECRET_LENGTH) || checksum != crc32(body) {
            return None;
        }
        Some(Self { id: id.to_owned(), secret: secret.to_owned().into() })
    }

    /// The whole text, to be shown once.
    pub(super) fn expose(&self) -> String {
        let body = format!("{PREFIX}{}_{}", self.id, self.secret.expose_secret());
        let checksum = crc32(&body);
        format!("{body}_{checksum}")
    }

    /// What is stored of the secret.
    pub(super) fn secret_hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret.expose_secret().as_bytes()).to_vec()
    }

    /// Whether this is the secret that was stored, in time that does not depend on where they differ.
    pub(super) fn matches(&self, stored: &[u8]) -> bool {
        self.secret_hash().ct_eq(stored).into()
    }
}

/// A text (an address, say) as it may be written into a log: of each token in it, also of one that was cut, only the id is left.
#[must_use]
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    // A client that encodes more than it must still sends the same token.
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    let mut shown = String::new();
    let mut rest = &*decoded;
    let mut found = false;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        shown.push_str(before);
        shown.push_str(PREFIX);
        rest = after;
        let Some((id, secret)) = after.split_once('_').filter(|(id, _)| id.len() == ID_LENGTH && is_alphanumeric(id)) else { continue };
        found = true;
        shown.push_str(id);
        shown.push_str("_***");
        rest = secret.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    }
    shown.push_str(rest);
    if found { Cow::Owned(shown) } else { Cow::Borrowed(text) }
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn crc32(text: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    format!("{:08x}", crc.sum())
}

/// `length` random letters and digits, each of 62 with the same chance.
pub(super) fn random_text(length: usize) -> Result<String> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).map_err(|cause| Error::internal(std::io::Error::from(cause)))?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        let letters = bytes.iter().filter(|byte| **byte < 248).filter_map(|byte| ALPHABET.get(usize::from(*byte % 62)));
        text.extend(letters.map(|letter| char::from(*letter)).take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{TokenText, random_text, without_tokens};

    #[test]
    fn logs_get_the_id_and_no_more() {
        let token = TokenText::random().unwrap();
        let (text, id) = (token.expose(), &token.id);
        let (_, secret) = text.split_at(17);
        for sent in [
            format!("/a/{text}/b"),
            format!("/a/{}", text.get(..40).unwrap_or_default()),
            format!("/a/%65nt%5f{}/b?x={text}", text.strip_prefix("ent_").unwrap_or_default()),
            format!("/client_x/ent_/{text}{text}"),
        ] {
            let shown = without_tokens(&sent);
            assert!(!shown.contains(secret.get(..20).unwrap_or_default()) && shown.contains(&format!("ent_{id}_***")), "{sent}: {shown}");
        }
        for plain in ["/main/npm/client_lib", "/a/ent_short_x", "/a%2fb", "", "ent_", "/agent_smith_12_monkeys"] {
            assert_eq!(without_tokens(plain), plain);
        }
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = TokenText::random().unwrap();
        let read = TokenText::parse(&token.expose()).unwrap();
        assert_eq!(read.id, token.id);
        assert!(read.matches(&token.secret_hash()));
        assert!(!TokenText::random().unwrap().matches(&token.secret_hash()));
        assert!(!token.matches(b""));
    }

    #[test]
    fn what_was_cut_or_mistyped_is_no_token() {
        let text = TokenText::random().unwrap().expose();
        for at in 0..text.len() {
            assert!(TokenText::parse(text.get(..at).unwrap()).is_none(), "cut at {at}");
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert!(TokenText::parse(std::str::from_utf8(&other).unwrap()).is_none(), "changed at {at}");
        }
        for nonsense in ["", "ent_", "ent___", "ent_é_é_00000000", "npm_abcdef"] {
            assert!(TokenText::parse(nonsense).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn random_texts_are_as_long_as_asked_and_differ() {
        let (one, other) = (random_text(100).unwrap(), random_text(100).unwrap());
        assert_eq!(one.len(), 100);
        assert_ne!(one, other);
    }
}
