//! The sequences of one dataset's side, by sample number.
//!
//! Sample `n` is sequence `order(n mod W)` of epoch `n / W`, where `W` is the number of sequences: position in the data
//! is one number, whatever the batch size, and continuing at any of them costs nothing.

use schemas::dtype::Dtype;
use shards::order::SequenceOrder;

use super::IGNORED;
use super::packing::PackedOrder;
use super::pool::ShardPool;
use crate::error::{Error, Result};
use crate::ops::vector::vectorized;

/// Part of a shard that windows are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Position of the shard in its side.
    pub shard: usize,
    /// First token.
    pub token_offset: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Windows of `positions + 1` tokens, cut from segments.
#[derive(Debug)]
pub(super) struct Cuts {
    segments: Vec<Segment>,
    order: SequenceOrder,
}

impl Cuts {
    /// The windows of segments, in the order of `seed`, or of the segments where there is none.
    pub(super) fn new(segments: Vec<Segment>, positions: u32, seed: Option<u64>) -> Cuts {
        let tokens: Vec<u64> = segments.iter().map(|segment| segment.tokens).collect();
        let order = match seed {
            Some(seed) => SequenceOrder::new(&tokens, positions, seed),
            None => SequenceOrder::sequential(&tokens, positions),
        };
        Cuts { segments, order }
    }

    fn locate(&self, sample: u64) -> Option<(usize, u64)> {
        let (segment, offset) = self.order.locate_global(sample)?;
        let segment = self.segments.get(segment)?;
        Some((segment.shard, segment.token_offset + offset))
    }
}

/// How sequences are made.
#[derive(Debug)]
pub(super) enum Sequences {
    /// Documents back to back, cut at every `positions` tokens.
    Cut(Cuts),
    /// Whole documents, packed.
    Packed(PackedOrder),
}

/// The sequences of one side of a dataset.
pub struct Windows {
    pool: ShardPool,
    sequences: Sequences,
    positions: usize,
    dtype: Dtype,
    vocab_size: usize,
}

/// Tokens of a shard that stand in a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Position of the shard in its side.
    pub shard: usize,
    /// First token.
    pub token_offset: u64,
    /// Tokens.
    pub tokens: usize,
}

/// Working space of a thread that reads.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    tokens: Vec<u32>,
    starts: Vec<u64>,
    pub(super) spans: Vec<Span>,
}

/// One sequence of a batch.
pub(super) struct Row<'a> {
    pub inputs: &'a mut [u32],
    pub targets: &'a mut [u32],
    /// Where documents are masked.
    pub starts: Option<&'a mut [u32]>,
}

impl Windows {
    pub(super) fn new(
        pool: ShardPool,
        sequences: Sequences,
        positions: usize,
        dtype: Dtype,
        vocab_size: usize,
    ) -> Windows {
        Windows { pool, sequences, positions, dtype, vocab_size }
    }

    /// How many sequences an epoch has.
    pub fn count(&self) -> u64 {
        match &self.sequences {
            Sequences::Cut(cuts) => cuts.order.len(),
            Sequences::Packed(packed) => packed.len(),
        }
    }

    /// Positions a sequence predicts.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Path of a shard.
    pub fn shard_path(&self, shard: usize) -> std::path::PathBuf {
        self.pool.path(shard)
    }

    fn none(&self) -> Error {
        Error::Data { path: self.pool.path(0), problem: format!("no window of {} + 1", self.positions) }
    }

    /// Where the first token of sample `sample` lies: the shard and its offset there.
    ///
    /// # Errors
    /// Where there are no windows.
    pub fn locate(&self, sample: u64) -> Result<(usize, u64)> {
        let mut spans = Vec::new();
        self.spans(sample, &mut spans)?;
        spans.first().map(|span| (span.shard, span.token_offset)).ok_or_else(|| self.none())
    }

