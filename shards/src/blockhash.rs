//! The hash of an input: xxh3-128 over the xxh3-128 digests of its aligned 64 MiB blocks.
//!
//! Tasks read ranges of one input on several machines; digests of blocks, unlike a hash of the whole, can be gathered
//! in any order and joined, so nobody reads an input a second time to hash it.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::error::Error;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 64 << 20;

/// Hashes a range of an input block by block.
#[derive(Clone)]
pub struct BlockHasher {
    digests: Vec<u128>,
    block: Xxh3Default,
    block_filled: u64,
}

impl std::fmt::Debug for BlockHasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("BlockHasher");
        shown.field("digests", &self.digests).field("block_filled", &self.block_filled).finish_non_exhaustive()
    }
}

impl BlockHasher {
    /// Starts a range at an offset in bytes.
    ///
    /// # Errors
    /// [`Error::BlockAlignment`] where a block does not start there.
    pub fn new(start_offset: u64) -> Result<BlockHasher, Error> {
        if !start_offset.is_multiple_of(BLOCK_BYTES) {
            return Err(Error::BlockAlignment { expected: BLOCK_BYTES, found: start_offset });
        }
        Ok(BlockHasher { digests: Vec::new(), block: Xxh3Default::new(), block_filled: 0 })
    }

    /// Takes the next bytes of the range.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = (BLOCK_BYTES - self.block_filled) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.update(now);
            self.block_filled += now.len() as u64;
            if self.block_filled == BLOCK_BYTES {
                self.close_block();
            }
            rest = later;
        }
    }

    fn close_block(&mut self) {
        self.digests.push(self.block.digest128());
        self.block.reset();
        self.block_filled = 0;
    }

    /// The digests of the blocks. Only the last range of an input may end inside a block.
    pub fn finish(mut self) -> Vec<u128> {
        if self.block_filled > 0 {
            self.close_block();
        }
        self.digests
    }
}

/// The hash of an input from the digests of all its blocks, in order: 32 hexadecimal digits. Each digest counts as 16
/// big-endian bytes; an empty input has no blocks.
pub fn combine(digests: &[u128]) -> String {
    let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.to_be_bytes()).collect();
    format!("{:032x}", xxh3_128(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(start: u64, pieces: &[&[u8]]) -> Vec<u128> {
        let mut hasher = BlockHasher::new(start).unwrap();
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    #[test]
    fn ranges_compose_to_the_whole_however_they_are_cut() {
        let input: Vec<u8> = (0..2 * BLOCK_BYTES + 1000).map(|at| (at % 251) as u8).collect();
        let whole = hashed(0, &[&input]);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[1], xxh3_128(&input[BLOCK_BYTES as usize..2 * BLOCK_BYTES as usize]));
        let (first, second) = input.split_at(BLOCK_BYTES as usize);
        let (left, right) = second.split_at(12_345);
        assert_eq!([hashed(0, &[first]), hashed(BLOCK_BYTES, &[left, right])].concat(), whole);
    }

    #[test]
    fn a_range_inside_a_block_is_refused() {
        let error = BlockHasher::new(BLOCK_BYTES + 1).unwrap_err();
        assert!(matches!(error, Error::BlockAlignment { found, .. } if found == BLOCK_BYTES + 1));
    }

    #[test]
    fn an_empty_input_has_the_hash_of_no_digests() {
        assert_eq!(hashed(0, &[b""]), []);
        assert_eq!(combine(&[]), "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn digests_are_joined_big_endian() {
        let digest = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128;
        let bytes: Vec<u8> = (1..=16).collect();
        assert_eq!(combine(&[digest]), format!("{:032x}", xxh3_128(&bytes)));
    }
}
