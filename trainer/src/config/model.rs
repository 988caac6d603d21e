//! `ModelConfig`: the shape of a Llama, as Hugging Face's `config.json` writes it.
//!
//! The notebook's names (`dim`, `n_layers`, `n_heads`, `n_kv_heads`, `hidden_dim`, `norm_eps`, `max_seq_len`) are
//! accepted on reading. Where the notebook says that the feed-forward size defaults to `4 * dim`, the code it
//! describes takes two thirds of that, rounded up to `multiple_of`; so does this.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{MoeConfig, RopeScaling};
use crate::error::{Error, Result};

fn default_hidden_act() -> String {
    "silu".to_owned()
}

fn default_rope_theta() -> f64 {
    10_000.0
}

fn default_rms_norm_eps() -> f64 {
    1e-5
}

fn llama() -> String {
    LLAMA.0.to_owned()
}

fn architectures() -> Vec<String> {
    vec![LLAMA.1.to_owned()]
}

/// `model_type` and architecture of a dense model.
const LLAMA: (&str, &str) = ("llama", "LlamaForCausalLM");
/// `model_type` and architecture of a model with experts; see [`crate::model::specs`].
const MOE: (&str, &str) = ("granitemoeshared", "GraniteMoeSharedForCausalLM");

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn float32() -> String {
    "float32".to_owned()
}

fn initializer_range() -> f64 {
    0.02
}

/// The shape of a model: `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `["LlamaForCausalLM"]`; with experts `["GraniteMoeSharedForCausalLM"]`.
    #[serde(default = "architectures")]
    pub architectures: Vec<String>,
    /// `llama`; with experts `granitemoeshared`.
    #[serde(default = "llama")]
    pub model_type: String,
    /// Width of the residual stream (the notebook's `dim`).
    #[serde(alias = "dim")]
    pub hidden_size: usize,
    /// Number of layers (`n_layers`).
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: usize,
    /// Query heads (`n_heads`).
    #[serde(alias = "n_heads")]
    pub num_attention_heads: usize,
    /// Key and value heads (`n_kv_heads`); must divide the query heads; absent means as many as them.
    #[serde(alias = "n_kv_heads", default)]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; absent means `hidden_size / num_attention_heads`.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// Width of the feed-forward layer (`hidden_dim`).
    #[serde(alias = "hidden_dim")]
    pub intermediate_size: usize,
    /// Ids run from 0 to `vocab_size - 1`.
    pub vocab_size: usize,
    /// Longest sequence (`max_seq_len`).
    #[serde(alias = "max_seq_len")]
    pub max_position_embeddings: usize,
    /// Added under the root of the normalisation (`norm_eps`).
    #[serde(alias = "norm_eps", default = "default_rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    #[serde(default)]
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output layer is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Activation of the feed-forward layer; only `silu`.
    #[serde(default = "default_hidden_act")]
    pub hidden_act: String,
    /// Biases in attention; only false.
    #[serde(default)]
    pub attention_bias: bool,
    /// Biases in the feed-forward layer; only false.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Dropout on attention weights, while training.
    #[serde(default)]
    pub attention_dropout: f64,
    /// Dropout after the embedding and on the outputs of attention and feed-forward, while training; no field of
    /// Hugging Face's Llama.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Experts in place of the dense feed-forward layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe: Option<MoeConfig>,
    /// Standard deviation of initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// Id before a document.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// Id after a document.
    #[serde(default)]
    pub eos_token_id: Option<u32>,
    /// Precision of the saved weights.
    #[serde(default = "float32")]
    pub torch_dtype: String,
}

/// What the command line says of a model; the rest follows.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub dim: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; `None` is as many as query heads.
    pub n_kv_heads: Option<usize>,
    /// Feed-forward width; `None` is `4 * dim * 2 / 3` rounded up to `multiple_of`.
    pub hidden_dim: Option<usize>,
    /// What the feed-forward width is rounded up to.
    pub multiple_of: usize,
    /// Vocabulary.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_seq_len: usize,
    /// Added under the root of the normalisation.
    pub norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output layer is the embedding.
    pub tie_embeddings: bool,
    /// Dropout while training: after the embedding, on attention weights, on attention and feed-forward outputs.
    pub dropout: f64,
    /// Experts in place of the dense feed-forward layer.
    pub moe: Option<MoeConfig>,
}

