//! Bands: which pairs of documents are looked at.
//!
//! A signature is cut into `bands` runs of `rows` values; documents that agree in a whole band share a match key and are
//! compared. At similarity s that happens with chance `1 - (1 - s^rows)^bands` (Broder 1997; Leskovec, Rajaraman, Ullman,
//! "Mining of Massive Datasets", 3.4). Of the layouts of at most 128 values that catch a pair at the threshold with a
//! chance of at least 0.98, the one with the fewest bands is taken: fewest match keys, fewest pairs compared in vain.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Most values of a signature.
const SIGNATURE_VALUES_MAX: u32 = 128;
/// Least chance of catching a pair at the threshold.
const CATCH_MIN: f64 = 0.98;

/// A layout of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bands {
    /// Match keys a document.
    pub bands: u32,
    /// Signature values a match key.
    pub rows: u32,
}

impl Bands {
    /// The layout for a threshold above 0, at most 1.
    pub fn for_threshold(threshold: f64) -> Bands {
        let layout = |rows| Bands { bands: SIGNATURE_VALUES_MAX / rows, rows };
        let mut layouts = (1..=SIGNATURE_VALUES_MAX).rev().map(layout);
        layouts.find(|layout| layout.catches(threshold) >= CATCH_MIN).unwrap_or(layout(1))
    }

    /// Chance that a pair of this similarity is compared.
    pub fn catches(&self, similarity: f64) -> f64 {
        // `powi` may differ in its last bit from machine to machine; nothing here is that close to its bound.
        1.0 - (1.0 - similarity.powi(self.rows as i32)).powi(self.bands as i32)
    }

    /// Values of a signature.
    pub fn values(&self) -> usize {
        (self.bands * self.rows) as usize
    }

    /// The match keys of a signature: one a band, told apart by the band's number. Of each value the low 16 bits count
    /// (b-bit minwise hashing, Li and König 2010), which are all that `keys/` holds of it: unlike values agree in them
    /// with a chance of 2^-16.
    pub fn keys<'a>(&self, signature: &'a [u32]) -> impl Iterator<Item = u64> + use<'a> {
        signature.chunks_exact(self.rows as usize).enumerate().map(|(band, values)| {
            let mut bytes = [0_u8; SIGNATURE_VALUES_MAX as usize * 2];
            let slots = bytes.as_chunks_mut::<2>().0.iter_mut();
            slots.zip(values).for_each(|(slot, value)| *slot = (*value as u16).to_le_bytes());
            xxh3_64_with_seed(bytes.get(..values.len() * 2).unwrap_or_default(), band as u64)
        })
    }

    /// Similarities and the chance of being compared at each, for people.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        (5..=20).map(|step| f64::from(step) / 20.0).map(|at| (at, self.catches(at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_layout_at_the_default_threshold() {
        let bands = Bands::for_threshold(0.8);
        assert_eq!((bands.bands, bands.rows), (18, 7));
        assert!((bands.catches(0.8) - 0.986).abs() < 5e-4);
    }

    #[test]
    fn every_threshold_is_caught_and_one_band_less_wide_would_cost_more() {
        for threshold in (1..=100).map(|percent| f64::from(percent) / 100.0).filter(|threshold| *threshold >= 0.05) {
            let bands = Bands::for_threshold(threshold);
            assert!(bands.catches(threshold) >= 0.98, "{threshold}: {bands:?}");
            assert!(bands.values() <= 128);
        }
    }

    #[test]
    fn equal_bands_at_other_places_are_other_keys() {
        let bands = Bands { bands: 2, rows: 2 };
        let keys: Vec<u64> = bands.keys(&[1, 2, 1, 2]).collect();
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1]);
    }
}
