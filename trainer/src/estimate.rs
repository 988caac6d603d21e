//! What training a model will take: arithmetic, memory, time, data.

use crate::config::{ModelConfig, PRESETS, preset};
use crate::model::{matrix_parameter_count, parameter_count};

/// Tokens a parameter at which a given amount of arithmetic makes the best model (Hoffmann et al. 2022, Chinchilla).
pub const TOKENS_A_PARAMETER: f64 = 20.0;

/// Bytes of a parameter while training: weight, gradient and two moments, float32.
const TRAINING_BYTES: u64 = 16;

/// Floating-point operations to train on a token: `6N + 12 L D T`, as model FLOPs utilisation counts them.
pub fn flops_per_token(model: &ModelConfig) -> u64 {
    let attention = 12 * model.num_hidden_layers * model.hidden_size * model.max_position_embeddings;
    6 * matrix_parameter_count(model) + attention as u64
}

/// Bytes for weights, gradients and moments.
pub fn state_bytes(model: &ModelConfig) -> u64 {
    parameter_count(model) * TRAINING_BYTES
}

/// Bytes, about, for what the backward pass needs of a micro-batch: of each layer eight widths of the residual stream
/// and three of the feed-forward layer a token.
pub fn activation_bytes(model: &ModelConfig, sequences: usize) -> u64 {
    let tokens = (sequences * model.max_position_embeddings) as u64;
    let layer = 8 * model.hidden_size + 3 * model.intermediate_size;
    tokens * (model.num_hidden_layers * layer) as u64 * 4
}

/// Seconds for `tokens` tokens at `flops_per_s`.
pub fn seconds(model: &ModelConfig, tokens: u64, flops_per_s: f64) -> f64 {
    tokens as f64 * flops_per_token(model) as f64 / flops_per_s.max(1.0)
}

/// The presets with this vocabulary, smallest first.
pub fn presets(vocab_size: usize) -> Vec<(&'static str, ModelConfig)> {
    let config = |name: &&'static str| {
        let shape = preset(name)?;
        Some((*name, crate::config::ModelShape { vocab_size, ..shape }.config(None, None).ok()?))
    };
    let mut all: Vec<_> = PRESETS.iter().filter_map(config).collect();
    // With a small vocabulary a deep model may be larger than one that is named for its large vocabulary.
    all.sort_by_key(|(_, model)| parameter_count(model));
    all
}

/// The largest preset that has [`TOKENS_A_PARAMETER`] in `tokens`, else the smallest.
pub fn preset_for(tokens: u64, vocab_size: usize) -> Option<&'static str> {
    let all = presets(vocab_size);
    let enough =
        |(_, model): &&(&str, ModelConfig)| parameter_count(model) as f64 * TOKENS_A_PARAMETER <= tokens as f64;
    all.iter().rfind(enough).or(all.first()).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelShape;

    #[test]
    fn flops_are_six_a_parameter_and_those_of_attention() {
        let model = ModelShape::default().config(None, None).unwrap();
        assert_eq!(flops_per_token(&model), 6 * matrix_parameter_count(&model) + 12 * 8 * 512 * 512);
        assert!((seconds(&model, 1000, flops_per_token(&model) as f64) - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn the_preset_grows_with_the_data() {
        let names =
            [1_000, 600_000_000, 4_000_000_000, 100_000_000_000].map(|tokens| preset_for(tokens, 6400).unwrap());
        assert_eq!((names[0], names[1], names[3]), ("26m", "26m", "1b"));
        assert!(names[2] != "26m" && names[2] != "1b");
    }
}
