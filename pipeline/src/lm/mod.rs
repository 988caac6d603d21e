//! Training of n-gram language models: modified Kneser-Ney smoothing in bounded memory.
//!
//! ```text
//! documents -> corpus       lines of words, as numbers on disk; vocabulary: hashes in memory, words on disk
//!           -> counts       occurrences of the longest n-grams, sorted by suffix -> adjusted counts of every order
//!           -> discounts    of each order, from how many n-grams have small counts
//!           -> smooth       discounted shares and back-off weights, context by context
//!           -> trie         probabilities, shorter n-grams mixed in; a file that KenLM maps
//! ```
//!
//! The method is that of Heafield, Pouzyrevsky, Clark and Koehn, "Scalable modified Kneser-Ney language model
//! estimation" (ACL 2013): every step is a walk over sorted n-grams, sorted in runs on disk where they do not fit
//! ([`sort`]). The bytes of a model depend on text, words, order and pruning alone.

mod bits;
mod corpus;
mod counts;
mod discounts;
mod gram;
mod smooth;
mod sort;
mod train;
mod trie;
mod vocabulary;

pub use corpus::Sums;
pub use discounts::Discounts;
pub use gram::ORDER_MAX;
pub use train::{Report, Settings, Trainer};
