//! `TrainConfig`: everything a training run is told but the model's shape, validated before work starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Epochs where neither `--epochs` nor `--max-steps` is given (the notebook's).
pub const DEFAULT_EPOCHS: u64 = 20;

/// Where a run starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    /// From the latest checkpoint of the output folder, or anew where there is none.
    Auto,
    /// Anew; refused where the folder holds a run.
    None,
    /// From this checkpoint.
    From(PathBuf),
}

/// How a model is trained. Steps are optimizer steps; the notebook counted micro-steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// A manifest, a dataset folder, or a bare `.bin` of uint16.
    pub data: PathBuf,
    /// Where metrics and checkpoints go.
    pub out: PathBuf,
    /// Sequences a micro-batch.
    pub batch_size: usize,
    /// Micro-batches an optimizer step.
    pub accumulation_steps: usize,
    /// Positions a sequence.
    pub sequence_length: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate at the last step.
    pub min_lr: f64,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub adam_eps: f64,
    /// Largest global gradient norm; 0 does not clip.
    pub grad_clip: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_iters: u64,
    /// Passes over the training windows, where `max_steps` is absent.
    pub epochs: u64,
    /// Steps in all; wins over `epochs`.
    pub max_steps: Option<u64>,
    /// Steps between checkpoints; 0 saves at the end only.
    pub save_interval: u64,
    /// Steps between evaluations; 0 evaluates at the end only.
    pub eval_interval: u64,
    /// Micro-batches an evaluation.
    pub eval_batches: usize,
    /// Steps between console lines.
    pub log_interval: u64,
    /// Of initial weights and sample order.
    pub seed: u64,
    /// Threads that read batches ahead.
    pub num_workers: usize,
    /// Checkpoints kept; 0 keeps all.
    pub keep_last: usize,
    /// Where to start from.
    pub resume: Resume,
}

impl Default for TrainConfig {
    /// The notebook's settings.
    fn default() -> Self {
        TrainConfig {
            data: PathBuf::from("dataset/pretrain_data.bin"),
            out: PathBuf::from("out"),
            batch_size: 32,
            accumulation_steps: 8,
            sequence_length: 512,
            learning_rate: 2e-4,
            min_lr: 2e-5,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            adam_eps: 1e-8,
            grad_clip: 1.0,
            warmup_iters: 0,
            epochs: DEFAULT_EPOCHS,
            max_steps: None,
            save_interval: 1000,
            eval_interval: 1000,
            eval_batches: 8,
            log_interval: 100,
            seed: 0,
            num_workers: 8,
            keep_last: 0,
            resume: Resume::Auto,
        }
    }
}

impl TrainConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, problem: &str| Err(Error::Config { field, problem: problem.to_owned() });
        let counts = [
            ("batch_size", self.batch_size),
            ("accumulation_steps", self.accumulation_steps),
            ("max_seq_len", self.sequence_length),
            ("num_workers", self.num_workers),
            ("eval_batches", self.eval_batches),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return refuse(field, "must be at least 1");
        }
        if self.batch_size.checked_mul(self.sequence_length).is_none_or(|tokens| tokens > 1 << 28) {
            return refuse("batch_size", "a micro-batch may hold at most 268,435,456 tokens");
        }
        if self.max_steps == Some(0) || (self.epochs == 0 && self.max_steps.is_none()) {
            return refuse("max_steps", "there must be at least one step");
        }
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("min_lr", self.min_lr),
            ("weight_decay", self.weight_decay),
            ("grad_clip", self.grad_clip),
            ("adam_eps", self.adam_eps),
        ];
        if let Some((field, _)) = not_negative.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return refuse(field, "must be a number of at least 0");
        }
        match [("beta1", self.beta1), ("beta2", self.beta2)].into_iter().find(|(_, b)| !(0.0..1.0).contains(b)) {
            Some((field, _)) => refuse(field, "must be at least 0 and below 1"),
            None => Ok(()),
        }
    }

    /// Sequences an optimizer step.
    pub fn global_batch(&self) -> u64 {
        self.batch_size as u64 * self.accumulation_steps as u64
    }

    /// Steps in all, over `windows` training windows.
    pub fn total_steps(&self, windows: u64) -> u64 {
        let whole = || (u128::from(self.epochs) * u128::from(windows) / u128::from(self.global_batch().max(1))) as u64;
        self.max_steps.unwrap_or_else(|| whole().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_whole_global_batches_and_max_steps_wins() {
        let config = TrainConfig { epochs: 2, ..TrainConfig::default() };
        assert_eq!(config.total_steps(1000), 2000 / 256);
        assert_eq!(config.total_steps(10), 1);
        assert_eq!(TrainConfig { max_steps: Some(5), ..config }.total_steps(1_000_000), 5);
    }

    #[test]
    fn a_beta_of_one_is_refused_by_name() {
        let config = TrainConfig { beta2: 1.0, ..TrainConfig::default() };
        assert!(config.validate().unwrap_err().to_string().starts_with("beta2"));
    }

    #[test]
    fn a_learning_rate_that_is_no_number_is_refused() {
        let config = TrainConfig { learning_rate: f64::NAN, ..TrainConfig::default() };
        assert!(config.validate().unwrap_err().to_string().starts_with("learning_rate"));
    }

    #[test]
    fn the_notebooks_settings_are_valid() {
        TrainConfig::default().validate().unwrap();
    }
}
