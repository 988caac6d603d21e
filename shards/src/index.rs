//! `.idx`: the index of a shard, in Megatron-Core's MMIDIDX version 1, so that Megatron opens a shard as it is.
//!
//! Little-endian: magic, version, dtype, counts; then a length (i32, tokens), a start (i64, bytes in the `.bin`) and
//! a document index (i64) for each document, one sequence a document: 42 + 20 N bytes. What the file's size does not
//! bear out is refused before anything is allocated, and documents are read on demand: an index of 1e8 documents
//! costs a reader a few kilobytes.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use schemas::dtype::Dtype;

use crate::commit::temporary_path;
use crate::error::Error;

/// The first nine bytes.
pub const MAGIC: [u8; 9] = *b"MMIDIDX\0\0";
/// The version written and read.
pub const VERSION: u64 = 1;
/// Bytes of the header: magic, version, dtype, sequences, document indices.
pub const HEADER_BYTES: u64 = 34;
/// Most tokens of a document: lengths are i32.
pub const DOCUMENT_TOKENS_MAX: u64 = i32::MAX as u64;

/// Bytes of a length, a start, a document index.
const LENGTH_BYTES: u64 = 4;
const START_BYTES: u64 = 8;
const DOCUMENT_BYTES: u64 = LENGTH_BYTES + START_BYTES + 8;
/// Documents read at once: one page of starts.
const BLOCK_DOCUMENTS: u64 = 512;

/// Lengths held in memory: 256 KiB.
const LENGTHS_HELD: usize = 64 << 10;

/// Gathers the lengths of a shard's documents, then writes its index. A shard of millions of short documents costs no more
/// memory than another: lengths beyond the first ones go to a file without a name, which ends with this value.
#[derive(Debug)]
pub struct IndexWriter {
    dtype: Dtype,
    /// A path in the folder of that file.
    beside: PathBuf,
    held: Vec<u32>,
    spilled: Option<File>,
    documents: u64,
    tokens: u64,
}

impl IndexWriter {
    /// An index without documents, that will lie at `path`.
    pub fn new(dtype: Dtype, path: &Path) -> IndexWriter {
        IndexWriter { dtype, beside: path.to_owned(), held: Vec::new(), spilled: None, documents: 0, tokens: 0 }
    }

    /// Adds a document; false, and nothing is added, where it is longer than [`DOCUMENT_TOKENS_MAX`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn push(&mut self, tokens: u64) -> io::Result<bool> {
        if tokens > DOCUMENT_TOKENS_MAX {
            return Ok(false);
        }
        if self.held.len() == LENGTHS_HELD {
            self.spill()?;
        }
        self.held.push(tokens as u32);
        self.documents += 1;
        self.tokens += tokens;
        Ok(true)
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => {
                let path = temporary_path(&self.beside);
                let file = File::options().read(true).write(true).create_new(true).open(&path)?;
                std::fs::remove_file(&path)?;
                self.spilled.insert(file)
            }
        };
        let bytes: Vec<u8> = self.held.iter().flat_map(|length| length.to_le_bytes()).collect();
        self.held.clear();
        file.write_all(&bytes)
    }

    /// Calls `each` with every length.
    fn lengths(&self, mut each: impl FnMut(u32) -> io::Result<()>) -> io::Result<()> {
        let mut left = (self.documents - self.held.len() as u64) * LENGTH_BYTES;
        let mut place = 0;
        while let (true, Some(file)) = (left > 0, &self.spilled) {
            let mut block = vec![0; left.min(LENGTHS_HELD as u64) as usize];
            file.read_exact_at(&mut block, place)?;
            block.as_chunks::<4>().0.iter().try_for_each(|length| each(u32::from_le_bytes(*length)))?;
            place += block.len() as u64;
            left -= block.len() as u64;
        }
        self.held.iter().try_for_each(|length| each(*length))
    }

    /// Documents so far.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Tokens so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Writes the index.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&header(self.dtype, self.documents()))?;
        self.lengths(|length| out.write_all(&length.to_le_bytes()))?;
        let mut start = 0u64;
        self.lengths(|length| {
            out.write_all(&start.to_le_bytes())?;
            start += u64::from(length) * self.dtype.token_bytes() as u64;
            Ok(())
        })?;
        (0..=self.documents()).try_for_each(|document| out.write_all(&document.to_le_bytes()))
    }
}

