//! AdamW (Loshchilov & Hutter 2019) with `f32` moments, and the global gradient norm.
//!
//! As PyTorch's: decay first, bias-corrected moments, epsilon outside the root. Weight decay applies to matrices only.
//! Scaling the gradients, for the mean over micro-batches and for clipping, is part of the same pass.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, bail};
use rayon::prelude::*;

use crate::error::Result;
use crate::model::Parameters;
use crate::ops::vector::{dot, vectorized};

/// Elements that one task takes; also the unit in which squares are summed, so the norm does not depend on threads.
const ELEMENTS_PER_TASK: usize = 1 << 14;

/// AdamW's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// The two moments of a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Decayed mean of gradients.
    pub first: Vec<f32>,
    /// Decayed mean of squared gradients.
    pub second: Vec<f32>,
}

/// The optimizer and its state.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    moments: Vec<Moments>,
    updates: u64,
}

impl AdamW {
    /// An optimizer that has not made a step.
    pub fn new(config: AdamWConfig, parameters: &Parameters) -> AdamW {
        let zeros = |elements: usize| Moments { first: vec![0.0; elements], second: vec![0.0; elements] };
        let moments = parameters.iter().map(|parameter| zeros(parameter.var.elem_count())).collect();
        AdamW { config, moments, updates: 0 }
    }

    /// An optimizer with saved state: moments in the order of the parameters, after `updates` steps.
    pub fn restore(config: AdamWConfig, moments: Vec<Moments>, updates: u64) -> AdamW {
        AdamW { config, moments, updates }
    }

    /// Its constants.
    pub fn config(&self) -> AdamWConfig {
        self.config
    }

    /// Steps made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The moments, in the order of the parameters.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// One step with the gradients (in the order of the parameters) times `scale`.
    ///
    /// # Errors
    /// Where gradients and parameters do not correspond.
    pub fn step(&mut self, parameters: &Parameters, gradients: &[Vec<f32>], scale: f64, lr: f64) -> Result<()> {
        self.updates += 1;
        let correction = |beta: f64| 1.0 - beta.powi(self.updates.min(i32::MAX as u64) as i32);
        let (first, second) = (correction(self.config.beta1), correction(self.config.beta2));
        if gradients.len() != parameters.len() || self.moments.len() != parameters.len() {
            return Err(candle_core::Error::msg("gradients and parameters differ in number").into());
        }
        for ((parameter, gradient), moments) in parameters.iter().zip(gradients).zip(&mut self.moments) {
            let decay = if parameter.decays { self.config.weight_decay } else { 0.0 };
            let update = Update {
                moments: Mutex::new(moments),
                gradient,
                scale: scale as f32,
                beta1: self.config.beta1 as f32,
                beta2: self.config.beta2 as f32,
                eps: self.config.eps as f32,
                keep: (1.0 - lr * decay) as f32,
                rate: (lr / first) as f32,
                root_correction: (1.0 / second.sqrt()) as f32,
            };
            parameter.var.inplace_op1(&update)?;
        }
        Ok(())
    }
}

/// One weight's update.
struct Update<'a> {
    moments: Mutex<&'a mut Moments>,
    gradient: &'a [f32],
    scale: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    /// `1 - lr * weight_decay`.
    keep: f32,
    /// `lr / (1 - beta1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    root_correction: f32,
}

