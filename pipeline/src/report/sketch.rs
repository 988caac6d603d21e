//! [`Sketch`]: the distribution of a number, in bounded memory, the same however the rows were divided.
//!
//! A bucket is a float cut to its sign, exponent and first five bits of mantissa: 32 buckets between powers of two, so
//! a quantile is right to 3 %. Buckets hold counts, which add up in any order; smallest and largest value are exact.
//! (The idea is that of HdrHistogram and DDSketch.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bits of a float that a bucket does not keep.
const CUT_BITS: u32 = 52 - 5;

/// The distribution of a number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// Counts by bucket, in the order of the numbers.
    buckets: BTreeMap<i32, u64>,
    /// Values counted.
    pub count: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Sum, in the order in which values came.
    sum: f64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
}

impl Sketch {
    /// Counts a value; what is no finite number is counted as none.
    pub fn push(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            self.nulls += 1;
            return;
        };
        *self.buckets.entry(bucket(value)).or_default() += 1;
        self.count += 1;
        self.sum += value;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    /// Adds the rows that come after.
    pub fn merge(&mut self, next: &Sketch) {
        for (bucket, count) in &next.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += next.count;
        self.nulls += next.nulls;
        self.sum += next.sum;
        self.min = smaller(self.min, next.min);
        self.max = smaller(self.max.map(|max| -max), next.max.map(|max| -max)).map(|max| -max);
    }

    /// The mean of the values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The value below which a share of the values lie, to 3 %.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        let (min, max) = (self.min?, self.max?);
        found.map(|(bucket, _)| middle(*bucket).clamp(min, max))
    }

    /// The middle and the count of each bucket, in the order of the numbers.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().map(|(bucket, count)| (middle(*bucket), *count))
    }
}

fn smaller(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

fn bucket(value: f64) -> i32 {
    let magnitude = (value.abs().to_bits() >> CUT_BITS) as i32;
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The middle of a bucket; 0 is a bucket of its own.
fn middle(bucket: i32) -> f64 {
    let bound = |magnitude: i32| f64::from_bits((magnitude as u64) << CUT_BITS);
    let magnitude = bucket.abs();
    if magnitude == 0 {
        return 0.0;
    }
    let middle = f64::midpoint(bound(magnitude), bound(magnitude + 1));
    if bucket < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.push(Some(*value)));
        sketch
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_to_three_percent(mut values in prop::collection::vec(-1e6..1e6, 1..200), share in 0.01..1.0) {
            let found = sketch(&values).quantile(share).unwrap();
            values.sort_by(f64::total_cmp);
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let exact = values[rank - 1];
            prop_assert!((found - exact).abs() <= 0.032 * exact.abs(), "{found} for {exact}");
        }

        #[test]
        fn parts_add_up_to_the_whole(values in prop::collection::vec(-1e3..1e3, 0..60), cut in 0_usize..60) {
            let (first, second) = values.split_at(cut.min(values.len()));
            let mut joined = sketch(first);
            joined.merge(&sketch(second));
            let whole = sketch(&values);
            prop_assert_eq!(joined.buckets, whole.buckets);
            prop_assert_eq!((joined.min, joined.max, joined.count), (whole.min, whole.max, whole.count));
        }
    }

    #[test]
    fn what_is_no_number_is_counted_as_none() {
        let mut sketch = sketch(&[0.0, 1.0]);
        sketch.push(None);
        sketch.push(Some(f64::NAN));
        assert_eq!((sketch.count, sketch.nulls, sketch.mean()), (2, 2, Some(0.5)));
    }
}
