//! Names of images, tags and references.

use entrepot_kit::{Error, Result};

use crate::digest::Digest;
use crate::error::{MANIFEST_UNKNOWN, NAME_INVALID, TAG_INVALID};

/// Longest name of an image with everything before it: many clients take no more than 255 characters with the host.
pub const LONGEST_NAME: usize = 255;

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let letters = rest.iter().take_while(|byte| is_letter(**byte)).count();
        let Some((_, after)) = rest.split_at_checked(letters).filter(|_| letters > 0) else { return false };
        if after.is_empty() {
            return true;
        }
        let dashes = after.iter().take_while(|byte| **byte == b'-').count();
        let separator = match after {
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            _ if dashes > 0 => dashes,
            _ => return false,
        };
        rest = after.get(separator..).unwrap_or_default();
    }
}

/// Whether a text is a name of the specification: components joined by slashes.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && name.split('/').all(is_component)
}

/// Checks the name of an image.
///
/// # Errors
/// 400 `NAME_INVALID`.
pub fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    let rule =
        format!("{shown:?} is no name of an image: lower-case letters and digits, joined by '.', '_', '__', '-' or '/', at most {LONGEST_NAME} characters");
    Err(Error::bad_request(rule).with_code(NAME_INVALID))
}

/// Whether a text is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && text.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Checks a tag.
///
/// # Errors
/// 400 `TAG_INVALID`.
pub fn check_tag(tag: &str) -> Result<()> {
    if is_tag(tag) {
        return Ok(());
    }
    let shown: String = tag.chars().take(200).collect();
    Err(Error::bad_request(format!("{shown:?} is no tag: letters, digits, '_', '.' and '-', not beginning with '.' or '-', at most 128 characters"))
        .with_code(TAG_INVALID))
}

/// What names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A tag.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

impl Reference {
    /// Reads a reference: what has a colon is a digest.
    ///
    /// # Errors
    /// 400 for what is neither.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains(':') {
            return Digest::demand(text).map(Self::Digest);
        }
        check_tag(text)?;
        Ok(Self::Tag(text.to_owned()))
    }
}

/// The answer for a manifest that is not there.
#[must_use]
pub fn no_manifest(image: &str, reference: &str) -> Error {
    let shown: String = reference.chars().take(200).collect();
    Error::not_found(format!("{image} has no manifest {shown:?}")).with_code(MANIFEST_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::{is_name, is_tag};

    #[test]
    fn names_follow_the_specification() {
        for good in ["a", "a/b", "library/alpine", "a.b_c__d-e---f/0", "blobs/manifests/tags"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "A", "a//b", "a..b", "a___b", "a._b", "-a", "a-", "a/_b", "ä", &"a".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_specification() {
        for good in ["latest", "_", "1.0-rc_1", "A", &"x".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "a b", &"x".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
