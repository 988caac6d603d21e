//! Dropout (Srivastava et al. 2014): elements become zero with a chance, the rest grows so that the mean stays.
//!
//! Whether an element is dropped is a function of (seed, site, sample, element): the same in the backward pass, in a
//! resumed run, and for any number of ranks, with nothing stored.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Kernels, slice};
use crate::rng;

/// Elements that one task takes.
const ELEMENTS_PER_TASK: usize = 1 << 15;

/// What is dropped at one place of the model in one micro-batch.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// An element is dropped where its 32 random bits are below this.
    threshold: u32,
    /// What the others are multiplied by: `1 / (1 - rate)`.
    scale: f32,
    /// The key of each sequence.
    keys: Arc<[u64]>,
}

impl Dropout {
    /// Dropout with chance `rate`, below 1, at the place `site`, for the sequences of these sample numbers.
    pub fn new(rate: f64, seed: u64, site: &str, samples: &[u64]) -> Dropout {
        let stream = rng::stream(site);
        let keys = samples.iter().map(|sample| rng::bits(seed, stream, *sample)).collect();
        Dropout { threshold: (rate * 4_294_967_296.0) as u32, scale: (1.0 / (1.0 - rate)) as f32, keys }
    }

    /// What an element of a sequence is multiplied by: 0, or `1 / (1 - rate)`.
    #[inline(always)]
    pub fn factor(&self, sequence: usize, element: u64) -> f32 {
        let key = self.keys.get(sequence).copied().unwrap_or_default();
        if (rng::element_bits(key, element) >> 32) as u32 >= self.threshold { self.scale } else { 0.0 }
    }

    /// Multiplies `x [B, ..]` by the factors.
    pub fn apply(&self, x: &mut [f32]) {
        let per_sequence = (x.len() / self.keys.len().max(1)).max(1);
        x.par_chunks_mut(ELEMENTS_PER_TASK).enumerate().for_each(|(task, x)| {
            let first = task * ELEMENTS_PER_TASK;
            for (index, x) in (first..).zip(x) {
                *x *= self.factor(index / per_sequence, (index % per_sequence) as u64);
            }
        });
    }

    /// The factors of `[B, ..]`.
    pub fn factors(&self, elements: usize) -> Vec<f32> {
        let mut factors = vec![1f32; elements];
        self.apply(&mut factors);
        factors
    }
}

/// `x [B, ..]` with elements dropped; `None` is `x` itself.
///
/// # Errors
/// Where precision or device do not fit.
pub fn dropout(kernels: Kernels, x: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
    match (dropout, kernels) {
        (None, _) => Ok(x.clone()),
        (Some(dropout), Kernels::Fused) => x.contiguous()?.apply_op1(Drop { dropout: dropout.clone() }),
        (Some(dropout), Kernels::Plain) => {
            let factors = Tensor::from_vec(dropout.factors(x.elem_count()), x.dims(), x.device())?;
            x * factors.to_dtype(x.dtype())?
        }
    }
}

struct Drop {
    dropout: Dropout,
}

impl Drop {
    fn dropped(&self, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        self.dropout.apply(&mut y);
        y
    }
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(slice::into_storage(self.dropped(slice::of_storage(x, layout)?), layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        Ok(Some(slice::into_tensor(self.dropped(&slice::of_tensor(&dy)?), x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    fn of(rate: f64, samples: &[u64]) -> Dropout {
        Dropout::new(rate, 3, "site", samples)
    }

    #[test]
    fn fused_equals_plain_in_value_and_gradients() {
        let (inputs, dropped) = ([var(&[3, 7, 5], 1)], of(0.3, &[4, 9, 2]));
        let run = |kernels| {
            let dropped = dropped.clone();
            move |v: &[candle_core::Var]| dropout(kernels, &v[0], Some(&dropped))
        };
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn the_share_dropped_is_the_rate_and_the_mean_stays() {
        let factors = of(0.25, &[1, 2]).factors(200_000);
        let dropped = factors.iter().filter(|factor| **factor == 0.0).count() as f64 / 200_000.0;
        let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / 200_000.0;
        // Deviation of the share: sqrt(0.25 * 0.75 / 200,000) = 0.001.
        assert!((dropped - 0.25).abs() < 0.005 && (mean - 1.0).abs() < 0.007, "{dropped} {mean}");
    }

    #[test]
    fn a_sequence_keeps_its_elements_in_any_batch_and_samples_differ() {
        let (pair, alone) = (of(0.5, &[7, 8]).factors(200), of(0.5, &[8]).factors(100));
        assert_eq!(pair[100..], alone);
        assert_ne!(pair[..100], alone);
    }
}
