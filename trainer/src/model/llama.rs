//! The Llama: embedding, layers of attention and feed-forward with residual connections, normalisation, output layer.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};

use super::attention::{Attention, KvCache};
use super::mlp::Mlp;
use super::moe::{Moe, Routed};
use super::norm::Norm;
use super::parameters::{ParameterSpec, Parameters};
use super::pass::Pass;
use super::{LanguageModel, Losses, TrainingOptions, taped_gradients, weighted};
use crate::config::ModelConfig;
use crate::data::Batch;
use crate::error::Result;
use crate::ops::{Kernels, RopeTable, dropout, embedding, linear, linear_cross_entropy};

/// The feed-forward half of a layer.
#[derive(Debug, Clone)]
enum FeedForward {
    Dense(Mlp),
    Experts(Box<Moe>),
}

impl FeedForward {
    fn forward(&self, pass: &Pass, x_BTC: &Tensor) -> Result<Routed> {
        match self {
            FeedForward::Dense(mlp) => {
                let output = mlp.forward(pass.kernels, x_BTC)?;
                Ok(Routed { output, auxiliary: None, expert_tokens: Vec::new() })
            }
            FeedForward::Experts(moe) => moe.forward(pass, x_BTC),
        }
    }
}

/// One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.
#[derive(Debug, Clone)]
struct Layer {
    index: usize,
    input_norm: Norm,
    attention: Attention,
    post_attention_norm: Norm,
    feed_forward: FeedForward,
}

impl Layer {
    fn new(config: &ModelConfig, parameters: &Parameters, rope: &RopeTable, index: usize) -> Result<Layer> {
        let prefix = format!("model.layers.{index}");
        let norm = |name: &str| Norm::new(config, parameters, &format!("{prefix}.{name}.weight"));
        Ok(Layer {
            index,
            input_norm: norm("input_layernorm")?,
            attention: Attention::new(config, parameters, rope, index, &format!("{prefix}.self_attn"))?,
            post_attention_norm: norm("post_attention_layernorm")?,
            feed_forward: match &config.moe {
                None => FeedForward::Dense(Mlp::new(parameters, &format!("{prefix}.mlp"))?),
                Some(moe) => FeedForward::Experts(Box::new(Moe::new(config, moe, parameters, &prefix)?)),
            },
        })
    }

    fn forward(&self, pass: &Pass, x_BTC: &Tensor, cache: Option<&mut KvCache>) -> Result<Routed> {
        let kernels = pass.kernels;
        let attended = self.attention.forward(pass, &self.input_norm.forward(kernels, x_BTC)?, cache)?;
        let x_BTC = (x_BTC + attended)?;
        let fed = self.feed_forward.forward(pass, &self.post_attention_norm.forward(kernels, &x_BTC)?)?;
        let dropped = pass.dropout(&format!("layer {} feed-forward output", self.index));
        Ok(Routed { output: (x_BTC + dropout(kernels, &fed.output, dropped.as_ref())?)?, ..fed })
    }
}

/// What the layers give beside the residual stream.
#[derive(Default)]
struct Balance {
    auxiliary: Option<Tensor>,
    expert_tokens: Vec<u64>,
}

impl Balance {
    fn add(&mut self, auxiliary: Option<Tensor>, expert_tokens: &[u64]) -> Result<()> {
        self.expert_tokens.extend_from_slice(expert_tokens);
        self.auxiliary = match (self.auxiliary.take(), auxiliary) {
            (Some(sum), Some(term)) => Some((sum + term)?),
            (sum, term) => sum.or(term),
        };
        Ok(())
    }

    fn value(&self) -> Result<f64> {
        self.auxiliary.as_ref().map_or(Ok(0.0), scalar)
    }
}

