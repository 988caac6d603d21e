//! Whole lines of a part, in blocks, with bounded memory however long a line is.
//!
//! A part owns the lines that start in it: it skips the rest of a line that began before, and reads past its end to
//! finish its last line. Line ends are LF or CRLF; U+2028, VT and NEL are text.

use std::path::PathBuf;

use schemas::columns::RAW_BYTES_MAX;
use schemas::rule::InvalidRule;

use super::block::{BLOCK_BYTES, Block, Shape};
use super::charset::{Charset, HEAD_BYTES};
use super::error::Error;
use super::fault::Fault;
use super::inputs::{Input, Part};
use super::options::Options;
use super::raw_file::RawFile;
use super::stream::{End, Stream};
use crate::record::Position;

/// Reads blocks of lines.
pub struct LineReader {
    stream: Stream,
    shape: Shape,
    charset: Charset,
    /// Bytes that have been read but not handed out; they begin at a line once `aligned`.
    carry: Vec<u8>,
    /// Offset of the first byte of `carry`.
    offset: u64,
    /// Lines that start here or later belong to the next part.
    own_end: u64,
    line_bytes_max: usize,
    /// Longest line there is memory for.
    line_bytes_fit: u64,
    path: PathBuf,
    next_line: u64,
    aligned: bool,
    end: Option<End>,
    done: bool,
}

impl LineReader {
    /// Opens a part of lines of a shape.
    pub fn open(input: &Input, part: &Part, options: &Options, shape: Shape) -> Result<LineReader, Error> {
        let mut head = Vec::new();
        if part.start > 0 {
            RawFile::open(&input.path, 0, 0, 0)?.read(&mut head, HEAD_BYTES)?;
        }
        let (charset, _) = Charset::detect(options.encoding, &head);
        let from = part.start.saturating_sub(charset.unit_bytes() as u64);
        let reader = LineReader {
            stream: Stream::open(input, part.start, part.end, from)?,
            shape,
            charset,
            carry: Vec::new(),
            offset: from,
            own_end: if input.is_compressed() { u64::MAX } else { part.end },
            line_bytes_max: options.line_bytes_max,
            line_bytes_fit: options.record_bytes_fit,
            path: input.path.clone(),
            next_line: 0,
            aligned: false,
            end: None,
            done: false,
        };
        if part.start > 0 { Ok(reader) } else { reader.at_head(options) }
    }

    /// Tells the encoding from the first bytes, and skips a byte order mark.
    fn at_head(mut self, options: &Options) -> Result<LineReader, Error> {
        while self.carry.len() < HEAD_BYTES && self.end.is_none() {
            self.fill(BLOCK_BYTES)?;
        }
        let (charset, mark_bytes) = Charset::detect(options.encoding, &self.carry);
        self.charset = charset;
        self.carry.drain(..mark_bytes);
        self.offset = mark_bytes as u64;
        self.aligned = true;
        Ok(self)
    }