fn header(dtype: Dtype, documents: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.push(dtype.megatron_code());
    header.extend(documents.to_le_bytes());
    header.extend((documents + 1).to_le_bytes());
    header
}

/// Where one document lies in its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentSpan {
    /// Number of the document in the shard, from 0.
    pub document: u64,
    /// Its first token, counted from the shard's start.
    pub token_offset: u64,
    /// Its length in tokens, BOS and EOS included.
    pub n_tokens: u64,
}

impl DocumentSpan {
    /// One past its last token.
    pub fn token_end(&self) -> u64 {
        self.token_offset + self.n_tokens
    }
}

/// An index on disk. Reads are positioned, so one reader serves many threads.
#[derive(Debug)]
pub struct IndexReader {
    path: PathBuf,
    file: File,
    dtype: Dtype,
    documents: u64,
    tokens: u64,
}

impl IndexReader {
    /// Opens an index: checks its header against its size, and its first and last document.
    ///
    /// # Errors
    /// [`Error::Io`], or the `Index*` variant that says which byte lies.
    pub fn open(path: impl Into<PathBuf>) -> Result<IndexReader, Error> {
        let path = path.into();
        let file = File::open(&path).map_err(Error::io(&path, "open"))?;
        let size = file.metadata().map_err(Error::io(&path, "stat"))?.len();
        let (dtype, documents) = read_header(&path, &file, size)?;
        let mut index = IndexReader { path, file, dtype, documents, tokens: 0 };
        index.tokens = index.last_token_end()?;
        Ok(index)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Width of a token id.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Documents in the shard.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Tokens in the shard, by the last document.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    fn last_token_end(&self) -> Result<u64, Error> {
        let Some(last) = self.documents.checked_sub(1) else { return Ok(0) };
        self.token_start(0).and_then(|start| if start == 0 { Ok(()) } else { Err(self.wrong_start(0, 0, start)) })?;
        let lengths = self.read_lengths(last..self.documents)?;
        Ok(self.token_start(last)? + lengths.first().copied().unwrap_or_default())
    }

    fn wrong_start(&self, document: u64, expected_tokens: u64, found_tokens: u64) -> Error {
        let token_bytes = self.dtype.token_bytes() as u64;
        Error::IndexOffset {
            path: self.path.clone(),
            place: self.start_place(document),
            document,
            expected: expected_tokens * token_bytes,
            found: (found_tokens * token_bytes) as i64,
        }
    }

    fn length_place(&self, document: u64) -> u64 {
        HEADER_BYTES + document * LENGTH_BYTES
    }

    fn start_place(&self, document: u64) -> u64 {
        HEADER_BYTES + self.documents * LENGTH_BYTES + document * START_BYTES
    }

    fn index_place(&self, document: u64) -> u64 {
        HEADER_BYTES + self.documents * (LENGTH_BYTES + START_BYTES) + document * START_BYTES
    }

    fn read(&self, place: u64, bytes: u64) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; bytes as usize];
        self.file.read_exact_at(&mut buffer, place).map_err(Error::io(&self.path, "read"))?;
        Ok(buffer)
    }

    /// Lengths in tokens of a block of documents.
    fn read_lengths(&self, documents: Range<u64>) -> Result<Vec<u64>, Error> {
        let place = self.length_place(documents.start);
        let bytes = self.read(place, (documents.end - documents.start) * LENGTH_BYTES)?;
        let (lengths, _) = bytes.as_chunks::<4>();
        let lengths = (documents.start..).zip(lengths).map(|(document, length)| {
            let found = i32::from_le_bytes(*length);
            let wrong = |_| self.wrong_length(document, found);
            u64::try_from(found).map_err(wrong)
        });
        lengths.collect()
    }

    fn wrong_length(&self, document: u64, found: i32) -> Error {
        let place = self.length_place(document);
        Error::IndexLength { path: self.path.clone(), place, document, found: found.into() }
    }

    /// Starts, in tokens, of a block of documents.
    fn read_starts(&self, documents: Range<u64>) -> Result<Vec<u64>, Error> {
        let place = self.start_place(documents.start);
        let bytes = self.read(place, (documents.end - documents.start) * START_BYTES)?;
        let (starts, _) = bytes.as_chunks::<8>();
        let starts = (documents.start..).zip(starts).map(|(document, start)| self.checked_start(document, *start));
        starts.collect()
    }

    /// A start in tokens; refused where it is negative or inside a token.
    fn checked_start(&self, document: u64, start: [u8; 8]) -> Result<u64, Error> {
        let found = i64::from_le_bytes(start);
        let token_bytes = self.dtype.token_bytes() as u64;
        let bytes = u64::try_from(found).ok().filter(|bytes| bytes.is_multiple_of(token_bytes));
        let wrong = || Error::IndexOffset {
            path: self.path.clone(),
            place: self.start_place(document),
            document,
            expected: found.max(0) as u64 / token_bytes * token_bytes,
            found,
        };
        Ok(bytes.ok_or_else(wrong)? / token_bytes)
    }

    fn token_start(&self, document: u64) -> Result<u64, Error> {
        Ok(self.read_starts(document..document + 1)?.first().copied().unwrap_or_default())
    }

    /// A document by its number.
    ///
    /// # Errors
    /// [`Error::OutOfShard`] beyond the last one; [`Error::Io`]; the lies of its entries.
    pub fn span(&self, document: u64) -> Result<DocumentSpan, Error> {
        if document >= self.documents {
            return Err(self.out_of_shard("a document number", self.documents, document));
        }
        let n_tokens = self.read_lengths(document..document + 1)?.first().copied().unwrap_or_default();
        Ok(DocumentSpan { document, token_offset: self.token_start(document)?, n_tokens })
    }

    fn out_of_shard(&self, place: &'static str, expected: u64, found: u64) -> Error {
        Error::OutOfShard { path: self.path.clone(), place, expected, found }
    }

    /// The number of the document that holds a token: about 1 + log2(N / 512) small reads.
    ///
    /// # Errors
    /// [`Error::OutOfShard`] beyond the last token; [`Error::Io`]; the lies of entries on the way.
    pub fn document_at(&self, token_offset: u64) -> Result<u64, Error> {
        if token_offset >= self.tokens {
            return Err(self.out_of_shard("a token offset", self.tokens, token_offset));
        }
        // The document wanted is the last that starts at or before the token: empty ones share a start with the next.
        let (mut low, mut high) = (0, self.documents);
        while high - low > BLOCK_DOCUMENTS {
            let middle = low + (high - low) / 2;
            if self.token_start(middle)? <= token_offset { low = middle } else { high = middle }
        }
        let starts = self.read_starts(low..high)?;
        let before = starts.partition_point(|start| *start <= token_offset) as u64;
        Ok(low + before.saturating_sub(1))
    }

    /// Appends to `starts` the offset, in tokens, of every non-empty document that starts inside `window`, ascending.
    ///
    /// # Errors
    /// As [`IndexReader::document_at`]; an empty window has no starts.
    pub fn starts_inside(&self, window: Range<u64>, starts: &mut Vec<u64>) -> Result<(), Error> {
        if window.is_empty() {
            return Ok(());
        }
        self.starts_from(self.document_at(window.start)?, window, starts)
    }

    /// As [`IndexReader::starts_inside`], for a reader that knows a document which starts at or before the window.
    ///
    /// # Errors
    /// [`Error::Io`]; the lies of entries on the way.
    pub fn starts_from(&self, document: u64, window: Range<u64>, starts: &mut Vec<u64>) -> Result<(), Error> {
        let mut document = document;
        let before = starts.len();
        while document < self.documents {
            let end = (document + BLOCK_DOCUMENTS).min(self.documents);
            for start in self.read_starts(document..end)? {
                if start >= window.end.min(self.tokens) {
                    return Ok(());
                }
                let seen = starts.get(before..).and_then(<[u64]>::last) == Some(&start);
                if start >= window.start && !seen {
                    starts.push(start);
                }
            }
            document = end;
        }
        Ok(())
    }

    /// Streams all documents from number `first`, in order; each must start where the one before it ends.
    pub fn spans_from(&self, first: u64) -> Spans<'_> {
        Spans { index: self, next: first, block: Vec::new().into_iter(), expected_start: None, failed: false }
    }

    /// Checks every entry: lengths, starts and document indices.
    ///
    /// # Errors
    /// The first lie: [`Error::IndexLength`], [`Error::IndexOffset`], [`Error::IndexDocumentIndex`]; or [`Error::Io`].
    pub fn validate(&self) -> Result<(), Error> {
        self.spans_from(0).try_for_each(|span| span.map(drop))?;
        let mut first = 0;
        while first <= self.documents {
            let end = (first + BLOCK_DOCUMENTS).min(self.documents + 1);
            let bytes = self.read(self.index_place(first), (end - first) * START_BYTES)?;
            let (indices, _) = bytes.as_chunks::<8>();
            for (expected, found) in (first..).zip(indices).map(|(at, bytes)| (at, i64::from_le_bytes(*bytes))) {
                if u64::try_from(found) != Ok(expected) {
                    let place = self.index_place(expected);
                    return Err(Error::IndexDocumentIndex { path: self.path.clone(), place, expected, found });
                }
            }
            first = end;
        }
        Ok(())
    }

    fn read_spans(&self, documents: Range<u64>, expected_start: Option<u64>) -> Result<Vec<DocumentSpan>, Error> {
        let lengths = self.read_lengths(documents.clone())?;
        let starts = self.read_starts(documents.clone())?;
        let mut expected_start = expected_start.or(starts.first().copied()).unwrap_or_default();
        let mut spans = Vec::with_capacity(lengths.len());
        for ((document, token_offset), n_tokens) in documents.zip(starts).zip(lengths) {
            if token_offset != expected_start {
                return Err(self.wrong_start(document, expected_start, token_offset));
            }
            spans.push(DocumentSpan { document, token_offset, n_tokens });
            expected_start += n_tokens;
        }
        Ok(spans)
    }
}

