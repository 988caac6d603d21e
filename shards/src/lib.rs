//! How a dataset is written and read; what stands in it is crate `schemas`.
//!
//! # Layout
//! - [`commit`]: write, fsync, rename: a file under its final name is complete and checksummed.
//! - [`shard`]: `tokens/*.bin`, and [`index`]: the `.idx` beside each; [`tokens`]: ids as bytes.
//! - [`parquet`]: `data/` and `rejects/`, row groups encoded on many threads.
//! - [`dataset`]: the manifest, the only commit point, and what must hold when it is opened.
//! - [`verify`]: every checksum and every count, all differences listed.
//! - [`order`]: which window of which shard is sample n of epoch e.
//! - [`blockhash`]: the hash of an input, composed of ranges.
//! - [`error`]: one variant for each way in which a file can lie.
//!
//! Neither Polars nor candle is in this crate's tree: the pipeline has no use for one, the trainer for the other.
//!
//! ```
//! use schemas::{dtype::Dtype, manifest::Split};
//! use shards::order::SequenceOrder;
//! use shards::shard::{ShardReader, ShardWriter};
//!
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! let mut writer = ShardWriter::create(dir, Split::Train, 0, Dtype::U16)?;
//! writer.push_document(&[1, 0, 7, 0, 9, 0, 2, 0])?; // ids 1 7 9 2
//! writer.push_document(&[1, 0, 8, 0, 2, 0])?;
//! let [bin, _idx] = writer.finish()?;
//!
//! let shard = ShardReader::open(dir, &bin.path)?;
//! let order = SequenceOrder::new(&[shard.tokens()], 3, 42);
//! let (_, token_offset) = order.locate(0, 0).ok_or("no sequence")?;
//! let mut window = [0; 2 * (3 + 1)];
//! shard.read_at(token_offset, &mut window)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod blockhash;
pub mod commit;
pub mod dataset;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod index;
pub mod order;
pub mod parquet;
pub mod shard;
pub mod tokens;
pub mod verify;

pub use error::Error;
