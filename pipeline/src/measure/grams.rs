//! Counting how often each of many hashes occurs, in a table that documents take turns with.
//!
//! Nothing is cleared between documents: a slot belongs to the count that stamped it. A count uses as much of the
//! table as it needs, so short documents stay in the cache. A long document is counted in passes, each over the
//! hashes of one residue class, so that its length does not decide how much memory is used.

/// Most entries that one pass counts: with 16 bytes a slot and two slots an entry, 16 MiB a thread.
const PASS_ENTRIES_MAX: usize = 1 << 19;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    stamp: u32,
    count: u32,
}

/// A hash table of counts.
#[derive(Debug, Default)]
pub(super) struct Grams {
    slots: Vec<Slot>,
    mask: usize,
    stamp: u32,
    /// Slots whose hash occurs more than once.
    repeated: Vec<u32>,
    distinct: u64,
}

/// How often hashes occur.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frequencies {
    /// Different hashes.
    pub distinct: u64,
    /// How often each hash occurs that occurs more than once; in no order.
    pub repeated: Vec<u32>,
}

impl Frequencies {
    /// Hashes that occur once.
    pub fn singletons(&self) -> u64 {
        self.distinct - self.repeated.len() as u64
    }

    /// Occurrences of the `k` most frequent of the repeated hashes.
    pub fn top(&mut self, k: usize) -> u64 {
        if k == 0 {
            return 0;
        }
        if k < self.repeated.len() {
            self.repeated.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        }
        self.repeated.iter().take(k).map(|count| u64::from(*count)).sum()
    }
}

impl Grams {
    /// Counts the hashes that `each` hands out, at most `entries`, the same in every call.
    pub fn count(&mut self, entries: usize, mut each: impl FnMut(&mut dyn FnMut(u64)), out: &mut Frequencies) {
        out.distinct = 0;
        out.repeated.clear();
        let passes = entries.div_ceil(PASS_ENTRIES_MAX) as u64;
        for pass in 0..passes {
            self.start(entries.min(PASS_ENTRIES_MAX));
            match passes {
                1 => each(&mut |hash| {
                    self.add(hash);
                }),
                _ => each(&mut |hash| {
                    if (hash >> 32) % passes == pass {
                        self.add(hash);
                    }
                }),
            }
            out.distinct += self.distinct;
            out.repeated
                .extend(self.repeated.iter().filter_map(|slot| self.slots.get(*slot as usize)).map(|slot| slot.count));
        }
    }

    /// Makes ready for at most `entries` different hashes, all unseen.
    pub fn start(&mut self, entries: usize) {
        let capacity = (entries * 2).max(64).next_power_of_two();
        if self.slots.len() < capacity {
            self.slots = vec![Slot::default(); capacity];
            self.stamp = 0;
        }
        self.mask = capacity - 1;
        self.stamp = self.stamp.checked_add(1).unwrap_or_else(|| {
            self.slots.fill(Slot::default());
            1
        });
        self.repeated.clear();
        self.distinct = 0;
    }

    /// How often a hash occurred; 0 if it did not.
    pub fn occurrences(&self, hash: u64) -> u32 {
        let mut index = hash as usize & self.mask;
        while let Some(slot) = self.slots.get(index).filter(|slot| slot.stamp == self.stamp) {
            if slot.hash == hash {
                return slot.count;
            }
            index = (index + 1) & self.mask;
        }
        0
    }

    /// Gives memory back that only an unusually long document needed.
    pub fn shrink(&mut self) {
        if self.slots.len() > PASS_ENTRIES_MAX * 2 {
            *self = Grams::default();
        }
    }

    /// Counts a hash; returns how often it has occurred, this time included.
    #[inline]
    pub fn add(&mut self, hash: u64) -> u32 {
        let mut index = hash as usize & self.mask;
        while let Some(slot) = self.slots.get_mut(index) {
            if slot.stamp != self.stamp {
                *slot = Slot { hash, stamp: self.stamp, count: 1 };
                self.distinct += 1;
                return 1;
            }
            if slot.hash == hash {
                slot.count = slot.count.saturating_add(1);
                if slot.count == 2 {
                    self.repeated.push(index as u32);
                }
                return slot.count;
            }
            index = (index + 1) & self.mask;
        }
        0
    }
}

