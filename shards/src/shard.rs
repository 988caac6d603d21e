//! A shard: `tokens/train-00000.bin`, raw little-endian token ids, and the `.idx` beside it.
//!
//! Writing streams: a document is appended and forgotten, but for its length. Reading is by position (`pread`),
//! never by mapping: mapped pages count as resident, and `--memory` is a contract.

use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use schemas::dtype::Dtype;
use schemas::manifest::{FileEntry, Split};

use crate::commit::{AtomicFile, FileDigest};
use crate::error::Error;
use crate::index::{DOCUMENT_TOKENS_MAX, DocumentSpan, IndexReader, IndexWriter, Spans};
use crate::tokens::first_outside;

/// Folder of the shards in a dataset.
pub const TOKENS_DIR: &str = "tokens";

/// Path of a shard relative to its dataset: `tokens/train-00000.bin`.
pub fn bin_path(split: Split, number: u32) -> String {
    format!("{TOKENS_DIR}/{}-{number:05}.bin", split.name())
}

/// Path of the index of a shard: the same, but for the extension.
pub fn idx_path(bin_path: &str) -> String {
    format!("{}.idx", bin_path.strip_suffix(".bin").unwrap_or(bin_path))
}

/// Writes one shard and its index.
#[derive(Debug)]
pub struct ShardWriter {
    dataset_dir: PathBuf,
    bin_path: String,
    bin: AtomicFile,
    dtype: Dtype,
    index: IndexWriter,
}

impl ShardWriter {
    /// Starts shard `number` of `split`; nothing is visible before [`ShardWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(dataset_dir: &Path, split: Split, number: u32, dtype: Dtype) -> Result<ShardWriter, Error> {
        let bin_path = bin_path(split, number);
        let bin = AtomicFile::create(dataset_dir.join(&bin_path))?;
        let index = IndexWriter::new(dtype, &dataset_dir.join(idx_path(&bin_path)));
        Ok(ShardWriter { dataset_dir: dataset_dir.to_owned(), bin_path, bin, dtype, index })
    }

    /// Appends a document: its ids, BOS and EOS included, as little-endian bytes.
    ///
    /// # Errors
    /// [`Error::PartialToken`], [`Error::DocumentTooLong`], [`Error::Io`].
    pub fn push_document(&mut self, tokens_le_bytes: &[u8]) -> Result<(), Error> {
        let (expected, found) = (self.dtype.token_bytes(), tokens_le_bytes.len());
        let path = || self.bin.path().to_owned();
        let document = self.index.documents();
        if !found.is_multiple_of(expected) {
            return Err(Error::PartialToken { path: path(), document, expected, found });
        }
        let tokens = (found / expected) as u64;
        if tokens > DOCUMENT_TOKENS_MAX {
            return Err(Error::DocumentTooLong {
                path: path(),
                document,
                expected: DOCUMENT_TOKENS_MAX,
                found: tokens,
            });
        }
        self.bin.append(tokens_le_bytes)?;
        let pushed = self.index.push(tokens).map_err(Error::io(&self.bin.path(), "write the lengths of"))?;
        debug_assert!(pushed, "the length was checked above");
        Ok(())
    }

    /// Tokens so far.
    pub fn tokens(&self) -> u64 {
        self.index.tokens()
    }

    /// Documents so far.
    pub fn documents(&self) -> u64 {
        self.index.documents()
    }

    /// Commits both files, the tokens first; returns their manifest entries, `.bin` then `.idx`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<[FileEntry; 2], Error> {
        let (documents, tokens) = (self.index.documents(), self.index.tokens());
        let idx_path = idx_path(&self.bin_path);
        let bin = self.bin.commit()?;
        let idx = write_index(&self.dataset_dir.join(&idx_path), &self.index)?;
        let bin = entry(self.bin_path, bin, Some(documents), Some(tokens));
        Ok([bin, entry(idx_path, idx, None, None)])
    }
}

fn write_index(path: &Path, index: &IndexWriter) -> Result<FileDigest, Error> {
    let mut file = AtomicFile::create(path)?;
    let mut gathered = BufWriter::new(&mut file);
    index.write_to(&mut gathered).map_err(Error::io(path, "write"))?;
    gathered.into_inner().map_err(|error| Error::io(path, "write")(error.into_error()))?;
    file.commit()
}

fn entry(path: String, digest: FileDigest, documents: Option<u64>, tokens: Option<u64>) -> FileEntry {
    FileEntry { path, bytes: digest.bytes, documents, tokens, sha256: digest.sha256 }
}

