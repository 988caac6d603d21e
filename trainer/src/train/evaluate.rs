//! Validation loss: the same windows at every evaluation.

use super::TrainStep;
use crate::data::{Samples, Scratch};
use crate::distributed::World;
use crate::error::Result;

/// Result of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy a token, in nats.
    pub loss: f64,
    /// Tokens it is the mean of.
    pub tokens: u64,
}

impl Evaluation {
    /// `e^loss`.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// Mean loss over the first `batches` batches of `sequences` samples, or over all where there are fewer; ranks share
/// the batches.
///
/// # Errors
/// Where a sample cannot be read or does not fit the model, or a rank has gone.
pub fn evaluate(
    step: &dyn TrainStep,
    samples: &Samples,
    (sequences, batches): (usize, usize),
    world: &mut World,
) -> Result<Evaluation> {
    let total = samples.count().min((sequences as u64).saturating_mul(batches as u64));
    let (mut sum, mut tokens, mut scratch) = (0f64, 0u64, Scratch::default());
    let mine = (0..total.div_ceil(sequences.max(1) as u64)).skip(world.rank()).step_by(world.size());
    for index in mine {
        let first = index * sequences as u64;
        let batch = samples.batch(first, (total - first).min(sequences as u64) as usize, &mut scratch)?;
        let counted = batch.tokens();
        sum += step.loss(&batch)? * counted as f64;
        tokens += counted;
    }
    let totals = world.totals(&[sum, tokens as f64])?;
    Ok(Evaluation { loss: totals[0] / totals[1].max(1.0), tokens: totals[1] as u64 })
}
