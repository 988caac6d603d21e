//! The windows of one side of a dataset, by sample number.
//!
//! Sample `n` is window `order(n mod W)` of epoch `n / W`, where `W` is the number of windows: position in the data is
//! one number, whatever the batch size, and continuing at any of them costs nothing.

use schemas::dtype::Dtype;
use shards::order::SequenceOrder;

use super::pool::ShardPool;
use crate::error::{Error, Result};

/// Windows of `positions + 1` tokens over some shards.
pub struct Windows {
    pool: ShardPool,
    order: SequenceOrder,
    positions: usize,
    dtype: Dtype,
    vocab_size: usize,
}

impl Windows {
    pub(super) fn new(
        pool: ShardPool,
        order: SequenceOrder,
        positions: usize,
        dtype: Dtype,
        vocab_size: usize,
    ) -> Windows {
        Windows { pool, order, positions, dtype, vocab_size }
    }

    /// How many windows an epoch has.
    pub fn count(&self) -> u64 {
        self.order.len()
    }

    /// Positions a window predicts.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Where sample `sample` lies: the shard and the offset of its first token.
    ///
    /// # Errors
    /// Where there are no windows.
    pub fn locate(&self, sample: u64) -> Result<(usize, u64)> {
        let problem =
            || Error::Data { path: self.pool.path(0), problem: format!("no window of {} + 1", self.positions) };
        self.order.locate_global(sample).ok_or_else(problem)
    }

    /// Appends the `positions + 1` tokens of sample `sample` to `tokens`; `bytes` is working space.
    ///
    /// # Errors
    /// Where the shard cannot be read, or an id is not below the vocabulary.
    pub fn read(&self, sample: u64, bytes: &mut Vec<u8>, tokens: &mut Vec<u32>) -> Result<()> {
        let (shard, offset) = self.locate(sample)?;
        bytes.resize((self.positions + 1) * self.dtype.token_bytes(), 0);
        self.pool.read_at(shard, offset, bytes)?;
        let start = tokens.len();
        match self.dtype {
            Dtype::U16 => tokens.extend(bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])))),
            Dtype::U32 => tokens.extend(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        }
        match tokens[start..].iter().position(|&id| id as usize >= self.vocab_size) {
            Some(at) => Err(Error::TokenId {
                path: self.pool.path(shard),
                offset: offset + at as u64,
                id: tokens[start + at],
                vocab_size: self.vocab_size,
            }),
            None => Ok(()),
        }
    }
}
