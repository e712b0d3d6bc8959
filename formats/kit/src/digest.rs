//! Digests: the SHA-256 that names a blob, and those that a format needs besides.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

/// A hash function that some client or upstream may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// MD5, for old checksum headers and side files only.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256: names every blob.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// The lower-case name: `sha256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a digest in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that (case-insensitive) name; `sha-256` is read like `sha256`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('-', "");
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The digest of `bytes` by this algorithm, in lower-case hexadecimal digits.
    #[must_use]
    pub fn hex_of(self, bytes: &[u8]) -> String {
        match self {
            Self::Md5 => hex::encode(md5::Md5::digest(bytes)),
            Self::Sha1 => hex::encode(sha1::Sha1::digest(bytes)),
            Self::Sha256 => hex::encode(sha2::Sha256::digest(bytes)),
            Self::Sha512 => hex::encode(sha2::Sha512::digest(bytes)),
        }
    }
}

/// The SHA-256 of a blob: its name in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl serde::Serialize for Sha256Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Sha256Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse_hex(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// Digests of one body by several algorithms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests(BTreeMap<Algorithm, Vec<u8>>);

impl Digests {
    /// No digest.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a digest. `false`, and nothing is added, when its length is not the algorithm's.
    pub fn insert(&mut self, algorithm: Algorithm, bytes: Vec<u8>) -> bool {
        let fits = bytes.len() == algorithm.length();
        if fits {
            self.0.insert(algorithm, bytes);
        }
        fits
    }

    /// Adds a digest given in hexadecimal; `false` when it is malformed.
    pub fn insert_hex(&mut self, algorithm: Algorithm, text: &str) -> bool {
        hex::decode(text).is_ok_and(|bytes| self.insert(algorithm, bytes))
    }

    /// Reads a subresource integrity string (W3C SRI): `sha512-BASE64 sha1-BASE64`. Unknown algorithms are passed over.
    #[must_use]
    pub fn parse_integrity(text: &str) -> Self {
        let mut digests = Self::new();
        for part in text.split_ascii_whitespace() {
            let Some((name, value)) = part.split_once('-') else { continue };
            let value = value.split('?').next().unwrap_or(value);
            if let (Some(algorithm), Ok(bytes)) = (Algorithm::parse(name), base64::engine::general_purpose::STANDARD.decode(value)) {
                digests.insert(algorithm, bytes);
            }
        }
        digests
    }

    /// The digest by `algorithm`, raw.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.0.get(&algorithm).map(Vec::as_slice)
    }

    /// The digest by `algorithm` in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self, algorithm: Algorithm) -> Option<String> {
        self.get(algorithm).map(hex::encode)
    }

    /// The digest by `algorithm` as an SRI string: `sha512-BASE64`.
    #[must_use]
    pub fn integrity(&self, algorithm: Algorithm) -> Option<String> {
        self.get(algorithm).map(|bytes| format!("{}-{}", algorithm.name(), base64::engine::general_purpose::STANDARD.encode(bytes)))
    }

    /// Whether no digest is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The algorithms with a digest here.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.0.keys().copied()
    }

    /// The first algorithm by which both have a digest and the two differ.
    #[must_use]
    pub fn mismatch(&self, actual: &Self) -> Option<Algorithm> {
        self.0.iter().find(|(algorithm, bytes)| actual.get(**algorithm).is_some_and(|other| other != bytes.as_slice())).map(|(algorithm, _)| *algorithm)
    }
}

impl serde::Serialize for Digests {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(algorithm, bytes)| (algorithm.name(), hex::encode(bytes))))
    }
}

impl<'de> serde::Deserialize<'de> for Digests {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut digests = Self::new();
        for (algorithm, text) in BTreeMap::<Algorithm, String>::deserialize(deserializer)? {
            if !digests.insert_hex(algorithm, &text) {
                return Err(serde::de::Error::custom("malformed digest"));
            }
        }
        Ok(digests)
    }
}

/// Several hashes of one body in one pass.
///
/// Hashing costs about a second of CPU per GiB and algorithm: feed it where blocking is allowed.
#[derive(Clone, Default)]
pub struct Hasher {
    md5: Option<md5::Md5>,
    sha1: Option<sha1::Sha1>,
    sha256: sha2::Sha256,
    sha512: Option<sha2::Sha512>,
    size: u64,
}

