//! The distinct words of texts and how often each occurs, counted by any number of threads at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::super::classes::classes;
use super::super::split::{Gpt2, Scanner};
use super::memory_of;

/// A table for each value of the hash's highest bits, so that threads seldom wait for each other.
const SHARDS: usize = 64;

/// Words of a batch that are counted before they go to the shared tables: most are among few.
const RECENT: usize = 1 << 12;

/// Words with their counts, in memory that is bounded.
pub struct WordCounts {
    shards: Vec<Mutex<Shard>>,
    words: AtomicU64,
    bytes: AtomicU64,
    held: u64,
    memory: u64,
}

/// Distinct words are more than fit the memory allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Memory that learning from the words so far would take with what is held, in bytes.
    pub needed: u64,
    /// Memory allowed.
    pub memory: u64,
}

#[derive(Default)]
struct Shard {
    text: Vec<u8>,
    words: Vec<Word>,
    /// Hash and index of a word in one, [`EMPTY`] where there is none; at most half full.
    slots: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Word {
    start: usize,
    length: u32,
    count: u64,
}

const EMPTY: u64 = u64::MAX;
const SLOTS_MIN: usize = 64;

/// A word that is counted but not yet in its table.
#[derive(Clone, Copy)]
struct Seen<'a> {
    hash: u64,
    word: &'a [u8],
    count: u64,
}

impl WordCounts {
    /// No words; `memory` bounds what they, learning from them, and what is `held` already may take, in bytes.
    pub fn new(held: u64, memory: u64) -> WordCounts {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        WordCounts { shards, words: AtomicU64::new(0), bytes: AtomicU64::new(0), held, memory }
    }

    /// Counts the words of texts, each split as GPT-2 splits it. Faster for many texts at once: a megabyte or so.
    ///
    /// # Errors
    /// [`Full`]: then the counts are of no use.
    pub fn add<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<(), Full> {
        let mut recent = vec![Seen { hash: 0, word: &[], count: 0 }; RECENT];
        let mut by_shard: Vec<Vec<Seen<'a>>> = vec![Vec::new(); SHARDS];
        for text in texts {
            each_word(text.as_bytes(), |word| {
                let hash = xxh3_64(word);
                let Some(slot) = recent.get_mut(hash as usize % RECENT) else { return };
                if slot.hash == hash && slot.word == word {
                    slot.count += 1;
                    return;
                }
                let before = std::mem::replace(slot, Seen { hash, word, count: 1 });
                lay_aside(&mut by_shard, before);
            });
        }
        recent.into_iter().for_each(|seen| lay_aside(&mut by_shard, seen));
        for (shard, seen) in self.shards.iter().zip(&by_shard) {
            let mut shard = lock(shard);
            let (words, bytes) = (shard.words.len(), shard.text.len());
            seen.iter().for_each(|seen| shard.add(*seen));
            self.words.fetch_add((shard.words.len() - words) as u64, Ordering::Relaxed);
            self.bytes.fetch_add((shard.text.len() - bytes) as u64, Ordering::Relaxed);
        }
        self.check()
    }

    fn check(&self) -> Result<(), Full> {
        let needed = self.held + memory_of(self.len() as u64, self.bytes());
        if needed > self.memory { Err(Full { needed, memory: self.memory }) } else { Ok(()) }
    }

    /// Distinct words.
    pub fn len(&self) -> usize {
        self.words.load(Ordering::Relaxed) as usize
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the distinct words.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Hands out all words with their counts and forgets them, table by table.
    pub(super) fn drain(self, mut each: impl FnMut(&[u8], u64)) {
        for shard in self.shards {
            let shard = shard.into_inner().unwrap_or_else(PoisonError::into_inner);
            drop(shard.slots);
            for word in &shard.words {
                each(word.bytes_in(&shard.text), word.count);
            }
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each_word<'a>(text: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let (classes, mut start) = (classes(), 0);
    while start < text.len() {
        let end = Gpt2.end(classes, text, start);
        each(text.get(start..end).unwrap_or_default());
        start = end;
    }
}

fn lay_aside<'a>(by_shard: &mut [Vec<Seen<'a>>], seen: Seen<'a>) {
    let shard = by_shard.get_mut((seen.hash >> 58) as usize).filter(|_| seen.count > 0);
    if let Some(shard) = shard {
        shard.push(seen);
    }
}

impl Word {
    fn bytes_in<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start..self.start + self.length as usize).unwrap_or_default()
    }
}

impl Shard {
    fn add(&mut self, seen: Seen<'_>) {
        if self.words.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let slot = self.find(seen.hash, Some(seen.word));
        let Some(entry) = self.slots.get_mut(slot) else { return };
        if *entry != EMPTY {
            if let Some(word) = self.words.get_mut(index_of(*entry)) {
                word.count += seen.count;
            }
            return;
        }
        *entry = mark_of(seen.hash) | self.words.len() as u64;
        self.words.push(Word { start: self.text.len(), length: seen.word.len() as u32, count: seen.count });
        self.text.extend_from_slice(seen.word);
    }

    /// The slot of a word, or the empty one where it would stand; without a word, an empty one.
    fn find(&self, hash: u64, word: Option<&[u8]>) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (hash >> 20) as usize & mask;
        loop {
            let entry = self.slots.get(slot).copied().unwrap_or(EMPTY);
            let same = || {
                let known = self.words.get(index_of(entry));
                word.is_some_and(|word| known.is_some_and(|known| known.bytes_in(&self.text) == word))
            };
            if entry == EMPTY || mark_of(entry) == mark_of(hash) && same() {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; (self.slots.len() * 2).max(SLOTS_MIN)];
        for index in 0..self.words.len() {
            let Some(word) = self.words.get(index) else { continue };
            let hash = xxh3_64(word.bytes_in(&self.text));
            let slot = self.find(hash, None);
            if let Some(entry) = self.slots.get_mut(slot) {
                *entry = mark_of(hash) | index as u64;
            }
        }
    }
}

/// A word's index has 40 bits of its slot, its hash the others.
const INDEX: u64 = (1 << 40) - 1;

fn index_of(entry: u64) -> usize {
    (entry & INDEX) as usize
}

fn mark_of(hash: u64) -> u64 {
    hash & !INDEX
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::super::testing::Random;
    use super::*;

    #[test]
    fn words_are_counted_as_a_map_counts_them() {
        let texts: Vec<String> = (0..2_000).map(|seed| Random::new(seed).text(40)).collect();
        let mut expected: HashMap<Vec<u8>, u64> = HashMap::new();
        let counts = WordCounts::new(0, u64::MAX);
        for batch in texts.chunks(7) {
            batch.iter().for_each(|text| {
                each_word(text.as_bytes(), |word| *expected.entry(word.to_vec()).or_default() += 1);
            });
            counts.add(batch.iter().map(String::as_str)).unwrap();
        }
        assert!(expected.len() > 3_000 && counts.len() == expected.len());
        assert_eq!(counts.bytes(), expected.keys().map(|word| word.len() as u64).sum::<u64>());
        let mut found = HashMap::new();
        counts.drain(|word, count| assert!(found.insert(word.to_vec(), count).is_none()));
        assert_eq!(found, expected);
    }

    #[test]
    fn more_words_than_memory_are_refused() {
        let memory = memory_of(1, 100);
        let counts = WordCounts::new(5, memory + 5);
        counts.add(["a".repeat(100).as_str()].into_iter()).unwrap();
        assert_eq!(counts.add(["b"].into_iter()), Err(Full { needed: memory_of(2, 101) + 5, memory: memory + 5 }));
    }
}