/// A shard open for reading. All reads are positioned: one reader serves many threads.
#[derive(Debug)]
pub struct ShardReader {
    path: PathBuf,
    bin: File,
    index: IndexReader,
}

impl ShardReader {
    /// Opens `dir/bin_path` and the index beside it; checks the index's header and that the sizes agree.
    ///
    /// # Errors
    /// [`Error::Io`], the `Index*` variants, [`Error::BinSize`].
    pub fn open(dir: &Path, bin_path: &str) -> Result<ShardReader, Error> {
        let path = dir.join(bin_path);
        let index = IndexReader::open(dir.join(idx_path(bin_path)))?;
        let bin = File::open(&path).map_err(Error::io(&path, "open"))?;
        let found = bin.metadata().map_err(Error::io(&path, "stat"))?.len();
        let expected = index.tokens().saturating_mul(index.dtype().token_bytes() as u64);
        if expected != found {
            return Err(Error::BinSize { path, expected, found });
        }
        Ok(ShardReader { path, bin, index })
    }

    /// Path of the `.bin`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tokens in the shard.
    pub fn tokens(&self) -> u64 {
        self.index.tokens()
    }

    /// Documents in the shard.
    pub fn documents(&self) -> u64 {
        self.index.documents()
    }

    /// Width of a token id.
    pub fn dtype(&self) -> Dtype {
        self.index.dtype()
    }

    /// The index.
    pub fn index(&self) -> &IndexReader {
        &self.index
    }

    /// Fills `out` with the ids from `token_offset` on, little-endian.
    ///
    /// # Errors
    /// [`Error::OutOfShard`] where the shard ends before `out` is full; [`Error::Io`].
    pub fn read_at(&self, token_offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let token_bytes = self.dtype().token_bytes() as u64;
        let end = token_offset.saturating_add((out.len() as u64).div_ceil(token_bytes));
        if end > self.tokens() {
            let (place, expected) = ("the end of a read, in tokens,", self.tokens() + 1);
            return Err(Error::OutOfShard { path: self.path.clone(), place, expected, found: end });
        }
        self.bin.read_exact_at(out, token_offset * token_bytes).map_err(Error::io(&self.path, "read"))
    }

    /// Checks that ids read from `token_offset` on are of a vocabulary.
    ///
    /// # Errors
    /// [`Error::TokenId`] for the first that is not.
    pub fn check_ids(&self, token_offset: u64, bytes: &[u8], vocab_size: u32) -> Result<(), Error> {
        let Some((at, found)) = first_outside(bytes, self.dtype(), vocab_size) else { return Ok(()) };
        let path = self.path.clone();
        Err(Error::TokenId { path, token_offset: token_offset + at, expected: vocab_size, found })
    }

    /// Where a document lies.
    ///
    /// # Errors
    /// [`Error::OutOfShard`] beyond the last document, or [`Error::Io`].
    pub fn span(&self, document: u64) -> Result<DocumentSpan, Error> {
        self.index.span(document)
    }

    /// The number of the document that holds a token; a few small reads, whatever the size of the index.
    ///
    /// # Errors
    /// [`Error::OutOfShard`] beyond the last token, or [`Error::Io`].
    pub fn document_at(&self, token_offset: u64) -> Result<u64, Error> {
        self.index.document_at(token_offset)
    }

    /// Appends to `starts` the token offset of every document that starts inside `window`, ascending.
    ///
    /// # Errors
    /// As [`ShardReader::document_at`].
    pub fn document_starts(&self, window: Range<u64>, starts: &mut Vec<u64>) -> Result<(), Error> {
        self.index.starts_inside(window, starts)
    }

