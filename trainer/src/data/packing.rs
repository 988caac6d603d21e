//! Best-fit packing: whole documents in sequences, so that few are cut and little is padded.
//!
//! Documents longer than a sequence are cut into sequences of their own, each beginning with the last token of the one
//! before, which it predicts from; rests and short documents go, longest first, where the least room is left that
//! takes them (best-fit decreasing; Ding et al. 2024, "Fewer truncations improve language modeling"). Each shard is
//! packed by itself, so that the plan is a function of the data and `positions` alone.

use shards::dataset::Dataset;
use shards::order::SequenceOrder;

use schemas::manifest::Split;

use super::windows::Span;
use crate::error::{Error, Result};

/// Most pieces a plan may have: it is held in memory, 24 bytes a piece.
const PIECES_MAX: usize = 200_000_000;

/// Packed sequences, and their order.
#[derive(Debug)]
pub(super) struct PackedOrder {
    spans: Vec<Span>,
    /// First span of each sequence, then the number of spans.
    first_span: Vec<u32>,
    order: SequenceOrder,
}

impl PackedOrder {
    /// Packs the documents of a side into sequences of `positions + 1` tokens, in the order of `seed`.
    ///
    /// # Errors
    /// Where an index cannot be read, or there are too many documents to hold a plan.
    pub(super) fn new(dataset: &Dataset, split: Split, positions: usize, seed: u64) -> Result<PackedOrder> {
        let (mut spans, mut first_span) = (Vec::new(), vec![0u32]);
        for shard in 0..dataset.shard_count(split) {
            let reader = dataset.shard(split, shard)?;
            let mut pieces = Vec::new();
            for document in reader.spans_from(0) {
                let document = document?;
                pieces.extend(cut(shard, document.token_offset, document.n_tokens, positions));
            }
            if spans.len() + pieces.len() > PIECES_MAX {
                let problem = format!("more than {PIECES_MAX} documents: best-fit packing would not fit in memory");
                return Err(Error::Data { path: dataset.dir().to_path_buf(), problem });
            }
            for sequence in pack(pieces, positions + 1) {
                spans.extend(sequence);
                first_span.push(spans.len() as u32);
            }
        }
        // One window for each sequence: T = 1 over a list of one shard.
        let order = SequenceOrder::new(&[first_span.len() as u64], 1, seed);
        Ok(PackedOrder { spans, first_span, order })
    }

    /// Sequences of an epoch.
    pub(super) fn len(&self) -> u64 {
        self.order.len()
    }

    /// The spans of a sample.
    pub(super) fn sequence(&self, sample: u64) -> Option<&[Span]> {
        let (_, sequence) = self.order.locate_global(sample)?;
        let bound = |at: u64| self.first_span.get(at as usize).map(|span| *span as usize);
        self.spans.get(bound(sequence)?..bound(sequence + 1)?)
    }
}

/// The pieces of a document: as many whole sequences as it has, and the rest; a token alone predicts nothing.
fn cut(shard: usize, token_offset: u64, n_tokens: u64, positions: usize) -> impl Iterator<Item = Span> {
    let stride = positions as u64;
    (0..n_tokens.saturating_sub(1).div_ceil(stride.max(1))).map(move |piece| {
        let start = piece * stride;
        let tokens = (n_tokens - start).min(stride + 1) as usize;
        Span { shard, token_offset: token_offset + start, tokens }
    })
}

/// Packs pieces of at most `capacity` tokens, longest first, each where the least room is left that takes it.
fn pack(mut pieces: Vec<Span>, capacity: usize) -> Vec<Vec<Span>> {
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.tokens));
    let mut sequences: Vec<Vec<Span>> = Vec::new();
    let mut rooms = Rooms::new(capacity);
    for piece in pieces {
        let (sequence, room) = rooms.take(piece.tokens).unwrap_or_else(|| {
            sequences.push(Vec::new());
            (sequences.len() - 1, capacity)
        });
        sequences[sequence].push(piece);
        rooms.put(sequence, room - piece.tokens);
    }
    sequences
}

/// Sequences by the room they have left.
struct Rooms {
    by_room: Vec<Vec<usize>>,
    /// A bit for each room that some sequence has.
    present: Vec<u64>,
}

impl Rooms {
    fn new(capacity: usize) -> Rooms {
        Rooms { by_room: vec![Vec::new(); capacity + 1], present: vec![0; capacity / 64 + 1] }
    }

    /// Takes out a sequence with the least room of at least `tokens`.
    fn take(&mut self, tokens: usize) -> Option<(usize, usize)> {
        let first = tokens / 64;
        let room = (first..self.present.len()).find_map(|word| {
            let bits = self.present[word] & if word == first { u64::MAX << (tokens % 64) } else { u64::MAX };
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })?;
        let sequence = self.by_room[room].pop()?;
        if self.by_room[room].is_empty() {
            self.present[room / 64] &= !(1 << (room % 64));
        }
        Some((sequence, room))
    }

    fn put(&mut self, sequence: usize, room: usize) {
        self.by_room[room].push(sequence);
        self.present[room / 64] |= 1 << (room % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(sequences: &[Vec<Span>]) -> Vec<Vec<usize>> {
        sequences.iter().map(|sequence| sequence.iter().map(|span| span.tokens).collect()).collect()
    }

    fn pieces(lengths: &[usize]) -> Vec<Span> {
        let piece = |(index, tokens): (usize, &usize)| Span { shard: index, token_offset: 0, tokens: *tokens };
        lengths.iter().enumerate().map(piece).collect()
    }

    #[test]
    fn a_piece_goes_where_the_least_room_is_left() {
        let packed = pack(pieces(&[3, 7, 2, 6, 4]), 10);
        assert_eq!(lengths(&packed), [vec![7, 3], vec![6, 4], vec![2]]);
    }

    #[test]
    fn every_piece_is_packed_once_and_no_sequence_overflows() {
        let all: Vec<usize> = (0..3000).map(|i| 2 + crate::rng::bits(1, 2, i) as usize % 128).collect();
        let packed = pack(pieces(&all), 129);
        let mut seen: Vec<usize> = packed.iter().flatten().map(|span| span.shard).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..3000).collect::<Vec<_>>());
        let filled: Vec<usize> = packed.iter().map(|sequence| sequence.iter().map(|span| span.tokens).sum()).collect();
        assert!(filled.iter().all(|tokens| *tokens <= 129));
        // What is proven of best fit decreasing: at most 11/9 of the fewest possible, and 4 more (Johnson 1973).
        let fewest = all.iter().sum::<usize>().div_ceil(129);
        assert!(packed.len() <= fewest * 11 / 9 + 4, "{} sequences, {fewest} would do", packed.len());
    }

    #[test]
    fn a_long_document_predicts_each_of_its_tokens_once() {
        let of = |n_tokens| -> Vec<(u64, usize)> {
            cut(0, 100, n_tokens, 4).map(|span| (span.token_offset, span.tokens)).collect()
        };
        assert_eq!(of(5), [(100, 5)]);
        assert_eq!(of(6), [(100, 5), (104, 2)]);
        assert_eq!(of(13), [(100, 5), (104, 5), (108, 5)]);
        assert_eq!((of(1), of(0)), (vec![], vec![]));
    }
}