impl Default for ModelShape {
    /// The 26M model of the notebook.
    fn default() -> Self {
        ModelShape {
            dim: 512,
            n_layers: 8,
            n_heads: 16,
            n_kv_heads: Some(8),
            hidden_dim: None,
            multiple_of: 64,
            vocab_size: 6400,
            max_seq_len: 512,
            norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
            tie_embeddings: true,
            dropout: 0.0,
            moe: None,
        }
    }
}

impl ModelShape {
    fn intermediate_size(&self) -> usize {
        self.hidden_dim.unwrap_or_else(|| (4 * self.dim * 2 / 3).next_multiple_of(self.multiple_of.max(1)))
    }

    /// The configuration that follows from this shape, validated.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn config(&self, bos_token_id: Option<u32>, eos_token_id: Option<u32>) -> Result<ModelConfig> {
        let (model_type, architecture) = if self.moe.is_some() { MOE } else { LLAMA };
        let config = ModelConfig {
            architectures: vec![architecture.to_owned()],
            model_type: model_type.to_owned(),
            hidden_size: self.dim,
            num_hidden_layers: self.n_layers,
            num_attention_heads: self.n_heads,
            num_key_value_heads: Some(self.n_kv_heads.unwrap_or(self.n_heads)),
            head_dim: self.dim.checked_div(self.n_heads),
            intermediate_size: self.intermediate_size(),
            vocab_size: self.vocab_size,
            max_position_embeddings: self.max_seq_len,
            rms_norm_eps: self.norm_eps,
            rope_theta: self.rope_theta,
            rope_scaling: self.rope_scaling.clone(),
            tie_word_embeddings: self.tie_embeddings,
            hidden_act: default_hidden_act(),
            attention_bias: false,
            mlp_bias: false,
            attention_dropout: self.dropout,
            dropout: self.dropout,
            moe: self.moe.clone(),
            initializer_range: initializer_range(),
            bos_token_id,
            eos_token_id,
            torch_dtype: float32(),
        };
        config.validate()?;
        Ok(config)
    }
}

fn refuse<T>(field: &'static str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Config { field, problem: problem.into() })
}

/// The largest size accepted for any one dimension: no model has more, and products of sizes stay far from overflow.
const SIZE_MAX: usize = 1 << 24;

