//! Gradients summed over the micro-batches of a step.

use rayon::prelude::*;

use crate::error::Result;
use crate::model::Parameters;
use crate::optimizer::{AdamW, clip_factor, global_norm};

/// Sums of gradients, in the order of the parameters.
#[derive(Debug)]
pub struct Gradients {
    sums: Vec<Vec<f32>>,
    micro_batches: usize,
}

impl Gradients {
    /// Zeros for every parameter.
    pub fn new(parameters: &Parameters) -> Gradients {
        let sums = parameters.iter().map(|parameter| vec![0f32; parameter.var.elem_count()]).collect();
        Gradients { sums, micro_batches: 0 }
    }

    /// The sums, for a micro-batch to add its gradients to.
    pub fn next_micro_batch(&mut self) -> &mut [Vec<f32>] {
        self.micro_batches += 1;
        &mut self.sums
    }

    /// Norm of the mean over the micro-batches.
    pub fn norm(&self) -> f64 {
        global_norm(&self.sums) / self.micro_batches.max(1) as f64
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
        let scale = clip_factor(norm, grad_clip) / self.micro_batches.max(1) as f64;
        optimizer.step(parameters, &self.sums, scale, learning_rate)?;
        self.sums.par_iter_mut().for_each(|gradient| gradient.fill(0.0));
        self.micro_batches = 0;
        Ok(())
    }
}
