//! Members of gzip, one after the other. A package and an index are several of them joined, and what is signed and hashed are the bytes of
//! one: where each begins and ends must not be lost.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Hashes what is consumed, and counts it.
pub(crate) struct Tap<R> {
    inner: R,
    sha1: Sha1,
    sha256: Sha256,
    length: u64,
}

/// What the compressed bytes of a member are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) sha1: [u8; 20],
    pub(crate) sha256: [u8; 32],
    pub(crate) length: u64,
}

impl<R: BufRead> Tap<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, sha1: Sha1::new(), sha256: Sha256::new(), length: 0 }
    }

    /// The sums since the last call.
    fn take(&mut self) -> Sums {
        let length = std::mem::take(&mut self.length);
        Sums { sha1: self.sha1.finalize_reset().into(), sha256: self.sha256.finalize_reset().into(), length }
    }

    /// Whether nothing follows.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.inner.fill_buf()?.is_empty())
    }
}

impl<R: BufRead> Read for Tap<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        if let (Some(target), Some(source)) = (out.get_mut(..count), available.get(..count)) {
            target.copy_from_slice(source);
        }
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Tap<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is in the buffer is there without reading.
        if let Some(consumed) = self.inner.fill_buf().ok().and_then(|buffer| buffer.get(..amount)) {
            self.sha1.update(consumed);
            self.sha256.update(consumed);
        }
        self.length += amount as u64;
        self.inner.consume(amount);
    }
}

/// Shows what is in the next member to `look`, reads what that leaves, and gives the sums of the member's bytes. `None` at the end.
///
/// # Errors
/// What `look` says, and what is wrong with the member.
pub(crate) fn next<R: BufRead, T, E: From<io::Error>>(tap: &mut Tap<R>, look: impl FnOnce(&mut dyn Read) -> Result<T, E>) -> Result<Option<(T, Sums)>, E> {
    if tap.is_at_end()? {
        return Ok(None);
    }
    let mut decoder = GzDecoder::new(&mut *tap);
    let seen = look(&mut decoder)?;
    // What is between the last byte and the checksum belongs to the member, and nothing may be left of it.
    if decoder.read(&mut [0; 1])? != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind the end of an archive").into());
    }
    drop(decoder);
    Ok(Some((seen, tap.take())))
}

#[cfg(test)]
mod tests {
    use super::{Tap, next};
    use std::io::{self, Write as _};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use sha1::Digest as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn all(bytes: &[u8], buffer: usize) -> io::Result<Vec<(Vec<u8>, super::Sums)>> {
        let mut tap = Tap::new(io::BufReader::with_capacity(buffer, bytes));
        let mut found = Vec::new();
        let look = |reader: &mut dyn io::Read| {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map(|_| content)
        };
        while let Some(member) = next(&mut tap, look)? {
            found.push(member);
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn borders_are_found_whatever_the_buffer(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5), buffer in 1usize..64) {
            let members: Vec<Vec<u8>> = parts.iter().map(|part| gzip(part)).collect();
            let found = all(&members.concat(), buffer).unwrap();
            prop_assert_eq!(found.len(), parts.len());
            for ((content, sums), (part, member)) in found.iter().zip(parts.iter().zip(&members)) {
                prop_assert_eq!(content, part);
                prop_assert_eq!(sums.length, member.len() as u64);
                let expected: ([u8; 20], [u8; 32]) = (sha1::Sha1::digest(member).into(), sha2::Sha256::digest(member).into());
                prop_assert_eq!((sums.sha1, sums.sha256), expected);
            }
        }

        #[test]
        fn garbage_is_refused_and_never_hangs(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assume!(!bytes.starts_with(&[0x1f, 0x8b]));
            prop_assert!(all(&bytes, 16).is_err());
        }
    }

    #[test]
    fn a_member_that_is_cut_or_changed_is_refused() {
        let whole = gzip(b"some text that is compressed");
        for end in 1..whole.len() {
            assert!(all(&whole[..end], 8).is_err(), "{end}");
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(all(&other, 8).is_err(), "another length");
        assert!(all(&[whole, b"\0\0".to_vec()].concat(), 8).is_err(), "padding is no member");
    }
}
