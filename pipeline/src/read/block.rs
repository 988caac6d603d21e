//! What the reading thread hands to the parsing threads: bytes that hold whole records, and where they stand.

use std::path::Path;
use std::sync::Arc;

use super::charset::Charset;
use super::csv::Header;
use super::documents::Documents;
use super::error::Error;
use super::options::Options;
use super::rows::Rows;
use crate::record::{Invalid, Position, Records, Span};

/// Bytes of a block, but for one record that is longer.
pub const BLOCK_BYTES: usize = 1 << 20;

/// What each record of a block looks like.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A JSON object.
    Json,
    /// A JSON object that is an element of an array, where blank is no line but a fault.
    Element,
    /// The text of a document.
    Text,
    /// A row of cells.
    Csv(Arc<Header>),
    /// A WARC record.
    Warc,
    /// A page of a wiki.
    Page,
}

/// Whole records of one input, ready to be parsed on any thread.
pub struct Block {
    content: Content,
}

enum Content {
    Bytes(Bytes),
    Rows(Rows),
    Ready(Records),
}

struct Bytes {
    bytes: Vec<u8>,
    /// Offset of the first byte in the decompressed stream.
    offset: u64,
    /// Number of the first record.
    first_line: u64,
    charset: Charset,
    shape: Shape,
    /// Where the records are; None: at every line end.
    records: Option<Vec<Span>>,
}

impl Block {
    /// Whole lines.
    pub(super) fn lines(bytes: Vec<u8>, offset: u64, first_line: u64, charset: Charset, shape: Shape) -> Block {
        Block { content: Content::Bytes(Bytes { bytes, offset, first_line, charset, shape, records: None }) }
    }

    /// Records between which there may be other bytes.
    pub(super) fn items(bytes: Vec<u8>, records: Vec<Span>, place: Position, charset: Charset, shape: Shape) -> Block {
        let offset = place.byte_offset.unwrap_or_default();
        let first_line = place.line;
        Block { content: Content::Bytes(Bytes { bytes, offset, first_line, charset, shape, records: Some(records) }) }
    }

    /// Rows of a Parquet file.
    pub(super) fn rows(rows: Rows) -> Block {
        Block { content: Content::Rows(rows) }
    }

    /// One damaged record.
    pub(super) fn invalid(invalid: Invalid) -> Block {
        Block { content: Content::Ready(Records { lines: 1, invalid: vec![invalid], ..Records::default() }) }
    }

    /// Parses the block: pure work, the same on any thread.
    pub fn parse(self, options: &Options) -> Records {
        match self.content {
            Content::Bytes(bytes) => bytes.parse(options),
            Content::Rows(rows) => rows.parse(options),
            Content::Ready(records) => records,
        }
    }

    /// Bytes of its records.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.bytes.len() as u64,
            Content::Rows(rows) => rows.batch.get_array_memory_size() as u64,
            Content::Ready(records) => records.arena.len() as u64,
        }
    }

    /// Refuses a block whose records there is no memory for. Of more than one record only readers of formats that are
    /// not lines make such blocks.
    ///
    /// # Errors
    /// [`Error::BeyondMemory`].
    pub fn check_fits(&self, path: &Path, options: &Options) -> Result<(), Error> {
        let (fit, found) = (options.record_bytes_fit, self.bytes());
        if found <= fit.max(BLOCK_BYTES as u64 * 8) {
            return Ok(());
        }
        Err(Error::BeyondMemory { path: path.to_owned(), position: self.position(), fit, found })
    }

    fn position(&self) -> Position {
        match &self.content {
            Content::Bytes(bytes) => Position { line: bytes.first_line, byte_offset: Some(bytes.offset) },
            Content::Rows(rows) => Position { line: rows.first_line, byte_offset: None },
            Content::Ready(records) => {
                records.invalid.first().map_or_else(Position::default, |invalid| invalid.position)
            }
        }
    }
}

impl Bytes {
    fn parse(self, options: &Options) -> Records {
        // One pass over the block is cheaper than one a line, and most blocks are clean.
        let known_utf8 = self.charset == Charset::Utf8 && simdutf8::basic::from_utf8(&self.bytes).is_ok();
        let mut documents = Documents::new(options, self.charset, known_utf8, self.shape, self.bytes.len());
        let mut line = self.first_line;
        let mut each = |span: Span| {
            let position = Position { line, byte_offset: Some(self.offset + u64::from(span.start)) };
            documents.record(&self.bytes, span, position);
            line += 1;
        };
        match &self.records {
            Some(records) => records.iter().copied().for_each(&mut each),
            None => line_spans(&self.bytes, self.charset, &mut each),
        }
        documents.finish(self.bytes)
    }
}

fn line_spans(bytes: &[u8], charset: Charset, each: &mut impl FnMut(Span)) {
    let mut start = 0;
    while start < bytes.len() {
        let end = charset.line_end(bytes, start).unwrap_or(bytes.len());
        let line = charset.without_end(bytes.get(start..end).unwrap_or_default());
        each(Span { start: start as u32, end: (start + line.len()) as u32 });
        start = end;
    }
}
