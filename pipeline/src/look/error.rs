//! What can stop a look into a dataset.

use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

/// Why a dataset cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no manifest.
    #[error("{}: expected a dataset, found no manifest.json\nhint: give the folder that `pipeline run --out` made", folder.display())]
    NotADataset {
        /// The folder.
        folder: PathBuf,
    },
    /// A run began and has not ended.
    #[error("{}: expected a committed dataset, found an unfinished run\nhint: the same `pipeline run` command finishes it; `pipeline status` shows how far it is", folder.display())]
    NotCommitted {
        /// The folder.
        folder: PathBuf,
    },
    /// The dataset was made with `--no-parquet`.
    #[error("{}: {purpose} needs the rows of data/, and this dataset was made with --no-parquet\nhint: {hint}", folder.display())]
    NoData {
        /// The folder.
        folder: PathBuf,
        /// What was asked for.
        purpose: &'static str,
        /// What can be done instead.
        hint: &'static str,
    },
    /// A shard that the manifest does not list.
    #[error("{}: expected one of {expected}, found {found}", folder.display())]
    NoSuchShard {
        /// The folder.
        folder: PathBuf,
        /// The shards there are.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// A column is absent, or of another type.
    #[error("{}: column {column}: expected {expected}, found {found}", path.display())]
    Column {
        /// The Parquet file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the schema of this version.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A Parquet file cannot be read.
    #[error("{}: {place}: {source}\nhint: `pipeline verify` lists what is damaged", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// "footer", "rows".
        place: &'static str,
        /// What the parquet crate says.
        source: ParquetError,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// "open", "delete", ...
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A shard, an index or the manifest.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// The dataset's tokenizer.
    #[error(transparent)]
    Tokenize(#[from] crate::tokenize::Error),
}

impl Error {
    pub(crate) fn parquet(path: &Path, place: &'static str, source: ParquetError) -> Error {
        Error::Parquet { path: path.to_owned(), place, source }
    }

    pub(crate) fn io(path: &Path, doing: &'static str, source: std::io::Error) -> Error {
        Error::Io { path: path.to_owned(), doing, source }
    }
}
