//! Links: the pairs that a match key's documents are compared in.
//!
//! Comparing all pairs of a bucket of m documents costs m^2; a page that a site repeats a million times would never end.
//! Each document is compared with the bucket's best (the one the keep policy prefers above all others in it) and with the
//! few that came just before it in input order. A bucket of up to [`NEIGHBOURS`] + 1 documents is compared in full.

use super::keep::Rank;

/// Documents before it that a document is compared with, besides the bucket's best.
pub const NEIGHBOURS: usize = 8;

/// The last documents of a bucket, in input order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Neighbours {
    ring: [Option<Rank>; NEIGHBOURS],
    next: usize,
}

/// Two documents to compare: the one that would go, the one that would stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The one the keep policy likes less.
    pub worse: u64,
    /// The other.
    pub better: u64,
}

impl Pair {
    /// The pair of two documents; None where they are one.
    pub fn of(left: Rank, right: Rank) -> Option<Pair> {
        match left.cmp(&right) {
            std::cmp::Ordering::Less => Some(Pair { worse: right.document, better: left.document }),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Pair { worse: left.document, better: right.document }),
        }
    }
}

impl Neighbours {
    /// Adds the bucket's next document in input order and hands out the pairs it is compared in.
    pub fn push(&mut self, document: Rank, best: Rank, mut each: impl FnMut(Pair)) {
        if !self.ring.contains(&Some(best)) {
            Pair::of(document, best).into_iter().for_each(&mut each);
        }
        self.ring.iter().flatten().filter_map(|earlier| Pair::of(document, *earlier)).for_each(each);
        if let Some(slot) = self.ring.get_mut(self.next) {
            *slot = Some(document);
        }
        self.next = (self.next + 1) % NEIGHBOURS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: u64, best: u64) -> Vec<Pair> {
        let rank = |document| Rank { priority: u64::from(document != best), document };
        let mut neighbours = Neighbours::default();
        let mut found = Vec::new();
        (0..count).for_each(|document| neighbours.push(rank(document), rank(best), |pair| found.push(pair)));
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn a_small_bucket_is_compared_in_full() {
        assert_eq!(pairs(9, 0).len(), 9 * 8 / 2);
        assert_eq!(pairs(5, 3).len(), 5 * 4 / 2);
    }

    #[test]
    fn a_large_bucket_costs_a_bounded_number_a_document_and_all_meet_the_best() {
        let found = pairs(1_000, 700);
        assert!(found.len() <= 1_000 * (NEIGHBOURS + 1), "{}", found.len());
        let met = found.iter().filter(|pair| pair.better == 700).count();
        assert_eq!(met, 999);
    }
}
