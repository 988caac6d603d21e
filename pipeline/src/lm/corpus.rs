//! From text to numbered words on disk: the corpus is split into words once, and read again as numbers.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::vocabulary::Vocabulary;
use crate::error::Error;
use crate::measure::{Splitter, word_hash};
use crate::record::{Document, Records};

/// Words that stand for something else in a model; in text they are skipped.
pub(super) const BEGIN: &[u8] = b"<s>";
pub(super) const END: &[u8] = b"</s>";
const RESERVED: [&[u8]; 3] = [BEGIN, END, b"<unk>"];

/// The end of a line in the file of numbers.
const LINE_END: u32 = u32::MAX;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Lines with a word.
    pub lines: u64,
    /// Their words.
    pub words: u64,
    /// Words left out because a model means something else by them: `<s>`, `</s>`, `<unk>`.
    pub reserved: u64,
}

/// The words of some documents.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Hash of each word, and its end in `bytes`.
    words: Vec<(u64, u32)>,
    /// How many words there are at the end of each line.
    ends: Vec<u32>,
    reserved: u64,
}

impl Lines {
    fn of(records: &Records, documents: &[Document], splitter: &Splitter) -> Lines {
        let mut lines = Lines::default();
        for document in documents {
            for line in records.str(document.text).split('\n') {
                let before = lines.words.len();
                splitter.each_word(line, &mut |word| lines.add(word));
                if lines.words.len() > before {
                    lines.ends.push(lines.words.len() as u32);
                }
            }
        }
        lines
    }

    /// What KenLM takes for white space, and zeros, cannot stand in a word.
    fn add(&mut self, word: &str) {
        let is_space = |byte: &u8| matches!(byte, 0 | b' ' | b'\t'..=b'\r');
        for word in word.as_bytes().split(is_space).filter(|word| !word.is_empty()) {
            if RESERVED.contains(&word) {
                self.reserved += 1;
                continue;
            }
            self.bytes.extend_from_slice(word);
            self.words.push((word_hash(word), self.bytes.len() as u32));
        }
    }
}

/// Writes the corpus as numbers of words.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    writer: BufWriter<File>,
    vocabulary: Vocabulary,
    sums: Sums,
}

/// Documents that one thread splits at a time.
const DOCUMENTS: usize = 32;

impl Writer {
    /// `<s>` and `</s>` are the first two words.
    pub fn create(folder: &Path, vocabulary_bytes: usize) -> Result<Writer, Error> {
        let path = folder.join("corpus");
        let file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
        let mut vocabulary = Vocabulary::create(folder, vocabulary_bytes)?;
        vocabulary.number(word_hash(BEGIN), BEGIN)?;
        vocabulary.number(word_hash(END), END)?;
        Ok(Writer { path, writer: BufWriter::with_capacity(256 << 10, file), vocabulary, sums: Sums::default() })
    }

    pub fn add(&mut self, records: &Records, splitter: &Splitter) -> Result<(), Error> {
        let blocks = records.documents.par_chunks(DOCUMENTS);
        let blocks: Vec<Lines> = blocks.map(|documents| Lines::of(records, documents, splitter)).collect();
        blocks.iter().try_for_each(|lines| self.add_lines(lines))
    }

    fn add_lines(&mut self, lines: &Lines) -> Result<(), Error> {
        let (mut start, mut word) = (0, 0);
        for end in &lines.ends {
            for (hash, byte_end) in lines.words.get(word..*end as usize).unwrap_or_default() {
                let bytes = lines.bytes.get(start..*byte_end as usize).unwrap_or_default();
                start = *byte_end as usize;
                let number = self.vocabulary.number(*hash, bytes)?;
                self.put(number)?;
            }
            self.put(LINE_END)?;
            self.sums.words += *end as u64 - word as u64;
            word = *end as usize;
        }
        self.sums.lines += lines.ends.len() as u64;
        self.sums.reserved += lines.reserved;
        Ok(())
    }

    fn put(&mut self, number: u32) -> Result<(), Error> {
        self.writer.write_all(&number.to_le_bytes()).map_err(|error| Error::io("write", &self.path, error))
    }

    pub fn finish(mut self) -> Result<(Corpus, Vocabulary, Sums), Error> {
        self.writer.flush().map_err(|error| Error::io("write", &self.path, error))?;
        Ok((Corpus { path: self.path }, self.vocabulary, self.sums))
    }
}

/// The corpus as numbers, in a file.
#[derive(Debug)]
pub(super) struct Corpus {
    path: PathBuf,
}

impl Corpus {
    /// Calls `each` with every word's number, and with None at the end of each line.
    pub fn each(&self, mut each: impl FnMut(Option<u32>) -> Result<(), Error>) -> Result<(), Error> {
        let read = |error| Error::io("read", &self.path, error);
        let file = File::open(&self.path).map_err(read)?;
        let left = file.metadata().map_err(read)?.len() / 4;
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut bytes = [0; 4];
        for _ in 0..left {
            reader.read_exact(&mut bytes).map_err(read)?;
            let number = u32::from_le_bytes(bytes);
            each((number != LINE_END).then_some(number))?;
        }
        Ok(())
    }
}
