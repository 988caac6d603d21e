//! The errors of reading and writing a dataset: one variant for each way in which a file can lie.
//!
//! Every variant carries the file, the place in it, what was expected and what was found, so that a person can look
//! with `xxd` or a Parquet tool at the very byte.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use schemas::ledger::Imbalance;

/// What can go wrong with the files of a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused (ENOSPC, EIO, EACCES, ENOENT, ...).
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted: "write", "fsync", "rename", ...
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// The manifest is not JSON of the expected shape.
    #[error("{}: line {line}, column {column}: expected a manifest, found: {found}", path.display())]
    ManifestSyntax {
        /// The manifest.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the JSON parser says.
        found: String,
    },
    /// The manifest is too large to be one.
    #[error("{}: expected a manifest of at most {expected} bytes, found {found} bytes", path.display())]
    ManifestSize {
        /// The manifest.
        path: PathBuf,
        /// Most bytes.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// The dataset was written by a later major version.
    #[error("{}: format_version: expected at most {expected}, found {found}", path.display())]
    FormatVersion {
        /// The manifest.
        path: PathBuf,
        /// The version this reader knows.
        expected: u32,
        /// The version of the dataset.
        found: u32,
    },
    /// The manifest was changed after it was written.
    #[error("{}: manifest_hash: expected {expected} by its content, found {found}", path.display())]
    ManifestHash {
        /// The manifest.
        path: PathBuf,
        /// sha256 of its content.
        expected: String,
        /// What it says.
        found: String,
    },
    /// The ledger does not count every line once.
    #[error("{}: {source}", path.display())]
    Ledger {
        /// The manifest.
        path: PathBuf,
        /// The terms of the sum.
        source: Imbalance,
    },
    /// Two counts that must be equal are not.
    #[error("{}: {place}: expected {expected}, found {found}", path.display())]
    Count {
        /// The manifest, or the file counted.
        path: PathBuf,
        /// Which count.
        place: String,
        /// The other count.
        expected: u64,
        /// This count.
        found: u64,
    },
    /// The manifest names a file outside its folder.
    #[error("{}: files: expected a path inside the dataset, found {found:?}", path.display())]
    UnsafePath {
        /// The manifest.
        path: PathBuf,
        /// The path it lists.
        found: String,
    },
    /// The manifest lists a file twice.
    #[error("{}: files: expected each path once, found {found:?} again", path.display())]
    ListedTwice {
        /// The manifest.
        path: PathBuf,
        /// The path it lists.
        found: String,
    },
    /// The manifest names a shard, or its index, that `files` lacks.
    #[error("{}: files: expected an entry for {expected:?}, found none", path.display())]
    NotListed {
        /// The manifest.
        path: PathBuf,
        /// The path that should be listed.
        expected: String,
    },
    /// A shard does not bear the name its position gives it.
    #[error("{}: shard {place}: expected {expected:?}, found {found:?}", path.display())]
    ShardName {
        /// The manifest.
        path: PathBuf,
        /// Split and position.
        place: String,
        /// The name the position gives.
        expected: String,
        /// The name in the manifest.
        found: String,
    },
    /// A listed file has another size.
    #[error("{}: expected {expected} bytes by the manifest, found {found}", path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Size in the manifest.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// A listed file has other bytes.
    #[error("{}: sha256: expected {expected} by the manifest, found {found}", path.display())]
    FileHash {
        /// The file.
        path: PathBuf,
        /// sha256 in the manifest.
        expected: String,
        /// sha256 of the bytes on disk.
        found: String,
    },
    /// A shard's index names another width than the manifest.
    #[error("{}: dtype: expected {expected} by the manifest, found {found}", path.display())]
    DtypeMismatch {
        /// The index.
        path: PathBuf,
        /// Width in the manifest.
        expected: &'static str,
        /// Width in the index.
        found: &'static str,
    },

    /// An index ends before what its header promises, or is longer.
    #[error("{}: expected {expected} bytes for {place}, found {found}", path.display())]
    IndexSize {
        /// The index.
        path: PathBuf,
        /// What needs the bytes.
        place: String,
        /// Size by the header; `u64::MAX` where the product overflows.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// An index does not start with the magic bytes.
    #[error("{}: byte 0: expected MMIDIDX\\0\\0, found {found:02x?}", path.display())]
    IndexMagic {
        /// The index.
        path: PathBuf,
        /// Its first nine bytes.
        found: [u8; 9],
    },
    /// An index has another version.
    #[error("{}: byte 9: expected index version {expected}, found {found}", path.display())]
    IndexVersion {
        /// The index.
        path: PathBuf,
        /// The version this reader knows.
        expected: u64,
        /// The version in the header.
        found: u64,
    },
    /// An index has a dtype that is not a token id's.
    #[error("{}: byte 17: expected dtype code 8 (u16) or 4 (u32), found {found}", path.display())]
    IndexDtype {
        /// The index.
        path: PathBuf,
        /// The code in the header.
        found: u8,
    },
    /// An index whose documents are not its sequences.
    #[error("{}: byte 26: expected {expected} document indices (sequences + 1), found {found}", path.display())]
    IndexDocuments {
        /// The index.
        path: PathBuf,
        /// Sequences + 1.
        expected: u64,
        /// The count in the header.
        found: u64,
    },
    /// A document's length is negative.
    #[error("{}: byte {place}: expected the length of document {document}, found {found}", path.display())]
    IndexLength {
        /// The index.
        path: PathBuf,
        /// Offset in the index, bytes.
        place: u64,
        /// Number of the document, from 0.
        document: u64,
        /// The length there.
        found: i64,
    },
    /// A document does not start where the one before it ends.
    #[error("{}: byte {place}: expected document {document} to start at byte {expected} of the .bin, found {found}", path.display())]
    IndexOffset {
        /// The index.
        path: PathBuf,
        /// Offset in the index, bytes.
        place: u64,
        /// Number of the document, from 0.
        document: u64,
        /// Where the one before it ends.
        expected: u64,
        /// The offset there.
        found: i64,
    },
    /// The document indices are not 0, 1, 2, ...
    #[error("{}: byte {place}: expected document index {expected}, found {found}", path.display())]
    IndexDocumentIndex {
        /// The index.
        path: PathBuf,
        /// Offset in the index, bytes.
        place: u64,
        /// The index expected.
        expected: u64,
        /// The index there.
        found: i64,
    },
    /// A shard has other tokens than its index says.
    #[error("{}: expected {expected} bytes of tokens by its index, found {found}", path.display())]
    BinSize {
        /// The shard.
        path: PathBuf,
        /// Bytes by the index.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// A token id is not of the vocabulary.
    #[error("{}: token {token_offset}: expected an id below {expected}, found {found}", path.display())]
    TokenId {
        /// The shard.
        path: PathBuf,
        /// Offset in the shard, tokens.
        token_offset: u64,
        /// Size of the vocabulary.
        expected: u32,
        /// The id.
        found: u32,
    },
    /// A document has bytes that are not whole tokens.
    #[error("{}: document {document}: expected a multiple of {expected} bytes, found {found}", path.display())]
    PartialToken {
        /// The shard.
        path: PathBuf,
        /// Number of the document, from 0.
        document: u64,
        /// Bytes of a token.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A document is longer than the index format can say.
    #[error("{}: document {document}: expected at most {expected} tokens, found {found}", path.display())]
    DocumentTooLong {
        /// The shard.
        path: PathBuf,
        /// Number of the document, from 0.
        document: u64,
        /// `i32::MAX`.
        expected: u64,
        /// Tokens given.
        found: u64,
    },
    /// Tokens or a document beyond the end of a shard were asked for.
    #[error("{}: expected {place} below {expected}, found {found}", path.display())]
    OutOfShard {
        /// The shard.
        path: PathBuf,
        /// "a token offset" or "a document number".
        place: &'static str,
        /// How many there are.
        expected: u64,
        /// What was asked for.
        found: u64,
    },

    /// A Parquet file cannot be written or read.
    #[error("{}: {place}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Where: "footer", "row group 3", ...
        place: String,
        /// What the parquet crate says.
        source: ParquetError,
    },
    /// A batch, or a file, has other columns than expected.
    #[error("{}: schema: expected {expected}, found {found}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Columns expected.
        expected: String,
        /// Columns found.
        found: String,
    },

    /// A range of an input does not start at a block of the input hash.
    #[error("expected an offset that is a multiple of {expected} bytes, found {found}")]
    BlockAlignment {
        /// Bytes of a block.
        expected: u64,
        /// The offset given.
        found: u64,
    },
    /// Threads could not be started.
    #[error("cannot start {expected} threads: {found}")]
    Threads {
        /// How many were asked for.
        expected: usize,
        /// What the system said.
        found: String,
    },
}

impl Error {
    /// Wraps a failed system call on `path`.
    pub fn io(path: impl Into<PathBuf>, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, doing, source }
    }

    /// Wraps an error of the parquet crate; a system error inside it stays a system error (ENOSPC, EIO).
    pub(crate) fn parquet(path: &Path, place: impl Into<String>, source: ParquetError) -> Error {
        let path = path.to_owned();
        let source = match source {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(source) => return Error::Io { path, doing: "access", source: *source },
                Err(inner) => ParquetError::External(inner),
            },
            other => other,
        };
        Error::Parquet { path, place: place.into(), source }
    }

    /// Whether the disk is full (ENOSPC or EDQUOT).
    pub fn is_disk_full(&self) -> bool {
        let Error::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_inside_a_parquet_error_stays_a_system_error_with_its_path() {
        let full = io::Error::from_raw_os_error(28);
        let error = Error::parquet(Path::new("data/x.parquet"), "row group 0", ParquetError::from(full));
        assert!(error.is_disk_full());
        assert!(error.to_string().starts_with("cannot access data/x.parquet: "), "{error}");
    }

    #[test]
    fn a_damaged_page_is_no_system_error() {
        let error = Error::parquet(Path::new("x"), "footer", ParquetError::EOF("short".to_owned()));
        assert!(matches!(error, Error::Parquet { .. }));
        assert!(!error.is_disk_full());
    }
}
