//! KenLM's binary files, version 5: probing tables and tries, without quantisation or array-compressed pointers.
//!
//! The file is read, not mapped (mapped pages count as resident memory all the same), and looked into where it lies.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Tables, ngram_hash, word_hash};
use crate::measure::Error;
use crate::measure::model_file::ModelFile;

const MAGIC_BEFORE_VERSION: &[u8] = b"mmap lm http://kheafield.com/code format version";
const MAGIC: &[u8] = b"mmap lm http://kheafield.com/code format version 5\n\0";
/// The magic and a zero, rounded up to 8; three floats, three 32-bit numbers, a 64-bit number.
const SANITY_BYTES: usize = 56 + 24 + 8;
const KINDS: [&str; 6] = [
    "probing tables",
    "probing tables with rest costs",
    "a trie",
    "a quantised trie",
    "a trie with array-compressed pointers",
    "a quantised trie with array-compressed pointers",
];
const ORDER_MAX: usize = 16;

/// Whether a file starts as KenLM's binaries do.
pub(super) fn is_binary(path: &Path) -> Result<bool, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(MAGIC_BEFORE_VERSION.len() as u64).read_to_end(&mut start).map_err(read)?;
    Ok(start == MAGIC_BEFORE_VERSION)
}

/// Reads a model, and the hash of its file.
///
/// # Errors
/// [`Error::Model`] where it is cut off or of a kind that is not read here.
pub(super) fn read(path: &Path) -> Result<(Box<dyn Tables>, String), Error> {
    let mut file = ModelFile::open(path)?;
    let magic = file.bytes(SANITY_BYTES, "the header of a KenLM binary")?;
    if !magic.starts_with(MAGIC) {
        return Err(file.wrong("format version 5", String::from_utf8_lossy(magic.get(49..52).unwrap_or_default())));
    }
    let fixed = file.bytes(20, "the header")?;
    let order = usize::from(fixed.first().copied().unwrap_or_default());
    let word = |at: usize| fixed.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let (multiplier, kind) = (f32::from_bits(word(4)), word(8));
    if !matches!(kind, 0 | 2) {
        let found = KINDS.get(kind as usize).map_or_else(|| format!("kind {kind}"), |kind| (*kind).to_owned());
        return Err(file.wrong("probing tables or a trie (build_binary probing, build_binary trie)", found));
    }
    if !(2..=ORDER_MAX).contains(&order) {
        return Err(file.wrong(format!("an order from 2 to {ORDER_MAX}"), order.to_string()));
    }
    let mut counts = Vec::with_capacity(order);
    for _ in 0..order {
        let count = file.i64("a count")?;
        counts.push(file.count(count, 1, "n-grams")?);
    }
    let header_bytes = SANITY_BYTES + 20 + 8 * order;
    file.bytes(header_bytes.next_multiple_of(8) - header_bytes, "padding")?;
    let rest = file.left() as usize;
    let bytes = file.bytes(rest, "the model")?;
    let tables: Option<Box<dyn Tables>> = match kind {
        0 => Probing::lay_out(bytes, &counts, multiplier).map(|tables| Box::new(tables) as Box<dyn Tables>),
        _ => Trie::lay_out(bytes, &counts).map(|tables| Box::new(tables) as Box<dyn Tables>),
    };
    let tables = tables.ok_or_else(|| file.wrong(format!("tables for {counts:?} n-grams"), format!("{rest} bytes")))?;
    Ok((tables, file.finish()?))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(u32_at(bytes, at))
}

/// The sign of a stored probability says something else: whether the n-gram can be extended.
fn probability(stored: f32) -> f32 {
    -stored.abs()
}

/// An open-address table: 64-bit key, then the value; key 0 is an empty slot.
#[derive(Debug, Clone, Copy)]
struct Table {
    at: usize,
    buckets: u64,
    slot_bytes: usize,
}

impl Table {
    fn new(at: usize, entries: usize, multiplier: f32, slot_bytes: usize) -> Table {
        let wanted = (multiplier * entries as f32) as u64;
        Table { at, buckets: wanted.max(entries as u64 + 1), slot_bytes }
    }

    fn end(&self) -> usize {
        self.at + self.buckets as usize * self.slot_bytes
    }

    /// Where the value of a key stands.
    fn find(&self, bytes: &[u8], key: u64) -> Option<usize> {
        let mut bucket = key % self.buckets;
        for _ in 0..self.buckets {
            let at = self.at + bucket as usize * self.slot_bytes;
            match u64_at(bytes, at) {
                found if found == key => return Some(at + 8),
                0 => return None,
                _ => bucket = if bucket + 1 == self.buckets { 0 } else { bucket + 1 },
            }
        }
        None
    }
}

#[derive(Debug)]
struct Probing {
    bytes: Vec<u8>,
    words: Table,
    unigrams: usize,
    count: usize,
    /// Orders from 2.
    orders: Vec<Table>,
}

