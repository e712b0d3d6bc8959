//! Readers with a bound, for whatever comes out of a hostile archive.

use std::io::{self, Read};

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

#[cfg(test)]
mod tests {
    use super::LimitedReader;
    use std::io::Read as _;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let mut out = Vec::new();
        assert!(LimitedReader::new(&b"abc"[..], 3).read_to_end(&mut out).is_ok());
        assert!(LimitedReader::new(&b"abc"[..], 2).read_to_end(&mut out).is_err());
    }
}
