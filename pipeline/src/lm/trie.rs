//! The model as a KenLM trie (format version 5, search version 1), unquantised: what `build_binary trie` makes of the
//! same model, each field at the same bit.
//!
//! A trie is keyed by the newest word, then by older ones, so n-grams of all orders, sorted by suffix and walked
//! together, are its nodes in order, and the probability of an n-gram's suffix is at hand when it is reached.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use shards::commit::{AtomicFile, FileDigest};

use super::bits::{BitWriter, bits_for};
use super::gram::{Gram, shortened};
use super::sort::{RunReader, Sorted, Stream};
use super::vocabulary::Words;
use crate::error::Error;

const MAGIC: &[u8] = b"mmap lm http://kheafield.com/code format version 5\n\0";
const MODEL_TRIE: u32 = 2;
const SEARCH_VERSION: u32 = 1;
const PROBING_MULTIPLIER: f32 = 1.5;
/// A back-off weight of 1: of an n-gram that begins no longer one, and of one that does.
const NO_EXTENSION: f32 = -0.0;
const EXTENSION: f32 = 0.0;

/// The parts of a model, by suffix.
pub(super) struct Parts<'a> {
    /// n-grams of each order that are not pruned.
    pub grams: &'a [Sorted],
    /// Files of the weights of contexts of each order but the highest.
    pub backoffs: &'a [PathBuf],
    /// How many n-grams each order has, with `<unk>` and `<s>`.
    pub counts: &'a [u64],
    pub words: &'a Words,
    /// The number of `<s>`.
    pub begin: u32,
    /// The weight of the uniform distribution in that of single words.
    pub unigram_weight: f32,
}

/// Writes a model.
///
/// # Errors
/// [`Error::Io`]; [`Error::Inconsistent`] where an n-gram's suffix is missing.
pub(super) fn write(parts: &Parts<'_>, folder: &Path, out: &Path) -> Result<FileDigest, Error> {
    let levels = Walk::new(parts, folder)?.run()?;
    let mut file = AtomicFile::create(out)?;
    file.append(&header(parts.counts))?;
    file.append(&(parts.counts.first().copied().unwrap_or_default() - 1).to_le_bytes())?;
    append(&mut file, &parts.words.hashes)?;
    // The table of hashes has a place for <unk>, whose hash does not stand there.
    file.append(&[0; 8])?;
    levels.iter().try_for_each(|level| append(&mut file, level))?;
    file.append(b"<unk>\0")?;
    append(&mut file, &parts.words.strings)?;
    Ok(file.commit()?)
}

fn append(file: &mut AtomicFile, part: &Path) -> Result<(), Error> {
    let read = |error| Error::io("read", part, error);
    let mut source = File::open(part).map_err(read)?;
    let mut piece = vec![0; 256 << 10];
    loop {
        let len = source.read(&mut piece).map_err(read)?;
        if len == 0 {
            return Ok(());
        }
        file.append(piece.get(..len).unwrap_or_default())?;
    }
}

/// The magic and values that tell a machine of another kind; the order, what the model is, and the counts.
fn header(counts: &[u64]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.resize(56, 0);
    [0.0f32, 1.0, -0.5].iter().for_each(|float| out.extend(float.to_le_bytes()));
    [1u32, u32::MAX, 0].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend(1u64.to_le_bytes());
    out.extend([counts.len() as u8, 0, 0, 0]);
    out.extend(PROBING_MULTIPLIER.to_le_bytes());
    out.extend(MODEL_TRIE.to_le_bytes());
    // The words stand at the end of the file.
    out.extend([1, 0, 0, 0]);
    out.extend(SEARCH_VERSION.to_le_bytes());
    counts.iter().for_each(|count| out.extend(count.to_le_bytes()));
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// The n-grams of one order that are not yet in the trie, and what they become.
struct Level<'a> {
    grams: Stream<'a>,
    next: Option<Gram>,
    backoffs: Option<(RunReader, Option<Gram>)>,
    writer: BitWriter,
    written: u64,
}

impl Level<'_> {
    /// The weight of a context, with the sign that tells whether it is one.
    fn backoff(&mut self, words: &Gram) -> Result<f32, Error> {
        let Some((reader, head)) = &mut self.backoffs else { return Ok(NO_EXTENSION) };
        while head.is_some_and(|head| head.words < words.words) {
            *head = reader.read()?;
        }
        let Some(found) = head.filter(|head| head.words == words.words) else { return Ok(NO_EXTENSION) };
        let (weight, is_context) = found.shares();
        let log10 = log10(f64::from(weight));
        Ok(match (log10 == 0.0, is_context > 0.0) {
            (false, _) => log10,
            (true, true) => EXTENSION,
            (true, false) => NO_EXTENSION,
        })
    }
}

/// Least probability that is told from 0.
const PROBABILITY_MIN: f64 = 1e-99;

fn log10(probability: f64) -> f32 {
    libm::log10(probability.max(PROBABILITY_MIN)) as f32
}

struct Walk<'a> {
    parts: &'a Parts<'a>,
    word_bits: u32,
    levels: Vec<Level<'a>>,
}

