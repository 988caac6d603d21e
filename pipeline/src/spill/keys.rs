//! Match keys of a chunk: the content hash of each document, sorted, so that a dedup task reads its hash range alone.
//!
//! Frames: `PARTITIONS + 1` cumulative counts; duplicates within the chunk; then one frame a partition that is not
//! empty. Within a chunk only the best of equal hashes is a key, so one text repeated a billion times costs a dedup
//! task one key a chunk.

use std::path::Path;

use super::frame::{FrameReader, FrameWriter};
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

/// Partitions of the hash space, by the top bits.
pub const PARTITIONS: usize = 1 << PARTITION_BITS;
const PARTITION_BITS: u32 = 10;
const KEY_BYTES: usize = 36;
const FRAME_HEADER_BYTES: u64 = 8;

/// The match key of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// xxh3-128 of the text.
    pub hash: u128,
    /// Its priority under the keep policy; of equal hashes the least stays, then the first.
    pub priority: u64,
    /// Row of the document within its chunk.
    pub row: u32,
    /// Its place, as [`place`] packs it.
    pub place: u64,
}

const LINE_FLAG: u64 = 1 << 63;

/// Packs a byte offset, or where there is none the line within the part.
pub fn place(byte_offset: Option<u64>, line: u64) -> u64 {
    byte_offset.map_or(line | LINE_FLAG, |offset| offset & !LINE_FLAG)
}

/// Unpacks [`place`]: `Ok` a byte offset, `Err` a line.
pub fn unpack_place(place: u64) -> Result<u64, u64> {
    if place & LINE_FLAG == 0 { Ok(place) } else { Err(place & !LINE_FLAG) }
}

/// The partition of a hash.
pub fn partition(hash: u128) -> usize {
    (hash >> (128 - PARTITION_BITS)) as usize
}

/// A document whose text a better document of the same chunk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalDuplicate {
    /// Row of the duplicate.
    pub row: u32,
    /// Row of the document that the keep policy prefers in the chunk.
    pub first: u32,
    /// Place of that document.
    pub first_place: u64,
}

/// Writes the keys of a chunk. Sorts them in place.
///
/// # Errors
/// [`Error::Io`] where the disk refuses.
pub fn write(path: &Path, keys: &mut [Key]) -> Result<(), Error> {
    keys.sort_unstable();
    let mut counts = vec![0_u32; PARTITIONS + 1];
    let mut duplicates = Vec::new();
    let mut firsts: Vec<Key> = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        match firsts.last() {
            Some(first) if first.hash == key.hash => {
                put_u32(&mut duplicates, key.row);
                put_u32(&mut duplicates, first.row);
                put_u64(&mut duplicates, first.place);
            }
            _ => {
                if let Some(count) = counts.get_mut(partition(key.hash) + 1) {
                    *count += 1;
                }
                firsts.push(*key);
            }
        }
    }
    let mut writer = FrameWriter::create(path)?;
    push_index(&mut writer, &mut counts, duplicates)?;
    for group in firsts.chunk_by(|left, right| partition(left.hash) == partition(right.hash)) {
        let mut frame = Vec::with_capacity(group.len() * KEY_BYTES);
        for key in group {
            frame.extend_from_slice(&key.hash.to_le_bytes());
            put_u64(&mut frame, key.priority);
            put_u32(&mut frame, key.row);
            put_u64(&mut frame, key.place);
        }
        writer.push(&frame)?;
    }
    writer.finish()?;
    Ok(())
}

fn push_index(writer: &mut FrameWriter, counts: &mut [u32], duplicates: Vec<u8>) -> Result<(), Error> {
    let mut sum = 0;
    let mut index = Vec::with_capacity(counts.len() * 4);
    for count in counts {
        sum += *count;
        put_u32(&mut index, sum);
    }
    writer.push(&index)?;
    let mut frame = vec![0]; // never empty: an empty frame would end the file
    frame.extend_from_slice(&duplicates);
    writer.push(&frame)?;
    Ok(())
}

