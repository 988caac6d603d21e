//! The two stages of `--shuffle`: documents in the order of a hash of (seed, input, place), without holding them.
//!
//! `scatter`, one task a chunk, cuts the kept documents by ranges of the hash into buckets packed in one file;
//! `gather`, one task a bucket, sorts its documents from every chunk. How many buckets there are follows from the
//! memory limit, and leaves no trace: the hash alone decides the order.

use std::collections::HashMap;

use schemas::dtype::Dtype;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::mix;
use super::read::no_such_rank;
use super::source::{self, Source};
use super::tokenize::{FrameMeta, TokenizeDone};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::mix::Mix;
use crate::mix::hash::subset_hash;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::keys::place;
use crate::spill::rows::{Origin, Row, RowBlock, RowParts, RowWriter};
use crate::spill::tokens::{RowState, TokenBlock, TokenWriter};

/// Name of the first stage.
pub const SCATTER: &str = "scatter";
/// Name of the second stage.
pub const GATHER: &str = "gather";

const BUCKETS_MAX: u64 = 1 << 12;
/// Rows, tokens and the copy that is written, for each byte of text.
const MEMORY_FACTOR: u64 = 4;
const FRAME_TEXT_BYTES: usize = 1 << 20;

/// Cuts chunks into buckets.
pub struct ScatterStage;

/// Sorts buckets.
pub struct GatherStage;

/// What a scatter task says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct ScatterDone {
    /// Offset of each bucket's pair of frames; None where the chunk has nothing for it.
    offsets: Vec<Option<u64>>,
}

/// How many buckets: so many that each fits into a quarter of the memory.
///
/// # Errors
/// Where a marker of the read stage cannot be read.
pub fn buckets(run: &Run) -> Result<usize, Error> {
    let text: u64 = run.plan.inputs.iter().map(|input| input.bytes * if input.is_compressed() { 5 } else { 1 }).sum();
    let share = run.plan.memory / 4 / run.plan.threads.max(1) as u64;
    let text = text * mix::passes(run)?.max(1) as u64;
    Ok((text * MEMORY_FACTOR).div_ceil(share).clamp(1, BUCKETS_MAX) as usize)
}

/// The place of a document in the shuffled order.
fn sort_key(seed: u64, origin: &Origin) -> u64 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&origin.input.to_le_bytes());
    bytes[4..12].copy_from_slice(&place(origin.byte_offset, origin.line).to_le_bytes());
    bytes[12..].copy_from_slice(&origin.copy.to_le_bytes());
    // The bytes of a copy count only where there is one.
    xxh3_64_with_seed(bytes.get(..if origin.copy == 0 { 12 } else { 16 }).unwrap_or_default(), seed)
}

/// The place within all documents: those of a step of the subset come before those of the next.
fn within_step(mix: &Mix, step: usize, key: u64) -> u64 {
    let bound = |step: usize| mix.steps.get(step).copied().flatten().unwrap_or(u64::MAX);
    if mix.steps.is_empty() {
        return key;
    }
    let first = step.checked_sub(1).map_or(0, bound);
    first + ((u128::from(bound(step) - first) * u128::from(key)) >> 64) as u64
}

fn bucket_of(key: u64, buckets: usize) -> usize {
    ((u128::from(key) * buckets as u128) >> 64) as usize
}

/// Rows of many blocks in one frame: names are united.
struct Pile {
    names: Vec<String>,
    by_name: HashMap<String, u32>,
    rows: RowWriter,
    tokens: TokenWriter,
    text_bytes: usize,
}

impl Pile {
    fn new(dtype: Dtype) -> Self {
        Pile {
            names: Vec::new(),
            by_name: HashMap::new(),
            rows: RowWriter::default(),
            tokens: TokenWriter::new(dtype),
            text_bytes: 0,
        }
    }

