//! Readers that hold what comes out of a hostile archive to what it says of itself.

use std::io::{self, Read};

use flate2::Crc;

/// A reader that fails, rather than ends, once more than `limit` bytes were read.
///
/// `Read::take` would end quietly and make a bomb look like a short file.
pub struct LimitedReader<R> {
    inner: R,
    left: u64,
}

impl<R: Read> LimitedReader<R> {
    /// Wraps `inner`; reading more than `limit` bytes fails with [`io::ErrorKind::FileTooLarge`].
    pub fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit }
    }
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "more data than the limit allows"))?;
        Ok(read)
    }
}

/// A reader that fails at its end unless length and CRC-32 are what was said, as the directory of a ZIP archive says them.
pub struct ChecksumReader<R> {
    inner: LimitedReader<R>,
    left: u64,
    sum: Crc,
    expected: u32,
}

impl<R: Read> ChecksumReader<R> {
    /// Wraps `inner`, which must have `length` bytes of this checksum. More bytes fail with [`io::ErrorKind::FileTooLarge`], fewer or others with
    /// [`io::ErrorKind::InvalidData`].
    pub fn new(inner: R, length: u64, checksum: u32) -> Self {
        Self { inner: LimitedReader::new(inner, length), left: length, sum: Crc::new(), expected: checksum }
    }
}

impl<R: Read> Read for ChecksumReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.sum.update(out.get(..read).unwrap_or_default());
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 && !out.is_empty() && (self.left > 0 || self.sum.sum() != self.expected) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{ChecksumReader, LimitedReader};
    use std::io::Read as _;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let mut out = Vec::new();
        assert!(LimitedReader::new(&b"abc"[..], 3).read_to_end(&mut out).is_ok());
        assert!(LimitedReader::new(&b"abc"[..], 2).read_to_end(&mut out).is_err());
    }

    #[test]
    fn other_bytes_than_were_said_are_no_end() {
        const SUM: u32 = 0x3524_41c2;
        let mut out = Vec::new();
        assert!(ChecksumReader::new(&b"abc"[..], 3, SUM).read_to_end(&mut out).is_ok());
        for (bytes, length, sum) in [(&b"abc"[..], 4, SUM), (b"abc", 2, SUM), (b"abd", 3, SUM), (b"abc", 3, SUM + 1)] {
            assert!(ChecksumReader::new(bytes, length, sum).read_to_end(&mut out).is_err());
        }
    }
}
