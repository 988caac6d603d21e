//! Records that are not lines (array elements, CSV rows, WARC records, wiki pages), in blocks, with bounded memory.
//!
//! A [`Splitter`] knows where one kind of record begins and ends; everything about buffers, limits and damage is here.

use std::collections::VecDeque;

use schemas::columns::RAW_BYTES_MAX;
use schemas::config::Encoding;
use schemas::rule::InvalidRule;

use super::block::{BLOCK_BYTES, Block, Shape};
use super::charset::{Charset, HEAD_BYTES};
use super::error::Error;
use super::fault::Fault;
use super::inputs::Input;
use super::options::Options;
use super::stream::{End, Stream};
use crate::record::{Position, Span};

/// Where the next record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this byte.
    At(usize),
    /// More bytes are needed; those before this one never again.
    More(usize),
    /// Nowhere: the rest is of no interest.
    Nowhere,
}

/// What a record turned out to be when its end was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A record to be parsed.
    Record,
    /// The names of the columns.
    Header,
    /// Something that is no record, and not counted.
    Skip,
    /// A damaged record.
    Fault(Fault),
}

/// Where a record ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It ends before byte `end`; the search for the next begins at `next`.
    At {
        /// One past its last byte.
        end: usize,
        /// Where to go on.
        next: usize,
        /// What it is.
        what: What,
    },
    /// More bytes are needed; those before this one have been looked at.
    More(usize),
}

/// Knows where records of one kind begin and end. Positions are in the buffer it is shown, which may lose bytes in
/// front and gain bytes behind between calls; all other state is its own.
pub trait Splitter: Send {
    /// The beginning of the next record at or after `from`. `last`: no more bytes follow; then never `More`.
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin;

    /// The end of the record that began at `start`, looking on from `from`. `last`: no more bytes follow; then never
    /// `More`.
    fn end(&mut self, bytes: &[u8], start: usize, from: usize, last: bool) -> Finish;

    /// Where to go on instead when the record that began at `start` does not end within the limit; None: skip to its
    /// end, wherever that is.
    fn resync(&mut self, _bytes: &[u8], _start: usize) -> Option<(usize, Fault)> {
        None
    }

    /// Takes the record that is the header; returns the shape of those that follow.
    fn header(&mut self, _header: &[u8], _charset: Charset) -> Option<Shape> {
        None
    }
}

/// Reads blocks of records.
pub struct ItemReader {
    stream: Stream,
    splitter: Box<dyn Splitter>,
    shape: Shape,
    charset: Charset,
    carry: Vec<u8>,
    /// Offset of the first byte of `carry`.
    offset: u64,
    /// Where the record that is being read began, in `carry`.
    begun: Option<usize>,
    /// How far `carry` has been looked at.
    looked: usize,
    /// Complete records in `carry`.
    spans: Vec<Span>,
    /// A record that is too long: its offset and first bytes.
    skipping: Option<(u64, Vec<u8>)>,
    ready: VecDeque<Block>,
    next_line: u64,
    line_bytes_max: usize,
    end: Option<End>,
    done: bool,
}

impl ItemReader {
    /// Opens a whole input.
    ///
    /// # Errors
    /// What the operating system refuses, and an encoding that `accepts` does not.
    pub fn open(
        input: &Input,
        options: &Options,
        splitter: Box<dyn Splitter>,
        shape: Shape,
        accepts: fn(Charset) -> bool,
    ) -> Result<ItemReader, Error> {
        let mut reader = ItemReader {
            stream: Stream::open(input, 0, input.bytes, 0)?,
            splitter,
            shape,
            charset: Charset::Utf8,
            carry: Vec::new(),
            offset: 0,
            begun: None,
            looked: 0,
            spans: Vec::new(),
            skipping: None,
            ready: VecDeque::new(),
            next_line: 0,
            line_bytes_max: options.line_bytes_max,
            end: None,
            done: false,
        };
        reader.at_head(options.encoding)?;
        if accepts(reader.charset) {
            return Ok(reader);
        }
        let (encoding, format) = (reader.charset.name(), input.format.name());
        Err(Error::EncodingOfFormat { path: input.path.clone(), encoding, format })
    }

    fn at_head(&mut self, encoding: Encoding) -> Result<(), Error> {
        while self.carry.len() < HEAD_BYTES && self.end.is_none() {
            self.end = self.stream.fill(&mut self.carry, BLOCK_BYTES)?;
        }
        let (charset, mark_bytes) = Charset::detect(encoding, &self.carry);
        self.charset = charset;
        self.carry.drain(..mark_bytes);
        self.offset = mark_bytes as u64;
        Ok(())
    }

