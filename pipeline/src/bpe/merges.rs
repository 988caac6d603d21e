//! Which pairs of tokens merge, and when: the rank of each pair.

/// A hash table of pairs to ranks, read once or more for each token of text: eight bytes an entry, at most a quarter
/// full, so that a pair that does not merge is mostly known from one look.
pub struct Merges {
    /// `a << 44 | b << 24 | rank`, or [`EMPTY`].
    slots: Vec<u64>,
    shift: u32,
    /// Bits of each pair's hash, two in one word: small enough for the first cache, it answers for most pairs, which do
    /// not merge.
    filter: Vec<u64>,
    /// The token that each rank makes.
    made: Vec<u32>,
}

const EMPTY: u64 = u64::MAX;
/// Ids are below this: they have 20 bits in hash tables.
pub const ID_LIMIT: u32 = 1 << 20;
/// The bits of an entry that are its rank.
const RANK: u32 = (1 << 24) - 1;

impl Merges {
    /// A table of `(left, right, made)` in order of rank, which begins at 1. Of a pair given twice, the later counts,
    /// as in Hugging Face's crate.
    pub fn new(merges: &[(u32, u32, u32)]) -> Merges {
        let bits = (merges.len().max(16) * 4).next_power_of_two().trailing_zeros();
        let mut table = Merges {
            slots: vec![EMPTY; 1 << bits],
            shift: u64::BITS - bits,
            filter: vec![0; 1 << (bits - 4)],
            made: Vec::with_capacity(merges.len() + 1),
        };
        table.made.push(0);
        for (rank, (left, right, made)) in (1..).zip(merges) {
            table.made.push(*made);
            table.insert(pair(*left, *right), rank);
        }
        table
    }

    fn insert(&mut self, pair: u64, rank: u32) {
        let (word, bits) = self.filter_bits(pair);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= bits;
        }
        let slot = self.find(pair);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = pair << 24 | u64::from(rank);
        }
    }

    #[inline(always)]
    fn filter_bits(&self, pair: u64) -> (usize, u64) {
        let hash = hash(pair);
        ((hash >> (self.shift + 4)) as usize, 1 << (hash >> 8 & 63) | 1 << (hash >> 2 & 63))
    }

    /// The slot of a pair, or the empty one where it would stand.
    #[inline(always)]
    fn find(&self, pair: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (hash(pair) >> self.shift) as usize;
        while self.slots.get(slot).is_some_and(|entry| *entry != EMPTY && entry >> 24 != pair) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The rank at which two tokens merge.
    #[inline(always)]
    pub fn rank(&self, left: u32, right: u32) -> Option<u32> {
        let pair = pair(left, right);
        let (word, bits) = self.filter_bits(pair);
        if self.filter.get(word).is_none_or(|word| word & bits != bits) {
            return None;
        }
        let entry = self.slots.get(self.find(pair)).copied().unwrap_or(EMPTY);
        (entry != EMPTY).then_some(entry as u32 & RANK)
    }

    /// The token that a merge makes.
    pub fn made(&self, rank: u32) -> u32 {
        self.made.get(rank as usize).copied().unwrap_or_default()
    }

    /// Merges the pair of lowest rank, of equal ones the leftmost, if any merges.
    pub fn merge_once(&self, symbols: &mut Vec<u32>) {
        let rank_at = |(at, pair): (usize, &[u32])| match pair {
            [left, right] => Some((self.rank(*left, *right)?, at)),
            _ => None,
        };
        let Some((rank, at)) = symbols.windows(2).enumerate().filter_map(rank_at).min() else { return };
        if let Some(symbol) = symbols.get_mut(at) {
            *symbol = self.made(rank);
        }
        symbols.remove(at + 1);
    }

    /// Merges a sequence until nothing merges: the definition of byte pair encoding, in quadratic time.
    pub fn merge_all(&self, symbols: &mut Vec<u32>) {
        loop {
            let before = symbols.len();
            self.merge_once(symbols);
            if symbols.len() == before {
                return;
            }
        }
    }
}

/// A product whose high bits depend on all bits of the pair; the low ones are mixed in from above.
#[inline(always)]
fn hash(pair: u64) -> u64 {
    let product = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 20 | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_rank_merges_first_and_of_equal_ones_the_leftmost() {
        let merges = Merges::new(&[(1, 1, 2), (2, 1, 3), (1, 4, 5)]);
        let merged = |symbols: &[u32]| {
            let mut symbols = symbols.to_vec();
            merges.merge_all(&mut symbols);
            symbols
        };
        assert_eq!(merged(&[1, 1, 1]), [3]);
        assert_eq!(merged(&[1, 1, 4]), [2, 4]);
        assert_eq!(merged(&[1, 4, 1, 1, 1, 1]), [5, 2, 2]);
        assert_eq!(merged(&[]), Vec::<u32>::new());
    }

    #[test]
    fn a_pair_given_twice_has_its_later_rank() {
        let merges = Merges::new(&[(1, 2, 3), (4, 5, 6), (1, 2, 3)]);
        assert_eq!((merges.rank(1, 2), merges.rank(4, 5), merges.rank(2, 1)), (Some(3), Some(2), None));
    }
}
