//! Two texts side by side: how similar they are, which match keys they share, and the longest passages in common.

use std::collections::HashSet;
use std::ops::Range;

use super::settings::Near;
use super::shingles::{Shingler, shared};
use super::signature::Sketcher;
use super::units::scan;

/// What two texts have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Shingles of each.
    pub shingles: [usize; 2],
    /// Shingles of both.
    pub shared: usize,
    /// Jaccard similarity.
    pub similarity: f64,
    /// Match keys of both, of those that each has.
    pub keys_shared: usize,
    /// Longest passages of the left text whose every shingle the right one has, as bytes of the left, longest first.
    pub passages: Vec<Range<usize>>,
}

/// Compares two texts as a run with these settings does.
pub fn compare(near: &Near, left: &str, right: &str) -> Comparison {
    let mut shingler = Shingler::new(near.shingle_units);
    let runs = shingler.runs(left).to_vec();
    let (left_set, right_set) = (shingler.set(left), shingler.set(right));
    let both = shared(&left_set, &right_set);
    let all = left_set.len() + right_set.len() - both;
    let right_keys: HashSet<u64> = keys(near, &right_set).into_iter().collect();
    Comparison {
        shingles: [left_set.len(), right_set.len()],
        shared: both,
        similarity: if all == 0 { 0.0 } else { both as f64 / all as f64 },
        keys_shared: keys(near, &left_set).iter().filter(|key| right_keys.contains(key)).count(),
        passages: passages(left, &runs, &right_set, near.shingle_units),
    }
}

fn keys(near: &Near, shingles: &[u64]) -> Vec<u64> {
    let mut sketcher = Sketcher::new(near.bands.values());
    sketcher.sketch(shingles).map_or_else(Vec::new, |signature| near.bands.keys(signature).collect())
}

fn passages(text: &str, runs: &[u64], other: &[u64], length: usize) -> Vec<Range<usize>> {
    let mut units = Vec::new();
    scan(text, |_, bytes| units.push(bytes));
    if units.len() < length {
        let whole = runs.first().is_some_and(|run| other.binary_search(run).is_ok());
        return whole.then_some(0..text.len()).into_iter().collect();
    }
    let is_shared: Vec<bool> = runs.iter().map(|run| other.binary_search(run).is_ok()).collect();
    let mut found = Vec::new();
    let mut next = 0;
    for group in is_shared.chunk_by(|left, right| left == right) {
        let last = next + group.len() - 1 + length - 1;
        if let (Some(true), Some(start), Some(end)) = (group.first(), units.get(next), units.get(last)) {
            found.push(start.start..end.end);
        }
        next += group.len();
    }
    found.sort_by_key(|bytes| (std::cmp::Reverse(bytes.len()), bytes.start));
    found
}

#[cfg(test)]
mod tests {
    use schemas::config::{Dedup, DedupMethod};

    use super::*;
    use crate::dedup::settings::Settings;

    fn near() -> Near {
        let config = Dedup { method: DedupMethod::Minhash, shingle: 2, ..Dedup::default() };
        Settings::from_config(&config).unwrap().near.unwrap()
    }

    #[test]
    fn passages_are_what_both_hold_longest_first() {
        let left = "one two, three; x four five";
        let found = compare(&near(), left, "four five six one two three");
        assert_eq!((found.shingles, found.shared), ([5, 5], 3));
        assert_eq!(found.similarity, 3.0 / 7.0);
        let passages: Vec<&str> = found.passages.into_iter().map(|bytes| &left[bytes]).collect();
        assert_eq!(passages, ["one two, three", "four five"]);
    }

    #[test]
    fn equal_texts_share_everything_and_unlike_ones_nothing() {
        let same = compare(&near(), "好", "好");
        assert_eq!((same.similarity, same.keys_shared, same.passages.first()), (1.0, 18, Some(&(0..3))));
        let other = compare(&near(), "one two", "three four");
        assert_eq!((other.similarity, other.keys_shared, other.passages.len()), (0.0, 0, 0));
    }
}
