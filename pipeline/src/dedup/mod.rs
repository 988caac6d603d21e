//! What makes two documents the same, and which of them stays. Pure functions of text: no file is touched here.
//!
//! - [`normalize`]: text before its content hash, so that exact duplicates may differ in case, space, punctuation, width.
//! - [`units`]: text to units (words; single characters where a script has no spaces).
//! - [`shingles`]: units to the set of runs of n units, whose Jaccard similarity is what "near" means.
//! - [`signature`]: a set of shingles to a short sketch that keeps the similarity.
//! - [`bands`]: sketches to match keys; how many bands of how many rows, and what they catch.
//! - [`compare`]: two texts side by side, for people.
//! - [`links`]: documents of one match key to a bounded number of pairs.
//! - [`passages`]: lines, paragraphs and runs of units, and a text without some of them.
//! - [`settings`]: the `[dedup]` section, compiled.
//! - [`keep`]: which of two duplicates stays.
//! - [`simd`]: one source compiled for several instruction sets, chosen at run time.

pub mod bands;
pub mod compare;
pub mod keep;
pub mod links;
pub mod normalize;
pub mod passages;
pub mod settings;
pub mod shingles;
pub mod signature;
mod simd;
pub mod units;
