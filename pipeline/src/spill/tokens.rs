//! Token frames: one beside each row frame of a chunk, with the ids of every kept document.
//!
//! `u32 rows, rows x u8 state, rows x u32 tokens, ids` (u16 or u32, little-endian, kept rows back to back).

use schemas::dtype::Dtype;
use schemas::manifest::Split;
use serde::{Deserialize, Serialize};

use super::wire::{Cursor, put_u32};

/// Counts of one side in a frame; the order stage adds these up instead of reading frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideCounts {
    /// Kept documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Dropped as a duplicate, or not of this walk.
    Dropped,
    /// Beyond the subset, and not encoded.
    BeyondSubset,
    /// Kept, on this side.
    Kept(Split),
}

/// Builds the payload of a token frame.
#[derive(Debug)]
pub struct TokenWriter {
    dtype: Dtype,
    states: Vec<u8>,
    counts: Vec<u32>,
    ids: Vec<u8>,
    /// Counts of the train side, then of the val side.
    pub sides: [SideCounts; 2],
}

impl TokenWriter {
    /// Starts a frame.
    pub fn new(dtype: Dtype) -> Self {
        TokenWriter { dtype, states: Vec::new(), counts: Vec::new(), ids: Vec::new(), sides: Default::default() }
    }

    /// Adds a row that is not kept.
    pub fn dropped(&mut self) {
        self.states.push(0);
        self.counts.push(0);
    }

    /// Adds a row that was not encoded, because it is beyond the subset.
    pub fn beyond_subset(&mut self) {
        self.states.push(3);
        self.counts.push(0);
    }

    /// Adds a kept row. Ids were checked against the dtype when the tokenizer was loaded.
    pub fn kept(&mut self, side: Split, ids: &[u32]) {
        self.count(side, ids.len());
        self.ids.reserve(ids.len() * self.dtype.token_bytes());
        match self.dtype {
            Dtype::U16 => self.ids.extend(ids.iter().flat_map(|id| (*id as u16).to_le_bytes())),
            Dtype::U32 => self.ids.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        }
    }

    /// Adds a kept row whose ids are little-endian bytes already.
    pub fn kept_bytes(&mut self, side: Split, ids: &[u8]) {
        self.count(side, ids.len() / self.dtype.token_bytes());
        self.ids.extend_from_slice(ids);
    }

    fn count(&mut self, side: Split, tokens: usize) {
        let index = usize::from(side == Split::Val);
        self.states.push(1 + index as u8);
        self.counts.push(tokens as u32);
        if let Some(counts) = self.sides.get_mut(index) {
            counts.documents += 1;
            counts.tokens += tokens as u64;
        }
    }

    /// The payload, in two pieces: what is known of each row, and the ids.
    pub fn finish(self) -> [Vec<u8>; 2] {
        let mut head = Vec::with_capacity(4 + self.states.len() * 5);
        put_u32(&mut head, self.states.len() as u32);
        head.extend_from_slice(&self.states);
        self.counts.iter().for_each(|count| put_u32(&mut head, *count));
        [head, self.ids]
    }
}

/// A decoded token frame.
#[derive(Debug)]
pub struct TokenBlock {
    /// State of each row.
    pub states: Vec<RowState>,
    /// Tokens of each row.
    pub counts: Vec<u32>,
    starts: Vec<usize>,
    payload: Vec<u8>,
    token_bytes: usize,
}

impl TokenBlock {
    /// Decodes a payload; None where it is not one.
    pub fn decode(payload: Vec<u8>, dtype: Dtype) -> Option<TokenBlock> {
        let token_bytes = dtype.token_bytes();
        let mut cursor = Cursor::new(&payload);
        let rows = cursor.u32()? as usize;
        let states = cursor.take(rows)?.iter().map(|state| state_of(*state)).collect::<Option<Vec<_>>>()?;
        let counts = (0..rows).map(|_| cursor.u32()).collect::<Option<Vec<_>>>()?;
        let mut next = 4 + rows * 5;
        let mut starts = Vec::with_capacity(rows);
        for count in &counts {
            starts.push(next);
            next += *count as usize * token_bytes;
        }
        (next == payload.len()).then_some(TokenBlock { states, counts, starts, payload, token_bytes })
    }

    /// The little-endian ids of a row.
    pub fn ids(&self, row: usize) -> &[u8] {
        let (Some(start), Some(count)) = (self.starts.get(row), self.counts.get(row)) else { return &[] };
        self.payload.get(*start..*start + *count as usize * self.token_bytes).unwrap_or_default()
    }
}

fn state_of(byte: u8) -> Option<RowState> {
    Some(match byte {
        0 => RowState::Dropped,
        1 => RowState::Kept(Split::Train),
        2 => RowState::Kept(Split::Val),
        3 => RowState::BeyondSubset,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_row_by_row() {
        let mut writer = TokenWriter::new(Dtype::U16);
        writer.kept(Split::Train, &[1, 65535]);
        writer.dropped();
        writer.kept(Split::Val, &[7]);
        assert_eq!(writer.sides[0], SideCounts { documents: 1, tokens: 2 });
        let block = TokenBlock::decode(writer.finish().concat(), Dtype::U16).unwrap();
        assert_eq!(block.states[1], RowState::Dropped);
        assert_eq!(block.ids(0), [1, 0, 255, 255]);
        assert!(block.ids(1).is_empty());
        assert_eq!(block.ids(2), [7, 0]);
    }

    #[test]
    fn a_frame_of_the_other_width_is_refused() {
        let mut writer = TokenWriter::new(Dtype::U16);
        writer.kept(Split::Train, &[1]);
        assert!(TokenBlock::decode(writer.finish().concat(), Dtype::U32).is_none());
    }
}
