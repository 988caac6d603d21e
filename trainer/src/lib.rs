//! The trainer: from a shard manifest to a Llama-style model that Hugging Face's tools load.
//!
//! # Layout
//! - [`config`]: what a run is told: [`config::ModelConfig`] is Hugging Face's `config.json`, the notebook's names are
//!   aliases; [`config::TrainConfig`] is the rest.
//! - [`data`]: shards to batches. [`data::Source`] opens a manifest or a bare `.bin`, [`data::Windows`] finds sample
//!   `n`, [`data::Loader`] reads ahead.
//! - [`ops`]: operations with a gradient, each in a plain form (candle's operations, the definition) and a fused form
//!   (one tape node, hand-written backward, for the CPU).
//! - [`model`]: the Llama, one layer a file, and [`model::LanguageModel`], which is all that the rest knows of it.
//! - [`optimizer`], [`schedule`]: AdamW and the learning rate.
//! - [`engine`]: the fast training step, an explicit list of operations both ways; the tape is its reference.
//! - [`distributed`]: the ranks of a job: who this process is, sums and agreements between all.
//! - [`train`]: [`train::TrainStep`] makes an optimizer step, [`train::Run`] is the loop around it.
//! - [`checkpoint`]: what a run needs to go on, written atomically, read with every name and shape checked.
//! - [`import`], [`export`]: models of others, and models for others.
//! - [`generate`](mod@generate): sampling, and text as it comes.
//! - [`estimate`]: what training will take.
//! - [`eval`]: what a model makes of documents: loss, perplexity, bits a byte.
//! - [`logging`], [`report`]: a run in TensorBoard, in Weights & Biases, in the terminal, on a page.
//! - [`serve`]: the model over HTTP, as OpenAI's completions.
//! - [`rng`]: randomness as a function of seed and counter, so that there is no state to save.
//! - [`cli`]: the program `trainer`.
//!
//! **Invariant:** a run killed at any moment goes on to the same losses, bit for bit, on the same machine. Hence no
//! sum depends on threads, no random number on history, and the loader's position is a count of samples.
//!
//! # Example
//! A model of 4,000 parameters learns one batch by heart, and continues it:
//! ```
//! use candle_core::Device;
//! use trainer::config::ModelShape;
//! use trainer::data::Batch;
//! use trainer::generate::{Sampling, generate};
//! use trainer::model::{LanguageModel, Llama};
//! use trainer::optimizer::{AdamW, AdamWConfig};
//! use trainer::train::{AutogradStep, TrainStep};
//!
//! let shape = ModelShape { dim: 16, n_layers: 1, n_heads: 2, n_kv_heads: None, vocab_size: 12, ..Default::default() };
//! let model = Llama::init(&shape.config(None, None)?, 0, &Device::Cpu)?;
//! let constants = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 };
//! let optimizer = AdamW::new(constants, model.parameters());
//! let mut step = AutogradStep::new(model, optimizer);
//!
//! let batch = Batch::from_windows(&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], 1, 9)?;
//! for _ in 0..60 {
//!     step.micro_batch(&batch)?;
//!     let norm = step.gradient_norm()?;
//!     step.update(1e-2, norm, 1.0)?;
//! }
//!
//! let mut text = vec![];
//! let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
//! generate(step.model(), &[3, 1, 4], 4, &greedy, |id| Ok(text.push(id)))?;
//! assert_eq!(text, [1, 5, 9, 2]);
//! # Ok::<(), trainer::Error>(())
//! ```
#![expect(non_snake_case, reason = "tensors carry a shape suffix, as `x_BTC`")]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod data;
pub mod distributed;
pub mod engine;
mod error;
pub mod estimate;
pub mod eval;
pub mod export;
pub mod generate;
pub mod import;
pub mod logging;
pub mod model;
pub mod ops;
pub mod optimizer;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod serve;
#[cfg(test)]
mod testing;
pub mod train;

pub use error::{Error, Result};
