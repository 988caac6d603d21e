//! The feed-forward layer: `down(silu(gate(x)) * up(x))`.

use candle_core::Tensor;

use crate::error::Result;
use crate::model::Parameters;
use crate::ops::{Kernels, linear, swiglu};

/// Gated feed-forward layer.
#[derive(Debug, Clone)]
pub struct Mlp {
    gate_FC: Tensor,
    up_FC: Tensor,
    down_CF: Tensor,
}

impl Mlp {
    /// The layer whose weights start with `prefix`.
    pub fn new(parameters: &Parameters, prefix: &str) -> Result<Mlp> {
        let weight = |name: &str| parameters.get(&format!("{prefix}.{name}.weight"));
        Ok(Mlp { gate_FC: weight("gate_proj")?, up_FC: weight("up_proj")?, down_CF: weight("down_proj")? })
    }

    /// `[B, T, C]` to `[B, T, C]`.
    pub fn forward(&self, kernels: Kernels, x_BTC: &Tensor) -> Result<Tensor> {
        let gate_BTF = linear(kernels, x_BTC, &self.gate_FC)?;
        let up_BTF = linear(kernels, x_BTC, &self.up_FC)?;
        Ok(linear(kernels, &swiglu(kernels, &gate_BTF, &up_BTF)?, &self.down_CF)?)
    }
}