    /// The next records; None at the end of the input.
    pub fn next_block(&mut self) -> Result<Option<Block>, Error> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                return Ok(Some(block));
            }
            if self.done {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// Records handed out so far.
    pub fn lines(&self) -> u64 {
        self.next_line
    }

    /// The stream, to count.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Reads the rest of the input as stored, and returns the digests of its blocks.
    pub fn finish(self) -> Result<Vec<u128>, Error> {
        self.stream.finish()
    }

    /// One step: finds the beginning or the end of a record, or reads more.
    fn advance(&mut self) -> Result<(), Error> {
        let last = self.end == Some(End::Complete);
        let Some(start) = self.begun else {
            match self.splitter.begin(&self.carry, self.looked, last) {
                Begin::At(start) => (self.begun, self.looked) = (Some(start), start),
                Begin::More(keep_from) => {
                    self.looked = keep_from;
                    self.more()?;
                }
                Begin::Nowhere => {
                    self.looked = self.carry.len();
                    self.flush();
                    self.done = true;
                }
            }
            return Ok(());
        };
        match self.splitter.end(&self.carry, start, self.looked, last) {
            Finish::At { end, next, what } => self.take(start, end, next, what),
            Finish::More(looked) => {
                self.looked = looked;
                if looked - start > self.line_bytes_max && self.skipping.is_none() {
                    self.too_long(start);
                }
                self.more()?;
            }
        }
        Ok(())
    }

    /// Takes a record whose end has been found.
    fn take(&mut self, start: usize, end: usize, next: usize, what: What) {
        (self.begun, self.looked) = (None, next);
        let bytes = self.carry.get(start..end).unwrap_or_default();
        if let Some((offset, head)) = self.skipping.take() {
            let found = self.offset + end as u64 - offset;
            let detail = format!("expected at most {} bytes, found {found}", self.line_bytes_max);
            return self.invalid(Fault::new(InvalidRule::LineTooLong, detail), &head, offset);
        }
        match what {
            What::Record => self.spans.push(Span { start: start as u32, end: end as u32 }),
            What::Skip => {}
            What::Header => {
                if let Some(shape) = self.splitter.header(bytes, self.charset) {
                    self.shape = shape;
                }
            }
            What::Fault(fault) => {
                let head = bytes.get(..RAW_BYTES_MAX).unwrap_or(bytes).to_vec();
                let offset = self.offset + start as u64;
                self.flush();
                self.invalid(fault, &head, offset);
            }
        }
    }

    fn invalid(&mut self, fault: Fault, head: &[u8], offset: u64) {
        let position = Position { line: self.next_line, byte_offset: Some(offset) };
        self.next_line += 1;
        self.ready.push_back(Block::invalid(fault.into_invalid(position, head)));
    }

    /// Hands out complete records, and drops bytes that are not needed any more.
    fn flush(&mut self) {
        let cut = self.begun.unwrap_or(self.looked).min(self.carry.len());
        if self.spans.is_empty() {
            self.carry.drain(..cut);
        } else {
            let rest = self.carry.get(cut..).unwrap_or_default().to_vec();
            let mut bytes = std::mem::replace(&mut self.carry, rest);
            bytes.truncate(cut);
            let spans = std::mem::take(&mut self.spans);
            let place = Position { line: self.next_line, byte_offset: Some(self.offset) };
            self.next_line += spans.len() as u64;
            self.ready.push_back(Block::items(bytes, spans, place, self.charset, self.shape.clone()));
        }
        self.offset += cut as u64;
        self.looked = self.looked.saturating_sub(cut);
        self.begun = self.begun.map(|start| start.saturating_sub(cut));
    }

    /// Reads more, or ends at the place of the damage.
    fn more(&mut self) -> Result<(), Error> {
        self.flush();
        if self.skipping.is_some() {
            // What has been looked at of a record that is too long is not needed.
            self.begun = Some(self.looked);
            self.flush();
        }
        match self.end.take() {
            None => self.end = self.stream.fill(&mut self.carry, BLOCK_BYTES)?,
            Some(End::Complete) => {
                self.end = Some(End::Complete);
                self.done = true;
            }
            Some(End::Damaged(fault)) => {
                let start = self.begun.unwrap_or(self.looked).min(self.carry.len());
                let bytes = self.carry.get(start..).unwrap_or_default();
                let head = bytes.get(..RAW_BYTES_MAX).unwrap_or(bytes).to_vec();
                self.invalid(fault, &head, self.offset + start as u64);
                self.done = true;
            }
        }
        Ok(())
    }

    /// Gives up a record that does not end within the limit.
    fn too_long(&mut self, start: usize) {
        if let Some((next, fault)) = self.splitter.resync(&self.carry, start) {
            return self.take(start, next, next, What::Fault(fault));
        }
        let bytes = self.carry.get(start..).unwrap_or_default();
        let head = bytes.get(..RAW_BYTES_MAX).unwrap_or(bytes).to_vec();
        self.flush();
        self.skipping = Some((self.offset + self.begun.unwrap_or_default() as u64, head));
    }
}