/// Reads the keys of a chunk.
pub struct KeyReader {
    frames: FrameReader,
    cumulative: Vec<u32>,
    duplicates: Vec<LocalDuplicate>,
    first_partition: u64,
}

impl KeyReader {
    /// Opens the file and reads its index.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::TaskFile`].
    pub fn open(path: &Path) -> Result<KeyReader, Error> {
        let mut frames = FrameReader::open(path)?;
        let index = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
        let local = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
        let mut cursor = Cursor::new(&index);
        let cumulative: Option<Vec<u32>> = (0..=PARTITIONS).map(|_| cursor.u32()).collect();
        let cumulative = cumulative.ok_or_else(|| frames.undecodable())?;
        let mut cursor = Cursor::new(local.get(1..).unwrap_or_default());
        let mut duplicates = Vec::with_capacity(local.len() / 16);
        while let (Some(row), Some(first), Some(first_place)) = (cursor.u32(), cursor.u32(), cursor.u64()) {
            duplicates.push(LocalDuplicate { row, first, first_place });
        }
        let first_partition = 2 * FRAME_HEADER_BYTES + (index.len() + local.len()) as u64;
        Ok(KeyReader { frames, cumulative, duplicates, first_partition })
    }

    /// Documents whose text a better one of the chunk has.
    pub fn local_duplicates(&self) -> &[LocalDuplicate] {
        &self.duplicates
    }

    /// Distinct keys of the chunk.
    pub fn len(&self) -> u64 {
        self.cumulative.last().copied().map_or(0, u64::from)
    }

    /// Whether the chunk has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `each` for every key of partitions `first..last`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::TaskFile`].
    pub fn partitions(&mut self, first: usize, last: usize, mut each: impl FnMut(Key)) -> Result<(), Error> {
        let at = |partition: usize| self.cumulative.get(partition).copied().unwrap_or_default();
        let filled = |upto: usize| (0..upto).filter(|partition| at(*partition) != at(partition + 1)).count() as u64;
        let frames_in_range = filled(last) - filled(first);
        let keys_before = u64::from(at(first)) * KEY_BYTES as u64;
        self.frames.seek(self.first_partition + filled(first) * FRAME_HEADER_BYTES + keys_before)?;
        for _ in 0..frames_in_range {
            let frame = self.frames.next_frame()?.ok_or_else(|| self.frames.undecodable())?;
            let mut cursor = Cursor::new(&frame);
            while let Some(hash) = cursor.take(16).and_then(|bytes| bytes.try_into().ok()) {
                let (Some(priority), Some(row), Some(place)) = (cursor.u64(), cursor.u32(), cursor.u64()) else {
                    break;
                };
                each(Key { hash: u128::from_le_bytes(hash), priority, row, place });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(top: u128, row: u32) -> Key {
        Key { hash: top << 120, priority: 0, row, place: u64::from(row) * 10 }
    }

    #[test]
    fn a_hash_range_holds_its_keys_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        write(&path, &mut [key(255, 0), key(0, 1), key(128, 2), key(0, 3)]).unwrap();
        let mut reader = KeyReader::open(&path).unwrap();
        assert_eq!(reader.local_duplicates(), [LocalDuplicate { row: 3, first: 1, first_place: 10 }]);
        assert_eq!(reader.len(), 3);
        let mut rows = Vec::new();
        reader.partitions(1, PARTITIONS, |key| rows.push(key.row)).unwrap();
        assert_eq!(rows, [2, 0]);
        rows.clear();
        reader.partitions(0, 512, |key| rows.push(key.row)).unwrap();
        assert_eq!(rows, [1]);
    }

    #[test]
    fn a_line_is_not_taken_for_an_offset() {
        assert_eq!(unpack_place(place(Some(5), 1)), Ok(5));
        assert_eq!(unpack_place(place(None, 5)), Err(5));
    }
}