    /// Adds a kept row that comes from `origin`.
    fn push(&mut self, block: &RowBlock, row: &Row, ids: &[u8], origin: Origin) {
        let body = block.bytes(&row.body);
        self.rows.row(&RowParts { origin, side: row.side, n_chars: row.n_chars, body, rejection: None });
        for value in block.values_of(row) {
            let name = block.names.get(value.name as usize).map_or("", String::as_str);
            let name = match self.by_name.get(name) {
                Some(known) => *known,
                None => {
                    let fresh = self.names.len() as u32;
                    self.names.push(name.to_owned());
                    self.by_name.insert(name.to_owned(), fresh);
                    fresh
                }
            };
            self.rows.value(name, value.kind, block.bytes(&value.bytes));
        }
        self.tokens.kept_bytes(row.side, ids);
        self.text_bytes += body.len();
    }
}

impl Stage for ScatterStage {
    fn name(&self) -> &'static str {
        SCATTER
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        source::count_in_order(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let Some(source) = source::open_in_order(run, rank)? else {
            return Err(no_such_rank(SCATTER, rank, source::count_in_order(run)?));
        };
        let Source { line_base, copy, step, done, .. } = source;
        let (dtype, seed) = (run.plan.config.tokenize.dtype, run.plan.config.order.seed);
        let buckets = buckets(run)?;
        let mut piles: Vec<Option<Pile>> = (0..buckets).map(|_| None).collect();
        let mut files: Option<(FrameReader, FrameReader)> = None;
        for frame in &done.frames {
            run.interrupt.check()?;
            let (rows, tokens) = match &mut files {
                Some(files) => files,
                None => files.insert((FrameReader::open(&source.rows)?, FrameReader::open(&source.tokens)?)),
            };
            rows.seek(frame.rows_offset)?;
            tokens.seek(frame.tokens_offset)?;
            let Some((block, ids)) = next_frames(rows, tokens, dtype)? else { return Err(rows.undecodable()) };
            for (index, row) in kept_rows(&block, &ids) {
                // The key is of the place within the input, not the part, so parts leave no trace.
                let (line, copy) = (row.origin.line + line_base, row.origin.copy + copy);
                let origin = Origin { line, copy, ..row.origin };
                let bucket = bucket_of(within_step(&run.mix, step, sort_key(seed, &origin)), buckets);
                let Some(pile) = piles.get_mut(bucket) else { continue };
                pile.get_or_insert_with(|| Pile::new(dtype)).push(&block, row, ids.ids(index), origin);
            }
        }
        let mut out = FrameWriter::create(&run.task_file(SCATTER, rank, "buckets"))?;
        let mut offsets = Vec::with_capacity(buckets);
        for pile in piles {
            let Some(pile) = pile else {
                offsets.push(None);
                continue;
            };
            offsets.push(Some(out.push(&pile.rows.finish(&pile.names))?));
            out.push_pieces(&pile.tokens.finish())?;
        }
        out.finish()?;
        run.mark_done(SCATTER, rank, &ScatterDone { offsets })
    }
}

