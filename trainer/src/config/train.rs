//! `TrainConfig`: everything a training run is told but the model's shape, validated before work starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::TrainingOptions;
use crate::schedule::Decay;
use crate::train::SpikePolicy;

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

/// How documents become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Documents back to back, cut every `sequence_length` tokens: nothing is padded, most sequences start and end
    /// within a document.
    #[default]
    Concatenate,
    /// Whole documents, each put where it fits best (Ding et al. 2024), the rest padded; documents are masked.
    BestFit,
}

/// How a model is trained. Steps are optimizer steps; the notebook counted micro-steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// A manifest, a dataset folder, or a bare `.bin` of uint16.
    pub data: PathBuf,
    /// Datasets to mix with it.
    pub more_data: Vec<PathBuf>,
    /// Shares of the datasets; empty is by their tokens.
    pub data_weights: Vec<f64>,
    /// The smaller dataset that a run was on, which `data` has grown from.
    pub grown_from: Option<PathBuf>,
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
    /// Weight of the z-loss; 0 is none.
    pub z_loss: f64,
    /// What happens to a step whose loss or gradient is not finite or spikes.
    pub spike_policy: SpikePolicy,
    /// A loss or gradient norm beyond this multiple of its moving mean is a spike; 0 is never.
    pub spike_factor: f64,
    /// How the learning rate falls.
    pub schedule: Decay,
    /// Share of the steps over which it falls, where the schedule is `wsd`.
    pub decay_fraction: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_iters: u64,
    /// Passes over the training windows, where `max_steps` is absent.
    pub epochs: u64,
    /// Steps in all; wins over `max_tokens` and `epochs`.
    pub max_steps: Option<u64>,
    /// Tokens in all; wins over `epochs`. The steps are as many as fit in them.
    pub max_tokens: Option<u64>,
    /// Whether attention takes the fused form where the device has it.
    pub flash_attn: bool,
    /// Whether activations are computed again in the backward pass instead of kept.
    pub recompute: bool,
    /// How documents become sequences.
    pub packing: Packing,
    /// Whether attention stays within a document, and positions count from its start.
    pub document_mask: bool,
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
    /// Whether an evaluation better than all before is saved, and its checkpoint kept beside the last.
    pub keep_best: bool,
    /// Where to start from.
    pub resume: Resume,
    /// Folder of a model whose weights a new run starts with; absent, with weights of `seed`.
    #[serde(default)]
    pub init_from: Option<PathBuf>,
}

impl Default for TrainConfig {
    /// The notebook's settings.
    fn default() -> Self {
        TrainConfig {
            data: PathBuf::from("dataset/pretrain_data.bin"),
            more_data: Vec::new(),
            data_weights: Vec::new(),
            grown_from: None,
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
            z_loss: 0.0,
            spike_policy: SpikePolicy::Stop,
            spike_factor: 0.0,
            schedule: Decay::Cosine,
            decay_fraction: 0.1,
            warmup_iters: 0,
            epochs: DEFAULT_EPOCHS,
            max_steps: None,
            max_tokens: None,
            flash_attn: true,
            recompute: false,
            packing: Packing::Concatenate,
            document_mask: false,
            save_interval: 1000,
            eval_interval: 1000,
            eval_batches: 8,
            log_interval: 100,
            seed: 0,
            num_workers: 8,
            keep_last: 0,
            keep_best: false,
            resume: Resume::Auto,
            init_from: None,
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
        let no_epoch = self.epochs == 0 && self.max_steps.is_none() && self.max_tokens.is_none();
        if self.max_steps == Some(0) || self.max_tokens == Some(0) || no_epoch {
            return refuse("max_steps", "there must be at least one step");
        }
        if !(0.0..=1.0).contains(&self.decay_fraction) {
            return refuse("decay_fraction", "must be between 0 and 1");
        }
        if self.spike_factor != 0.0 && !(self.spike_factor > 1.0 && self.spike_factor.is_finite()) {
            return refuse("spike_factor", "must be above 1, or 0 for none");
        }
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("min_lr", self.min_lr),
            ("weight_decay", self.weight_decay),
            ("grad_clip", self.grad_clip),
            ("adam_eps", self.adam_eps),
            ("z_loss", self.z_loss),
        ];
        if let Some((field, _)) = not_negative.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return refuse(field, "must be a number of at least 0");
        }
        match [("beta1", self.beta1), ("beta2", self.beta2)].into_iter().find(|(_, b)| !(0.0..1.0).contains(b)) {
            Some((field, _)) => refuse(field, "must be at least 0 and below 1"),
            None => Ok(()),
        }
    }

    /// Sequences an optimizer step takes on one rank.
    pub fn rank_batch(&self) -> u64 {
        self.batch_size as u64 * self.accumulation_steps as u64
    }

    /// Sequences an optimizer step of `world_size` ranks.
    pub fn global_batch(&self, world_size: usize) -> u64 {
        self.rank_batch().saturating_mul(world_size as u64)
    }

    /// Steps in all, over `windows` training windows with `world_size` ranks.
    pub fn total_steps(&self, windows: u64, world_size: usize) -> u64 {
        let step = self.global_batch(world_size).max(1);
        let of_tokens = |tokens: u64| tokens / step.saturating_mul(self.sequence_length as u64).max(1);
        let of_epochs = || (u128::from(self.epochs) * u128::from(windows) / u128::from(step)) as u64;
        self.max_steps.unwrap_or_else(|| self.max_tokens.map_or_else(of_epochs, of_tokens).max(1))
    }

    /// What the model is told of training.
    pub fn training_options(&self) -> TrainingOptions {
        TrainingOptions {
            z_loss: self.z_loss,
            dropout_seed: self.seed,
            flash_attn: self.flash_attn,
            recompute: self.recompute,
        }
    }

    /// Whether attention stays within a document; packed documents always do.
    pub fn masks_documents(&self) -> bool {
        self.document_mask || self.packing == Packing::BestFit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_whole_global_batches_and_max_steps_wins() {
        let config = TrainConfig { epochs: 2, ..TrainConfig::default() };
        assert_eq!((config.total_steps(1000, 1), config.total_steps(1000, 2)), (2000 / 256, 2000 / 512));
        assert_eq!(config.total_steps(10, 1), 1);
        let of_tokens = TrainConfig { max_tokens: Some(3 * 256 * 512 + 7), ..config.clone() };
        assert_eq!(of_tokens.total_steps(1_000_000, 1), 3);
        assert_eq!(TrainConfig { max_steps: Some(5), ..of_tokens }.total_steps(1_000_000, 1), 5);
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
