//! What a run is told: the model's shape, and how it is trained.

mod model;
mod train;

pub use model::{ModelConfig, ModelShape};
pub use train::{DEFAULT_EPOCHS, Resume, TrainConfig};