/// Documents of an index, streamed in blocks; ends after the first error.
#[derive(Debug)]
pub struct Spans<'a> {
    index: &'a IndexReader,
    next: u64,
    block: std::vec::IntoIter<DocumentSpan>,
    expected_start: Option<u64>,
    failed: bool,
}

impl Iterator for Spans<'_> {
    type Item = Result<DocumentSpan, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(span) = self.block.next() {
            return Some(Ok(span));
        }
        if self.failed || self.next >= self.index.documents {
            return None;
        }
        let end = (self.next + BLOCK_DOCUMENTS).min(self.index.documents);
        match self.index.read_spans(self.next..end, self.expected_start) {
            Ok(spans) => {
                self.expected_start = spans.last().map(DocumentSpan::token_end);
                self.next = end;
                self.block = spans.into_iter();
                self.block.next().map(Ok)
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

fn read_header(path: &Path, file: &File, size: u64) -> Result<(Dtype, u64), Error> {
    let short =
        |place: &str, expected| Error::IndexSize { path: path.into(), place: place.into(), expected, found: size };
    if size < HEADER_BYTES {
        return Err(short("the header", HEADER_BYTES));
    }
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0).map_err(Error::io(path, "read"))?;
    let (magic, rest) = split(&header);
    let (version, rest) = split(rest);
    let ([code], rest) = split(rest);
    let (sequences, rest) = split(rest);
    let (indices, _) = split(rest);
    check_magic_and_version(path, magic, u64::from_le_bytes(version))?;
    let dtype = Dtype::from_megatron_code(code).ok_or_else(|| Error::IndexDtype { path: path.into(), found: code })?;
    let (sequences, indices) = (u64::from_le_bytes(sequences), u64::from_le_bytes(indices));
    let expected = sequences.checked_mul(DOCUMENT_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES + 8));
    if expected != Some(size) {
        return Err(short(&format!("{sequences} sequences"), expected.unwrap_or(u64::MAX)));
    }
    if indices != sequences + 1 {
        return Err(Error::IndexDocuments { path: path.into(), expected: sequences + 1, found: indices });
    }
    Ok((dtype, sequences))
}

