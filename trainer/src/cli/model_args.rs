//! The flags that say what model to make, by the notebook's names.

use crate::config::{ModelConfig, ModelShape};
use crate::data::Source;
use crate::error::{Error, Result};

/// Shape of the model.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArgs {
    /// Width of the residual stream (hidden_size)
    #[arg(long, default_value_t = 512)]
    pub dim: usize,
    /// Layers (num_hidden_layers)
    #[arg(long, default_value_t = 8)]
    pub n_layers: usize,
    /// Query heads (num_attention_heads)
    #[arg(long, default_value_t = 16)]
    pub n_heads: usize,
    /// Key and value heads (num_key_value_heads) [default: 8 where that divides --n-heads, else as many]
    #[arg(long)]
    pub n_kv_heads: Option<usize>,
    /// Feed-forward width (intermediate_size) [default: 4 * dim * 2/3, rounded up to --multiple-of]
    #[arg(long)]
    pub hidden_dim: Option<usize>,
    /// What the feed-forward width is rounded up to
    #[arg(long, default_value_t = 64)]
    pub multiple_of: usize,
    /// Vocabulary [default: the manifest's, else 6400]
    #[arg(long)]
    pub vocab_size: Option<usize>,
    /// Longest sequence (max_position_embeddings)
    #[arg(long, default_value_t = 512)]
    pub max_seq_len: usize,
    /// Added under the root of the normalisation (rms_norm_eps)
    #[arg(long, default_value_t = 1e-5)]
    pub norm_eps: f64,
    /// Base of the rotary frequencies
    #[arg(long, default_value_t = 10_000.0)]
    pub rope_theta: f64,
    /// Whether the output layer is the embedding (tie_word_embeddings)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub tie_embeddings: bool,
    /// Dropout; only 0 is supported so far
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f64,
}

impl ModelArgs {
    /// The configuration, with what the data says of the vocabulary.
    ///
    /// # Errors
    /// Where sizes do not fit each other, or the vocabulary is smaller than the data's.
    pub fn config(&self, source: Option<&Source>) -> Result<ModelConfig> {
        if self.dropout != 0.0 {
            let problem = format!("{} is not supported yet, only 0.0", self.dropout);
            return Err(Error::Config { field: "dropout", problem });
        }
        let of_data = source.and_then(Source::vocab_size);
        if let (Some(asked), Some(needed)) = (self.vocab_size, of_data)
            && asked < needed
        {
            let problem = format!("{asked} is below the {needed} ids of the dataset's tokenizer");
            return Err(Error::Config { field: "vocab_size", problem });
        }
        let (bos, eos) = source.map_or((None, None), Source::bos_eos);
        let few_kv_heads = self.n_heads.is_multiple_of(8).then_some(8);
        let shape = ModelShape {
            dim: self.dim,
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads.or(few_kv_heads),
            hidden_dim: self.hidden_dim,
            multiple_of: self.multiple_of,
            vocab_size: self.vocab_size.or(of_data).unwrap_or(6400),
            max_seq_len: self.max_seq_len,
            norm_eps: self.norm_eps,
            rope_theta: self.rope_theta,
            tie_embeddings: self.tie_embeddings,
        };
        shape.config(bos, eos)
    }
}
