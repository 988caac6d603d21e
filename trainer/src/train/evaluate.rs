//! Validation loss: the same windows at every evaluation.

use super::TrainStep;
use crate::data::{Batch, Windows};
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

/// Mean loss over the first `batches` batches of `sequences` windows, or over all windows where there are fewer.
///
/// # Errors
/// Where a window cannot be read or does not fit the model.
pub fn evaluate(step: &dyn TrainStep, windows: &Windows, sequences: usize, batches: usize) -> Result<Evaluation> {
    let total = windows.count().min((sequences as u64).saturating_mul(batches as u64));
    let (mut sum, mut tokens_seen, mut sample) = (0f64, 0u64, 0u64);
    let (mut bytes, mut tokens) = (Vec::new(), Vec::new());
    while sample < total {
        let count = (total - sample).min(sequences as u64);
        tokens.clear();
        for index in 0..count {
            windows.read(sample + index, &mut bytes, &mut tokens)?;
        }
        let batch = Batch::from_windows(&tokens, count as usize, windows.positions())?;
        sum += step.loss(&batch)? * batch.tokens() as f64;
        tokens_seen += batch.tokens();
        sample += count;
    }
    Ok(Evaluation { loss: sum / tokens_seen.max(1) as f64, tokens: tokens_seen })
}
