//! Learning merges from text: the greedy algorithm of Sennrich, Haddow and Birch ("Neural Machine Translation of Rare
//! Words with Subword Units", 2016), on bytes, with the results of Hugging Face's trainer.
//!
//! The most frequent pair of neighbours becomes a token, of equally frequent ones that of the lowest ids, until there
//! are tokens enough. Words are counted first, so that each distinct word is looked at once however often it occurs;
//! then every pair knows where it stands, and a merge touches these places alone, whatever the words' lengths.
//!
//! ```text
//! text -> words (distinct words and counts) -> cells (all of them, symbol by symbol)
//!                                                |-> pairs (count and places of each) -> learn (merge after merge)
//! ```
//!
//! What is learned is a function of the words and their counts, so threads and the order of texts change nothing.

mod cells;
mod learn;
mod pairs;
mod words;

#[cfg(test)]
mod oracle_tests;

pub use learn::{Alphabet, Learned, learn};
pub use words::{Full, WordCounts};

/// Memory that learning takes from distinct words of so many bytes: for each byte a cell of 4 bytes, its place in the
/// list of a pair, and the lists of the pairs that merges make; for each word its entry in the table of counts. Measured
/// at 12 to 15 bytes a byte of Chinese (docs/RESULTS.md).
pub fn memory_of(words: u64, bytes: u64) -> u64 {
    bytes * 16 + words * 40
}