    /// Streams where all documents lie, from number `first`, in order.
    pub fn spans_from(&self, first: u64) -> Spans<'_> {
        self.index.spans_from(first)
    }

    /// Replaces `bytes` with the ids of a document, little-endian.
    ///
    /// # Errors
    /// As [`ShardReader::read_at`].
    pub fn read_document(&self, span: DocumentSpan, bytes: &mut Vec<u8>) -> Result<(), Error> {
        if span.token_end() > self.tokens() {
            let (place, expected) = ("the end of a document, in tokens,", self.tokens() + 1);
            return Err(Error::OutOfShard { path: self.path.clone(), place, expected, found: span.token_end() });
        }
        bytes.resize(span.n_tokens as usize * self.dtype().token_bytes(), 0);
        self.read_at(span.token_offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::hash_file;
    use proptest::prelude::*;

    fn written(documents: &[Vec<u8>]) -> (tempfile::TempDir, [FileEntry; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = ShardWriter::create(folder.path(), Split::Train, 0, Dtype::U16).unwrap();
        documents.iter().for_each(|document| shard.push_document(document).unwrap());
        let entries = shard.finish().unwrap();
        (folder, entries)
    }

    #[test]
    fn the_bytes_of_a_shard_are_those_of_its_documents() {
        let (folder, [bin, idx]) = written(&[vec![1, 0, 7, 0, 2, 0], vec![0xff, 0xff]]);
        assert_eq!(std::fs::read(folder.path().join("tokens/train-00000.bin")).unwrap(), b"\x01\0\x07\0\x02\0\xff\xff");
        assert_eq!(
            (bin.path.as_str(), bin.bytes, bin.documents, bin.tokens),
            ("tokens/train-00000.bin", 8, Some(2), Some(4))
        );
        assert_eq!((idx.path.as_str(), idx.bytes), ("tokens/train-00000.idx", 82));
        assert_eq!(hash_file(&folder.path().join(&idx.path)).unwrap().sha256, idx.sha256);
    }

    #[test]
    fn half_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = ShardWriter::create(folder.path(), Split::Val, 3, Dtype::U16).unwrap();
        let error = shard.push_document(&[1, 2, 3]).unwrap_err();
        assert!(matches!(error, Error::PartialToken { document: 0, expected: 2, found: 3, .. }), "{error}");
    }

    #[test]
    fn a_document_beyond_i32_tokens_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = ShardWriter::create(folder.path(), Split::Val, 3, Dtype::U16).unwrap();
        // Zeroed pages that nobody touches: the length is looked at first.
        let error = shard.push_document(&vec![0; 2 << 31]).unwrap_err();
        assert!(matches!(error, Error::DocumentTooLong { document: 0, found, .. } if found == 1 << 31), "{error}");
        assert_eq!(shard.tokens(), 0);
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_named_with_its_place() {
        let (folder, [bin, _]) = written(&[vec![1, 0, 9, 0]]);
        let shard = ShardReader::open(folder.path(), &bin.path).unwrap();
        let mut bytes = [0; 2];
        shard.read_at(1, &mut bytes).unwrap();
        shard.check_ids(1, &bytes, 10).unwrap();
        let error = shard.check_ids(1, &bytes, 9).unwrap_err();
        assert!(matches!(error, Error::TokenId { token_offset: 1, expected: 9, found: 9, .. }), "{error}");
    }

    #[test]
    fn a_shard_cut_by_one_token_is_refused() {
        let (folder, [bin, _]) = written(&[vec![1, 0, 2, 0]]);
        File::options().write(true).open(folder.path().join(&bin.path)).unwrap().set_len(2).unwrap();
        let error = ShardReader::open(folder.path(), &bin.path).unwrap_err();
        assert!(matches!(error, Error::BinSize { expected: 4, found: 2, .. }), "{error}");
    }

    #[test]
    fn reading_beyond_the_end_is_refused() {
        let (folder, [bin, _]) = written(&[vec![1, 0, 2, 0]]);
        let shard = ShardReader::open(folder.path(), &bin.path).unwrap();
        shard.read_at(1, &mut [0; 2]).unwrap();
        assert!(matches!(shard.read_at(1, &mut [0; 4]), Err(Error::OutOfShard { found: 3, .. })));
        assert!(matches!(shard.read_at(u64::MAX, &mut [0; 4]), Err(Error::OutOfShard { .. })));
        assert!(matches!(shard.span(1), Err(Error::OutOfShard { expected: 1, found: 1, .. })));
    }

    #[test]
    fn an_unfinished_shard_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = ShardWriter::create(folder.path(), Split::Train, 0, Dtype::U16).unwrap();
        shard.push_document(&[1, 0]).unwrap();
        drop(shard);
        assert_eq!(std::fs::read_dir(folder.path().join(TOKENS_DIR)).unwrap().count(), 0);
    }

    proptest! {
        #[test]
        fn every_document_comes_back(documents in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..40), 0..60)) {
            let bytes: Vec<Vec<u8>> =
                documents.iter().map(|ids| ids.iter().flat_map(|id| id.to_le_bytes()).collect()).collect();
            let (folder, [bin, _]) = written(&bytes);
            let shard = ShardReader::open(folder.path(), &bin.path).unwrap();
            prop_assert_eq!(shard.documents(), documents.len() as u64);
            let mut read = Vec::new();
            for (span, expected) in shard.spans_from(0).zip(&bytes) {
                shard.read_document(span.unwrap(), &mut read).unwrap();
                prop_assert_eq!(&read, expected);
            }
        }
    }
}
