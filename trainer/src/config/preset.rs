//! Presets: shapes of models that people train, by the name of their size.

use super::ModelShape;

/// The presets, smallest first, with the vocabulary their size is told for.
pub const PRESETS: [&str; 5] = ["26m", "108m", "124m", "350m", "1b"];

/// The shape a name stands for; `None` where there is none of this name.
///
/// `26m` and `108m` are the notebook's; `124m` and `350m` have the sizes of GPT-2 small and medium; `1b` has those of
/// TinyLlama. The vocabulary is that of the model named; the data's takes its place.
pub fn preset(name: &str) -> Option<ModelShape> {
    let gpt2 = |dim, n_layers, n_heads| ModelShape {
        dim,
        n_layers,
        n_heads,
        n_kv_heads: None,
        vocab_size: 50_257,
        max_seq_len: 1024,
        ..ModelShape::default()
    };
    Some(match name {
        "26m" => ModelShape::default(),
        "108m" => ModelShape { dim: 768, n_layers: 16, ..ModelShape::default() },
        "124m" => gpt2(768, 12, 12),
        "350m" => gpt2(1024, 24, 16),
        "1b" => ModelShape {
            dim: 2048,
            n_layers: 22,
            n_heads: 32,
            n_kv_heads: Some(4),
            hidden_dim: Some(5632),
            vocab_size: 32_000,
            max_seq_len: 2048,
            tie_embeddings: false,
            ..ModelShape::default()
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameter_count;

    #[test]
    fn every_preset_is_valid_and_has_the_parameters_of_its_name() {
        let counts = PRESETS.map(|name| parameter_count(&preset(name).unwrap().config(None, None).unwrap()));
        let expected = [26.0e6, 108.0e6, 124.0e6, 350.0e6, 1.1e9];
        for (count, expected) in counts.into_iter().zip(expected) {
            assert!((count as f64 / expected - 1.0).abs() < 0.04, "{count} against {expected}");
        }
    }

    #[test]
    fn an_unknown_name_is_none() {
        assert!(preset("7b").is_none());
    }
}
