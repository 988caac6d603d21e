//! Reads one part of one input, sequentially, whatever its format.

use schemas::config::TextFiles;

use super::array::ArraySplitter;
use super::block::{Block, Shape};
use super::charset::Charset;
use super::csv::{CsvSplitter, Header};
use super::error::Error;
use super::inputs::{Format, Input, Part};
use super::items::{ItemReader, Splitter};
use super::lines::LineReader;
use super::options::Options;
use super::parquet::ParquetReader;
use super::text_file::WholeFile;
use super::warc::WarcSplitter;
use super::wiki::PageSplitter;

/// What a part was, known when it has been read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// xxh3-128 of each aligned 64 MiB block of the part's bytes as stored.
    pub block_hashes: Vec<u128>,
    /// Records of every kind, a final one for a damaged stream included.
    pub lines: u64,
}

/// Hands out the blocks of a part in order.
pub struct Reader {
    source: Source,
    part_bytes: u64,
}

enum Source {
    Lines(LineReader),
    Items(ItemReader),
    Parquet(Box<ParquetReader>),
}

impl Reader {
    /// Opens a part.
    ///
    /// # Errors
    /// What the operating system refuses, and an encoding that the format cannot have.
    pub fn open(input: &Input, part: &Part, options: &Options) -> Result<Reader, Error> {
        let lines = |shape| LineReader::open(input, part, options, shape).map(Source::Lines);
        let items = |splitter: Box<dyn Splitter>, shape, accepts| {
            ItemReader::open(input, options, splitter, shape, accepts).map(Source::Items)
        };
        let table = |delimiter| {
            let header = std::sync::Arc::new(Header { names: Vec::new(), delimiter });
            items(Box::new(CsvSplitter::new(delimiter)), Shape::Csv(header), one_byte_units)
        };
        let source = match input.format {
            Format::Jsonl => lines(Shape::Json)?,
            Format::JsonArray => items(Box::<ArraySplitter>::default(), Shape::Element, utf8_only)?,
            Format::Parquet => Source::Parquet(Box::new(ParquetReader::open(input, part)?)),
            Format::Csv => table(b',')?,
            Format::Tsv => table(b'\t')?,
            Format::Text if options.text_files == TextFiles::Line => lines(Shape::Text)?,
            Format::Text => items(Box::<WholeFile>::default(), Shape::Text, any)?,
            Format::Warc => items(Box::<WarcSplitter>::default(), Shape::Warc, utf8_only)?,
            Format::MediaWiki => items(Box::<PageSplitter>::default(), Shape::Page, utf8_only)?,
        };
        Ok(Reader { source, part_bytes: part.end.saturating_sub(part.start) })
    }

    /// Reads, decompresses and cuts the next block of about 1 MiB; None at the end of the part.
    ///
    /// # Errors
    /// Only what the operating system refuses: damage is a record.
    pub fn next_block(&mut self) -> Result<Option<Block>, Error> {
        match &mut self.source {
            Source::Lines(reader) => reader.next_block(),
            Source::Items(reader) => reader.next_block(),
            Source::Parquet(reader) => reader.next_block(),
        }
    }

    /// Bytes of the part read so far, as stored. Never decreases.
    pub fn bytes_read(&self) -> u64 {
        match &self.source {
            Source::Lines(reader) => reader.stream().bytes_read(),
            Source::Items(reader) => reader.stream().bytes_read(),
            Source::Parquet(reader) => reader.bytes_read(self.part_bytes),
        }
    }

    /// Bytes of the unit that the characters of the input are made of: 2 for UTF-16, else 1.
    pub fn unit_bytes(&self) -> usize {
        match &self.source {
            Source::Lines(reader) => reader.charset().unit_bytes(),
            _ => 1,
        }
    }

    /// Reads what is left of the part's stored bytes, to hash all of it.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn finish(self) -> Result<Digest, Error> {
        let (lines, block_hashes) = match self.source {
            Source::Lines(reader) => (reader.lines(), reader.finish()?),
            Source::Items(reader) => (reader.lines(), reader.finish()?),
            Source::Parquet(reader) => (reader.lines(), reader.finish()?),
        };
        Ok(Digest { block_hashes, lines })
    }
}

fn utf8_only(charset: Charset) -> bool {
    charset == Charset::Utf8
}

fn one_byte_units(charset: Charset) -> bool {
    charset.unit_bytes() == 1
}

fn any(_charset: Charset) -> bool {
    true
}
