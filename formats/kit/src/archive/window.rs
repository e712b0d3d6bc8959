//! A buffer over a reader that keeps what it holds across small seeks: walking a directory seeks before every read.

use std::io::{self, Read, Seek, SeekFrom};

use crate::records::ReadSeek;

const SIZE: usize = 64 * 1024;

/// A buffered reader.
pub(super) struct Window {
    inner: Box<dyn ReadSeek>,
    /// Where the inner reader stands: behind the buffer.
    end: u64,
    buffer: Vec<u8>,
    /// What of the buffer was read.
    at: usize,
}

impl Window {
    pub(super) fn new(mut inner: Box<dyn ReadSeek>) -> io::Result<Self> {
        let end = inner.stream_position()?;
        Ok(Self { inner, end, buffer: Vec::new(), at: 0 })
    }

    fn position(&self) -> u64 {
        self.end.saturating_sub((self.buffer.len() - self.at) as u64)
    }
}

impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.resize(SIZE, 0);
            let read = self.inner.read(&mut self.buffer);
            self.buffer.truncate(read.as_ref().copied().unwrap_or_default());
            self.at = 0;
            self.end += read? as u64;
        }
        let held = self.buffer.get(self.at..).unwrap_or_default();
        let count = held.len().min(out.len());
        for (to, from) in out.iter_mut().zip(held) {
            *to = *from;
        }
        self.at += count;
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let absolute = match target {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position().checked_add_signed(distance),
            SeekFrom::End(_) => {
                self.buffer.clear();
                self.at = 0;
                self.end = self.inner.seek(target)?;
                return Ok(self.end);
            }
        };
        let Some(position) = absolute else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
        let start = self.end.saturating_sub(self.buffer.len() as u64);
        match position.checked_sub(start).map(usize::try_from) {
            Some(Ok(at)) if at <= self.buffer.len() => self.at = at,
            _ => {
                self.buffer.clear();
                self.at = 0;
                self.end = self.inner.seek(SeekFrom::Start(position))?;
            }
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;
    use std::io::{Cursor, Read as _, Seek as _, SeekFrom};

    proptest! {
        #[test]
        fn it_reads_what_the_inner_reader_reads(steps in proptest::collection::vec((0u64..200_000, 1usize..70_000), 1..20)) {
            let data: Vec<u8> = (0..180_000u32).map(|n| (n / 7 % 251) as u8).collect();
            let mut plain = Cursor::new(data.clone());
            let mut window = Window::new(Box::new(Cursor::new(data))).unwrap();
            for (position, count) in steps {
                let target = if position % 3 == 0 { SeekFrom::End(-(position as i64 / 2)) } else { SeekFrom::Start(position) };
                prop_assert_eq!(window.seek(target).unwrap(), plain.seek(target).unwrap());
                let (mut one, mut other) = (Vec::new(), Vec::new());
                window.by_ref().take(count as u64).read_to_end(&mut one).unwrap();
                plain.by_ref().take(count as u64).read_to_end(&mut other).unwrap();
                prop_assert_eq!(one, other);
                prop_assert_eq!(window.stream_position().unwrap(), plain.stream_position().unwrap());
            }
        }
    }
}
