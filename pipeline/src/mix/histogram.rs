//! [`Histogram`]: tokens by group and range of the hash; a tokenize task keeps one of its chunk, and they add up.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::wire::{Cursor, put_u32, put_u64};

const RANGE_BITS: u32 = 14;
/// Ranges of the hash: a budget is met to one range of a group's tokens, or one document.
pub const RANGES: usize = 1 << RANGE_BITS;

/// Tokens by group and range of the hash.
#[derive(Debug, Default)]
pub struct Histogram(BTreeMap<(u32, u32), u64>);

impl Histogram {
    /// Counts a document.
    pub fn push(&mut self, group: usize, hash: u64, tokens: u64) {
        *self.0.entry((group as u32, (hash >> (64 - RANGE_BITS)) as u32)).or_default() += tokens;
    }

    /// Adds other documents.
    pub fn merge(&mut self, other: &Histogram) {
        for (key, tokens) in &other.0 {
            *self.0.entry(*key).or_default() += tokens;
        }
    }

    /// Writes it as a task file of one frame.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut frame = Vec::with_capacity(self.0.len() * 16);
        for ((group, range), tokens) in &self.0 {
            put_u32(&mut frame, *group);
            put_u32(&mut frame, *range);
            put_u64(&mut frame, *tokens);
        }
        let mut writer = FrameWriter::create(path)?;
        writer.push(&frame)?;
        writer.finish()?;
        Ok(())
    }
}

/// Adds a task file to tables of [`RANGES`] sums, one a group.
///
/// # Errors
/// Where the file is gone or damaged.
pub fn add_file(path: &Path, groups: &mut [Vec<u64>]) -> Result<(), Error> {
    let mut reader = FrameReader::open(path)?;
    let Some(payload) = reader.next_frame()? else { return Ok(()) };
    let mut cursor = Cursor::new(&payload);
    for _ in 0..payload.len() / 16 {
        let (Some(group), Some(range), Some(tokens)) = (cursor.u32(), cursor.u32(), cursor.u64()) else {
            return Err(reader.undecodable());
        };
        let sum = groups.get_mut(group as usize).and_then(|sums| sums.get_mut(range as usize));
        *sum.ok_or_else(|| reader.undecodable())? += tokens;
    }
    Ok(())
}
