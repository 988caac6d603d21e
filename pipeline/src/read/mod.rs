//! From bytes to records: files, compressed streams, lines, fields.
//!
//! # Layout
//! - [`inputs`]: INPUT arguments become files, files become parts that tasks read.
//! - [`Reader`]: one part, sequentially: raw bytes (hashed), decompression, whole lines, in owned [`Block`]s.
//! - [`Block::parse`]: pure CPU work, on any thread: decoding, strict JSON, [`Records`](crate::record::Records).
//!
//! Only the operating system can make a read fail. Whatever the bytes are, they become records: a damaged line costs
//! that line, a damaged stream keeps what came before the damage and adds one record that names the place.

mod array;
mod block;
mod charset;
mod codec;
mod csv;
mod documents;
mod error;
mod fault;
pub mod inputs;
mod items;
pub mod json;
pub mod labels;
mod lines;
mod options;
mod parquet;
mod raw_file;
mod reader;
mod rows;
mod scan;
mod stream;
mod template;
mod text_file;
mod warc;
mod wiki;

pub use block::Block;
pub use error::Error;
pub use inputs::{Compression, Format, Input, Part};
pub use options::Options;
pub use reader::{Digest, Reader};

#[cfg(test)]
mod tests;
