//! One pass through the model: which kernels, which documents, what is dropped.

use super::TrainingOptions;
use crate::config::ModelConfig;
use crate::data::Batch;
use crate::ops::{AttentionOptions, Dropout, Kernels, Places};

/// How a pass is made.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Form of the operations.
    pub kernels: Kernels,
    /// Form of attention; the plain one where flash attention is not wanted.
    pub attention: Kernels,
    /// Positions of the rows.
    pub places: Places,
    /// Whether it is for a gradient: dropout and auxiliary loss are for training only.
    pub training: bool,
    rates: Rates,
    seed: u64,
    samples: Vec<u64>,
}

/// Chances of dropout.
#[derive(Debug, Clone, Copy)]
struct Rates {
    outputs: f64,
    attention: f64,
}

impl Pass {
    /// A pass without dropout, for ids that continue `offset` positions.
    pub fn inference(kernels: Kernels, offset: usize) -> Pass {
        let rates = Rates { outputs: 0.0, attention: 0.0 };
        Pass {
            kernels,
            attention: kernels,
            places: Places::after(offset),
            training: false,
            rates,
            seed: 0,
            samples: Vec::new(),
        }
    }

    /// The pass of a batch; with dropout where it is for a gradient.
    pub fn of_batch(
        kernels: Kernels,
        config: &ModelConfig,
        options: &TrainingOptions,
        batch: &Batch,
        training: bool,
    ) -> Pass {
        let rate = |rate| if training { rate } else { 0.0 };
        Pass {
            kernels,
            attention: if options.flash_attn { kernels } else { Kernels::Plain },
            places: Places { offset: 0, starts: batch.starts.clone() },
            training,
            rates: Rates { outputs: rate(config.dropout), attention: rate(config.attention_dropout) },
            seed: options.dropout_seed,
            samples: batch.samples.to_vec(),
        }
    }

    fn drops(&self, rate: f64, site: &str) -> Option<Dropout> {
        (rate > 0.0).then(|| Dropout::new(rate, self.seed, site, &self.samples))
    }

    /// What is dropped of an output, where anything is.
    pub fn dropout(&self, site: &str) -> Option<Dropout> {
        self.drops(self.rates.outputs, site)
    }

    /// What attention of a layer does beyond being causal.
    pub fn attention_options(&self, layer: usize) -> AttentionOptions {
        let dropout = self.drops(self.rates.attention, &format!("layer {layer} attention weights"));
        AttentionOptions { starts: self.places.starts.clone(), dropout }
    }
}
