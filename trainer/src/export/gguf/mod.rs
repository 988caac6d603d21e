//! GGUF: a model with its tokenizer in one file, as llama.cpp reads it.
//!
//! Metadata and tensor names are those of llama.cpp's `llama` architecture, which turns neighbouring elements: the rows
//! of `q_proj` and `k_proj` are put in that order. Norms stay f32; a matrix whose rows are no multiple of 32 stays f16
//! where blocks are asked for.

mod format;
mod quantize;
mod tokenizer;

use std::path::Path;

use format::{File, Metadata, Value};
pub use quantize::Encoding;
pub use tokenizer::Vocabulary;

use crate::checkpoint::Named;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::import::to_neighbours;
use crate::model::LanguageModel;

/// Within a layer, Hugging Face's name and GGUF's.
const OF_LAYER: [(&str, &str); 9] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

fn name_of(name: &str) -> Option<String> {
    let outside = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(found) = outside {
        return Some(found.to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let rest = rest.strip_suffix(".weight")?;
    let (_, found) = OF_LAYER.iter().find(|(ours, _)| rest == *ours)?;
    Some(format!("blk.{layer}.{found}.weight"))
}

fn metadata(config: &ModelConfig, name: &str, encoding: Encoding) -> Metadata {
    let count = |value: usize| Value::U32(value as u32);
    let mut all = Metadata::new();
    all.add("general.architecture", Value::Text("llama".to_owned()));
    all.add("general.name", Value::Text(name.to_owned()));
    all.add("general.file_type", Value::U32(encoding.file_type()));
    all.add("general.quantization_version", Value::U32(2));
    all.add("llama.vocab_size", count(config.vocab_size));
    all.add("llama.block_count", count(config.num_hidden_layers));
    all.add("llama.context_length", count(config.max_position_embeddings));
    all.add("llama.embedding_length", count(config.hidden_size));
    all.add("llama.feed_forward_length", count(config.intermediate_size));
    all.add("llama.attention.head_count", count(config.num_attention_heads));
    all.add("llama.attention.head_count_kv", count(config.kv_heads()));
    all.add("llama.attention.layer_norm_rms_epsilon", Value::F32(config.rms_norm_eps as f32));
    all.add("llama.rope.freq_base", Value::F32(config.rope_theta as f32));
    all.add("llama.rope.dimension_count", count(config.head_size()));
    all
}

/// Refuses what llama.cpp's `llama` architecture, as written here, does not compute.
fn check(config: &ModelConfig) -> Result<()> {
    let refuse = |field, problem: &str| Err(Error::Config { field, problem: problem.to_owned() });
    if config.model_type != "llama" {
        return refuse("model_type", "only dense Llama models are written as GGUF");
    }
    if config.rope_scaling.is_some() {
        return refuse("rope_scaling", "scaled rotary frequencies are not written as GGUF");
    }
    Ok(())
}

/// Writes a model and its vocabulary as `out`; `name` is what llama.cpp shows.
///
/// # Errors
/// Where the model is not a dense Llama, the vocabulary is larger than the model's, or the file cannot be written.
pub fn write(
    model: &dyn LanguageModel,
    vocabulary: Option<&Vocabulary>,
    name: &str,
    encoding: Encoding,
    out: &Path,
) -> Result<()> {
    let config = model.config();
    check(config)?;
    let mut metadata = metadata(config, name, encoding);
    if let Some(vocabulary) = vocabulary {
        vocabulary.describe(&mut metadata, config)?;
    }
    let weights: Vec<Named> = super::named(model.parameters())?.into_iter().map(|w| renamed(w, config)).collect();
    File { metadata, tensors: &weights, encoding }.write(out)
}

/// A weight under GGUF's name and in its order.
fn renamed(weight: Named<'static>, config: &ModelConfig) -> Named<'static> {
    let values = to_neighbours(&weight.name, &weight.shape, &weight.values, config.head_size());
    let name = name_of(&weight.name).unwrap_or_else(|| weight.name.clone());
    Named { name, shape: weight.shape, values: values.map_or(weight.values, Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::testing::model;

    #[test]
    fn every_weight_of_a_model_has_a_name() {
        for spec in crate::model::specs(model(None).config()) {
            assert!(name_of(&spec.name).is_some(), "{}", spec.name);
        }
    }

    #[test]
    fn a_file_starts_with_magic_version_and_counts_and_is_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let model = model(None);
        write(&model, None, "tiny", Encoding::F16, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((&bytes[..4], &bytes[4..8]), (&b"GGUF"[..], &[3, 0, 0, 0][..]));
        assert_eq!((word(8), word(16), bytes.len() % 32), (model.parameters().len() as u64, 14, 0));
    }
}
