//! What a run is told: the model's shape, and how it is trained.

mod model;
mod moe;
mod preset;
mod rope;
mod train;

pub use model::{ModelConfig, ModelShape};
pub use moe::MoeConfig;
pub use preset::{PRESETS, preset};
pub use rope::{RopeScaling, rotary_frequencies};
pub use train::{DEFAULT_EPOCHS, Packing, Resume, TrainConfig};
