//! The hashes of a text by which documents are chosen.
//!
//! Each purpose has a seed of its own: were they one, the documents that are held out (the lowest hashes) would be
//! those that a small weight keeps.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const WEIGHT: u64 = u64::from_le_bytes(*b"mix.copy");
const SUBSET: u64 = u64::from_le_bytes(*b"mix.part");

/// Decides whether a document occurs once more: below a group's bound it does.
pub fn weight_hash(text: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(text, WEIGHT.wrapping_add(seed))
}

/// Decides from which subset on a document is written.
pub fn subset_hash(text: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(text, SUBSET.wrapping_add(seed))
}

/// The bound below which a share of all hashes lies; None where all do.
pub fn bound(share: f64) -> Option<u64> {
    (share < 1.0).then(|| (share.max(0.0) * 18_446_744_073_709_551_616.0) as u64)
}

/// A hash as a number from 0 to 1.
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
