//! Parcels: fixed-size records addressed to chunks, as one task writes them and many tasks read their own.
//!
//! Records are held up to a bound, then sorted and written as a run: one frame a chunk. The file ends with an index of all
//! runs, `u32 chunk, u64 offset` sorted by chunk, and its own offset stands in a file beside it.

use std::path::{Path, PathBuf};

use super::frame::{FrameReader, FrameWriter};
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

/// A record of N numbers.
pub type Record<const N: usize> = [u64; N];

/// Writes records.
pub struct ParcelWriter<const N: usize> {
    frames: FrameWriter,
    path: PathBuf,
    held: Vec<(u32, Record<N>)>,
    held_max: usize,
    index: Vec<(u32, u64)>,
}

impl<const N: usize> ParcelWriter<N> {
    /// Starts a file; at most about `memory` bytes of records are held.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be created.
    pub fn create(path: &Path, memory: u64) -> Result<Self, Error> {
        let held_max = (memory / size_of::<(u32, Record<N>)>() as u64).max(1 << 10) as usize;
        let frames = FrameWriter::create(path)?;
        Ok(ParcelWriter { frames, path: path.to_owned(), held: Vec::new(), held_max, index: Vec::new() })
    }

    /// Adds a record for a chunk.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn push(&mut self, chunk: u32, record: Record<N>) -> Result<(), Error> {
        self.held.push((chunk, record));
        if self.held.len() < self.held_max { Ok(()) } else { self.flush() }
    }

    /// Writes what is held; equal records once.
    fn flush(&mut self) -> Result<(), Error> {
        self.held.sort_unstable();
        self.held.dedup();
        for group in self.held.chunk_by(|left, right| left.0 == right.0) {
            let mut frame = Vec::with_capacity(group.len() * N * 8);
            group.iter().flat_map(|(_, record)| record).for_each(|number| put_u64(&mut frame, *number));
            let offset = self.frames.push(&frame)?;
            self.index.extend(group.first().map(|(chunk, _)| (*chunk, offset)));
        }
        self.held.clear();
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.index.sort_unstable();
        let mut index = vec![0]; // never empty: an empty frame would end the file
        for (chunk, offset) in &self.index {
            put_u32(&mut index, *chunk);
            put_u64(&mut index, *offset);
        }
        let offset = self.frames.push(&index)?;
        self.frames.finish()?;
        let mut pointer = FrameWriter::create(&pointer_path(&self.path))?;
        pointer.push(&offset.to_le_bytes())?;
        pointer.finish()?;
        Ok(())
    }
}

fn pointer_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".index");
    path.with_file_name(name)
}

/// Appends the records for a chunk to `out`, run by run.
///
/// # Errors
/// [`Error::Io`] and [`Error::TaskFile`].
pub fn read<const N: usize>(path: &Path, chunk: u32, out: &mut Vec<Record<N>>) -> Result<(), Error> {
    let mut pointer = FrameReader::open(&pointer_path(path))?;
    let at = pointer.next_frame()?.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| pointer.undecodable())?;
    let mut frames = FrameReader::open(path)?;
    frames.seek(u64::from_le_bytes(at))?;
    let index = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
    let mut cursor = Cursor::new(index.get(1..).unwrap_or_default());
    while let (Some(to), Some(offset)) = (cursor.u32(), cursor.u64()) {
        if to == chunk {
            frames.seek(offset)?;
            let frame = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
            out.extend(frame.as_chunks::<8>().0.as_chunks::<N>().0.iter().map(|record| record.map(u64::from_le_bytes)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_gets_its_own_records_of_every_run_once_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parcels");
        let mut writer = ParcelWriter::<2>::create(&path, 0).unwrap();
        for number in 0..5_000_u64 {
            writer.push((number % 7) as u32, [number / 14, 1]).unwrap();
        }
        writer.finish().unwrap();
        let mut all = 0;
        for chunk in 0..8 {
            let mut found = Vec::new();
            read::<2>(&path, chunk, &mut found).unwrap();
            found.sort_unstable();
            found.dedup();
            all += found.len();
            assert!(found.iter().all(|record| record[1] == 1));
        }
        assert_eq!(all, (0..5_000_u64).map(|n| (n % 7, n / 14)).collect::<std::collections::HashSet<_>>().len());
    }
}
