//! From counts of n-grams to adjusted counts, in one walk over n-grams sorted by suffix.
//!
//! Kneser and Ney's idea: a shorter n-gram counts the different words it was seen after, not its occurrences. One that
//! begins a line was seen after nothing, and keeps its occurrences (Chen and Goodman 1998; Heafield et al. 2013).

use super::discounts::Statistics;
use super::gram::{Gram, ORDER_MAX, common, shortened};
use super::sort::{Sorter, Stream};
use crate::error::Error;

/// An adjusted count, and whether the n-gram is pruned, as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adjusted {
    pub count: u64,
    pub is_pruned: bool,
}

impl Adjusted {
    pub fn pack(self) -> u64 {
        self.count << 1 | u64::from(self.is_pruned)
    }

    pub fn unpack(value: u64) -> Adjusted {
        Adjusted { count: value >> 1, is_pruned: value & 1 == 1 }
    }
}

/// An n-gram shorter than the longest ones, whose extensions are being counted.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    adjusted: u64,
    occurrences: u64,
}

/// Hands n-grams of each order, with their adjusted counts, to a sorter.
#[derive(Debug)]
pub(super) struct Adjuster<'a> {
    order: usize,
    /// For each order, the most occurrences of an n-gram that is pruned.
    prune: &'a [u64],
    sorters: &'a mut [Sorter],
    statistics: &'a mut [Statistics],
    words: [u32; ORDER_MAX],
    open: Vec<Open>,
}

impl<'a> Adjuster<'a> {
    /// `prune`, `sorters` and `statistics` have an entry an order.
    pub fn new(prune: &'a [u64], sorters: &'a mut [Sorter], statistics: &'a mut [Statistics]) -> Adjuster<'a> {
        let order = prune.len();
        Adjuster { order, prune, sorters, statistics, words: [0; ORDER_MAX], open: Vec::new() }
    }

    /// Takes n-grams of the highest order by suffix, with their occurrences; those that begin a line are shorter.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn run(mut self, mut grams: Stream<'_>) -> Result<(), Error> {
        while let Some(gram) = grams.next()? {
            self.take(&gram)?;
        }
        self.close_to(0)
    }

    fn take(&mut self, gram: &Gram) -> Result<(), Error> {
        let len = gram.words.iter().take_while(|word| **word != 0).count().min(self.order);
        // Shorter n-grams that go on being extended.
        let shared = common(&self.words, &gram.words).min(self.open.len());
        self.close_to(shared)?;
        self.words = gram.words;
        self.open.iter_mut().for_each(|open| open.occurrences += gram.value);
        if let Some(open) = self.open.last_mut() {
            open.adjusted += 1;
        }
        let shorter = if len == self.order { len - 1 } else { len };
        for new in self.open.len() + 1..=shorter {
            let begins_line = new == len;
            self.open.push(Open { adjusted: if begins_line { gram.value } else { 1 }, occurrences: gram.value });
        }
        if len == self.order { self.put(len, gram.value, gram.value) } else { Ok(()) }
    }

    /// Closes the n-grams of more than `keep` words.
    fn close_to(&mut self, keep: usize) -> Result<(), Error> {
        while self.open.len() > keep {
            let len = self.open.len();
            if let Some(open) = self.open.pop() {
                self.put(len, open.adjusted, open.occurrences)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, len: usize, count: u64, occurrences: u64) -> Result<(), Error> {
        let at = len - 1;
        let is_pruned = self.prune.get(at).is_some_and(|most| occurrences <= *most);
        if let Some(statistics) = self.statistics.get_mut(at) {
            statistics.add(count, is_pruned);
        }
        let gram = Gram { words: shortened(&self.words, len), value: Adjusted { count, is_pruned }.pack() };
        self.sorters.get_mut(at).map_or(Ok(()), |sorter| sorter.push(gram))
    }
}