impl Probing {
    fn lay_out(bytes: Vec<u8>, counts: &[usize], multiplier: f32) -> Option<Probing> {
        let count = *counts.first()?;
        let words = Table::new(8, count, multiplier, 12);
        let unigrams = words.end();
        let mut at = unigrams + (count + 1) * 8;
        let mut orders = Vec::new();
        for (index, count) in counts.iter().enumerate().skip(1) {
            let table = Table::new(at, *count, multiplier, if index + 1 == counts.len() { 12 } else { 16 });
            at = table.end();
            orders.push(table);
        }
        (at <= bytes.len()).then_some(Probing { bytes, words, unigrams, count, orders })
    }
}

impl Tables for Probing {
    fn order(&self) -> usize {
        self.orders.len() + 1
    }

    fn word(&self, word: &[u8]) -> u32 {
        self.words.find(&self.bytes, word_hash(word)).map_or(0, |at| u32_at(&self.bytes, at))
    }

    fn find(&self, newest_first: &[u32]) -> Option<(f32, f32)> {
        let at = match newest_first {
            [] => return None,
            [word] if (*word as usize) < self.count => self.unigrams + *word as usize * 8,
            [_] => return None,
            ngram => self.orders.get(ngram.len() - 2)?.find(&self.bytes, ngram_hash(ngram))?,
        };
        let is_longest = newest_first.len() == self.order();
        let weight = if is_longest { 0.0 } else { f32_at(&self.bytes, at + 4) };
        Some((probability(f32_at(&self.bytes, at)), weight))
    }
}

/// The n-grams of one order of a trie: records of bits, sorted by word within their parent.
#[derive(Debug, Clone, Copy)]
struct Level {
    at: usize,
    record_bits: u64,
    /// Bits of the pointer to the first child; 0 in the longest order.
    next_bits: u64,
}

#[derive(Debug)]
struct Trie {
    bytes: Vec<u8>,
    count: usize,
    words: usize,
    unigrams: usize,
    word_bits: u64,
    /// Orders from 2.
    levels: Vec<Level>,
}

fn bits_for(value: usize) -> u64 {
    u64::from(usize::BITS - value.leading_zeros())
}

impl Trie {
    fn lay_out(bytes: Vec<u8>, counts: &[usize]) -> Option<Trie> {
        let count = *counts.first()?;
        let unigrams = 8 + 8 * count;
        let word_bits = bits_for(count);
        let mut at = unigrams + (count + 2) * 16;
        let mut levels = Vec::new();
        for (index, entries) in counts.iter().enumerate().skip(1) {
            let (value_bits, next_bits) = match counts.get(index + 1) {
                Some(children) => (63, bits_for(*children)),
                None => (31, 0),
            };
            let level = Level { at, record_bits: word_bits + value_bits + next_bits, next_bits };
            at += ((1 + *entries as u64) * level.record_bits).div_ceil(8) as usize + 8;
            levels.push(level);
        }
        (at <= bytes.len()).then_some(Trie { bytes, count, words: 8, unigrams, word_bits, levels })
    }

    /// `bits` bits from a bit position on, at most 57.
    fn bits(&self, at: usize, bit: u64, bits: u64) -> u64 {
        u64_at(&self.bytes, at + (bit / 8) as usize) >> (bit % 8) & ((1 << bits) - 1)
    }

    /// The record of a word among `range` of a level.
    fn record(&self, level: &Level, range: (u64, u64), word: u32) -> Option<u64> {
        let (mut low, mut high) = range;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.bits(level.at, middle * level.record_bits, self.word_bits).cmp(&u64::from(word)) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

impl Tables for Trie {
    fn order(&self) -> usize {
        self.levels.len() + 1
    }

    /// Hashes of words stand sorted; a word's number is its place, from 1.
    fn word(&self, word: &[u8]) -> u32 {
        let hash = word_hash(word);
        let entries = (u64_at(&self.bytes, 0) as usize).min(self.count);
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match u64_at(&self.bytes, self.words + middle * 8).cmp(&hash) {
                std::cmp::Ordering::Equal => return middle as u32 + 1,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        0
    }

    fn find(&self, newest_first: &[u32]) -> Option<(f32, f32)> {
        let (newest, older) = newest_first.split_first()?;
        let at = self.unigrams + ((*newest as usize) < self.count).then_some(*newest as usize)? * 16;
        let mut found = (probability(f32_at(&self.bytes, at)), f32_at(&self.bytes, at + 4));
        let mut children = (u64_at(&self.bytes, at + 8), u64_at(&self.bytes, at + 24));
        for (level, word) in self.levels.iter().zip(older) {
            let record = self.record(level, children, *word)?;
            let bit = record * level.record_bits + self.word_bits;
            let log10 = f32::from_bits(self.bits(level.at, bit, 31) as u32);
            found = match level.next_bits {
                0 => (probability(log10), 0.0),
                _ => (probability(log10), f32::from_bits(self.bits(level.at, bit + 31, 32) as u32)),
            };
            let next = |record: u64| {
                let bit = record * level.record_bits + self.word_bits + 63;
                self.bits(level.at, bit, level.next_bits)
            };
            children = if level.next_bits == 0 { (0, 0) } else { (next(record), next(record + 1)) };
        }
        (older.len() < self.order()).then_some(found)
    }
}