fn check_magic_and_version(path: &Path, magic: [u8; 9], version: u64) -> Result<(), Error> {
    if magic != MAGIC {
        return Err(Error::IndexMagic { path: path.into(), found: magic });
    }
    if version != VERSION {
        return Err(Error::IndexVersion { path: path.into(), expected: VERSION, found: version });
    }
    Ok(())
}

/// The first `N` bytes and the rest; zeros where there are fewer.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes.split_first_chunk().map_or(([0; N], &[]), |(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(lengths: &[u64]) -> Vec<u8> {
        let mut index = IndexWriter::new(Dtype::U16, &std::env::temp_dir().join("an.idx"));
        assert!(lengths.iter().all(|length| index.push(*length).unwrap()));
        let mut bytes = Vec::new();
        index.write_to(&mut bytes).unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<IndexReader, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        IndexReader::open(file.path())
    }

    fn open_with(lengths: &[u64], place: usize, byte: u8) -> Result<IndexReader, Error> {
        let mut bytes = bytes_of(lengths);
        bytes[place] = byte;
        open(&bytes)
    }

    #[test]
    fn lengths_beyond_those_held_come_back_in_order() {
        let lengths: Vec<u64> = (0..LENGTHS_HELD as u64 * 2 + 7).map(|document| document * 7_919 % 301).collect();
        let index = open(&bytes_of(&lengths)).unwrap();
        assert_eq!(index.documents(), lengths.len() as u64);
        let mut next = 0;
        for (span, length) in index.spans_from(0).zip(&lengths) {
            let span = span.unwrap();
            assert_eq!((span.token_offset, span.n_tokens), (next, *length));
            next += length;
        }
        assert_eq!(next, index.tokens());
    }

    /// Two documents of 3 and 1 tokens, written by hand from Megatron's layout.
    const BY_HAND: &[u8] = b"MMIDIDX\0\0\
        \x01\0\0\0\0\0\0\0\
        \x08\
        \x02\0\0\0\0\0\0\0\
        \x03\0\0\0\0\0\0\0\
        \x03\0\0\0\x01\0\0\0\
        \0\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0";

    #[test]
    fn the_bytes_are_those_written_by_hand() {
        assert_eq!(bytes_of(&[3, 1]), BY_HAND);
        assert_eq!(BY_HAND.len(), 42 + 20 * 2);
    }

    #[test]
    fn an_index_written_by_hand_is_read() {
        let index = open(BY_HAND).unwrap();
        assert_eq!((index.dtype(), index.documents(), index.tokens()), (Dtype::U16, 2, 4));
        assert_eq!(index.span(1).unwrap(), DocumentSpan { document: 1, token_offset: 3, n_tokens: 1 });
        index.validate().unwrap();
    }

    #[test]
    fn an_index_without_documents_is_read() {
        let index = open(&bytes_of(&[])).unwrap();
        assert_eq!((index.documents(), index.tokens()), (0, 0));
        index.validate().unwrap();
        assert!(matches!(index.document_at(0), Err(Error::OutOfShard { .. })));
    }

    #[test]
    fn a_document_beyond_i32_is_not_taken() {
        let mut index = IndexWriter::new(Dtype::U16, &std::env::temp_dir().join("an.idx"));
        assert!(!index.push(DOCUMENT_TOKENS_MAX + 1).unwrap());
        assert_eq!((index.documents(), index.tokens()), (0, 0));
        assert!(index.push(DOCUMENT_TOKENS_MAX).unwrap());
    }

    #[test]
    fn bad_magic() {
        assert!(matches!(open_with(&[1], 0, b'X'), Err(Error::IndexMagic { found, .. }) if found[0] == b'X'));
    }

    #[test]
    fn bad_version() {
        assert!(matches!(open_with(&[1], 9, 2), Err(Error::IndexVersion { expected: 1, found: 2, .. })));
    }

    #[test]
    fn bad_dtype() {
        assert!(matches!(open_with(&[1], 17, 6), Err(Error::IndexDtype { found: 6, .. })));
    }

    #[test]
    fn more_sequences_than_the_file_holds() {
        let error = open_with(&[1], 18, 2).unwrap_err();
        assert!(matches!(error, Error::IndexSize { expected: 82, found: 62, .. }), "{error}");
    }

    #[test]
    fn a_count_whose_size_overflows() {
        let error = open_with(&[1], 25, 0xff).unwrap_err();
        assert!(matches!(error, Error::IndexSize { expected: u64::MAX, .. }), "{error}");
    }

    #[test]
    fn a_document_count_that_is_not_the_sequences() {
        let error = open_with(&[1], 26, 1).unwrap_err();
        assert!(matches!(error, Error::IndexDocuments { expected: 2, found: 1, .. }), "{error}");
    }

    #[test]
    fn a_file_shorter_than_its_header() {
        let error = open(&BY_HAND[..33]).unwrap_err();
        assert!(matches!(error, Error::IndexSize { expected: 34, found: 33, .. }), "{error}");
    }

    #[test]
    fn a_byte_after_the_end() {
        let mut bytes = BY_HAND.to_vec();
        bytes.push(0);
        assert!(matches!(open(&bytes), Err(Error::IndexSize { expected: 82, found: 83, .. })));
    }

    #[test]
    fn a_negative_length() {
        let index = open_with(&[3, 1], 37, 0xff).unwrap();
        let error = index.validate().unwrap_err();
        assert!(matches!(error, Error::IndexLength { place: 34, document: 0, found, .. } if found < 0), "{error}");
    }

    #[test]
    fn a_length_that_does_not_match_the_next_offset() {
        let index = open_with(&[3, 1], 34, 2).unwrap();
        let error = index.validate().unwrap_err();
        let expected = matches!(error, Error::IndexOffset { place: 50, document: 1, expected: 4, found: 6, .. });
        assert!(expected, "{error}");
    }

    #[test]
    fn a_first_document_that_does_not_start_at_zero() {
        let error = open_with(&[3, 1], 42, 2).unwrap_err();
        assert!(matches!(error, Error::IndexOffset { document: 0, expected: 0, found: 2, .. }), "{error}");
    }

    #[test]
    fn an_offset_inside_a_token() {
        let error = open_with(&[3, 1], 50, 5).unwrap_err();
        assert!(matches!(error, Error::IndexOffset { document: 1, found: 5, .. }), "{error}");
    }

    #[test]
    fn document_indices_that_do_not_count_up() {
        let index = open_with(&[3, 1], 66, 0).unwrap();
        let error = index.validate().unwrap_err();
        assert!(matches!(error, Error::IndexDocumentIndex { place: 66, expected: 1, found: 0, .. }), "{error}");
    }

    #[test]
    fn a_token_belongs_to_the_document_that_is_not_empty() {
        let index = open(&bytes_of(&[0, 2, 0, 0, 1, 0])).unwrap();
        let documents: Vec<u64> = (0..3).map(|token| index.document_at(token).unwrap()).collect();
        assert_eq!(documents, [1, 1, 4]);
        assert!(matches!(index.document_at(3), Err(Error::OutOfShard { expected: 3, found: 3, .. })));
    }

    #[test]
    fn lookups_agree_with_a_scan_over_many_blocks() {
        let lengths: Vec<u64> = (0..3000u64).map(|document| document * 7919 % 5).collect();
        let index = open(&bytes_of(&lengths)).unwrap();
        let spans: Vec<DocumentSpan> = index.spans_from(0).map(Result::unwrap).collect();
        assert_eq!(spans.len(), 3000);
        for span in spans.iter().filter(|span| span.n_tokens > 0) {
            assert_eq!(index.document_at(span.token_offset).unwrap(), span.document);
            assert_eq!(index.document_at(span.token_end() - 1).unwrap(), span.document);
        }
        let window = 1001..4003;
        let mut starts = Vec::new();
        index.starts_inside(window.clone(), &mut starts).unwrap();
        let scanned = spans.iter().filter(|span| span.n_tokens > 0).map(|span| span.token_offset);
        assert_eq!(starts, scanned.filter(|start| window.contains(start)).collect::<Vec<u64>>());
    }

    proptest! {
        #[test]
        fn no_damaged_byte_makes_a_reader_panic(
            lengths in prop::collection::vec(0u64..9, 0..12),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            token in 0u64..100,
        ) {
            let mut bytes = bytes_of(&lengths);
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(index) = open(&bytes) {
                let _ = index.validate();
                let _ = index.document_at(token);
                let _ = index.starts_inside(token..token + 20, &mut Vec::new());
                let _ = index.span(token % 12);
            }
        }
    }
}