impl<'a> Walk<'a> {
    fn new(parts: &'a Parts<'a>, folder: &Path) -> Result<Walk<'a>, Error> {
        let mut levels = Vec::new();
        for (index, grams) in parts.grams.iter().enumerate() {
            let mut grams = grams.stream()?;
            let next = grams.next()?;
            let backoffs = parts.backoffs.get(index).map(|path| {
                let mut reader = RunReader::open(path, index + 1, 64 << 10)?;
                let head = reader.read()?;
                Ok::<_, Error>((reader, head))
            });
            let writer = BitWriter::create(&folder.join(format!("level-{}", index + 1)))?;
            levels.push(Level { grams, next, backoffs: backoffs.transpose()?, writer, written: 0 });
        }
        let word_bits = bits_for(parts.counts.first().copied().unwrap_or_default());
        Ok(Walk { parts, word_bits, levels })
    }

    fn run(mut self) -> Result<Vec<PathBuf>, Error> {
        // <s> is counted among the words, but nothing is uniform over it.
        let words = self.parts.counts.first().copied().unwrap_or_default();
        let uniform = 1.0 / (words - 1) as f64;
        for word in 0..words as u32 {
            let mut gram = Gram::default();
            if let Some(newest) = gram.words.first_mut() {
                *newest = word;
            }
            let known = self.levels.first().and_then(|level| level.next).filter(|next| next.words == gram.words);
            let unigram = match known {
                Some(known) => {
                    self.advance(0)?;
                    known
                }
                None if word == self.parts.begin => Gram::with_shares(gram.words, 1.0, 0.0),
                None => Gram::with_shares(gram.words, 0.0, self.parts.unigram_weight),
            };
            self.visit(0, unigram, uniform)?;
        }
        self.finish()
    }

    fn advance(&mut self, at: usize) -> Result<(), Error> {
        let Some(level) = self.levels.get_mut(at) else { return Ok(()) };
        level.next = level.grams.next()?;
        Ok(())
    }

    /// Writes an n-gram of `at + 1` words, then those that it is a suffix of.
    fn visit(&mut self, at: usize, gram: Gram, shorter: f64) -> Result<(), Error> {
        let (share, weight) = gram.shares();
        let probability = (f64::from(share) + f64::from(weight) * shorter).min(1.0);
        self.put(at, &gram, probability)?;
        loop {
            let next = self.levels.get(at + 1).and_then(|level| level.next);
            let Some(longer) = next.filter(|next| shortened(&next.words, at + 1) == gram.words) else { return Ok(()) };
            self.advance(at + 1)?;
            self.visit(at + 1, longer, probability)?;
        }
    }

    fn put(&mut self, at: usize, gram: &Gram, probability: f64) -> Result<(), Error> {
        let children = self.levels.get(at + 1).map_or(0, |level| level.written);
        let next_bits = self.next_bits(at);
        let Some(level) = self.levels.get_mut(at) else { return Ok(()) };
        let backoff = level.backoff(gram)?;
        let log10 = log10(probability);
        level.written += 1;
        if at == 0 {
            level.writer.put(u64::from(log10.to_bits()), 32)?;
            level.writer.put(u64::from(backoff.to_bits()), 32)?;
            return level.writer.put(children, 64);
        }
        let word = gram.words.get(at).copied().unwrap_or_default();
        level.writer.put(u64::from(word), self.word_bits)?;
        // No probability is above 1: its sign is not written.
        level.writer.put(u64::from(log10.to_bits() & 0x7fff_ffff), 31)?;
        if next_bits > 0 {
            level.writer.put(u64::from(backoff.to_bits()), 32)?;
            level.writer.put(children, next_bits)?;
        }
        Ok(())
    }

    /// Bits of the place of a first child; 0 in the highest order.
    fn next_bits(&self, at: usize) -> u32 {
        self.parts.counts.get(at + 1).map_or(0, |count| bits_for(*count))
    }

    fn finish(mut self) -> Result<Vec<PathBuf>, Error> {
        let ends: Vec<(u64, u32)> = (0..self.levels.len())
            .map(|at| (self.parts.counts.get(at + 1).copied().unwrap_or_default(), self.next_bits(at)))
            .collect();
        let mut paths = Vec::new();
        for (at, ((mut level, expected), (children, next_bits))) in
            std::mem::take(&mut self.levels).into_iter().zip(self.parts.counts).zip(ends).enumerate()
        {
            if level.written != *expected || level.next.is_some() {
                let what = format!("{}-grams of the model", at + 1);
                let found = format!("{} with their suffixes", level.written);
                return Err(Error::Inconsistent { what, expected: expected.to_string(), found });
            }
            // Where the children of the last node end.
            let bytes = if at == 0 {
                level.writer.put(0, 64)?;
                level.writer.put(children, 64)?;
                (expected + 2) * 16
            } else {
                let value_bits = if next_bits > 0 { 63 } else { 31 };
                if next_bits > 0 {
                    level.writer.put(0, self.word_bits)?;
                    level.writer.put(0, 63)?;
                    level.writer.put(children, next_bits)?;
                }
                ((expected + 1) * u64::from(self.word_bits + value_bits + next_bits)).div_ceil(8) + 8
            };
            paths.push(level.writer.finish(bytes)?);
        }
        Ok(paths)
    }
}
