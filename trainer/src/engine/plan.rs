//! Where each weight stands in the list of parameters, and the sizes of the model.

use crate::config::ModelConfig;
use crate::error::Result;
use crate::model::Parameters;
use crate::ops::RopeTable;

/// Positions of a layer's weights in the list of parameters.
#[derive(Debug, Clone, Copy)]
pub struct LayerPlan {
    pub input_norm: usize,
    pub q: usize,
    pub k: usize,
    pub v: usize,
    pub o: usize,
    pub post_attention_norm: usize,
    pub gate: usize,
    pub up: usize,
    pub down: usize,
}

/// Positions of all weights, and the sizes of the model.
#[derive(Debug, Clone)]
pub struct Plan {
    pub embedding: usize,
    pub layers: Vec<LayerPlan>,
    pub norm: usize,
    /// The output layer; the embedding where they are tied.
    pub output: usize,
    pub rope: RopeTable,
    pub eps: f32,
    /// `C`.
    pub hidden: usize,
    /// `F`.
    pub inner: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
}

impl Plan {
    /// The plan of a model.
    ///
    /// # Errors
    /// Where a weight is missing.
    pub fn new(config: &ModelConfig, parameters: &Parameters) -> Result<Plan> {
        let layer = |index: usize| {
            let of = |name: &str| parameters.position(&format!("model.layers.{index}.{name}.weight"));
            Ok(LayerPlan {
                input_norm: of("input_layernorm")?,
                q: of("self_attn.q_proj")?,
                k: of("self_attn.k_proj")?,
                v: of("self_attn.v_proj")?,
                o: of("self_attn.o_proj")?,
                post_attention_norm: of("post_attention_layernorm")?,
                gate: of("mlp.gate_proj")?,
                up: of("mlp.up_proj")?,
                down: of("mlp.down_proj")?,
            })
        };
        let embedding = parameters.position("model.embed_tokens.weight")?;
        let output = if config.tie_word_embeddings { embedding } else { parameters.position("lm_head.weight")? };
        Ok(Plan {
            embedding,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: parameters.position("model.norm.weight")?,
            output,
            rope: RopeTable::of(config),
            eps: config.rms_norm_eps as f32,
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            kv_heads: config.kv_heads(),
            head_dim: config.head_size(),
            vocab_size: config.vocab_size,
        })
    }

    /// Width of all query heads together.
    pub fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}
