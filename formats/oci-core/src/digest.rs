//! Digests as the specification writes them: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits.

use std::fmt;

use entrepot_kit::{Algorithm, Digests, Error, Result, Sha256Digest};

use crate::error::DIGEST_INVALID;

/// A digest by an algorithm that we compute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Reads a digest; `None` for another algorithm, another length, or upper-case digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return None,
        };
        let well_formed = hex.len() == algorithm.length() * 2 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| Self { algorithm, hex: hex.to_owned() })
    }

    /// Reads the digest that a request must name.
    ///
    /// # Errors
    /// 400 `DIGEST_INVALID`.
    pub fn demand(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(200).collect();
        Self::parse(text).ok_or_else(|| {
            Error::bad_request(format!("{shown:?} is no digest: write sha256: and 64, or sha512: and 128 lower-case hexadecimal digits"))
                .with_code(DIGEST_INVALID)
        })
    }

    /// The digest of a blob's own name.
    #[must_use]
    pub fn sha256(digest: Sha256Digest) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: digest.hex() }
    }

    /// The digest by `algorithm` among those of a body.
    #[must_use]
    pub fn among(digests: &Digests, algorithm: Algorithm) -> Option<Self> {
        digests.hex(algorithm).map(|hex| Self { algorithm, hex })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The blob that it names, if it is by SHA-256.
    #[must_use]
    pub fn as_sha256(&self) -> Option<Sha256Digest> {
        if self.algorithm == Algorithm::Sha256 { Sha256Digest::parse_hex(&self.hex) } else { None }
    }

    /// As what a body is expected to hash to.
    #[must_use]
    pub fn expected(&self) -> Digests {
        let mut digests = Digests::new();
        digests.insert_hex(self.algorithm, &self.hex);
        digests
    }

    /// The tag under which clients of registries without a referrers API keep what refers to this digest.
    #[must_use]
    pub fn fallback_tag(&self) -> String {
        format!("{}-{}", self.algorithm.name(), self.hex.get(..64).unwrap_or(&self.hex))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a text has the form of a digest by some algorithm, known to us or not.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    if matches!(algorithm, "sha256" | "sha512") {
        return Digest::parse(text).is_some();
    }
    let component = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 256
        && algorithm.split(['+', '.', '_', '-']).all(component)
        && !encoded.is_empty()
        && encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{Digest, is_well_formed};

    #[test]
    fn only_exact_digests_are_read() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).map(|digest| digest.to_string()), Some(good.clone()));
        assert!(Digest::parse(&format!("sha512:{}", "0a".repeat(64))).is_some());
        for bad in
            ["", "sha256:", "sha256:short", &good.to_uppercase(), &format!("sha256:{}", "0A".repeat(32)), &format!("md5:{}", "0a".repeat(16)), &"0a".repeat(32)]
        {
            assert!(Digest::parse(bad).is_none(), "{bad}");
            assert_eq!(Digest::demand(bad).map_err(|error| error.code()), Err(Some("DIGEST_INVALID")), "{bad}");
        }
    }

    #[test]
    fn fallback_tags_are_cut_to_what_a_tag_takes() {
        let tag = Digest::parse(&format!("sha512:{}", "ab".repeat(64))).map(|digest| digest.fallback_tag());
        assert_eq!(tag, Some(format!("sha512-{}", "ab".repeat(32))));
    }

    #[test]
    fn other_algorithms_have_a_form_too() {
        assert!(is_well_formed("blake3+x:abc=") && is_well_formed("multihash+base58:QmRZ"));
        for bad in ["sha256:abc", "a", ":x", "a:", "A:x", "a++b:x", "a:x/y"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