    /// Replaces `spans` by where the tokens of sample `sample` lie, in the order in which they stand there.
    ///
    /// # Errors
    /// Where there are no windows.
    pub fn spans(&self, sample: u64, spans: &mut Vec<Span>) -> Result<()> {
        spans.clear();
        match &self.sequences {
            Sequences::Cut(cuts) => {
                let (shard, token_offset) = cuts.locate(sample).ok_or_else(|| self.none())?;
                spans.push(Span { shard, token_offset, tokens: self.positions + 1 });
            }
            Sequences::Packed(packed) => spans.extend_from_slice(packed.sequence(sample).ok_or_else(|| self.none())?),
        }
        Ok(())
    }

    /// Appends the `positions + 1` tokens of sample `sample` to `tokens`; `bytes` is working space. Padding is 0.
    ///
    /// # Errors
    /// Where the shard cannot be read, or an id is not below the vocabulary.
    pub fn read(&self, sample: u64, bytes: &mut Vec<u8>, tokens: &mut Vec<u32>) -> Result<()> {
        let mut spans = Vec::new();
        self.spans(sample, &mut spans)?;
        let end = tokens.len() + self.positions + 1;
        for span in spans {
            let at = tokens.len();
            tokens.resize(at + span.tokens, 0);
            self.read_span(span, bytes, &mut tokens[at..])?;
        }
        tokens.resize(end, 0);
        Ok(())
    }

    /// Reads a span's tokens as they lie in its shard.
    fn read_bytes(&self, span: Span, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.resize(span.tokens * self.dtype.token_bytes(), 0);
        self.pool.read_at(span.shard, span.token_offset, bytes)
    }

    /// Reads a span's tokens into `out`.
    fn read_span(&self, span: Span, bytes: &mut Vec<u8>, out: &mut [u32]) -> Result<()> {
        self.read_bytes(span, bytes)?;
        let highest = decode(bytes, self.dtype, out);
        self.check_ids(span, highest, out)
    }

    /// Refuses ids, of which `highest` is the highest, that are not below the vocabulary.
    fn check_ids(&self, span: Span, highest: u32, ids: &[u32]) -> Result<()> {
        if (highest as usize) < self.vocab_size {
            return Ok(());
        }
        let at = ids.iter().position(|id| *id as usize >= self.vocab_size).unwrap_or(0);
        Err(Error::TokenId {
            path: self.pool.path(span.shard),
            offset: span.token_offset + at as u64,
            id: ids.get(at).copied().unwrap_or_default(),
            vocab_size: self.vocab_size,
        })
    }

    /// Fills inputs and targets with a window: the same bytes, one token apart.
    fn fill_cut(&self, span: Span, bytes: &mut Vec<u8>, inputs: &mut [u32], targets: &mut [u32]) -> Result<()> {
        self.read_bytes(span, bytes)?;
        let first = decode(bytes, self.dtype, inputs);
        let highest = decode(&bytes[self.dtype.token_bytes()..], self.dtype, targets);
        self.check_ids(span, first, inputs)?;
        self.check_ids(Span { token_offset: span.token_offset + 1, ..span }, highest, targets)
    }

    /// Fills a row with sample `sample`.
    ///
    /// # Errors
    /// Where a shard or its index cannot be read, or an id is not below the vocabulary.
    pub(super) fn fill(&self, sample: u64, scratch: &mut Scratch, row: Row) -> Result<()> {
        let Scratch { bytes, tokens, starts, spans } = scratch;
        self.spans(sample, spans)?;
        starts.clear();
        let Sequences::Cut(_) = &self.sequences else { return self.fill_packed(bytes, tokens, starts, spans, row) };
        let Some(&span) = spans.first() else { return Ok(()) };
        self.fill_cut(span, bytes, row.inputs, row.targets)?;
        if let Some(row_starts) = row.starts {
            let end = span.token_offset + span.tokens as u64;
            self.pool.document_starts(span.shard, span.token_offset..end, starts)?;
            starts.iter_mut().for_each(|start| *start -= span.token_offset);
            bound(row.targets, row_starts, starts, span.tokens);
        }
        Ok(())
    }

