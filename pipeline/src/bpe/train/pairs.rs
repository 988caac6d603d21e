//! The pairs of neighbours that may still be merged: how often each occurs, and where.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use super::cells::{Cells, GAP, count_of, token_of};

/// A pair of tokens.
pub type Pair = (u32, u32);

/// One pair.
#[derive(Debug, Default)]
pub struct Places {
    /// Occurrences in all texts.
    pub count: u64,
    /// Where the left token begins, ascending; places where it no longer does stay in the list.
    pub places: Vec<u32>,
}

/// All pairs that occur often enough.
///
/// A pair is complete when it first occurs: every later merge makes pairs with its own new token, and takes occurrences
/// from others. So a pair below the least count never comes back, and is forgotten.
#[derive(Default)]
pub struct Pairs {
    map: HashMap<u64, Places, BuildHasherDefault<PairHasher>>,
    least: u64,
}

/// One multiplication: the keys are pairs of small numbers.
#[derive(Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, key: u64) {
        let product = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

fn key_of((left, right): Pair) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl Pairs {
    /// The pairs of bytes in words, those that occur at least `least` times.
    pub fn of_bytes(cells: &Cells, tokens: &[u32; 256], least: u64) -> Pairs {
        let ranges = ranges(&cells.all, rayon::current_num_threads());
        let parts: Vec<Vec<Places>> = ranges.into_par_iter().map(|range| byte_pairs(cells, range, tokens)).collect();
        let mut pairs = Pairs { map: HashMap::default(), least };
        for (at, left) in tokens.iter().enumerate() {
            for (other, right) in tokens.iter().enumerate() {
                let of_pair = parts.iter().filter_map(|part| part.get(at << 8 | other));
                let count: u64 = of_pair.clone().map(|places| places.count).sum();
                if count >= least {
                    let places = of_pair.flat_map(|part| &part.places).copied().collect();
                    pairs.map.insert(key_of((*left, *right)), Places { count, places });
                }
            }
        }
        pairs
    }

    /// All pairs with their counts.
    pub fn counts(&self) -> impl Iterator<Item = (Pair, u64)> {
        self.map.iter().map(|(key, places)| (((*key >> 32) as u32, *key as u32), places.count))
    }

    /// How often a pair occurs; None if too seldom.
    pub fn count(&self, pair: Pair) -> Option<u64> {
        self.map.get(&key_of(pair)).map(|places| places.count)
    }

    /// Adds a pair, if it occurs often enough; whether it does.
    pub fn add(&mut self, pair: Pair, mut places: Places) -> bool {
        let enough = places.count >= self.least;
        if enough {
            places.places.shrink_to_fit();
            self.map.insert(key_of(pair), places);
        }
        enough
    }

    /// Takes a pair out.
    pub fn take(&mut self, pair: Pair) -> Option<Places> {
        self.map.remove(&key_of(pair))
    }

    /// Takes occurrences from a pair.
    pub fn lessen(&mut self, pair: Pair, by: u64) {
        let Some(places) = self.map.get_mut(&key_of(pair)) else { return };
        places.count = places.count.saturating_sub(by);
        if places.count < self.least {
            self.map.remove(&key_of(pair));
        }
    }
}

/// As many runs of whole words, about equally long.
fn ranges(cells: &[u32], wanted: usize) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for part in 1..=wanted {
        let from = (cells.len() * part / wanted).max(start);
        let gap = cells.iter().skip(from).position(|cell| *cell == GAP);
        let end = gap.map_or(cells.len(), |at| from + at);
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// By left and right byte: pairs within a run of cells that are all bytes.
fn byte_pairs(cells: &Cells, range: std::ops::Range<usize>, tokens: &[u32; 256]) -> Vec<Places> {
    let mut byte_of = vec![0_u8; tokens.iter().max().map_or(0, |token| *token as usize + 1)];
    for (byte, token) in (0..=255).zip(tokens) {
        if let Some(slot) = byte_of.get_mut(*token as usize) {
            *slot = byte;
        }
    }
    let index = |pair: &[u32]| match pair {
        [left, right] if token_of(*left) != GAP && token_of(*right) != GAP => {
            let byte = |cell: u32| byte_of.get(token_of(cell) as usize).copied().unwrap_or_default();
            Some(usize::from(byte(*left)) << 8 | usize::from(byte(*right)))
        }
        _ => None,
    };
    let all = cells.all.get(range.clone()).unwrap_or_default();
    let mut numbers = vec![0_usize; 1 << 16];
    for pair in all.windows(2) {
        if let Some(number) = index(pair).and_then(|index| numbers.get_mut(index)) {
            *number += 1;
        }
    }
    let empty = |number: usize| Places { count: 0, places: Vec::with_capacity(number) };
    let mut pairs: Vec<Places> = numbers.into_iter().map(empty).collect();
    for (place, pair) in (range.start as u32..).zip(all.windows(2)) {
        if let Some((places, left)) = index(pair).and_then(|index| pairs.get_mut(index)).zip(pair.first()) {
            places.count += count_of(*left, place, &cells.frequent);
            places.places.push(place);
        }
    }
    pairs
}
