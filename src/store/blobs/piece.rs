//! Pieces of files that the kernel has in memory, read without waiting into memory that is used again and again: small enough to stay in the
//! processor's cache until it is sent.

use std::cell::RefCell;
use std::fs::File;
use std::io::IoSliceMut;

use bytes::Bytes;
use rustix::io::ReadWriteFlags;

/// Bytes of a piece.
const SIZE: usize = 64 * 1024;
/// Pieces that a thread keeps for the next reads.
const KEPT: usize = 16;

thread_local! {
    static PIECES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Memory that goes back to the thread that lets it go.
struct Piece {
    memory: Box<[u8]>,
    length: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // A thread that ends has given its own away already.
        let _ = PIECES.try_with(|pieces| {
            let mut pieces = pieces.borrow_mut();
            if pieces.len() < KEPT {
                pieces.push(memory);
            }
        });
    }
}

/// The next bytes of a file, at most `most`; `None` where the disk would have to be waited for, or the file system cannot tell.
pub(super) fn read_without_waiting(file: &File, at: u64, most: u64) -> Option<Bytes> {
    let memory = PIECES.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into());
    let mut piece = Piece { memory, length: 0 };
    let wanted = usize::try_from(most).map_or(SIZE, |most| most.min(SIZE));
    let buffer = piece.memory.get_mut(..wanted)?;
    piece.length = rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT).ok()?;
    (piece.length > 0).then(|| Bytes::from_owner(piece))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{SIZE, read_without_waiting};

    #[test]
    fn pieces_come_from_memory_and_end_where_the_file_ends() {
        let bytes: Vec<u8> = (0..SIZE + 10).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for _ in 0..40 {
            // What was just written is in memory, unless the file system cannot tell.
            let Some(first) = read_without_waiting(&file, 0, u64::MAX) else { return };
            assert_eq!(first[..], bytes[..first.len()]);
            let last = read_without_waiting(&file, SIZE as u64, 10).unwrap();
            assert_eq!(last[..], bytes[SIZE..SIZE + last.len()]);
            assert_eq!(read_without_waiting(&file, 5, 3).unwrap()[..], bytes[5..8]);
        }
        assert!(read_without_waiting(&file, bytes.len() as u64, 10).is_none());
    }
}
