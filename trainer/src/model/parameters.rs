//! The table of a model's weights: names (Hugging Face's), shapes, initial values, and which decay.
//!
//! One list serves initialisation, loading, saving, counting and the optimizer's groups, so they cannot disagree.

use candle_core::{DType, Device, Tensor, Var};
use rayon::prelude::*;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::rng;

/// How a weight starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All one.
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// A weight before it exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSpec {
    /// Its name in `model.safetensors`.
    pub name: String,
    /// Its shape; linear layers are `[out, in]`.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

impl ParameterSpec {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Initial values, the same for the same seed whatever the other weights are.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        match self.init {
            Init::Ones => vec![1.0; self.elements()],
            Init::Normal(deviation) => {
                let stream = rng::stream(&self.name);
                let value = |index| (rng::normal(seed, stream, index as u64) * deviation) as f32;
                (0..self.elements()).into_par_iter().map(value).collect()
            }
        }
    }
}

/// A weight.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in `model.safetensors`.
    pub name: String,
    /// Its value.
    pub var: Var,
    /// Whether weight decay applies: to matrices, not to normalisation weights.
    pub decays: bool,
}

/// All weights of a model, in the order of [`specs`].
#[derive(Debug, Clone)]
pub struct Parameters {
    entries: Vec<Parameter>,
}

impl Parameters {
    /// Makes each weight from its spec by `values`.
    ///
    /// # Errors
    /// Where `values` fails or gives another number of elements.
    pub fn build(
        config: &ModelConfig,
        dtype: DType,
        device: &Device,
        mut values: impl FnMut(&ParameterSpec) -> Result<Vec<f32>>,
    ) -> Result<Parameters> {
        let make = |spec: ParameterSpec| {
            let tensor = Tensor::from_vec(values(&spec)?, spec.shape.as_slice(), device)?.to_dtype(dtype)?;
            let decays = spec.shape.len() > 1;
            Ok(Parameter { name: spec.name, var: Var::from_tensor(&tensor)?, decays })
        };
        Ok(Parameters { entries: specs(config).into_iter().map(make).collect::<Result<_>>()? })
    }

    /// A copy of the weights as they are now, which updates do not touch.
    ///
    /// # Errors
    /// Where a tensor cannot be copied.
    pub fn snapshot(&self) -> Result<Parameters> {
        let copy = |entry: &Parameter| Ok(Parameter { var: Var::from_tensor(&entry.var.copy()?)?, ..entry.clone() });
        Ok(Parameters { entries: self.entries.iter().map(copy).collect::<Result<_>>()? })
    }

    /// The weights, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.entries.iter()
    }

    /// How many weights (tensors) there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where a weight stands in the list.
    ///
    /// # Errors
    /// Where the model has none of this name.
    pub fn position(&self, name: &str) -> Result<usize> {
        let missing = || candle_core::Error::msg(format!("the model has no weight {name}"));
        Ok(self.entries.iter().position(|entry| entry.name == name).ok_or_else(missing)?)
    }

    /// The value of a weight.
    ///
    /// # Errors
    /// Where the model has none of this name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        Ok(self.entries[self.position(name)?].var.as_tensor().clone())
    }
}

/// Elements of all weights.
pub fn parameter_count(config: &ModelConfig) -> u64 {
    specs(config).iter().map(|spec| spec.elements() as u64).sum()
}

/// Elements of the weights that a token meets in matrix products: all matrices but an untied input embedding, and of
/// the routed experts only those chosen.
pub fn matrix_parameter_count(config: &ModelConfig) -> u64 {
    let matrices = specs(config).into_iter().filter(|spec| spec.shape.len() > 1);
    let used = |spec: &ParameterSpec| config.tie_word_embeddings || spec.name != "model.embed_tokens.weight";
    let met = |spec: ParameterSpec| {
        let elements = spec.elements() as u64;
        match (&config.moe, spec.shape.len()) {
            (Some(moe), 3) => elements * moe.num_experts_per_tok as u64 / moe.n_routed_experts.max(1) as u64,
            _ => elements,
        }
    };
    matrices.filter(used).map(met).sum()
}

