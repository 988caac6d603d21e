//! Losers: the documents of each chunk that a dedup task found to stand earlier, and where.
//!
//! Frames: an index of `u32 chunk, u32 count`, then one frame a chunk that has losers, in order of chunk.

use std::path::Path;

use super::frame::{FrameReader, FrameWriter};
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

const LOSER_BYTES: u64 = 16;
const FRAME_HEADER_BYTES: u64 = 8;

/// A document that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loser {
    /// Its chunk.
    pub chunk: u32,
    /// Its row in the chunk.
    pub row: u32,
    /// The part of the input that holds the document kept in its stead.
    pub keeper_part: u32,
    /// That document's place ([`super::keys::place`]).
    pub keeper_place: u64,
}

/// Writes the losers of a hash range. Sorts them in place.
///
/// # Errors
/// [`Error::Io`] where the disk refuses.
pub fn write(path: &Path, losers: &mut [Loser]) -> Result<(), Error> {
    losers.sort_unstable();
    let mut index = vec![0];
    for group in losers.chunk_by(|left, right| left.chunk == right.chunk) {
        put_u32(&mut index, group.first().map_or(0, |loser| loser.chunk));
        put_u32(&mut index, group.len() as u32);
    }
    let mut writer = FrameWriter::create(path)?;
    writer.push(&index)?;
    for group in losers.chunk_by(|left, right| left.chunk == right.chunk) {
        let mut frame = Vec::with_capacity(group.len() * LOSER_BYTES as usize);
        for loser in group {
            put_u32(&mut frame, loser.row);
            put_u32(&mut frame, loser.keeper_part);
            put_u64(&mut frame, loser.keeper_place);
        }
        writer.push(&frame)?;
    }
    writer.finish()?;
    Ok(())
}

/// The losers of one chunk.
///
/// # Errors
/// [`Error::Io`] and [`Error::TaskFile`].
pub fn read(path: &Path, chunk: u32) -> Result<Vec<Loser>, Error> {
    let mut frames = FrameReader::open(path)?;
    let index = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
    let mut offset = FRAME_HEADER_BYTES + index.len() as u64;
    let mut cursor = Cursor::new(index.get(1..).unwrap_or_default());
    while let (Some(at), Some(count)) = (cursor.u32(), cursor.u32()) {
        if at == chunk {
            frames.seek(offset)?;
            let frame = frames.next_frame()?.ok_or_else(|| frames.undecodable())?;
            return Ok(decode(chunk, &frame));
        }
        offset += FRAME_HEADER_BYTES + u64::from(count) * LOSER_BYTES;
    }
    Ok(Vec::new())
}

fn decode(chunk: u32, frame: &[u8]) -> Vec<Loser> {
    let mut cursor = Cursor::new(frame);
    let mut losers = Vec::with_capacity(frame.len() / LOSER_BYTES as usize);
    while let (Some(row), Some(keeper_part), Some(keeper_place)) = (cursor.u32(), cursor.u32(), cursor.u64()) {
        losers.push(Loser { chunk, row, keeper_part, keeper_place });
    }
    losers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_gets_its_own_losers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losers");
        let loser = |chunk, row| Loser { chunk, row, keeper_part: 0, keeper_place: u64::from(row) };
        write(&path, &mut [loser(4, 2), loser(1, 9), loser(4, 1)]).unwrap();
        assert_eq!(read(&path, 4).unwrap(), [loser(4, 1), loser(4, 2)]);
        assert_eq!(read(&path, 1).unwrap(), [loser(1, 9)]);
        assert_eq!(read(&path, 2).unwrap(), []);
    }
}