impl Hasher {
    /// A hasher by SHA-256 and whatever is listed besides.
    #[must_use]
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let wants = |algorithm| algorithms.contains(&algorithm);
        Self {
            md5: wants(Algorithm::Md5).then(Default::default),
            sha1: wants(Algorithm::Sha1).then(Default::default),
            sha256: sha2::Sha256::default(),
            sha512: wants(Algorithm::Sha512).then(Default::default),
            size: 0,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The state as bytes, so that hashing goes on in another process: [`Self::thaw`] reads it. Not secret, not for strangers to write.
    #[must_use]
    pub fn freeze(&self) -> Vec<u8> {
        let mut frozen = self.size.to_be_bytes().to_vec();
        frozen.extend_from_slice(self.sha256.serialize().as_slice());
        if let Some(md5) = &self.md5 {
            frozen.push(Algorithm::Md5 as u8);
            frozen.extend_from_slice(md5.serialize().as_slice());
        }
        if let Some(sha1) = &self.sha1 {
            frozen.push(Algorithm::Sha1 as u8);
            frozen.extend_from_slice(sha1.serialize().as_slice());
        }
        if let Some(sha512) = &self.sha512 {
            frozen.push(Algorithm::Sha512 as u8);
            frozen.extend_from_slice(sha512.serialize().as_slice());
        }
        frozen
    }

    /// A hasher from what [`Self::freeze`] gave; `None` for anything else.
    #[must_use]
    pub fn thaw(frozen: &[u8]) -> Option<Self> {
        let (size, mut rest) = frozen.split_first_chunk::<8>()?;
        let sha256 = state(&mut rest)?;
        let mut hasher = Self { md5: None, sha1: None, sha256, sha512: None, size: u64::from_be_bytes(*size) };
        while let Some((algorithm, after)) = rest.split_first() {
            rest = after;
            match Algorithm::ALL.into_iter().find(|known| *known as u8 == *algorithm)? {
                Algorithm::Md5 => hasher.md5 = Some(state(&mut rest)?),
                Algorithm::Sha1 => hasher.sha1 = Some(state(&mut rest)?),
                Algorithm::Sha512 => hasher.sha512 = Some(state(&mut rest)?),
                Algorithm::Sha256 => return None,
            }
        }
        Some(hasher)
    }

    /// The name of the blob, and every digest that was asked for (SHA-256 among them).
    #[must_use]
    pub fn finish(self) -> (Sha256Digest, Digests) {
        let sha256: [u8; 32] = self.sha256.finalize().into();
        let mut digests = Digests::new();
        digests.insert(Algorithm::Sha256, sha256.to_vec());
        if let Some(md5) = self.md5 {
            digests.insert(Algorithm::Md5, md5.finalize().to_vec());
        }
        if let Some(sha1) = self.sha1 {
            digests.insert(Algorithm::Sha1, sha1.finalize().to_vec());
        }
        if let Some(sha512) = self.sha512 {
            digests.insert(Algorithm::Sha512, sha512.finalize().to_vec());
        }
        (Sha256Digest(sha256), digests)
    }
}

/// The state of one hash function from the front of frozen ones.
fn state<H: SerializableState>(rest: &mut &[u8]) -> Option<H> {
    let length = SerializedState::<H>::default().len();
    let (mine, after) = rest.split_at_checked(length)?;
    *rest = after;
    H::deserialize(mine.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digests, Hasher, Sha256Digest};

    #[test]
    fn hashing_goes_on_from_a_frozen_state() {
        for algorithms in [&[][..], &[Algorithm::Sha512], &Algorithm::ALL] {
            let (mut whole, mut first) = (Hasher::new(algorithms), Hasher::new(algorithms));
            whole.update(&[7; 1000]);
            first.update(&[7; 333]);
            let mut second = Hasher::thaw(&first.freeze()).unwrap();
            assert_eq!(second.size(), 333);
            second.update(&[7; 667]);
            assert_eq!(second.finish(), whole.finish());
        }
        assert!(Hasher::thaw(&[]).is_none() && Hasher::thaw(&[0; 20]).is_none());
        let mut frozen = Hasher::new(&[Algorithm::Sha1]).freeze();
        frozen.pop();
        assert!(Hasher::thaw(&frozen).is_none());
    }

    #[test]
    fn one_pass_gives_every_digest() {
        let mut hasher = Hasher::new(&Algorithm::ALL);
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.size(), 3);
        let (name, digests) = hasher.finish();
        assert_eq!(name, Sha256Digest::of(b"abc"));
        assert_eq!(digests.hex(Algorithm::Md5).as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(digests.hex(Algorithm::Sha1).as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(digests.algorithms().count(), 4);
    }

    #[test]
    fn integrity_round_trips_and_mismatches_are_seen() {
        let mut hasher = Hasher::new(&[Algorithm::Sha512]);
        hasher.update(b"x");
        let (_, actual) = hasher.finish();
        let text = actual.integrity(Algorithm::Sha512).unwrap_or_default();
        assert_eq!(Digests::parse_integrity(&text).mismatch(&actual), None);
        let mut wrong = Digests::new();
        assert!(wrong.insert_hex(Algorithm::Sha512, &"0".repeat(128)));
        assert_eq!(wrong.mismatch(&actual), Some(Algorithm::Sha512));
        assert!(!wrong.insert_hex(Algorithm::Sha1, "00"), "a digest of the wrong length is refused");
    }
}
