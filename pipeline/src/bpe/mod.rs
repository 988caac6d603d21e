//! Byte pair encoding as fast as it goes, with the ids of Hugging Face's `tokenizers` exactly: for any vocabulary of
//! byte-level or SentencePiece-style BPE. It knows nothing of the rest of the pipeline.
//!
//! ```text
//! tokenizer.json -> definition -> Tokenizer
//! text -> added (added tokens) -> nfc -> split (words, by classes of characters) -> memo (short words seen before)
//!                                                                        \-> encode (longest tokens that agree) -> ids
//! ```
//!
//! Three ideas make the speed. Words are found by [scanners](split) written for the published expressions, with a
//! [table of classes](classes) instead of a regex engine. Merging is not done at all: a word's ids are the one sequence
//! of tokens of which each [may follow](model) the one before, found by taking the longest token and going back where
//! it was wrong, in linear time. And short words are [remembered](memo), in tables that never grow.
//!
//! ```
//! use pipeline::bpe::{Memo, Tokenizer, byte_alphabet};
//! let mut vocab = serde_json::Map::new();
//! for (id, c) in byte_alphabet().iter().enumerate() {
//!     vocab.insert(c.to_string(), id.into());
//! }
//! vocab.insert("he".to_owned(), 256.into());
//! vocab.insert("hey".to_owned(), 257.into());
//! let definition = serde_json::json!({
//!     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
//!     "model": {"type": "BPE", "vocab": vocab, "merges": [["h", "e"], ["he", "y"]]},
//! });
//! let tokenizer = Tokenizer::from_definition(&definition, true)?;
//! let (mut memo, mut ids) = (Memo::default(), Vec::new());
//! tokenizer.encode("hey he!", &mut memo, &mut ids);
//! assert_eq!(ids, [257, 32, 256, 33]); // "hey", " ", "he", "!"
//! # Ok::<(), pipeline::bpe::Unrecognised>(())
//! ```

mod added;
mod classes;
mod definition;
mod encode;
mod junctions;
mod memo;
mod merges;
mod model;
mod nfc;
#[cfg(test)]
mod oracle_tests;
mod split;
#[cfg(test)]
mod testing;
mod token_table;
mod tokenizer;
pub mod train;
mod trie;

pub use definition::{Unrecognised, added_ids, byte_alphabet};
pub use memo::Memo;
pub use tokenizer::Tokenizer;
