//! The bytes of a file as stored, in order, hashed within the bounds of a part.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use shards::blockhash::BlockHasher;

use super::error::Error;

const DRAIN_BYTES: usize = 1 << 20;

/// An open file. Bytes outside `start..end` can be read but are not hashed.
pub struct RawFile {
    file: File,
    path: PathBuf,
    offset: u64,
    start: u64,
    end: u64,
    hasher: BlockHasher,
}

impl RawFile {
    /// Opens a file to hash `start..end` of it, reading from `from`, which is at most `start`.
    pub fn open(path: &Path, start: u64, end: u64, from: u64) -> Result<RawFile, Error> {
        let mut file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        file.seek(SeekFrom::Start(from)).map_err(|source| Error::io("seek in", path, source))?;
        // That parts begin at blocks is the promise of `Input::parts`; lines compose wherever a part is cut.
        let hasher = BlockHasher::new(0)?;
        Ok(RawFile { file, path: path.to_owned(), offset: from, start, end, hasher })
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read within the bounds of the part.
    pub fn bytes_read(&self) -> u64 {
        self.offset.clamp(self.start, self.end.max(self.start)) - self.start
    }

    /// Appends up to `want` bytes; fewer only at the end of the file.
    pub fn read(&mut self, out: &mut Vec<u8>, want: usize) -> Result<usize, Error> {
        // Exact: a giant line grows by what is read, not to twice its size.
        out.reserve_exact(want);
        let before = out.len();
        let mut limited = (&self.file).take(want as u64);
        limited.read_to_end(out).map_err(|source| Error::io("read", &self.path, source))?;
        let fresh = out.get(before..).unwrap_or_default();
        let within = |place: u64| (place.saturating_sub(self.offset) as usize).min(fresh.len());
        self.hasher.update(fresh.get(within(self.start)..within(self.end)).unwrap_or_default());
        self.offset += fresh.len() as u64;
        Ok(fresh.len())
    }

    /// Reads on to the end of the part, and returns the digests of its blocks.
    pub fn finish(mut self) -> Result<Vec<u128>, Error> {
        let mut scratch = Vec::new();
        while self.offset < self.end {
            scratch.clear();
            let want = (self.end - self.offset).min(DRAIN_BYTES as u64) as usize;
            if self.read(&mut scratch, want)? == 0 {
                break;
            }
        }
        Ok(self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    #[test]
    fn only_the_bytes_of_the_part_are_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"0123456789").unwrap();
        let mut file = RawFile::open(&path, 2, 5, 1).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(file.read(&mut bytes, 8).unwrap(), 8);
        assert_eq!((bytes.as_slice(), file.bytes_read()), (b"12345678".as_slice(), 3));
        assert_eq!(file.finish().unwrap(), [xxh3_128(b"234")]);
    }

    #[test]
    fn what_was_not_read_is_hashed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = RawFile::open(&path, 0, 10, 0).unwrap();
        assert_eq!(file.finish().unwrap(), [xxh3_128(b"0123456789")]);
    }
}
