//! The normalisation before each block.

use candle_core::Tensor;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::model::Parameters;
use crate::ops::{Kernels, rms_norm};

/// RMSNorm with a learned scale.
#[derive(Debug, Clone)]
pub struct Norm {
    weight_C: Tensor,
    eps: f64,
}

impl Norm {
    /// The normalisation whose weight is called `name`.
    pub fn new(config: &ModelConfig, parameters: &Parameters, name: &str) -> Result<Norm> {
        Ok(Norm { weight_C: parameters.get(name)?, eps: config.rms_norm_eps })
    }

    /// `[B, T, C]` to `[B, T, C]`.
    pub fn forward(&self, kernels: Kernels, x_BTC: &Tensor) -> Result<Tensor> {
        Ok(rms_norm(kernels, x_BTC, &self.weight_C, self.eps)?)
    }
}