impl Stage for GatherStage {
    fn name(&self) -> &'static str {
        GATHER
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        buckets(run)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let (dtype, seed) = (run.plan.config.tokenize.dtype, run.plan.config.order.seed);
        let mut blocks = Vec::new();
        for source in 0..source::count_in_order(run)? {
            run.interrupt.check()?;
            let done: ScatterDone = run.marker(SCATTER, source)?;
            let Some(offset) = done.offsets.get(rank).copied().flatten() else { continue };
            let mut frames = FrameReader::open(&run.task_file(SCATTER, source, "buckets"))?;
            frames.seek(offset)?;
            let rows = frames.next_frame()?.and_then(RowBlock::decode).ok_or_else(|| frames.undecodable())?;
            let ids = frames.next_frame()?.and_then(|payload| TokenBlock::decode(payload, dtype));
            blocks.push((rows, ids.ok_or_else(|| frames.undecodable())?));
        }
        let mut order: Vec<(u64, usize, usize)> = Vec::new();
        for (index, (block, ids)) in blocks.iter().enumerate() {
            let key = |row: &Row| {
                let hash = subset_hash(block.bytes(&row.body), run.mix.seed);
                let step = run.mix.step_of(hash).unwrap_or_default();
                within_step(&run.mix, step, sort_key(seed, &row.origin))
            };
            order.extend(kept_rows(block, ids).map(|(row_index, row)| (key(row), index, row_index)));
        }
        order.sort_unstable(); // equal hashes: input order
        let mut out = Sorted::create(run, rank)?;
        for (_, block, row_index) in order {
            let Some((block, ids)) = blocks.get(block) else { continue };
            let Some(row) = block.rows.get(row_index) else { continue };
            out.pile.push(block, row, ids.ids(row_index), row.origin);
            if out.pile.text_bytes >= FRAME_TEXT_BYTES {
                out.flush(dtype)?;
            }
        }
        out.flush(dtype)?;
        run.mark_done(GATHER, rank, &out.finish()?)
    }
}

struct Sorted {
    rows: FrameWriter,
    tokens: FrameWriter,
    pile: Pile,
    done: TokenizeDone,
}

impl Sorted {
    fn create(run: &Run, rank: usize) -> Result<Self, Error> {
        Ok(Sorted {
            rows: FrameWriter::create(&run.task_file(GATHER, rank, "rows"))?,
            tokens: FrameWriter::create(&run.task_file(GATHER, rank, "tokens"))?,
            pile: Pile::new(run.plan.config.tokenize.dtype),
            done: TokenizeDone::default(),
        })
    }

    fn flush(&mut self, dtype: Dtype) -> Result<(), Error> {
        let pile = std::mem::replace(&mut self.pile, Pile::new(dtype));
        if pile.rows.is_empty() {
            return Ok(());
        }
        let sides = pile.tokens.sides;
        let rows_offset = self.rows.push(&pile.rows.finish(&pile.names))?;
        let tokens_offset = self.tokens.push_pieces(&pile.tokens.finish())?;
        self.done.frames.push(FrameMeta { rows_offset, tokens_offset, sides });
        Ok(())
    }

    fn finish(self) -> Result<TokenizeDone, Error> {
        self.rows.finish()?;
        self.tokens.finish()?;
        Ok(self.done)
    }
}

fn next_frames(
    rows: &mut FrameReader,
    tokens: &mut FrameReader,
    dtype: Dtype,
) -> Result<Option<(RowBlock, TokenBlock)>, Error> {
    let Some(payload) = rows.next_frame()? else { return Ok(None) };
    let block = RowBlock::decode(payload).ok_or_else(|| rows.undecodable())?;
    let ids = tokens.next_frame()?.and_then(|payload| TokenBlock::decode(payload, dtype));
    Ok(Some((block, ids.ok_or_else(|| tokens.undecodable())?)))
}

fn kept_rows<'a>(block: &'a RowBlock, ids: &'a TokenBlock) -> impl Iterator<Item = (usize, &'a Row)> {
    let kept = |(index, _): &(usize, &Row)| matches!(ids.states.get(*index), Some(RowState::Kept(_)));
    block.rows.iter().enumerate().filter(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ranges_of_the_hash() {
        assert_eq!(bucket_of(0, 7), 0);
        assert_eq!(bucket_of(u64::MAX, 7), 6);
        let mut last = 0;
        for key in (0..1000).map(|step| step * (u64::MAX / 1000)) {
            assert!(bucket_of(key, 7) >= last);
            last = bucket_of(key, 7);
        }
    }

    #[test]
    fn the_seed_changes_the_order() {
        let origin = Origin { input: 1, line: 2, byte_offset: Some(3), copy: 0 };
        assert_ne!(sort_key(0, &origin), sort_key(1, &origin));
    }
}