fn scalar(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// A Llama with its weights.
#[derive(Debug, Clone)]
pub struct Llama {
    config: ModelConfig,
    parameters: Parameters,
    kernels: Kernels,
    options: TrainingOptions,
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
        let rope = RopeTable::of(config);
        let embedding_VC = parameters.get("model.embed_tokens.weight")?;
        let output_VC = match config.tie_word_embeddings {
            true => embedding_VC.clone(),
            false => parameters.get("lm_head.weight")?,
        };
        let layer = |index| Layer::new(config, &parameters, &rope, index);
        Ok(Llama {
            config: config.clone(),
            kernels: Kernels::best(device, dtype),
            options: TrainingOptions::default(),
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

    /// How it is trained.
    pub fn training_options(&self) -> &TrainingOptions {
        &self.options
    }

    /// The same model, trained otherwise.
    pub fn with_training_options(self, options: TrainingOptions) -> Llama {
        Llama { options, ..self }
    }

    fn pass(&self, batch: &Batch, training: bool) -> Pass {
        Pass::of_batch(self.kernels, &self.config, &self.options, batch, training)
    }

    fn embed(&self, pass: &Pass, ids: &Arc<[u32]>, batch: usize) -> Result<Tensor> {
        let x_BTC = embedding(self.kernels, &self.embedding_VC, ids, batch)?;
        Ok(dropout(self.kernels, &x_BTC, pass.dropout("embedding").as_ref())?)
    }

    /// The residual stream after the last normalisation, `[B, T, C]`.
    fn hidden(
        &self,
        pass: &Pass,
        ids: &Arc<[u32]>,
        batch: usize,
        mut cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, Balance)> {
        let (mut x_BTC, mut balance) = (self.embed(pass, ids, batch)?, Balance::default());
        for layer in &self.layers {
            let Routed { output, auxiliary, expert_tokens } = layer.forward(pass, &x_BTC, cache.as_deref_mut())?;
            balance.add(auxiliary, &expert_tokens)?;
            x_BTC = output;
        }
        if let Some(cache) = cache {
            cache.advance(ids.len() / batch.max(1));
        }
        Ok((self.norm.forward(self.kernels, &x_BTC)?, balance))
    }

    /// Loss of the last hidden states, with what the layers add to it.
    fn head(&self, hidden_BTC: &Tensor, balance: &Balance, batch: &Batch, gradient: bool) -> Result<Losses> {
        let z_loss = if gradient { self.options.z_loss } else { 0.0 };
        let (loss, parts) =
            linear_cross_entropy(self.kernels, hidden_BTC, &self.output_VC, &batch.targets, z_loss, gradient)?;
        let total = match &balance.auxiliary {
            Some(auxiliary) => (loss + auxiliary)?,
            None => loss,
        };
        let expert_tokens = balance.expert_tokens.clone();
        Ok(Losses { total, parts, auxiliary: balance.value()?, expert_tokens })
    }

    /// Gradients with the activations of one layer at a time: the forward pass keeps each layer's input only, and the
    /// backward pass runs each layer again (Chen et al. 2016).
    fn recomputed_gradients(&self, batch: &Batch, add: &mut dyn FnMut(usize, &Tensor) -> Result<()>) -> Result<Losses> {
        let (pass, weight) = (self.pass(batch, true), batch.weight());
        let mut inputs = vec![self.embed(&pass, &batch.inputs, batch.sequences)?.detach()];
        let mut balance = Balance::default();
        for layer in &self.layers {
            let x_BTC = inputs.last().ok_or_else(|| candle_core::Error::msg("the model has no layer"))?;
            let Routed { output, auxiliary, expert_tokens } = layer.forward(&pass, x_BTC, None)?;
            balance.add(auxiliary.map(|a| a.detach()), &expert_tokens)?;
            inputs.push(output.detach());
        }
        let differentiate = |objective: Tensor, x: Option<&Var>, add: &mut dyn FnMut(usize, &Tensor) -> Result<()>| {
            let store = objective.backward()?;
            for (index, parameter) in self.parameters.iter().enumerate() {
                store.get(&parameter.var).map_or(Ok(()), |gradient| add(index, gradient))?;
            }
            Ok::<_, crate::Error>(x.and_then(|x| store.get(x).cloned()))
        };
        let unreached = || candle_core::Error::msg("the tape does not reach a layer's input");
        let x = Var::from_tensor(&inputs.pop().ok_or_else(unreached)?)?;
        let losses = self.head(&self.norm.forward(self.kernels, &x)?, &balance, batch, true)?;
        let mut dx = differentiate(weighted(&losses.total, weight)?, Some(&x), add)?.ok_or_else(unreached)?;
        for layer in self.layers.iter().rev() {
            let x = Var::from_tensor(&inputs.pop().ok_or_else(unreached)?)?;
            let Routed { output, auxiliary, .. } = layer.forward(&pass, &x, None)?;
            let mut objective = (output * dx.detach())?.sum_all()?;
            if let Some(auxiliary) = auxiliary {
                objective = (objective + weighted(&auxiliary, weight)?)?;
            }
            dx = differentiate(objective, Some(&x), add)?.ok_or_else(unreached)?;
        }
        let embedded = self.embed(&pass, &batch.inputs, batch.sequences)?;
        differentiate((embedded * dx.detach())?.sum_all()?, None, add)?;
        Ok(losses)
    }
}

impl LanguageModel for Llama {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, gradient: bool) -> Result<Losses> {
        let pass = self.pass(batch, gradient);
        let (hidden_BTC, balance) = self.hidden(&pass, &batch.inputs, batch.sequences, None)?;
        self.head(&hidden_BTC, &balance, batch, gradient)
    }

    fn gradients(&self, batch: &Batch, add: &mut dyn FnMut(usize, &Tensor) -> Result<()>) -> Result<Losses> {
        match self.options.recompute {
            true => self.recomputed_gradients(batch, add),
            false => taped_gradients(self, batch, add),
        }
    }

    fn logits(&self, ids: &Arc<[u32]>, batch: usize, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let pass = Pass::inference(self.kernels, cache.as_ref().map_or(0, |cache| cache.positions()));
        let hidden_BTC = self.hidden(&pass, ids, batch, cache)?.0.detach();
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

    fn gradients(model: &Llama, batch: &Batch) -> (Losses, Vec<Vec<f32>>) {
        let mut sums: Vec<Vec<f32>> = model.parameters().iter().map(|p| vec![0.0; p.var.elem_count()]).collect();
        let losses = model.gradients(batch, &mut |index, gradient| {
            sums[index].iter_mut().zip(flat(gradient)).for_each(|(sum, g)| *sum += g);
            Ok(())
        });
        (losses.unwrap(), sums)
    }

    /// A model with every option that changes the pass.
    fn full_model(tie_embeddings: bool) -> Llama {
        let moe = Some(crate::config::MoeConfig { aux_loss_alpha: 0.2, ..Default::default() });
        let config = ModelShape { tie_embeddings, dropout: 0.1, moe, ..shape() }.config(None, None).unwrap();
        let options = TrainingOptions { z_loss: 1e-2, dropout_seed: 3, ..TrainingOptions::default() };
        Llama::init(&config, 5, &Device::Cpu).unwrap().with_training_options(options)
    }

    /// A batch with documents, samples, and targets that do not count.
    fn packed_batch() -> Batch {
        let batch = batch();
        let mut targets = batch.targets.to_vec();
        (targets[3], targets[8]) = (crate::data::IGNORED, crate::data::IGNORED);
        let starts = [0, 0, 0, 0, 4, 4, 4, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Batch { targets: targets.into(), samples: vec![70, 9].into(), starts: Some(starts.to_vec().into()), ..batch }
    }

    #[test]
    fn recomputed_gradients_equal_those_kept() {
        for tied in [true, false] {
            let kept = full_model(tied);
            let options = TrainingOptions { recompute: true, ..*kept.training_options() };
            let recomputed = kept.clone().with_training_options(options);
            let ((a, a_grads), (b, b_grads)) =
                (gradients(&kept, &packed_batch()), gradients(&recomputed, &packed_batch()));
            assert_eq!((a.parts, a.auxiliary, a.expert_tokens), (b.parts, b.auxiliary, b.expert_tokens));
            for ((parameter, a), b) in kept.parameters().iter().zip(&a_grads).zip(&b_grads) {
                crate::ops::testing::assert_close(&parameter.name, a, b, 1e-5);
            }
        }
    }

    #[test]
    fn fused_and_plain_agree_with_every_option() {
        let (fused, plain) = (full_model(true), full_model(true).with_kernels(Kernels::Plain));
        let ((a, a_grads), (b, b_grads)) = (gradients(&fused, &packed_batch()), gradients(&plain, &packed_batch()));
        assert!((a.parts.cross_entropy - b.parts.cross_entropy).abs() < 1e-5 && a.parts.z > 0.0);
        for ((parameter, a), b) in fused.parameters().iter().zip(&a_grads).zip(&b_grads) {
            crate::ops::testing::assert_close(&parameter.name, a, b, 2e-4);
            assert!(a.iter().any(|g| *g != 0.0), "the gradient of {} is zero", parameter.name);
        }
    }

    #[test]
    fn standard_attention_equals_flash_attention() {
        let flash = full_model(true);
        let options = TrainingOptions { flash_attn: false, ..*flash.training_options() };
        let standard = flash.clone().with_training_options(options);
        let ((a, a_grads), (b, b_grads)) = (gradients(&flash, &packed_batch()), gradients(&standard, &packed_batch()));
        assert!((a.parts.cross_entropy - b.parts.cross_entropy).abs() < 1e-5);
        for ((parameter, a), b) in flash.parameters().iter().zip(&a_grads).zip(&b_grads) {
            crate::ops::testing::assert_close(&parameter.name, a, b, 2e-4);
        }
    }

    #[test]
    fn dropout_changes_with_the_sample_and_is_for_training_only() {
        let model = full_model(true);
        let loss = |samples: [u64; 2], gradient| {
            let batch = Batch { samples: samples.to_vec().into(), ..batch() };
            model.losses(&batch, gradient).unwrap().parts.cross_entropy
        };
        assert_eq!(loss([1, 2], true), loss([1, 2], true));
        assert_ne!(loss([1, 2], true), loss([1, 3], true));
        assert_eq!(loss([1, 2], false), loss([5, 6], false));
    }
}
