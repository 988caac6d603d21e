//! Several datasets as one: each gives its share of the samples, spread evenly and at random.
//!
//! Samples come in blocks of [`SLOTS`]. A dataset of weight `w` has `w * SLOTS` slots of every block (rounded by largest
//! remainders); a permutation keyed by seed and block says which. Sample `n` is thus found in O(1), and within a block
//! every dataset has exactly its share. Each dataset has epochs of its own: a small one of large weight repeats.

use shards::order::SequenceOrder;

use super::Windows;
use crate::error::{Error, Result};

/// Samples of a block; also how finely weights are kept.
pub(super) const SLOTS: u64 = 4096;

/// Datasets with their shares.
pub(super) struct Mixture {
    parts: Vec<Windows>,
    /// First slot of each dataset, then [`SLOTS`].
    first_slot: Vec<u64>,
    order: SequenceOrder,
}

impl Mixture {
    /// A mixture of datasets by weights, which need not sum to 1.
    ///
    /// # Errors
    /// [`Error::Config`] where a weight is no positive number or too small for a slot.
    pub(super) fn new(parts: Vec<(Windows, f64)>, seed: u64) -> Result<Mixture> {
        let (parts, weights): (Vec<Windows>, Vec<f64>) = parts.into_iter().unzip();
        let slots = slots(&weights)?;
        let mut first_slot = vec![0];
        first_slot.extend(slots.iter().scan(0, |sum, slots| {
            *sum += slots;
            Some(*sum)
        }));
        // One window for each slot: T = 1 over a list of one shard.
        let order = SequenceOrder::new(&[SLOTS + 1], 1, seed ^ crate::rng::stream("mixture"));
        Ok(Mixture { parts, first_slot, order })
    }

    pub(super) fn parts(&self) -> &[Windows] {
        &self.parts
    }

    /// The dataset of a sample, and its number there.
    pub(super) fn locate(&self, sample: u64) -> (usize, u64) {
        let (block, slot) = (sample / SLOTS, sample % SLOTS);
        let slot = self.order.locate(block, slot).map_or(slot, |(_, slot)| slot);
        let part = self.first_slot.partition_point(|first| *first <= slot).saturating_sub(1);
        let (first, next) = (self.first_slot[part], self.first_slot[part + 1]);
        (part, block * (next - first) + slot - first)
    }
}

/// Slots of each weight, by largest remainders; all together [`SLOTS`].
fn slots(weights: &[f64]) -> Result<Vec<u64>> {
    let refuse = |problem: String| Err(Error::Config { field: "data_weights", problem });
    let sum: f64 = weights.iter().sum();
    if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
        return refuse(format!("{weight} is no weight above 0"));
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * SLOTS as f64).collect();
    let mut slots: Vec<u64> = exact.iter().map(|slots| slots.floor() as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
    let missing = SLOTS.saturating_sub(slots.iter().sum());
    order.iter().take(missing as usize).for_each(|index| slots[*index] += 1);
    match slots.iter().position(|slots| *slots == 0) {
        Some(index) => refuse(format!("{} of {sum} is less than one sample of {SLOTS}", weights[index])),
        None => Ok(slots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_weights_and_fill_a_block() {
        assert_eq!(slots(&[3.0, 1.0]).unwrap(), [3072, 1024]);
        let thirds = slots(&[1.0, 1.0, 1.0]).unwrap();
        assert_eq!((thirds.iter().sum::<u64>(), thirds), (SLOTS, vec![1366, 1365, 1365]));
    }

    #[test]
    fn weights_that_are_none_or_too_small_are_refused() {
        assert!(slots(&[1.0, 0.0]).is_err() && slots(&[1.0, f64::NAN]).is_err());
        assert!(slots(&[1.0, 1e-6]).unwrap_err().to_string().contains("less than one sample"));
    }

    #[test]
    fn every_sample_of_a_dataset_comes_once_and_blocks_keep_the_shares() {
        let order = SequenceOrder::new(&[SLOTS + 1], 1, 5);
        let mixture = Mixture { parts: Vec::new(), first_slot: vec![0, 3072, SLOTS], order };
        let places: Vec<(usize, u64)> = (0..3 * SLOTS).map(|sample| mixture.locate(sample)).collect();
        for (part, share) in [(0, 3072), (1, 1024)] {
            let mut own: Vec<u64> = places.iter().filter(|place| place.0 == part).map(|place| place.1).collect();
            own.sort_unstable();
            assert_eq!(own, (0..3 * share).collect::<Vec<u64>>());
        }
        // Spread evenly: of any 400 neighbours, a quarter is of the second, within five deviations.
        let near = places[1000..1400].iter().filter(|place| place.0 == 1).count() as f64;
        assert!((near - 100.0).abs() < 5.0 * (400.0f64 * 0.25 * 0.75).sqrt(), "{near}");
    }
}
