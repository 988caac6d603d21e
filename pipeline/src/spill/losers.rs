//! Losers: the documents of each chunk that are not kept, and the document that is kept in their stead.
//!
//! Frames: an index of `u32 chunk, u32 count`, then one frame a chunk that has losers, in order of chunk.

use std::path::Path;

use super::frame::{FrameReader, FrameWriter};
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

const LOSER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 8;

/// The number of a document: numbers grow in input order.
pub fn number(chunk: u32, row: u32) -> u64 {
    u64::from(chunk) << 32 | u64::from(row)
}

/// Chunk and row of a [`number`].
pub fn chunk_and_row(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// A document that others are dropped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keeper {
    /// Its [`number`].
    pub number: u64,
    /// The part of the input that holds it.
    pub part: u32,
    /// Its place ([`super::keys::place`]).
    pub place: u64,
}

/// What two duplicates have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The content hash.
    Exact,
    /// Shingles: the bits of their Jaccard similarity.
    Near(u64),
    /// A match key, and nobody looked further.
    Unverified,
}

impl Likeness {
    /// The Jaccard similarity; None where nobody looked.
    pub fn similarity(self) -> Option<f64> {
        match self {
            Likeness::Exact => Some(1.0),
            Likeness::Near(bits) => Some(f64::from_bits(bits)),
            Likeness::Unverified => None,
        }
    }

    fn to_bits(self) -> u64 {
        match self {
            Likeness::Exact => u64::MAX,
            Likeness::Near(bits) => bits,
            Likeness::Unverified => u64::MAX - 1,
        }
    }

    fn from_bits(bits: u64) -> Likeness {
        match bits {
            u64::MAX => Likeness::Exact,
            bits if bits == u64::MAX - 1 => Likeness::Unverified,
            bits => Likeness::Near(bits),
        }
    }
}

/// A document that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loser {
    /// Its chunk.
    pub chunk: u32,
    /// Its row in the chunk.
    pub row: u32,
    /// The document kept in its stead.
    pub keeper: Keeper,
    /// What the two have in common.
    pub likeness: Likeness,
}

/// Writes losers. Sorts them in place.
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
            put_u32(&mut frame, loser.keeper.part);
            put_u64(&mut frame, loser.keeper.number);
            put_u64(&mut frame, loser.keeper.place);
            put_u64(&mut frame, loser.likeness.to_bits());
        }
        writer.push(&frame)?;
    }
    writer.finish()?;
    Ok(())
}

/// The losers of one chunk, in order of rows.
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
    while let (Some(row), Some(part), Some(number), Some(place), Some(bits)) =
        (cursor.u32(), cursor.u32(), cursor.u64(), cursor.u64(), cursor.u64())
    {
        let keeper = Keeper { number, part, place };
        losers.push(Loser { chunk, row, keeper, likeness: Likeness::from_bits(bits) });
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
        let loser = |chunk, row, likeness| {
            let keeper = Keeper { number: number(chunk, 0), part: 7, place: u64::from(row) };
            Loser { chunk, row, keeper, likeness }
        };
        let near = Likeness::Near(0.875_f64.to_bits());
        let mut losers = [loser(4, 2, near), loser(1, 9, Likeness::Exact), loser(4, 1, Likeness::Unverified)];
        write(&path, &mut losers).unwrap();
        assert_eq!(read(&path, 4).unwrap(), [loser(4, 1, Likeness::Unverified), loser(4, 2, near)]);
        assert_eq!(read(&path, 1).unwrap(), [loser(1, 9, Likeness::Exact)]);
        assert_eq!(read(&path, 2).unwrap(), []);
        assert_eq!(near.similarity(), Some(0.875));
    }
}
