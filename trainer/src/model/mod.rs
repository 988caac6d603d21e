//! The model: a Llama in readable layers, one a file, and what the loop needs of any architecture.

use std::sync::Arc;

use candle_core::Tensor;

use crate::config::ModelConfig;
use crate::data::Batch;
use crate::error::Result;

mod attention;
mod llama;
mod mlp;
mod norm;
mod parameters;

pub use attention::KvCache;
pub use llama::Llama;
pub use parameters::{Init, Parameter, ParameterSpec, Parameters, matrix_parameter_count, parameter_count};

/// What the training loop, checkpoints and generation ask of an architecture.
pub trait LanguageModel {
    /// Its shape.
    fn config(&self) -> &ModelConfig;

    /// Its weights, in a fixed order.
    fn parameters(&self) -> &Parameters;

    /// Mean cross-entropy of a batch, a scalar; on the tape where `gradient` says so.
    ///
    /// # Errors
    /// Where an id is not below the vocabulary or a sequence is longer than the model's positions.
    fn loss(&self, batch: &Batch, gradient: bool) -> Result<Tensor>;

    /// Logits `[B, T, V]` of `ids [B, T]` (given flat), without a tape; with a cache, `ids` continue what it holds.
    ///
    /// # Errors
    /// As [`LanguageModel::loss`].
    fn logits(&self, ids: &Arc<[u32]>, batch: usize, cache: Option<&mut KvCache>) -> Result<Tensor>;
}
