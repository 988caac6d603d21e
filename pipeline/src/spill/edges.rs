//! Edges: the confirmed pairs of a chunk's documents with better ones anywhere.
//!
//! Frames of `u32 row, u32 part, u64 better, u64 place, u64 similarity`, sorted by row, then by the better document.

use std::path::Path;

use super::frame::{FrameReader, FrameWriter};
use super::losers::Keeper;
use super::wire::{Cursor, put_u32, put_u64};
use crate::error::Error;

const FRAME_EDGES: usize = 1 << 15;

/// A confirmed pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Row of the worse document in its chunk.
    pub row: u32,
    /// The better document.
    pub better: Keeper,
    /// Bits of the Jaccard similarity; those of NaN where pairs are not verified.
    pub similarity_bits: u64,
}

/// Writes edges. Sorts them in place.
///
/// # Errors
/// [`Error::Io`] where the disk refuses.
pub fn write(path: &Path, edges: &mut [Edge]) -> Result<(), Error> {
    edges.sort_unstable();
    let mut writer = FrameWriter::create(path)?;
    for group in edges.chunks(FRAME_EDGES) {
        let mut frame = Vec::with_capacity(group.len() * 32);
        for edge in group {
            put_u32(&mut frame, edge.row);
            put_u32(&mut frame, edge.better.part);
            put_u64(&mut frame, edge.better.number);
            put_u64(&mut frame, edge.better.place);
            put_u64(&mut frame, edge.similarity_bits);
        }
        writer.push(&frame)?;
    }
    writer.finish()?;
    Ok(())
}

/// The edges of a chunk.
///
/// # Errors
/// [`Error::Io`] and [`Error::TaskFile`].
pub fn read(path: &Path) -> Result<Vec<Edge>, Error> {
    let mut frames = FrameReader::open(path)?;
    let mut edges = Vec::new();
    while let Some(frame) = frames.next_frame()? {
        let mut cursor = Cursor::new(&frame);
        while let (Some(row), Some(part), Some(number), Some(place), Some(similarity_bits)) =
            (cursor.u32(), cursor.u32(), cursor.u64(), cursor.u64(), cursor.u64())
        {
            edges.push(Edge { row, better: Keeper { number, part, place }, similarity_bits });
        }
    }
    Ok(edges)
}
