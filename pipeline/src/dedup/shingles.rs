//! Shingles: the set of runs of n units of a text, as 64-bit hashes, and the Jaccard similarity of two such sets.
//!
//! A text of fewer than n units has one shingle, of all that is not white space in it, so short texts neither vanish nor
//! collide; one of nothing but white space has none. Two unequal runs share a hash with a chance of 2^-64.

use super::simd::{Level, at_every_level};
use super::units::{mix, units, whole};

/// Odd, so that multiplication loses no bit; the golden ratio's.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes the shingles of texts; keeps its buffers between them.
#[derive(Debug)]
pub struct Shingler {
    length: usize,
    level: Level,
    units: Vec<u64>,
    shingles: Vec<u64>,
}

impl Shingler {
    /// Runs of `length` units, at least 1.
    pub fn new(length: usize) -> Self {
        Shingler::at(Level::best(), length)
    }

    fn at(level: Level, length: usize) -> Self {
        Shingler { length: length.max(1), level, units: Vec::new(), shingles: Vec::new() }
    }

    /// Hashes of every run, in order, with repetitions.
    pub fn runs(&mut self, text: &str) -> &[u64] {
        self.units.clear();
        units(text, &mut self.units);
        self.shingles.clear();
        match self.units.len().checked_sub(self.length) {
            None => self.shingles.extend(whole(text)),
            Some(more) => {
                self.shingles.resize(more + 1, 0);
                hash_runs(self.level, &self.units, self.length, &mut self.shingles);
            }
        }
        &self.shingles
    }

    /// The set: sorted, without repetitions.
    pub fn set(&mut self, text: &str) -> Vec<u64> {
        let mut set = self.runs(text).to_vec();
        set.sort_unstable();
        set.dedup();
        set.shrink_to_fit();
        set
    }
}

at_every_level! {
    /// Hashes runs of units.
    hash_runs = runs_loop(units: &[u64], length: usize, out: &mut [u64])
}

/// Column by column instead of run by run: each pass is a loop without dependencies between its steps.
#[inline(always)]
fn runs_loop(units: &[u64], length: usize, out: &mut [u64]) {
    for offset in 0..length {
        let column = units.get(offset..).unwrap_or_default();
        out.iter_mut().zip(column).for_each(|(hash, unit)| *hash = hash.wrapping_mul(BASE).wrapping_add(*unit));
    }
    out.iter_mut().for_each(|hash| *hash = mix(*hash));
}

/// How many members two sorted sets share.
pub fn shared(left: &[u64], right: &[u64]) -> usize {
    let (mut l, mut r, mut count) = (0, 0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        count += usize::from(a == b);
        l += usize::from(a <= b);
        r += usize::from(b <= a);
    }
    count
}

/// Jaccard similarity of two sorted sets: shared members over all members; 0 for two empty ones.
pub fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let both = shared(left, right);
    let all = left.len() + right.len() - both;
    if all == 0 { 0.0 } else { both as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(left: &str, right: &str) -> f64 {
        let mut shingler = Shingler::new(5);
        jaccard(&shingler.set(left), &shingler.set(right))
    }

    #[test]
    fn one_changed_word_of_ten_costs_the_runs_it_stands_in() {
        let left = "a b c d e f g h i j";
        assert_eq!(similarity(left, "a b c d e f g h i x"), 5.0 / 7.0);
        assert_eq!(similarity(left, "A, B, C; d e f g h i j."), 1.0);
    }

    #[test]
    fn texts_shorter_than_a_shingle_are_told_apart() {
        assert_eq!(similarity("one two", "one two"), 1.0);
        assert_eq!(similarity("one two", "two one"), 0.0);
        assert_eq!(similarity("1 + 1", "1 - 1"), 0.0);
        assert_eq!(similarity("", ""), 0.0);
        assert_eq!(similarity("!!!", "???"), 0.0);
    }

    #[test]
    fn a_set_holds_each_shingle_once() {
        assert_eq!(Shingler::new(2).set("a a a a b").len(), 2);
        assert_eq!(Shingler::new(2).runs("a a a a b").len(), 4);
    }

    #[test]
    fn every_instruction_set_gives_the_same_shingles() {
        let text = "昨夜河水又涨了 but the river rose 没有漫过 path ".repeat(50);
        for length in [1, 2, 5, 13] {
            let portable = Shingler::at(Level::Portable, length).runs(&text).to_vec();
            for level in Level::all() {
                assert_eq!(Shingler::at(level, length).runs(&text), portable, "{level:?}, runs of {length}");
            }
        }
    }
}
