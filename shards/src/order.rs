//! Which window of which shard is sample `n` of epoch `e`: computed, not stored.
//!
//! A shard of n tokens gives floor((n - 1) / T) windows of T + 1 tokens at stride T. Windows are numbered through
//! all shards; a keyed permutation of those numbers, one an epoch, is the order. Any rank of any world size finds its
//! samples, and resumes, in O(log shards). The permutation is a Feistel network on the window number's bits,
//! with cycle walking (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), in wrapping u64
//! arithmetic, so that it is the same on every machine. The formula and test vectors: docs/FORMAT.md, "Sample order".

/// Rounds of the network; four suffice in theory for long halves, short halves want more.
const ROUNDS: u64 = 8;
/// 2^64 divided by the golden ratio: the increment of splitmix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The order of the sequences of a list of shards.
#[derive(Debug, Clone)]
pub struct SequenceOrder {
    /// Number of the first window of each shard, then the number of all windows.
    first_window: Vec<u64>,
    sequence_tokens: u32,
    dropped_tail_tokens: u64,
    seed: Option<u64>,
}

impl SequenceOrder {
    /// A shuffled order. `shard_tokens` are the tokens of each shard, in manifest order; `sequence_tokens` is T, the
    /// tokens a sequence predicts. A sequence length of 0 gives no sequences.
    pub fn new(shard_tokens: &[u64], sequence_tokens: u32, seed: u64) -> SequenceOrder {
        SequenceOrder { seed: Some(seed), ..SequenceOrder::sequential(shard_tokens, sequence_tokens) }
    }

    /// The order of the shards themselves, the same in every epoch: for evaluation.
    pub fn sequential(shard_tokens: &[u64], sequence_tokens: u32) -> SequenceOrder {
        let mut first_window = vec![0];
        let (mut windows, mut dropped_tail_tokens) = (0, 0);
        for tokens in shard_tokens {
            let here = windows_of(*tokens, sequence_tokens);
            windows += here;
            first_window.push(windows);
            dropped_tail_tokens += tokens - covered_tokens(here, sequence_tokens);
        }
        SequenceOrder { first_window, sequence_tokens, dropped_tail_tokens, seed: None }
    }

    /// Sequences in an epoch.
    pub fn len(&self) -> u64 {
        self.first_window.last().copied().unwrap_or_default()
    }

    /// Whether no shard is long enough for one sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that no window holds, over all shards: what remains at their ends.
    pub fn dropped_tail_tokens(&self) -> u64 {
        self.dropped_tail_tokens
    }

    /// Position of the shard in the list, and offset in it in tokens, of sample `n` of an epoch; its window is the
    /// T + 1 tokens from there. None where `n` is not below [`SequenceOrder::len`].
    pub fn locate(&self, epoch: u64, n: u64) -> Option<(usize, u64)> {
        let windows = self.len();
        if n >= windows {
            return None;
        }
        let window = self.seed.map_or(n, |seed| permute(n, windows, seed, epoch));
        let shard = self.first_window.partition_point(|first| *first <= window).checked_sub(1)?;
        let within = window - self.first_window.get(shard)?;
        Some((shard, within * u64::from(self.sequence_tokens)))
    }

    /// As [`SequenceOrder::locate`], for sample `n` counted through all epochs. None where an epoch is empty.
    pub fn locate_global(&self, n: u64) -> Option<(usize, u64)> {
        self.locate(n.checked_div(self.len())?, n.checked_rem(self.len())?)
    }
}

/// floor((tokens - 1) / T), 0 for an empty shard.
fn windows_of(tokens: u64, sequence_tokens: u32) -> u64 {
    tokens.saturating_sub(1).checked_div(u64::from(sequence_tokens)).unwrap_or_default()
}

fn covered_tokens(windows: u64, sequence_tokens: u32) -> u64 {
    if windows == 0 { 0 } else { windows * u64::from(sequence_tokens) + 1 }
}

/// The permutation of `0..windows` (not empty, and it holds `n`) for a seed and an epoch.
fn permute(n: u64, windows: u64, seed: u64, epoch: u64) -> u64 {
    // A power of two at least as large as `windows` and less than twice it: fewer than two walks on average.
    let bits = (u64::BITS - (windows - 1).leading_zeros()).max(2);
    let key = mix(mix(seed.wrapping_add(GAMMA)) ^ epoch.wrapping_mul(GAMMA));
    let mut value = n;
    loop {
        value = feistel(value, bits, key);
        if value < windows {
            return value;
        }
    }
}