    /// Fills a row with whole documents, and padding behind them.
    fn fill_packed(
        &self,
        bytes: &mut Vec<u8>,
        tokens: &mut Vec<u32>,
        starts: &mut Vec<u64>,
        spans: &[Span],
        row: Row,
    ) -> Result<()> {
        tokens.resize(self.positions + 1, 0);
        let mut filled = 0;
        for span in spans {
            self.read_span(*span, bytes, &mut tokens[filled..filled + span.tokens])?;
            filled += span.tokens;
            starts.push(filled as u64);
        }
        tokens[filled..].fill(0);
        row.inputs.copy_from_slice(&tokens[..self.positions]);
        row.targets.copy_from_slice(&tokens[1..]);
        if let Some(row_starts) = row.starts {
            bound(row.targets, row_starts, starts, filled);
        }
        Ok(())
    }
}

/// Writes where each position's document starts, and ignores targets of another document or in the padding, which
/// begins at token `filled`. `starts` are the places of first tokens after the first, ascending.
fn bound(targets: &mut [u32], row_starts: &mut [u32], starts: &[u64], filled: usize) {
    let mut first = 0usize;
    for start in starts.iter().map(|start| *start as usize).filter(|start| *start > 0) {
        let end = start.min(row_starts.len());
        row_starts[first.min(end)..end].fill(first as u32);
        if let Some(target) = targets.get_mut(start - 1) {
            *target = IGNORED;
        }
        first = start;
    }
    if let Some(rest) = row_starts.get_mut(first..) {
        rest.fill(first as u32);
    }
    if let Some(padding) = targets.get_mut(filled.saturating_sub(1)..) {
        padding.fill(IGNORED);
    }
}

/// Widens ids to 32 bits, and returns the highest.
fn decode(bytes: &[u8], dtype: Dtype, out: &mut [u32]) -> u32 {
    vectorized(|| match dtype {
        Dtype::U16 => {
            let ids = bytes.as_chunks::<2>().0;
            let mut highest = 0u16;
            for (out, id) in out.iter_mut().zip(ids) {
                let id = u16::from_le_bytes(*id);
                highest = highest.max(id);
                *out = id.into();
            }
            highest.into()
        }
        Dtype::U32 => {
            let ids = bytes.as_chunks::<4>().0;
            let mut highest = 0u32;
            for (out, id) in out.iter_mut().zip(ids) {
                let id = u32::from_le_bytes(*id);
                highest = highest.max(id);
                *out = id;
            }
            highest
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(tokens: u32, starts: &[u64], filled: usize) -> (Vec<u32>, Vec<u32>) {
        let (mut targets, mut row_starts): (Vec<u32>, Vec<u32>) =
            ((1..tokens).collect(), vec![99; tokens as usize - 1]);
        bound(&mut targets, &mut row_starts, starts, filled);
        (targets, row_starts)
    }

    #[test]
    fn a_target_of_the_next_document_does_not_count() {
        // Tokens 0 1 2 | 3 4 | 5 6: positions 0..6 predict tokens 1..7.
        let (targets, starts) = bounded(7, &[3, 5], 7);
        assert_eq!(targets, [1, 2, IGNORED, 4, IGNORED, 6]);
        assert_eq!(starts, [0, 0, 0, 3, 3, 5]);
    }

    #[test]
    fn a_document_that_starts_at_the_first_or_the_last_token_is_no_special_case() {
        let (targets, starts) = bounded(5, &[0, 4], 5);
        assert_eq!((targets, starts), (vec![1, 2, 3, IGNORED], vec![0, 0, 0, 0]));
    }

    #[test]
    fn padding_predicts_nothing_and_is_a_document_of_its_own() {
        // Tokens 0 1 2 and two of padding.
        let (targets, starts) = bounded(5, &[3], 3);
        assert_eq!((targets, starts), (vec![1, 2, IGNORED, IGNORED], vec![0, 0, 0, 3]));
    }
}
