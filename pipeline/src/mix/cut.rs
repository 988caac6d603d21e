//! [`Cut`]: how often the documents of a group occur.

use serde::{Deserialize, Serialize};

use super::hash::bound;

/// How often the documents of a group occur: `whole` times each, and once more where their hash lies below the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Times every document occurs.
    pub whole: u32,
    /// Documents of a smaller hash occur once more.
    pub below: u64,
}

impl Cut {
    /// Every document once.
    pub const ALL: Cut = Cut { whole: 1, below: 0 };

    /// `weight` times on average.
    pub fn of_weight(weight: f64) -> Cut {
        let whole = weight.floor();
        Cut { whole: whole as u32, below: bound(weight - whole).unwrap_or(u64::MAX) }
    }

    /// At most `wanted` tokens of a group that has these tokens by ranges of the hash; no document more than
    /// `max_copies` times.
    pub fn of_budget(wanted: u64, tokens_by_hash: &[u64], max_copies: u32) -> Cut {
        let all: u64 = tokens_by_hash.iter().sum();
        let Some(whole) = wanted.checked_div(all) else { return Cut::ALL };
        if whole >= u64::from(max_copies) {
            return Cut { whole: max_copies, below: 0 };
        }
        let (mut left, mut ranges) = (wanted - whole * all, 0);
        for tokens in tokens_by_hash {
            let Some(rest) = left.checked_sub(*tokens) else { break };
            left = rest;
            ranges += 1;
        }
        let range = (u128::from(u64::MAX) + 1) / tokens_by_hash.len() as u128;
        Cut { whole: whole as u32, below: (range * ranges) as u64 }
    }

    /// How often a document of this hash occurs.
    pub fn copies(self, hash: u64) -> u32 {
        self.whole + u32::from(hash < self.below)
    }

    /// Most times a document occurs.
    pub fn copies_max(self) -> u32 {
        self.whole + u32::from(self.below > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_whole_copies_and_a_share_of_hashes() {
        assert_eq!(Cut::of_weight(2.0), Cut { whole: 2, below: 0 });
        assert_eq!(Cut::of_weight(0.5), Cut { whole: 0, below: 1 << 63 });
        assert_eq!(Cut::of_weight(0.0).copies_max(), 0);
        assert_eq!((Cut::of_weight(1.5).copies(0), Cut::of_weight(1.5).copies(u64::MAX)), (2, 1));
    }

    #[test]
    fn a_budget_is_not_exceeded() {
        let cut = Cut::of_budget(25, &[10, 0, 7, 3], 16);
        assert_eq!(cut.whole, 1);
        assert_eq!(cut.copies(u64::MAX / 4 + 2), 1, "10 tokens more would be 30");
        let cut = Cut::of_budget(37, &[10, 0, 7, 3], 16);
        assert_eq!((cut.whole, cut.below), (1, 3 << 62), "17 of 20 once more");
    }

    #[test]
    fn a_budget_beyond_the_most_copies_falls_short() {
        assert_eq!(Cut::of_budget(1_000_000, &[1, 1], 4), Cut { whole: 4, below: 0 });
        assert_eq!(Cut::of_budget(5, &[0, 0], 4), Cut::ALL);
    }
}
