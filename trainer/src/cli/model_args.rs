//! The flags that say what model to make, by the notebook's names.

use crate::config::{ModelConfig, ModelShape, MoeConfig, PRESETS, RopeScaling, preset};
use crate::data::Source;
use crate::error::{Error, Result};

/// Shape of the model; what is not given is the preset's.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArgs {
    /// Shape to start from; the flags below change it
    #[arg(long, default_value = "26m", value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
    pub preset: String,
    /// Width of the residual stream (hidden_size) [26m: 512]
    #[arg(long)]
    pub dim: Option<usize>,
    /// Layers (num_hidden_layers) [26m: 8]
    #[arg(long)]
    pub n_layers: Option<usize>,
    /// Query heads (num_attention_heads) [26m: 16]
    #[arg(long)]
    pub n_heads: Option<usize>,
    /// Key and value heads (num_key_value_heads) [26m: 8; as many as --n-heads where that is given and 8 does not
    /// divide it]
    #[arg(long)]
    pub n_kv_heads: Option<usize>,
    /// Feed-forward width (intermediate_size) [default: 4 * dim * 2/3, rounded up to --multiple-of]
    #[arg(long)]
    pub hidden_dim: Option<usize>,
    /// What the feed-forward width is rounded up to [default: 64]
    #[arg(long)]
    pub multiple_of: Option<usize>,
    /// Vocabulary [default: the manifest's, else the preset's; 26m: 6400]
    #[arg(long)]
    pub vocab_size: Option<usize>,
    /// Longest sequence (max_position_embeddings) [26m: 512]
    #[arg(long)]
    pub max_seq_len: Option<usize>,
    /// Added under the root of the normalisation (rms_norm_eps) [default: 1e-5]
    #[arg(long)]
    pub norm_eps: Option<f64>,
    /// Base of the rotary frequencies [default: 10000]
    #[arg(long)]
    pub rope_theta: Option<f64>,
    /// Llama 3's scaling of the rotary frequencies: what slow ones are divided by
    #[arg(long)]
    pub rope_scaling_factor: Option<f64>,
    /// Positions the frequencies are made for, before scaling [default: 8192]
    #[arg(long, requires = "rope_scaling_factor")]
    pub rope_original_positions: Option<usize>,
    /// Whether the output layer is the embedding (tie_word_embeddings) [26m: true]
    #[arg(long)]
    pub tie_embeddings: Option<bool>,
    /// Dropout: after the embedding, on attention weights, on attention and feed-forward outputs
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f64,
    /// Experts in place of the dense feed-forward layer
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub use_moe: bool,
    /// Experts to choose from
    #[arg(long, default_value_t = 4)]
    pub n_routed_experts: usize,
    /// Experts chosen for a token
    #[arg(long, default_value_t = 2)]
    pub num_experts_per_tok: usize,
    /// Experts every token passes through
    #[arg(long, default_value_t = 1)]
    pub n_shared_experts: usize,
    /// How the gate turns logits into scores; only softmax
    #[arg(long, default_value = "softmax")]
    pub scoring_func: String,
    /// Weight of the auxiliary loss that balances the experts; added to the loss
    #[arg(long, default_value_t = 0.01)]
    pub aux_loss_alpha: f64,
    /// Whether the auxiliary loss balances each sequence
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub seq_aux: bool,
    /// Whether the weights of the chosen experts are divided by their sum
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub norm_topk_prob: bool,
}

impl ModelArgs {
    /// The configuration, with what the data says of the vocabulary.
    ///
    /// # Errors
    /// Where sizes do not fit each other, or the vocabulary is smaller than the data's.
    pub fn config(&self, source: Option<&Source>) -> Result<ModelConfig> {
        let of_data = source.and_then(Source::vocab_size);
        if let (Some(asked), Some(needed)) = (self.vocab_size, of_data)
            && asked < needed
        {
            let problem = format!("{asked} is below the {needed} ids of the dataset's tokenizer");
            return Err(Error::Config { field: "vocab_size", problem });
        }
        let (bos, eos) = source.map_or((None, None), Source::bos_eos);
        self.shape(of_data)?.config(bos, eos)
    }

    /// Positions of a sequence.
    pub fn positions(&self) -> Result<usize> {
        Ok(self.shape(None)?.max_seq_len)
    }

    fn shape(&self, vocab_of_data: Option<usize>) -> Result<ModelShape> {
        let unknown = || Error::Config { field: "preset", problem: format!("there is no preset {}", self.preset) };
        let base = preset(&self.preset).ok_or_else(unknown)?;
        Ok(ModelShape {
            dim: self.dim.unwrap_or(base.dim),
            n_layers: self.n_layers.unwrap_or(base.n_layers),
            n_heads: self.n_heads.unwrap_or(base.n_heads),
            n_kv_heads: self.kv_heads(&base),
            // A width is for the preset's own dim.
            hidden_dim: self.hidden_dim.or(if self.dim.is_none() { base.hidden_dim } else { None }),
            multiple_of: self.multiple_of.unwrap_or(base.multiple_of),
            vocab_size: self.vocab_size.or(vocab_of_data).unwrap_or(base.vocab_size),
            max_seq_len: self.max_seq_len.unwrap_or(base.max_seq_len),
            norm_eps: self.norm_eps.unwrap_or(base.norm_eps),
            rope_theta: self.rope_theta.unwrap_or(base.rope_theta),
            rope_scaling: self.rope_scaling(),
            tie_embeddings: self.tie_embeddings.unwrap_or(base.tie_embeddings),
            dropout: self.dropout,
            moe: self.use_moe.then(|| self.moe()),
        })
    }

    fn kv_heads(&self, base: &ModelShape) -> Option<usize> {
        let fits = |kv_heads: &usize| self.n_heads.is_none_or(|heads| heads.is_multiple_of(*kv_heads));
        self.n_kv_heads.or(base.n_kv_heads.filter(fits))
    }

    fn rope_scaling(&self) -> Option<RopeScaling> {
        let original = self.rope_original_positions.unwrap_or(8192);
        self.rope_scaling_factor.map(|factor| RopeScaling::llama3(factor, original))
    }

    fn moe(&self) -> MoeConfig {
        MoeConfig {
            n_routed_experts: self.n_routed_experts,
            num_experts_per_tok: self.num_experts_per_tok,
            n_shared_experts: self.n_shared_experts,
            scoring_func: self.scoring_func.clone(),
            aux_loss_alpha: self.aux_loss_alpha,
            seq_aux: self.seq_aux,
            norm_topk_prob: self.norm_topk_prob,
        }
    }
}