impl ModelConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// Where the file cannot be read, is not such a file, or describes a model that is not supported.
    pub fn read(path: &Path) -> Result<ModelConfig> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let json = |error: serde_json::Error| Error::Json { path: path.to_path_buf(), problem: error.to_string() };
        let config: ModelConfig = serde_json::from_slice(&bytes).map_err(json)?;
        config.validate().map_err(|error| Error::Json { path: path.to_path_buf(), problem: error.to_string() })?;
        Ok(config)
    }

    /// Checks every size, and refuses what is not supported.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<()> {
        self.validate_sizes()?;
        self.validate_heads()?;
        let expected = if self.moe.is_some() { MOE.0 } else { LLAMA.0 };
        if self.model_type != expected {
            return refuse("model_type", format!("`{}` is not supported, only `{expected}`", self.model_type));
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", format!("`{}` is not supported, only `silu`", self.hidden_act));
        }
        if self.attention_bias || self.mlp_bias {
            return refuse("attention_bias, mlp_bias", "biases are not supported");
        }
        for (field, rate) in [("attention_dropout", self.attention_dropout), ("dropout", self.dropout)] {
            if !(0.0..1.0).contains(&rate) {
                return refuse(field, format!("must be at least 0 and below 1, not {rate}"));
            }
        }
        self.rope_scaling.as_ref().map_or(Ok(()), RopeScaling::validate)?;
        self.moe.as_ref().map_or(Ok(()), MoeConfig::validate)
    }

    fn validate_sizes(&self) -> Result<()> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("head_dim", self.head_dim.unwrap_or(1)),
        ];
        for (field, size) in sizes {
            if size == 0 || size > SIZE_MAX {
                return refuse(field, format!("must be between 1 and {SIZE_MAX}, not {size}"));
            }
        }
        let positive = [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)];
        match positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((field, value)) => refuse(field, format!("must be above 0, not {value}")),
            None => Ok(()),
        }
    }

    fn validate_heads(&self) -> Result<()> {
        let (heads, kv_heads) = (self.num_attention_heads, self.kv_heads());
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(heads) {
            return refuse("hidden_size", format!("{} is no multiple of {heads} heads", self.hidden_size));
        }
        if !heads.is_multiple_of(kv_heads) {
            return refuse("num_key_value_heads", format!("{kv_heads} does not divide {heads} query heads"));
        }
        if !self.head_size().is_multiple_of(2) {
            return refuse("head_dim", format!("{} is odd, but rotary embedding turns pairs", self.head_size()));
        }
        if self.head_dim.is_some() && self.head_size() * heads != self.hidden_size {
            return refuse("head_dim", format!("{heads} heads of {} are not hidden_size", self.head_size()));
        }
        Ok(())
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of the shared experts together; 0 where there are none.
    pub fn shared_size(&self) -> usize {
        self.moe.as_ref().map_or(0, |moe| moe.n_shared_experts * self.intermediate_size)
    }

    /// Width of a head.
    pub fn head_size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// The first field in which two configurations describe different models, with both values.
    pub fn difference(&self, other: &ModelConfig) -> Option<(String, String, String)> {
        let fields = |config: &ModelConfig| match serde_json::to_value(config) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let theirs = fields(other);
        fields(self).into_iter().find_map(|(name, ours)| {
            let found = theirs.get(&name).cloned().unwrap_or(serde_json::Value::Null);
            (ours != found).then(|| (name, ours.to_string(), found.to_string()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ModelConfig {
        ModelShape::default().config(Some(1), Some(2)).unwrap()
    }

    #[test]
    fn the_feed_forward_size_is_two_thirds_of_four_times_dim_rounded_up() {
        assert_eq!(config().intermediate_size, 1408);
        let shape = ModelShape { dim: 768, multiple_of: 256, ..ModelShape::default() };
        assert_eq!(shape.intermediate_size(), 2048);
    }

    #[test]
    fn the_notebooks_names_are_read() {
        let json = r#"{"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "hidden_dim": 128, "vocab_size": 100,
                       "norm_eps": 1e-6, "max_seq_len": 32}"#;
        let config: ModelConfig = serde_json::from_str(json).unwrap();
        config.validate().unwrap();
        assert_eq!((config.hidden_size, config.kv_heads(), config.rms_norm_eps), (64, 2, 1e-6));
    }

    #[test]
    fn config_json_round_trips_and_names_the_architecture() {
        let json = serde_json::to_value(config()).unwrap();
        assert_eq!(json["architectures"][0], "LlamaForCausalLM");
        assert_eq!(serde_json::from_value::<ModelConfig>(json).unwrap(), config());
    }

    #[test]
    fn key_heads_that_do_not_divide_are_refused_by_name() {
        let shape = ModelShape { n_kv_heads: Some(3), ..ModelShape::default() };
        assert!(shape.config(None, None).unwrap_err().to_string().starts_with("num_key_value_heads: 3"));
    }

    #[test]
    fn zero_heads_are_refused_without_a_panic() {
        let shape = ModelShape { n_heads: 0, n_kv_heads: None, ..ModelShape::default() };
        assert!(shape.config(None, None).is_err());
    }

    #[test]
    fn an_absurd_size_is_refused() {
        let shape = ModelShape { vocab_size: usize::MAX, ..ModelShape::default() };
        assert!(shape.config(None, None).unwrap_err().to_string().starts_with("vocab_size"));
    }

    #[test]
    fn llama3_scaling_is_read_and_another_kind_is_refused() {
        let json = r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": 8192}"#;
        let scaling: RopeScaling = serde_json::from_str(json).unwrap();
        assert_eq!(scaling, RopeScaling::llama3(8.0, 8192));
        let other = RopeScaling { rope_type: "linear".into(), ..scaling };
        let config = ModelConfig { rope_scaling: Some(other), ..config() };
        assert!(config.validate().unwrap_err().to_string().starts_with("rope_scaling"));
    }

    #[test]
    fn a_dropout_of_one_is_refused_by_name() {
        let shape = ModelShape { dropout: 1.0, ..ModelShape::default() };
        assert!(shape.config(None, None).unwrap_err().to_string().starts_with("attention_dropout"));
    }

    #[test]
    fn a_model_with_experts_names_its_architecture_and_round_trips() {
        let shape = ModelShape { moe: Some(MoeConfig::default()), ..ModelShape::default() };
        let config = shape.config(None, None).unwrap();
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!((&json["model_type"], &json["moe"]["n_routed_experts"]), (&"granitemoeshared".into(), &4.into()));
        assert_eq!(serde_json::from_value::<ModelConfig>(json).unwrap(), config);
    }

    #[test]
    fn the_difference_of_two_models_is_named() {
        let other = ModelConfig { num_hidden_layers: 9, ..config() };
        let (field, ours, theirs) = config().difference(&other).unwrap();
        assert_eq!((field.as_str(), ours.as_str(), theirs.as_str()), ("num_hidden_layers", "8", "9"));
        assert_eq!(config().difference(&config()), None);
    }
}