/// One pass: in even rounds the high half is changed by the low half, in odd rounds the low half by the high half.
fn feistel(value: u64, bits: u32, key: u64) -> u64 {
    let low_bits = bits / 2;
    let low_mask = (1 << low_bits) - 1;
    let high_mask = (1 << (bits - low_bits)) - 1;
    let (mut high, mut low) = (value >> low_bits, value & low_mask);
    for round in 0..ROUNDS {
        let round_key = mix(key.wrapping_add((round + 1).wrapping_mul(GAMMA)));
        if round % 2 == 0 {
            high ^= mix(round_key ^ low) & high_mask;
        } else {
            low ^= mix(round_key ^ high) & low_mask;
        }
    }
    high << low_bits | low
}

/// The finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epoch_of(order: &SequenceOrder, epoch: u64) -> Vec<(usize, u64)> {
        (0..order.len()).map(|n| order.locate(epoch, n).unwrap()).collect()
    }

    #[test]
    fn windows_need_one_token_more_than_they_predict() {
        let order = SequenceOrder::sequential(&[0, 1, 4, 5, 8, 9], 4);
        assert_eq!(epoch_of(&order, 0), [(3, 0), (4, 0), (5, 0), (5, 4)]);
        assert_eq!(order.dropped_tail_tokens(), 1 + 4 + 3);
    }

    #[test]
    fn a_sequence_length_of_zero_gives_no_sequences() {
        let order = SequenceOrder::new(&[100], 0, 0);
        assert!(order.is_empty());
        assert_eq!((order.locate(0, 0), order.locate_global(0)), (None, None));
    }

    #[test]
    fn a_sample_beyond_the_epoch_is_none_and_the_global_count_goes_on() {
        let order = SequenceOrder::new(&[41], 4, 7);
        assert_eq!(order.locate(0, 10), None);
        assert_eq!(order.locate_global(13), order.locate(1, 3));
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = SequenceOrder::new(&[4001], 4, 7);
        let other = SequenceOrder::new(&[4001], 4, 8);
        assert_ne!(epoch_of(&order, 0), epoch_of(&order, 1));
        assert_ne!(epoch_of(&order, 0), epoch_of(&other, 0));
    }

    /// The vectors of docs/FORMAT.md; they are never regenerated.
    #[test]
    fn the_permutation_is_the_one_in_the_format() {
        let permuted = |windows, seed, epoch| (0..8).map(|n| permute(n, windows, seed, epoch)).collect::<Vec<u64>>();
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
        assert_eq!(permuted(10, 0, 0), [0, 3, 6, 2, 8, 7, 5, 9]);
        assert_eq!(permuted(10, 0, 1), [2, 3, 9, 8, 5, 4, 6, 1]);
        assert_eq!(
            permuted(1_000_003, 42, 3),
            [561_190, 593_834, 398_635, 790_553, 409_418, 953_853, 430_897, 677_854]
        );
        let far = [696_273_422_006, 655_000_768_974, 501_233_439_717, 484_325_636_937];
        assert_eq!(permuted(1 << 40, u64::MAX, u64::MAX)[..4], far);
    }

    #[test]
    fn every_place_is_about_equally_likely() {
        // 64 windows, 4,096 seeds: the count of each (n, value) is 64 +- 8; chi-square of 63 x 63 degrees.
        let mut counts = vec![0f64; 64 * 64];
        for seed in 0..4096 {
            (0..64).for_each(|n| counts[(n * 64 + permute(n, 64, seed, 0)) as usize] += 1.0);
        }
        let chi_square: f64 = counts.iter().map(|count| (count - 64.0) * (count - 64.0) / 64.0).sum();
        assert!((chi_square - 3969.0).abs() < 5.0 * (2.0f64 * 3969.0).sqrt(), "{chi_square}");
    }

    #[test]
    fn neighbours_do_not_stay_neighbours() {
        let (windows, seed) = (100_000, 5);
        let close =
            (1..windows).filter(|n| permute(*n, windows, seed, 0).abs_diff(permute(n - 1, windows, seed, 0)) < 100);
        // Expected 2 x 99 / 100,000 of them: 198, with a deviation of 14.
        assert!((close.count() as i64 - 198).abs() < 70);
    }

    proptest! {
        #[test]
        fn an_epoch_holds_every_window_once(
            shards in prop::collection::vec(0u64..400, 1..8), length in 1u32..20, seed: u64, epoch: u64,
        ) {
            let shuffled = SequenceOrder::new(&shards, length, seed);
            let mut seen = epoch_of(&shuffled, epoch);
            seen.sort_unstable();
            prop_assert_eq!(seen, epoch_of(&SequenceOrder::sequential(&shards, length), epoch));
        }
    }
}
