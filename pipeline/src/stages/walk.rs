//! The rows of a chunk, frame by frame, each with the number of its first row.

use std::path::Path;

use super::layout::Chunk;
use crate::engine::ordered::ordered;
use crate::engine::run::Run;
use crate::error::Error;
use crate::spill::frame::FrameReader;
use crate::spill::rows::{Row, RowBlock};

/// Walks the rows of a chunk.
pub struct Walk {
    reader: FrameReader,
    next_row: u32,
}

/// A frame of rows, not yet decoded.
pub struct RowFrame {
    /// Row of the chunk that its first row is.
    pub first_row: u32,
    /// One past its last row.
    pub end_row: u32,
    payload: Vec<u8>,
}

impl Walk {
    /// Starts at the first row.
    pub fn new(run: &Run, chunk: &Chunk) -> Result<Walk, Error> {
        Walk::open(&chunk.file(run, "rows"))
    }

    /// Starts at the first row of a file of rows.
    pub fn open(path: &Path) -> Result<Walk, Error> {
        Ok(Walk { reader: FrameReader::open(path)?, next_row: 0 })
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> Result<Option<RowFrame>, Error> {
        let Some(payload) = self.reader.next_frame()? else { return Ok(None) };
        let rows = RowBlock::count(&payload).ok_or_else(|| self.reader.undecodable())?;
        let first_row = self.next_row;
        self.next_row += rows;
        Ok(Some(RowFrame { first_row, end_row: self.next_row, payload }))
    }

    /// The next frame that holds one of these rows; they are sorted, and those before it are taken off.
    pub fn next_with(&mut self, rows: &mut &[u32]) -> Result<Option<RowFrame>, Error> {
        while let Some(wanted) = rows.first().copied() {
            let Some(frame) = self.next_frame()? else { return Ok(None) };
            if frame.end_row > wanted {
                let mine = rows.partition_point(|row| *row < frame.end_row);
                *rows = rows.get(mine..).unwrap_or_default();
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// Works on every frame of a chunk on the pool, and hands on the results in the order of the frames.
///
/// # Errors
/// The first error in that order.
pub(super) fn each_frame<R: Send>(
    run: &Run,
    chunk: &Chunk,
    work: impl Fn(RowFrame) -> Result<R, Error> + Sync,
    consume: impl FnMut(R) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut walk = Walk::new(run, chunk)?;
    let next = || {
        run.interrupt.check()?;
        walk.next_frame()
    };
    ordered(&run.block_bounds(RowFrame::bytes), next, work, consume)
}

impl RowFrame {
    /// Bytes of its rows.
    pub fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// Decodes the frame.
    pub fn decode(self) -> Result<RowBlock, Error> {
        RowBlock::decode(self.payload).ok_or_else(|| Error::Inconsistent {
            what: "frame of rows".to_owned(),
            expected: "a decodable frame".to_owned(),
            found: "other bytes with a right checksum".to_owned(),
        })
    }
}

/// The priority of a row under the run's keep policy.
pub fn priority(run: &Run, block: &RowBlock, row: &Row) -> u64 {
    let keep = &run.dedup.keep;
    let column = keep.column().and_then(|column| block.names.iter().position(|name| name == column));
    let lexeme = column.and_then(|column| {
        let value = block.values_of(row).iter().find(|value| value.name as usize == column)?;
        Some(block.str(&value.bytes))
    });
    keep.priority(row.n_chars.unwrap_or_default(), lexeme)
}