    /// The next lines; None at the end of the part.
    pub fn next_block(&mut self) -> Result<Option<Block>, Error> {
        if !self.aligned {
            self.skip_line(Vec::new())?;
            self.aligned = true;
        }
        while !self.done {
            if let Some(block) = self.gather()? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Lines handed out so far.
    pub fn lines(&self) -> u64 {
        self.next_line
    }

    /// The encoding of the input.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// The stream, to count.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Reads the rest of the part as stored, and returns the digests of its blocks.
    pub fn finish(self) -> Result<Vec<u128>, Error> {
        self.stream.finish()
    }

    fn fill(&mut self, want: usize) -> Result<(), Error> {
        self.end = self.stream.fill(&mut self.carry, want)?;
        Ok(())
    }

    /// Makes one block of what is there, or reads more. None: call again, or done.
    fn gather(&mut self) -> Result<Option<Block>, Error> {
        let unit = self.charset.unit_bytes();
        let mut searched = 0;
        loop {
            if self.offset >= self.own_end {
                self.done = true;
                return Ok(None);
            }
            if let Some(cut) = self.cut(searched) {
                return Ok(Some(self.block(cut)));
            }
            searched = self.carry.len() / unit * unit;
            // A line of the greatest length may still be followed by CR and a part of LF.
            let kept_max = self.line_bytes_max.min(usize::try_from(self.line_bytes_fit).unwrap_or(usize::MAX));
            if self.carry.len() > kept_max.saturating_add(2 * unit) {
                return self.too_long().map(Some);
            }
            match self.end.take() {
                None => self.fill(BLOCK_BYTES)?,
                Some(End::Complete) => return Ok(self.last_line()),
                Some(End::Damaged(fault)) => return Ok(Some(self.damaged(fault))),
            }
        }
    }

    /// How many bytes of the carry are whole lines of this part. None where not even one line is whole.
    fn cut(&mut self, searched: usize) -> Option<usize> {
        let unit = self.charset.unit_bytes();
        let limit = usize::try_from(self.own_end - self.offset).unwrap_or(usize::MAX);
        if self.carry.len() >= limit
            && let Some(cut) = self.charset.line_end(&self.carry, searched.max(limit - unit))
        {
            self.done = true;
            return Some(cut);
        }
        self.charset.last_line_end(&self.carry, searched)
    }

    /// Hands out the first bytes of the carry, which are whole lines.
    fn block(&mut self, cut: usize) -> Block {
        let rest = self.carry.get(cut..).unwrap_or_default().to_vec();
        let mut bytes = std::mem::replace(&mut self.carry, rest);
        bytes.truncate(cut);
        let lines = self.charset.count_line_ends(&bytes);
        self.emit(bytes, lines)
    }

    fn emit(&mut self, bytes: Vec<u8>, lines: u64) -> Block {
        let (offset, first_line) = (self.offset, self.next_line);
        self.offset += bytes.len() as u64;
        self.next_line += lines;
        Block::lines(bytes, offset, first_line, self.charset, self.shape.clone())
    }

    fn last_line(&mut self) -> Option<Block> {
        self.done = true;
        let bytes = std::mem::take(&mut self.carry);
        (!bytes.is_empty()).then(|| self.emit(bytes, 1))
    }

    /// The record of a damaged stream holds what there was of the line in which the damage is.
    fn damaged(&mut self, fault: Fault) -> Block {
        self.done = true;
        let line = std::mem::take(&mut self.carry);
        self.invalid(fault, &line, self.offset)
    }

    fn invalid(&mut self, fault: Fault, line: &[u8], offset: u64) -> Block {
        let position = Position { line: self.next_line, byte_offset: Some(offset) };
        self.next_line += 1;
        Block::invalid(fault.into_invalid(position, line))
    }

    /// Skips the line that the carry begins with, keeping its first bytes.
    fn too_long(&mut self) -> Result<Block, Error> {
        let offset = self.offset;
        let head = self.carry.get(..RAW_BYTES_MAX).unwrap_or(&self.carry).to_vec();
        let mut line = std::mem::take(&mut self.carry);
        self.offset += line.len() as u64;
        // A unit that was cut in two goes on with the rest of the line.
        let split = line.len() % self.charset.unit_bytes();
        let tail = line.split_off(line.len() - split);
        self.offset -= split as u64;
        drop(line);
        self.skip_line(tail)?;
        let found = self.offset - offset;
        if found <= self.line_bytes_max as u64 + 2 * self.charset.unit_bytes() as u64 {
            let position = Position { line: self.next_line, byte_offset: Some(offset) };
            return Err(Error::BeyondMemory { path: self.path.clone(), position, fit: self.line_bytes_fit, found });
        }
        let detail = format!("expected at most {} bytes, found {found}", self.line_bytes_max);
        Ok(self.invalid(Fault::new(InvalidRule::LineTooLong, detail), &head, offset))
    }

    /// Reads to the end of a line of which `carry` is a piece that begins at a unit, and keeps what follows it.
    fn skip_line(&mut self, piece: Vec<u8>) -> Result<(), Error> {
        self.carry = piece;
        let unit = self.charset.unit_bytes();
        loop {
            if let Some(cut) = self.charset.line_end(&self.carry, 0) {
                self.carry.drain(..cut);
                self.offset += cut as u64;
                return Ok(());
            }
            let whole = self.carry.len() / unit * unit;
            self.carry.drain(..whole);
            self.offset += whole as u64;
            if self.end.is_some() {
                self.offset += self.carry.len() as u64;
                self.carry.clear();
                return Ok(());
            }
            self.fill(BLOCK_BYTES)?;
        }
    }
}
