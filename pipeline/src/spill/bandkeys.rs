//! Match keys of near-duplicates: the band keys of a chunk's documents, in partitions of the hash space, so that a task
//! reads its range alone.
//!
//! Frames: `PARTITIONS + 1` cumulative counts; then one frame a partition that is not empty, sorted.

use std::path::{Path, PathBuf};

use super::frame::{FrameReader, FrameWriter};
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

/// Partitions of the hash space, by the top bits.
pub const PARTITIONS: usize = 1 << PARTITION_BITS;
const PARTITION_BITS: u32 = 12;
const KEY_BYTES: u64 = 20;
const FRAME_HEADER_BYTES: u64 = 8;
const INDEX_BYTES: u64 = FRAME_HEADER_BYTES + (PARTITIONS as u64 + 1) * 4;

/// A band key of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BandKey {
    /// Hash of a band of the signature.
    pub hash: u64,
    /// Row of the document within its chunk.
    pub row: u32,
    /// Its priority under the keep policy.
    pub priority: u64,
}

/// The partition of a hash.
fn partition(hash: u64) -> usize {
    (hash >> (64 - PARTITION_BITS)) as usize
}

/// Writes keys. Sorts them in place.
///
/// # Errors
/// [`Error::Io`] where the disk refuses.
pub fn write(path: &Path, keys: &mut [BandKey]) -> Result<(), Error> {
    keys.sort_unstable();
    let mut writer = FrameWriter::create(path)?;
    let before = |first: usize| keys.partition_point(|key| partition(key.hash) < first) as u32;
    push_index(&mut writer, (0..=PARTITIONS).map(before))?;
    for group in keys.chunk_by(|left, right| partition(left.hash) == partition(right.hash)) {
        push_partition(&mut writer, group)?;
    }
    writer.finish()?;
    Ok(())
}

/// Writes the keys of several files into one, a partition at a time.
///
/// # Errors
/// [`Error::Io`] and [`Error::TaskFile`].
pub fn merge(path: &Path, runs: &[PathBuf]) -> Result<(), Error> {
    let mut readers = runs.iter().map(|run| BandReader::open(run, 64 << 10)).collect::<Result<Vec<_>, _>>()?;
    let mut writer = FrameWriter::create(path)?;
    push_index(&mut writer, (0..=PARTITIONS).map(|at| readers.iter().map(|reader| reader.before(at)).sum()))?;
    let mut keys = Vec::new();
    for at in 0..PARTITIONS {
        keys.clear();
        readers.iter_mut().try_for_each(|reader| reader.next_partition(at, |key| keys.push(key)))?;
        keys.sort_unstable();
        push_partition(&mut writer, &keys)?;
    }
    writer.finish()?;
    Ok(())
}

fn push_index(writer: &mut FrameWriter, counts: impl Iterator<Item = u32>) -> Result<(), Error> {
    let mut index = Vec::with_capacity((PARTITIONS + 1) * 4);
    counts.for_each(|count| put_u32(&mut index, count));
    writer.push(&index)?;
    Ok(())
}

fn push_partition(writer: &mut FrameWriter, keys: &[BandKey]) -> Result<(), Error> {
    let mut frame = Vec::with_capacity(keys.len() * KEY_BYTES as usize);
    for key in keys {
        put_u64(&mut frame, key.hash);
        put_u32(&mut frame, key.row);
        put_u64(&mut frame, key.priority);
    }
    writer.push(&frame)?;
    Ok(())
}

/// Calls `each` for every key of partitions `first..last`, in order.
///
/// # Errors
/// [`Error::Io`] and [`Error::TaskFile`].
pub fn read(path: &Path, first: usize, last: usize, mut each: impl FnMut(BandKey)) -> Result<(), Error> {
    let mut reader = BandReader::open(path, 4 << 10)?;
    reader.seek(first)?;
    (first..last).try_for_each(|at| reader.next_partition(at, &mut each))
}

/// A file of band keys.
struct BandReader {
    frames: FrameReader,
    counts: Vec<u32>,
}

impl BandReader {
    fn open(path: &Path, buffer_bytes: usize) -> Result<BandReader, Error> {
        let mut frames = FrameReader::open_buffered(path, buffer_bytes)?;
        let index = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
        let counts: Vec<u32> = index.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if counts.len() != PARTITIONS + 1 {
            return Err(frames.undecodable());
        }
        Ok(BandReader { frames, counts })
    }

    /// Keys before a partition.
    fn before(&self, partition: usize) -> u32 {
        self.counts.get(partition).copied().unwrap_or_default()
    }

    fn is_filled(&self, partition: usize) -> bool {
        self.before(partition) != self.before(partition + 1)
    }

    /// Goes to a partition.
    fn seek(&mut self, partition: usize) -> Result<(), Error> {
        let frames_before = (0..partition).filter(|at| self.is_filled(*at)).count() as u64;
        let keys_before = u64::from(self.before(partition));
        self.frames.seek(INDEX_BYTES + frames_before * FRAME_HEADER_BYTES + keys_before * KEY_BYTES)
    }

    /// Calls `each` for the keys of a partition, the one the file stands at.
    fn next_partition(&mut self, partition: usize, mut each: impl FnMut(BandKey)) -> Result<(), Error> {
        if !self.is_filled(partition) {
            return Ok(());
        }
        let frame = self.frames.next_frame()?.ok_or_else(|| self.frames.undecodable())?;
        let mut cursor = Cursor::new(&frame);
        while let (Some(hash), Some(row), Some(priority)) = (cursor.u64(), cursor.u32(), cursor.u64()) {
            each(BandKey { hash, row, priority });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_range_holds_its_keys_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bands");
        let key = |top: u64, row| BandKey { hash: top << 56, row, priority: u64::from(row) };
        write(&path, &mut [key(255, 0), key(0, 1), key(128, 2), key(0, 3)]).unwrap();
        let rows = |first, last| {
            let mut rows = Vec::new();
            read(&path, first, last, |key| rows.push(key.row)).unwrap();
            rows
        };
        assert_eq!(rows(0, PARTITIONS), [1, 3, 2, 0]);
        assert_eq!(rows(1, PARTITIONS), [2, 0]);
        assert_eq!(rows(0, PARTITIONS / 2), [1, 3]);
        assert_eq!(rows(7, 7), [0_u32; 0]);
    }

    #[test]
    fn several_files_become_one() {
        let folder = tempfile::tempdir().unwrap();
        let key = |n: u64| BandKey { hash: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), row: n as u32, priority: n };
        let mut keys: Vec<BandKey> = (0..9_000).map(key).collect();
        let runs: Vec<PathBuf> = (0..3).map(|run| folder.path().join(format!("{run}"))).collect();
        for (run, part) in runs.iter().zip(keys.chunks_mut(3_000)) {
            write(run, part).unwrap();
        }
        let (merged, whole) = (folder.path().join("merged"), folder.path().join("whole"));
        merge(&merged, &runs).unwrap();
        write(&whole, &mut keys).unwrap();
        assert_eq!(std::fs::read(merged).unwrap(), std::fs::read(whole).unwrap());
    }
}
