//! Checkpoints: what a run needs to go on, in files that Hugging Face's tools open.
//!
//! ```text
//! OUT/checkpoints/
//!   latest                     the name of the newest folder
//!   best                       the name of the folder with the best evaluation, where --keep-best is given
//!   step-00000100/
//!     model.safetensors        weights, f32, Hugging Face's names
//!     config.json              LlamaForCausalLM
//!     generation_config.json   the ids generation starts and stops with
//!     tokenizer.json ...       copied from the dataset
//!     optimizer.safetensors    first.NAME and second.NAME: AdamW's moments, f32
//!     trainer_state.json       step, samples, settings, sha256 of the two above
//! ```
//!
//! A folder is written under a temporary name, each file and the folder are fsynced, then it is renamed: a folder
//! called `step-*` is complete. `latest` follows by another rename. Nothing is pickled.

mod files;
mod folder;
mod load;
mod save;
mod state;
mod tensors;

pub use folder::{CheckpointFolder, Checkpoints};
pub use load::{load_model, load_optimizer, read_state};
pub use save::{Saved, save, write_model_files};
pub use state::{Best, DataIdentity, GrownAt, STATE_VERSION, TrainerState};
pub use tensors::{Named, Precision, TensorFile, write_as as write_weights};

/// Weights.
pub const MODEL_FILE: &str = "model.safetensors";
/// Where each weight lies, where they are in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// Shape of the model.
pub const CONFIG_FILE: &str = "config.json";
/// Defaults of generation.
pub const GENERATION_FILE: &str = "generation_config.json";
/// The optimizer's moments.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// Everything else.
pub const STATE_FILE: &str = "trainer_state.json";
/// Files of a tokenizer that go with the weights, where the dataset has them.
pub const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
