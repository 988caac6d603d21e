//! What makes reading impossible, as opposed to what makes a line invalid.

use std::path::{Path, PathBuf};

use crate::record::Position;

/// Why an input cannot be read at all. Reads well after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// "open", "read", "list", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An INPUT argument names nothing.
    #[error(
        "find input {argument}: no such file or folder\nhint: check the path; globs such as 'data/*.jsonl.zst' and folders are accepted too"
    )]
    NotFound {
        /// As it was given.
        argument: String,
    },
    /// A glob matches nothing.
    #[error(
        "match input {argument}: no file matches\nhint: `*` does not cross folders and does not match hidden files; use `**` for folders"
    )]
    NoMatch {
        /// As it was given.
        argument: String,
    },
    /// A glob is malformed.
    #[error("read glob {argument}: expected a pattern such as 'data/*.jsonl', found {detail}")]
    Pattern {
        /// As it was given.
        argument: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A folder without a file of a known format.
    #[error("find inputs in folder {}: expected at least one of {KNOWN_FORMATS}, found none\nhint: hidden files and *.tmp are skipped", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file whose name does not tell its format.
    #[error("recognise input {}: expected {KNOWN_FORMATS}, found {found}\nhint: rename it to what it holds; compression is recognised by content", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its extension.
        found: String,
    },
    /// One file was given twice.
    #[error("read {} twice: it is part of {first} and of {second}\nhint: name every input once", path.display())]
    GivenTwice {
        /// The file.
        path: PathBuf,
        /// Argument that named it first.
        first: String,
        /// Argument that named it again.
        second: String,
    },
    /// The encoding cannot be used with the format.
    #[error("read {} as {encoding}: expected JSONL, CSV or text, found {format}\nhint: convert it to UTF-8 first, with iconv for example", path.display())]
    EncodingOfFormat {
        /// The file.
        path: PathBuf,
        /// The encoding asked for or found.
        encoding: &'static str,
        /// The format of the file.
        format: &'static str,
    },
    /// A Parquet file inside a compressed stream.
    #[error("read {}: expected a plain Parquet file, found a compressed one\nhint: decompress it first; Parquet is compressed inside", path.display())]
    CompressedParquet {
        /// The file.
        path: PathBuf,
    },
    /// A text template is malformed.
    #[error(
        "read text template: {detail} at byte {offset} of {template:?}\nhint: '{{title}}\\n{{content}}' joins two fields; {{{{ and }}}} stand for braces"
    )]
    Template {
        /// As it was given.
        template: String,
        /// Where the fault is.
        offset: usize,
        /// What was expected and found.
        detail: String,
    },
    /// Hashing what was read.
    #[error(transparent)]
    Hash(#[from] shards::Error),
    /// A record within `--max-line-bytes` for which there is no memory.
    #[error(
        "read the record at {} of {}: expected at most {fit} bytes, for which `--memory` has room, found {found}\nhint: run again with more --memory, or drop such lines with --max-line-bytes {fit}",
        position.byte_offset.map_or_else(|| format!("row {}", position.line + 1), |offset| format!("byte {offset}")),
        path.display()
    )]
    BeyondMemory {
        /// The file.
        path: PathBuf,
        /// Where it stands. Rows are counted from the start of the part that one task reads; lines, too, so their
        /// offset is told.
        position: Position,
        /// Bytes of the longest record that fits.
        fit: u64,
        /// Its bytes.
        found: u64,
    },
    /// A limit that cannot be honoured.
    #[error("use {setting}: expected {expected}, found {found}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is possible.
        expected: String,
        /// What was given.
        found: String,
    },
}

/// For messages.
pub(super) const KNOWN_FORMATS: &str =
    ".jsonl .ndjson .json .parquet .csv .tsv .txt .md .wet .warc or .xml, plain or .gz .zst .xz .bz2";

impl Error {
    /// Wraps an error of the operating system.
    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::Io { action, path: path.to_owned(), source }
    }

    /// Whether the command line or the configuration is at fault, which exits with 2.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Error::Io { .. } | Error::Hash(_) | Error::BeyondMemory { .. })
    }
}
