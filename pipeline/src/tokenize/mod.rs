//! From text to token ids, with any `tokenizer.json`, and from a corpus to a `tokenizer.json`.
//!
//! ```text
//! tokenizer.json -> definition (what is ignored, ids) -> engine (own, fast or reference) -> Encoder
//! tokenizer_config.json -> special (BOS, EOS) --------------------------------------------^
//! ```
//!
//! Ids are those of Hugging Face's `tokenizers` called with `add_special_tokens=False` and
//! `encode_special_tokens=True` (with `--allow-special`: `False`), between BOS and EOS.

pub mod corpus;
mod definition;
mod doubtful;
mod encoder;
mod engine;
mod error;
mod scratch;
mod special;
pub mod train;

#[cfg(test)]
mod oracle_tests;

pub use encoder::{Encoder, FileCopy};
pub use error::Error;
pub use scratch::Scratch;
