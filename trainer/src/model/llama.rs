//! The Llama: embedding, layers of attention and feed-forward with residual connections, normalisation, output layer.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::LanguageModel;
use super::attention::{Attention, KvCache};
use super::mlp::Mlp;
use super::norm::Norm;
use super::parameters::{ParameterSpec, Parameters};
use crate::config::ModelConfig;
use crate::data::Batch;
use crate::error::Result;
use crate::ops::{Kernels, RopeTable, embedding, linear, linear_cross_entropy};

/// One layer: `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Debug, Clone)]
struct Layer {
    input_norm: Norm,
    attention: Attention,
    post_attention_norm: Norm,
    mlp: Mlp,
}

impl Layer {
    fn new(config: &ModelConfig, parameters: &Parameters, rope: &RopeTable, layer: usize) -> Result<Layer> {
        let prefix = format!("model.layers.{layer}");
        let norm = |name: &str| Norm::new(config, parameters, &format!("{prefix}.{name}.weight"));
        Ok(Layer {
            input_norm: norm("input_layernorm")?,
            attention: Attention::new(config, parameters, rope, layer, &format!("{prefix}.self_attn"))?,
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: Mlp::new(parameters, &format!("{prefix}.mlp"))?,
        })
    }

    fn forward(&self, kernels: Kernels, x_BTC: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let attended = self.attention.forward(kernels, &self.input_norm.forward(kernels, x_BTC)?, cache)?;
        let x_BTC = (x_BTC + attended)?;
        let fed = self.mlp.forward(kernels, &self.post_attention_norm.forward(kernels, &x_BTC)?)?;
        Ok((x_BTC + fed)?)
    }
}

/// A Llama with its weights.
#[derive(Debug, Clone)]
pub struct Llama {
    config: ModelConfig,
    parameters: Parameters,
    kernels: Kernels,
    embedding_VC: Tensor,
    layers: Vec<Layer>,
    norm: Norm,
    output_VC: Tensor,
}

impl Llama {
    /// A model with initial weights of `seed`.
    ///
    /// # Errors
    /// Where the configuration is not valid.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Result<Llama> {
        Llama::build(config, DType::F32, device, |spec| Ok(spec.initial(seed)))
    }

    /// A model whose weights `values` gives.
    ///
    /// # Errors
    /// Where the configuration is not valid, or `values` fails.
    pub fn build(
        config: &ModelConfig,
        dtype: DType,
        device: &Device,
        values: impl FnMut(&ParameterSpec) -> Result<Vec<f32>>,
    ) -> Result<Llama> {
        config.validate()?;
        let parameters = Parameters::build(config, dtype, device, values)?;
        let rope = RopeTable::new(config.head_size(), config.max_position_embeddings, config.rope_theta);
        let embedding_VC = parameters.get("model.embed_tokens.weight")?;
        let output_VC = match config.tie_word_embeddings {
            true => embedding_VC.clone(),
            false => parameters.get("lm_head.weight")?,
        };
        let layer = |index| Layer::new(config, &parameters, &rope, index);
        Ok(Llama {
            config: config.clone(),
            kernels: Kernels::best(device, dtype),
            embedding_VC,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: Norm::new(config, &parameters, "model.norm.weight")?,
            output_VC,
            parameters,
        })
    }

    /// Which form of the operations runs.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The same model with another form of its operations.
    pub fn with_kernels(self, kernels: Kernels) -> Llama {
        Llama { kernels, ..self }
    }

    /// The residual stream after the last normalisation, `[B, T, C]`.
    fn hidden(&self, ids: &Arc<[u32]>, batch: usize, mut cache: Option<&mut KvCache>) -> Result<Tensor> {
        let mut x_BTC = embedding(self.kernels, &self.embedding_VC, ids, batch)?;
        for layer in &self.layers {
            x_BTC = layer.forward(self.kernels, &x_BTC, cache.as_deref_mut())?;
        }
        if let Some(cache) = cache {
            cache.advance(ids.len() / batch.max(1));
        }
        self.norm.forward(self.kernels, &x_BTC)
    }
}

impl LanguageModel for Llama {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn loss(&self, batch: &Batch, gradient: bool) -> Result<Tensor> {
        let hidden_BTC = self.hidden(&batch.inputs, batch.sequences, None)?;
        Ok(linear_cross_entropy(self.kernels, &hidden_BTC, &self.output_VC, &batch.targets, gradient)?)
    }

