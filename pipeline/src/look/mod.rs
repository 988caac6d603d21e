//! Looking into a committed dataset: what `pipeline inspect`, `why` and `clean` know, without how they print it.
//!
//! Rows are read through column projection and row-group statistics, a batch of a few megabytes at a time, so a look
//! costs the memory of a batch however large the dataset is.
//!
//! # Layout
//! - [`summary`]: what a dataset holds, from its manifest and one Parquet footer.
//! - [`query`]: how a person names a line or a document; [`fate`]: what became of it.
//! - [`document`]: one document whole; [`place`]: a stretch of a shard, decoded.
//! - [`garbage`]: what lies in a dataset folder without being part of the dataset.
//! - [`rows`]: `data/` and `rejects/`, pruned and projected; [`cell`]: values of a row.
//! - [`human`]: numbers and tables for people.

pub mod cell;
pub mod document;
pub mod error;
pub mod fate;
pub mod garbage;
pub mod human;
pub mod place;
pub mod query;
pub mod rows;
pub mod summary;
#[cfg(test)]
pub(crate) mod testing;

use std::path::Path;

use schemas::config::Tokenize;
use shards::dataset::{Dataset, manifest_path};

pub use error::Error;

use crate::tokenize::Encoder;

/// Refuses a folder without a manifest, and says what it is instead.
///
/// # Errors
/// [`Error::NotCommitted`], [`Error::NotADataset`].
pub fn require_manifest(path: &Path) -> Result<(), Error> {
    if manifest_path(path).exists() {
        return Ok(());
    }
    let folder = path.to_owned();
    Err(if garbage::is_unfinished_run(path) { Error::NotCommitted { folder } } else { Error::NotADataset { folder } })
}

/// Opens a dataset by its folder or its manifest.
///
/// # Errors
/// As [`require_manifest`]; what [`Dataset::open`] finds wrong.
pub fn open(path: &Path) -> Result<Dataset, Error> {
    require_manifest(path)?;
    Ok(Dataset::open(path)?)
}

/// The tokenizer a dataset carries, for decoding.
///
/// # Errors
/// [`Error::Tokenize`].
pub fn decoder(dataset: &Dataset) -> Result<Encoder, Error> {
    let none = || Some("none".to_owned());
    let settings = Tokenize { bos: none(), eos: none(), dtype: dataset.manifest().dtype, ..Tokenize::default() };
    Ok(Encoder::load(&dataset.dir().join("tokenizer.json"), &settings)?)
}
