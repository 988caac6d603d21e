//! The model: a Llama in readable layers, one a file, and what the loop needs of any architecture.

use std::sync::Arc;

use candle_core::Tensor;

use crate::config::ModelConfig;
use crate::data::Batch;
use crate::error::Result;
use crate::ops::LossParts;

mod attention;
mod llama;
mod mlp;
mod moe;
mod norm;
mod parameters;
mod pass;

pub use attention::KvCache;
pub use llama::Llama;
pub use parameters::{Init, Parameter, ParameterSpec, Parameters, matrix_parameter_count, parameter_count, specs};

/// What training asks of a model beyond its shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingOptions {
    /// Weight of the mean squared logarithm of the softmax's sum; 0 is none.
    pub z_loss: f64,
    /// Of what is dropped, where the model has dropout.
    pub dropout_seed: u64,
    /// Whether attention takes the fused form where the device has it.
    pub flash_attn: bool,
    /// Whether a layer's activations are computed again in the backward pass instead of kept.
    pub recompute: bool,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        TrainingOptions { z_loss: 0.0, dropout_seed: 0, flash_attn: true, recompute: false }
    }
}

/// The loss of a batch.
pub struct Losses {
    /// Cross-entropy, z-loss and auxiliary loss together, a scalar: what is differentiated.
    pub total: Tensor,
    /// Cross-entropy and z-loss.
    pub parts: LossParts,
    /// Auxiliary loss of the experts, over all layers.
    pub auxiliary: f64,
    /// Tokens sent to each expert, layer by layer, `[L * E]`; empty without experts.
    pub expert_tokens: Vec<u64>,
}

/// What the training loop, checkpoints and generation ask of an architecture.
pub trait LanguageModel {
    /// Its shape.
    fn config(&self) -> &ModelConfig;

    /// Its weights, in a fixed order.
    fn parameters(&self) -> &Parameters;

    /// The loss of a batch; on the tape, with dropout and auxiliary loss, where `gradient` says so.
    ///
    /// # Errors
    /// Where an id is not below the vocabulary or a sequence is longer than the model's positions.
    fn losses(&self, batch: &Batch, gradient: bool) -> Result<Losses>;

    /// The total of [`LanguageModel::losses`].
    ///
    /// # Errors
    /// As there.
    fn loss(&self, batch: &Batch, gradient: bool) -> Result<Tensor> {
        Ok(self.losses(batch, gradient)?.total)
    }

    /// Gives `add` the gradient of the total times [`Batch::weight`] for each weight, by its place in the list; a
    /// weight may be given several times, and the parts add up.
    ///
    /// # Errors
    /// As [`LanguageModel::losses`], where `add` fails, or where the tape does not reach a weight.
    fn gradients(&self, batch: &Batch, add: &mut dyn FnMut(usize, &Tensor) -> Result<()>) -> Result<Losses> {
        taped_gradients(self, batch, add)
    }

    /// Logits `[B, T, V]` of `ids [B, T]` (given flat), without a tape; with a cache, `ids` continue what it holds.
    ///
    /// # Errors
    /// As [`LanguageModel::losses`].
    fn logits(&self, ids: &Arc<[u32]>, batch: usize, cache: Option<&mut KvCache>) -> Result<Tensor>;
}

/// [`LanguageModel::gradients`] by one backward pass over the whole tape.
fn taped_gradients<M: LanguageModel + ?Sized>(
    model: &M,
    batch: &Batch,
    add: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Losses> {
    let losses = model.losses(batch, true)?;
    let store = weighted(&losses.total, batch.weight())?.backward()?;
    for (index, parameter) in model.parameters().iter().enumerate() {
        let missing = || candle_core::Error::msg(format!("the tape does not reach {}", parameter.name));
        add(index, store.get(&parameter.var).ok_or_else(missing)?)?;
    }
    Ok(losses)
}

/// `tensor` times `weight`, without a node where that is 1.
fn weighted(tensor: &Tensor, weight: f64) -> Result<Tensor> {
    Ok(if weight == 1.0 { tensor.clone() } else { (tensor * weight)? })
}