impl Update<'_> {
    #[inline(always)]
    fn apply(&self, weights: &mut [f32], first: &mut [f32], second: &mut [f32], gradients: &[f32]) {
        let len = weights.len();
        let (first, second, gradients) = (&mut first[..len], &mut second[..len], &gradients[..len]);
        for i in 0..len {
            let g = gradients[i] * self.scale;
            first[i] = self.beta1 * first[i] + (1.0 - self.beta1) * g;
            second[i] = self.beta2 * second[i] + (1.0 - self.beta2) * g * g;
            let root = second[i].sqrt() * self.root_correction + self.eps;
            weights[i] = weights[i] * self.keep - self.rate * first[i] / root;
        }
    }
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, weights: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("adamw wants contiguous weights") };
        let CpuStorage::F32(weights) = weights else { bail!("adamw wants f32 weights") };
        let (weights, gradients) = (&mut weights[start..end], self.gradient);
        let Ok(mut moments) = self.moments.lock() else { bail!("adamw: a task panicked") };
        let Moments { first, second } = &mut **moments;
        if weights.len() != gradients.len() || first.len() != weights.len() || second.len() != weights.len() {
            bail!("adamw: weight, gradient and moments differ in size")
        }
        weights
            .par_chunks_mut(ELEMENTS_PER_TASK)
            .zip(first.par_chunks_mut(ELEMENTS_PER_TASK))
            .zip(second.par_chunks_mut(ELEMENTS_PER_TASK))
            .zip(gradients.par_chunks(ELEMENTS_PER_TASK))
            .for_each(|(((weights, first), second), gradients)| {
                vectorized(|| self.apply(weights, first, second, gradients));
            });
        Ok(())
    }
}

fn sum_of_squares(gradient: &[f32]) -> f64 {
    let parts: Vec<f64> = gradient
        .par_chunks(ELEMENTS_PER_TASK)
        .map(|chunk| chunk.chunks(1 << 10).map(|c| f64::from(vectorized(|| dot(c, c)))).sum())
        .collect();
    parts.iter().sum()
}

/// Root of the sum of squares over all gradients.
pub fn global_norm(gradients: &[Vec<f32>]) -> f64 {
    gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt()
}

/// What to multiply gradients of norm `norm` by, so that it does not exceed `most`; 0 does not clip.
pub fn clip_factor(norm: f64, most: f64) -> f64 {
    if most > 0.0 && norm > most { most / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::config::ModelShape;

    const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };

    fn parameters() -> Parameters {
        let shape =
            ModelShape { dim: 4, n_layers: 1, n_heads: 2, n_kv_heads: None, vocab_size: 3, ..Default::default() };
        let config = shape.config(None, None).unwrap();
        Parameters::build(&config, DType::F32, &Device::Cpu, |spec| Ok(vec![0.5; spec.elements()])).unwrap()
    }

    fn constant_gradients(parameters: &Parameters, value: f32) -> Vec<Vec<f32>> {
        parameters.iter().map(|p| vec![value; p.var.elem_count()]).collect()
    }

    fn first_value(parameters: &Parameters, decays: bool) -> f32 {
        let parameter = parameters.iter().find(|p| p.decays == decays).unwrap();
        parameter.var.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn two_steps_equal_the_computation_by_hand() {
        let parameters = parameters();
        let mut optimizer = AdamW::new(CONFIG, &parameters);
        let (mut w, mut m, mut v) = (0.5f64, 0.0f64, 0.0f64);
        for (t, g) in [(1, 0.4f64), (2, -0.2f64)] {
            optimizer.step(&parameters, &constant_gradients(&parameters, (g * 2.0) as f32), 0.5, 0.01).unwrap();
            m = 0.9 * m + 0.1 * g;
            v = 0.95 * v + 0.05 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.95f64.powi(t)));
            w -= 0.01 * 0.1 * w;
            w -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(first_value(&parameters, true)) - w).abs() < 1e-6);
        }
    }

    #[test]
    fn weight_decay_spares_the_normalisation() {
        let parameters = parameters();
        let gradients = constant_gradients(&parameters, 0.0);
        AdamW::new(CONFIG, &parameters).step(&parameters, &gradients, 1.0, 0.1).unwrap();
        assert_eq!(first_value(&parameters, false), 0.5);
        assert!((first_value(&parameters, true) - 0.5 * (1.0 - 0.01)).abs() < 1e-7);
    }

    #[test]
    fn the_norm_is_over_all_gradients_together() {
        let parameters = parameters();
        let elements: usize = parameters.iter().map(|p| p.var.elem_count()).sum();
        let norm = global_norm(&constant_gradients(&parameters, 2.0));
        assert!((norm - 2.0 * (elements as f64).sqrt()).abs() < 1e-4);
    }

    #[test]
    fn clipping_scales_only_what_exceeds() {
        assert_eq!(clip_factor(4.0, 1.0), 0.25);
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(4.0, 0.0), 1.0);
    }
}