/// The table of a model's weights, in the order of the forward pass.
///
/// Names are those of Hugging Face's `LlamaForCausalLM`, or of `GraniteMoeSharedForCausalLM` where there are experts:
/// all experts' gate and value projections are one tensor `[E, 2F, C]`, their output projections `[E, C, F]`.
/// Matrices start normal(0, `initializer_range`); those that write into the residual stream are divided by
/// `sqrt(2 n_layers)`, so that its variance does not grow with depth (Radford et al. 2019).
pub fn specs(config: &ModelConfig) -> Vec<ParameterSpec> {
    let (hidden, head) = (config.hidden_size, config.head_size());
    let (queries, keys) = (config.num_attention_heads * head, config.kv_heads() * head);
    let normal = Init::Normal(config.initializer_range);
    let residual = Init::Normal(config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt());
    let mut table = vec![spec("model.embed_tokens.weight".into(), &[config.vocab_size, hidden], normal)];
    for layer in 0..config.num_hidden_layers {
        let of = |name: &str| format!("model.layers.{layer}.{name}.weight");
        table.extend([
            spec(of("input_layernorm"), &[hidden], Init::Ones),
            spec(of("self_attn.q_proj"), &[queries, hidden], normal),
            spec(of("self_attn.k_proj"), &[keys, hidden], normal),
            spec(of("self_attn.v_proj"), &[keys, hidden], normal),
            spec(of("self_attn.o_proj"), &[hidden, queries], residual),
            spec(of("post_attention_layernorm"), &[hidden], Init::Ones),
        ]);
        table.extend(feed_forward_specs(config, of, normal, residual));
    }
    table.push(spec("model.norm.weight".into(), &[hidden], Init::Ones));
    if !config.tie_word_embeddings {
        table.push(spec("lm_head.weight".into(), &[config.vocab_size, hidden], normal));
    }
    table
}

fn spec(name: String, shape: &[usize], init: Init) -> ParameterSpec {
    ParameterSpec { name, shape: shape.to_vec(), init }
}

fn feed_forward_specs(
    config: &ModelConfig,
    of: impl Fn(&str) -> String,
    normal: Init,
    residual: Init,
) -> Vec<ParameterSpec> {
    let (hidden, inner, shared) = (config.hidden_size, config.intermediate_size, config.shared_size());
    let Some(moe) = &config.moe else {
        return vec![
            spec(of("mlp.gate_proj"), &[inner, hidden], normal),
            spec(of("mlp.up_proj"), &[inner, hidden], normal),
            spec(of("mlp.down_proj"), &[hidden, inner], residual),
        ];
    };
    let experts = moe.n_routed_experts;
    let mut table = vec![
        spec(of("block_sparse_moe.router.layer"), &[experts, hidden], normal),
        spec(of("block_sparse_moe.input_linear"), &[experts, 2 * inner, hidden], normal),
        spec(of("block_sparse_moe.output_linear"), &[experts, hidden, inner], residual),
    ];
    if shared > 0 {
        table.push(spec(of("shared_mlp.input_linear"), &[2 * shared, hidden], normal));
        table.push(spec(of("shared_mlp.output_linear"), &[hidden, shared], residual));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelShape;

    #[test]
    fn the_26m_model_has_26_878_464_parameters() {
        assert_eq!(parameter_count(&ModelShape::default().config(None, None).unwrap()), 26_878_464);
    }

    #[test]
    fn an_untied_output_layer_counts() {
        let shape = ModelShape { tie_embeddings: false, ..ModelShape::default() };
        assert_eq!(parameter_count(&shape.config(None, None).unwrap()), 26_878_464 + 6400 * 512);
    }

    #[test]
    fn initial_values_depend_on_seed_and_name_and_have_the_deviation() {
        let table = specs(&ModelShape::default().config(None, None).unwrap());
        let residual = table.iter().find(|spec| spec.name.ends_with("0.mlp.down_proj.weight")).unwrap();
        let values = residual.initial(1);
        let variance = values.iter().map(|x| f64::from(x * x)).sum::<f64>() / values.len() as f64;
        assert!((variance.sqrt() - 0.02 / 4.0).abs() < 1e-5);
        let other = ParameterSpec { name: "x".into(), ..residual.clone() };
        assert!(values == residual.initial(1) && values != residual.initial(2) && values != other.initial(1));
    }
}