/// A good 64-bit mix: splitmix64's finalizer, so that every bit of a rolling hash decides the slot.
#[inline]
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let value = (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    value ^ (value >> 32)
}

/// A rolling hash over the last N values.
pub(super) struct Rolling<const N: usize> {
    ring: [u64; N],
    at: usize,
    seen: usize,
    hash: u64,
}

/// Odd, and no pattern in its bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl<const N: usize> Rolling<N> {
    const LEAVING: u64 = {
        let (mut power, mut left) = (1_u64, N);
        while left > 0 {
            power = power.wrapping_mul(MULTIPLIER);
            left -= 1;
        }
        power
    };

    pub fn new() -> Self {
        Rolling { ring: [0; N], at: 0, seen: 0, hash: 0 }
    }

    /// Adds a value; the hash of the last N once there are so many.
    #[inline]
    pub fn push(&mut self, value: u64) -> Option<u64> {
        let oldest = self.ring.get_mut(self.at).map_or(0, |slot| std::mem::replace(slot, value));
        self.at = if self.at + 1 == N { 0 } else { self.at + 1 };
        self.hash =
            self.hash.wrapping_mul(MULTIPLIER).wrapping_add(value).wrapping_sub(oldest.wrapping_mul(Self::LEAVING));
        self.seen += 1;
        (self.seen >= N).then(|| mix(self.hash))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn brute(hashes: &[u64]) -> (u64, Vec<u32>) {
        let mut counts: HashMap<u64, u32> = HashMap::new();
        hashes.iter().for_each(|hash| *counts.entry(*hash).or_default() += 1);
        let mut repeated: Vec<u32> = counts.values().copied().filter(|count| *count > 1).collect();
        repeated.sort_unstable();
        (counts.len() as u64, repeated)
    }

    fn counted(grams: &mut Grams, hashes: &[u64]) -> (u64, Vec<u32>) {
        let mut out = Frequencies::default();
        grams.count(hashes.len(), |add| hashes.iter().for_each(|hash| add(*hash)), &mut out);
        out.repeated.sort_unstable();
        (out.distinct, out.repeated)
    }

    #[test]
    fn counts_are_those_of_a_map_for_one_document_after_another() {
        let mut grams = Grams::default();
        for n in [10_u64, 100_000, 3, 0, 1_000] {
            let hashes: Vec<u64> = (0..n).map(|i| mix(i * i % 997)).collect();
            assert_eq!(counted(&mut grams, &hashes), brute(&hashes));
        }
    }

    #[test]
    fn a_long_document_is_counted_in_passes_to_the_same_result() {
        let hashes: Vec<u64> = (0..PASS_ENTRIES_MAX as u64 * 2 + 7).map(|i| mix(i / 3 * 2)).collect();
        let mut grams = Grams::default();
        assert_eq!(counted(&mut grams, &hashes), brute(&hashes));
        assert!(grams.slots.len() <= PASS_ENTRIES_MAX * 2);
    }

    #[test]
    fn a_rolling_hash_is_a_function_of_the_last_values_alone() {
        let (mut a, mut b) = (Rolling::<3>::new(), Rolling::<3>::new());
        let _ = [9, 9, 1, 2].map(|value| a.push(value));
        let _ = [1, 1, 2].map(|value| b.push(value));
        assert_eq!(a.push(3), b.push(3));
        assert_ne!(a.push(4), b.push(5));
    }

    #[test]
    fn the_most_frequent_are_added_up() {
        let mut frequencies = Frequencies { distinct: 9, repeated: vec![2, 7, 3, 5] };
        assert_eq!((frequencies.top(2), frequencies.top(9), frequencies.top(0)), (12, 17, 0));
        assert_eq!(frequencies.singletons(), 5);
    }
}