    fn logits(&self, ids: &Arc<[u32]>, batch: usize, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let hidden_BTC = self.hidden(ids, batch, cache)?.detach();
        Ok(linear(self.kernels, &hidden_BTC, &self.output_VC)?.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelShape;

    fn shape() -> ModelShape {
        ModelShape {
            dim: 16,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            hidden_dim: Some(24),
            vocab_size: 29,
            max_seq_len: 12,
            ..ModelShape::default()
        }
    }

    fn batch() -> Batch {
        let tokens: Vec<u32> = (0..2 * 10).map(|i| (i * 7 + i * i) % 29).collect();
        Batch::from_windows(&tokens, 2, 9).unwrap()
    }

    fn model(tie_embeddings: bool) -> Llama {
        let config = ModelShape { tie_embeddings, ..shape() }.config(None, None).unwrap();
        Llama::init(&config, 5, &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn every_parameter_receives_a_gradient() {
        for (tied, kernels) in [(true, Kernels::Fused), (false, Kernels::Fused), (true, Kernels::Plain)] {
            let model = model(tied).with_kernels(kernels);
            let gradients = model.loss(&batch(), true).unwrap().backward().unwrap();
            for parameter in model.parameters().iter() {
                let gradient = gradients.get(&parameter.var).unwrap_or_else(|| panic!("{} has none", parameter.name));
                assert!(flat(gradient).iter().any(|g| *g != 0.0), "the gradient of {} is zero", parameter.name);
            }
        }
    }

    #[test]
    fn fused_and_plain_models_have_the_same_loss_and_gradients() {
        let (fused, plain) = (model(true), model(true).with_kernels(Kernels::Plain));
        let (a, b) = (fused.loss(&batch(), true).unwrap(), plain.loss(&batch(), true).unwrap());
        crate::ops::testing::assert_close("loss", &flat(&a), &flat(&b), 1e-6);
        let (a, b) = (a.backward().unwrap(), b.backward().unwrap());
        for (x, y) in fused.parameters().iter().zip(plain.parameters().iter()) {
            let (x_grad, y_grad) = (flat(a.get(&x.var).unwrap()), flat(b.get(&y.var).unwrap()));
            crate::ops::testing::assert_close(&x.name, &x_grad, &y_grad, 2e-4);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_f64() {
        let config = shape().config(None, None).unwrap();
        // Larger weights than usual, so that every path matters.
        let values = |spec: &ParameterSpec| Ok(spec.initial(5).iter().map(|x| x * 8.0).collect());
        let model = Llama::build(&config, DType::F64, &Device::Cpu, values).unwrap();
        let loss = || model.loss(&batch(), true).unwrap().to_scalar::<f64>().unwrap();
        let gradients = model.loss(&batch(), true).unwrap().backward().unwrap();
        for parameter in model.parameters().iter() {
            let shape = parameter.var.dims().to_vec();
            let before: Vec<f64> = parameter.var.flatten_all().unwrap().to_vec1().unwrap();
            let set = |values: &[f64]| {
                parameter.var.set(&Tensor::from_slice(values, shape.as_slice(), &Device::Cpu).unwrap()).unwrap();
                loss()
            };
            let direction: Vec<f64> = (0..before.len() as u64).map(|i| crate::rng::normal(1, 2, i)).collect();
            let moved = |h: f64| -> Vec<f64> { before.iter().zip(&direction).map(|(x, d)| x + h * d).collect() };
            let numeric = (set(&moved(1e-5)) - set(&moved(-1e-5))) / 2e-5;
            set(&before);
            let gradient: Vec<f64> = gradients.get(&parameter.var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let error = (numeric - exact).abs() / exact.abs().max(1e-3);
            assert!(error < 1e-5, "{}: {exact} by backward, {numeric} by differences", parameter.name);
        }
    }

    #[test]
    fn the_initial_loss_is_near_the_logarithm_of_the_vocabulary() {
        let loss = model(true).loss(&batch(), false).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 29f32.ln()).abs() < 0.1, "{loss}");
    }

    #[test]
    fn logits_with_a_cache_equal_those_without() {
        let model = model(true);
        let ids: Arc<[u32]> = (0..11u32).map(|i| i * 3 % 29).collect();
        let whole = flat(&model.logits(&ids, 1, None).unwrap());
        let mut cache = KvCache::new(2);
        // A prefill of four, then a chunk of two, then token by token.
        let mut pieces = Vec::new();
        for range in [0..4, 4..6, 6..7, 7..8, 8..9, 9..10, 10..11] {
            let piece: Arc<[u32]> = ids[range].into();
            pieces.extend(flat(&model.logits(&piece, 1, Some(&mut cache)).unwrap()));
        }
        assert_eq!(cache.positions(), 11);
        crate::ops::testing::assert_close("logits", &pieces, &whole, 1e-5);
    }

    #[test]
    fn a_sequence_beyond_the_positions_is_refused() {
        let ids: Arc<[u32]> = vec![0; 13].into();
        assert!(matches!(model(true).logits(&ids, 1, None), Err(crate::Error::PromptTooLong { tokens: 13, .. })));
    }
}
