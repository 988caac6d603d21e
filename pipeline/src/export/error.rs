//! What can stop an export.

use std::path::{Path, PathBuf};

use crate::look;

/// Why a dataset was not written in another format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is an export already.
    #[error("{} is there already\nhint: --force replaces what is there of this format, or choose another --out", path.display())]
    Exists {
        /// The first file found.
        path: PathBuf,
    },
    /// The target is the dataset itself.
    #[error("{} is the dataset itself\nhint: choose another --out", path.display())]
    IntoDataset {
        /// The folder.
        path: PathBuf,
    },
    /// The format has no room for what the dataset holds.
    #[error("{}: {place}: {format} takes {expected}, found {found}\nhint: {hint}", path.display())]
    DoesNotFit {
        /// The dataset or a file of it.
        path: PathBuf,
        /// What of it.
        place: Box<str>,
        /// The format.
        format: &'static str,
        /// What it takes.
        expected: Box<str>,
        /// What there is.
        found: Box<str>,
        /// What to do instead.
        hint: &'static str,
    },
    /// `data/` and the shards disagree.
    #[error("{}: {place}: expected {expected} by the shards, found {found}\nhint: `pipeline verify` lists what is damaged", path.display())]
    Mismatch {
        /// The dataset.
        path: PathBuf,
        /// Which count.
        place: String,
        /// By the shards.
        expected: String,
        /// By the rows.
        found: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// "write", "delete", ...
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Reading the dataset's rows.
    #[error(transparent)]
    Look(#[from] look::Error),
    /// Reading a shard, or committing a file.
    #[error(transparent)]
    Shards(#[from] shards::Error),
}

impl Error {
    pub(super) fn io(path: &Path, doing: &'static str, source: std::io::Error) -> Error {
        Error::Io { path: path.to_owned(), doing, source }
    }
}
