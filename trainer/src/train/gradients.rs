//! Gradients summed over the micro-batches of a step, and over ranks.

use rayon::prelude::*;

use crate::distributed::World;
use crate::error::Result;
use crate::model::Parameters;
use crate::optimizer::{AdamW, clip_factor, global_norm};

/// Sums of gradients, in the order of the parameters.
///
/// A micro-batch adds the gradient of its mean loss times its weight, the share of its targets that count; the mean
/// divides by the sum of weights, so each target of the global batch counts alike, however they are spread.
#[derive(Debug)]
pub struct Gradients {
    sums: Vec<Vec<f32>>,
    weight: f64,
}

impl Gradients {
    /// Zeros for every parameter.
    pub fn new(parameters: &Parameters) -> Gradients {
        let sums = parameters.iter().map(|parameter| vec![0f32; parameter.var.elem_count()]).collect();
        Gradients { sums, weight: 0.0 }
    }

    /// The sums, for a micro-batch of this weight to add its gradients to.
    pub fn next_micro_batch(&mut self, weight: f64) -> &mut [Vec<f32>] {
        self.weight += weight;
        &mut self.sums
    }

    /// The sums so far.
    pub fn sums(&self) -> &[Vec<f32>] {
        &self.sums
    }

    /// Adds up sums and weights over all ranks.
    ///
    /// # Errors
    /// Where a rank has gone.
    pub fn sum_over_ranks(&mut self, world: &mut World) -> Result<()> {
        if world.size() > 1 {
            self.sums.iter_mut().try_for_each(|sum| world.sum(sum))?;
            self.weight = world.gather(&[self.weight])?.iter().map(|of_rank| of_rank[0]).sum();
        }
        Ok(())
    }

    fn divisor(&self) -> f64 {
        if self.weight > 0.0 { self.weight } else { 1.0 }
    }

    /// Norm of the mean over the micro-batches.
    pub fn norm(&self) -> f64 {
        global_norm(&self.sums) / self.divisor()
    }

    /// Makes the optimizer's step with the mean, scaled down to `grad_clip` where `norm` exceeds it, and starts anew.
    ///
    /// # Errors
    /// As [`AdamW::step`].
    pub fn apply(
        &mut self,
        optimizer: &mut AdamW,
        parameters: &Parameters,
        learning_rate: f64,
        norm: f64,
        grad_clip: f64,
    ) -> Result<()> {
        let scale = clip_factor(norm, grad_clip) / self.divisor();
        optimizer.step(parameters, &self.sums, scale, learning_rate)?;
        self.clear();
        Ok(())
    }

    /// Throws the sums away.
    pub fn clear(&mut self) {
        self.sums.par_iter_mut().for_each(|gradient| gradient.fill(0.0));
        self.weight = 0.0;
    }
}
