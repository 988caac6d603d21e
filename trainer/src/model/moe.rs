//! The feed-forward layer of many experts: a gate, the chosen experts, the shared ones, and the auxiliary loss.
//!
//! `s = softmax(x W^T)`; the `k` highest scores choose, the lower number of equals; their weights are divided by their
//! sum where `norm_topk_prob` says so and `k > 1`; `y = sum w_j FFN_j(x) + FFN_shared(x)` (DeepSeekMoE, Dai et al. 2024).
//! Weights lie as GraniteMoeShared's do: gate and value projections of all experts in one tensor.

use candle_core::{D, Tensor};

use super::pass::Pass;
use crate::config::{ModelConfig, MoeConfig};
use crate::error::Result;
use crate::model::Parameters;
use crate::ops::{Kernels, Routing, combine, expert_linear, gather, linear, swiglu_packed};

/// Added to the sum that chosen weights are divided by.
const SUM_EPS: f64 = 1e-20;

/// A layer of experts.
#[derive(Debug, Clone)]
pub struct Moe {
    config: MoeConfig,
    router_EC: Tensor,
    input_EGC: Tensor,
    output_ECF: Tensor,
    shared: Option<Shared>,
}

/// The experts every token passes through, as one feed-forward layer.
#[derive(Debug, Clone)]
struct Shared {
    input_GC: Tensor,
    output_CF: Tensor,
}

/// What a layer of experts gives.
pub struct Routed {
    /// Its output, `[B, T, C]`.
    pub output: Tensor,
    /// Its auxiliary loss, where training has one.
    pub auxiliary: Option<Tensor>,
    /// Tokens sent to each expert.
    pub expert_tokens: Vec<u64>,
}

impl Moe {
    /// The layer whose weights start with `prefix`.
    pub fn new(config: &ModelConfig, moe: &MoeConfig, parameters: &Parameters, prefix: &str) -> Result<Moe> {
        let weight = |name: &str| parameters.get(&format!("{prefix}.{name}.weight"));
        let shared = match config.shared_size() {
            0 => None,
            _ => Some(Shared {
                input_GC: weight("shared_mlp.input_linear")?,
                output_CF: weight("shared_mlp.output_linear")?,
            }),
        };
        Ok(Moe {
            config: moe.clone(),
            router_EC: weight("block_sparse_moe.router.layer")?,
            input_EGC: weight("block_sparse_moe.input_linear")?,
            output_ECF: weight("block_sparse_moe.output_linear")?,
            shared,
        })
    }

    /// `[B, T, C]` to `[B, T, C]`.
    pub fn forward(&self, pass: &Pass, x_BTC: &Tensor) -> Result<Routed> {
        let (batch, positions, hidden) = x_BTC.dims3()?;
        let (kernels, rows) = (pass.kernels, batch * positions);
        let x_MC = x_BTC.reshape((rows, hidden))?;
        let scores_ME = candle_nn::ops::softmax(&linear(kernels, &x_MC, &self.router_EC)?, D::Minus1)?;
        let (choices, experts) = (self.config.num_experts_per_tok, self.config.n_routed_experts);
        let chosen = highest(&scores_ME, choices)?;
        let routing = Routing::new(&chosen, choices, experts)?;
        let weights_Mk = self.weights(&scores_ME, &chosen)?;
        let slots_SC = gather(kernels, &x_MC, &routing)?;
        let inner_SF = swiglu_packed(kernels, &expert_linear(kernels, &slots_SC, &self.input_EGC, &routing)?)?;
        let outputs_SC = expert_linear(kernels, &inner_SF, &self.output_ECF, &routing)?;
        let output = combine(kernels, &outputs_SC, &weights_Mk, &routing)?.reshape((batch, positions, hidden))?;
        let output = match &self.shared {
            Some(shared) => (output + shared.forward(kernels, x_BTC)?)?,
            None => output,
        };
        let auxiliary = match pass.training && self.config.aux_loss_alpha > 0.0 {
            true => Some(self.auxiliary(&scores_ME, &chosen, batch)?),
            false => None,
        };
        Ok(Routed { output, auxiliary, expert_tokens: routing.counts() })
    }

    /// Weights of the chosen experts, `[M, k]`.
    fn weights(&self, scores_ME: &Tensor, chosen: &[u32]) -> Result<Tensor> {
        let (rows, choices) = (scores_ME.dim(0)?, self.config.num_experts_per_tok);
        let index = Tensor::from_slice(chosen, (rows, choices), scores_ME.device())?;
        let weights_Mk = scores_ME.gather(&index, 1)?;
        if !self.config.normalises() {
            return Ok(weights_Mk);
        }
        Ok(weights_Mk.broadcast_div(&(weights_Mk.sum_keepdim(1)? + SUM_EPS)?)?)
    }

    /// The auxiliary loss: scores times constants that say how crowded their expert is.
    ///
    /// By sequence: `alpha mean_b sum_e ce[b,e] mean_t s[b,t,e]` with `ce[b,e] = count[b,e] E / (T k)`; otherwise
    /// `alpha sum_e E f_e P_e` with `f_e` the share of choices and `P_e` the mean score: the same over one sequence of
    /// all rows.
    fn auxiliary(&self, scores_ME: &Tensor, chosen: &[u32], batch: usize) -> Result<Tensor> {
        let (rows, experts) = scores_ME.dims2()?;
        let sequences = if self.config.seq_aux { batch } else { 1 };
        let choices = chosen.len() / sequences.max(1);
        let mut factors = Vec::with_capacity(rows * experts);
        for chosen in chosen.chunks(choices.max(1)) {
            let mut counts = vec![0u32; experts];
            chosen.iter().for_each(|expert| counts[*expert as usize] += 1);
            let factor = |count: &u32| {
                let crowded = f64::from(*count) * experts as f64 / choices as f64;
                (self.config.aux_loss_alpha * crowded / rows as f64) as f32
            };
            let row: Vec<f32> = counts.iter().map(factor).collect();
            (0..rows / sequences).for_each(|_| factors.extend_from_slice(&row));
        }
        let factors = Tensor::from_vec(factors, (rows, experts), scores_ME.device())?.to_dtype(scores_ME.dtype())?;
        Ok((scores_ME * factors)?.sum_all()?)
    }
}

impl Shared {
    fn forward(&self, kernels: Kernels, x: &Tensor) -> Result<Tensor> {
        let inner = swiglu_packed(kernels, &linear(kernels, x, &self.input_GC)?)?;
        Ok(linear(kernels, &inner, &self.output_CF)?)
    }
}

/// The `k` highest experts of each row, best first, `[M, k]` flat.
fn highest(scores_ME: &Tensor, k: usize) -> Result<Vec<u32>> {
    let scores: Vec<Vec<f32>> = scores_ME.detach().to_dtype(candle_core::DType::F32)?.to_vec2()?;
    let mut chosen = Vec::with_capacity(scores.len() * k);
    for row in &scores {
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b)));
        chosen.extend_from_slice(&order[..k.min(order.len())]);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::ModelShape;
    use crate::data::Batch;
    use crate::model::{LanguageModel, Llama};
    use crate::ops::testing::assert_close;

    fn model(moe: MoeConfig) -> Llama {
        let shape = ModelShape {
            dim: 16,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            hidden_dim: Some(24),
            vocab_size: 29,
            max_seq_len: 12,
            moe: Some(moe),
            ..ModelShape::default()
        };
        // Larger weights than usual, so that the gate decides something.
        let values = |spec: &crate::model::ParameterSpec| Ok(spec.initial(5).iter().map(|x| x * 8.0).collect());
        Llama::build(&shape.config(None, None).unwrap(), candle_core::DType::F32, &Device::Cpu, values).unwrap()
    }

    fn batch() -> Batch {
        let tokens: Vec<u32> = (0..3 * 10).map(|i| (i * 7 + i * i) % 29).collect();
        Batch::from_windows(&tokens, 3, 9).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Settings that differ in every branch of the layer.
    fn kinds() -> [MoeConfig; 4] {
        let default = MoeConfig::default();
        [
            MoeConfig { n_shared_experts: 0, seq_aux: false, ..default.clone() },
            MoeConfig { num_experts_per_tok: 1, n_shared_experts: 2, ..default.clone() },
            MoeConfig { norm_topk_prob: false, aux_loss_alpha: 0.5, num_experts_per_tok: 3, ..default.clone() },
            default,
        ]
    }

    #[test]
    fn fused_and_plain_layers_have_the_same_losses_and_gradients() {
        for moe in kinds() {
            let (fused, plain) = (model(moe.clone()), model(moe).with_kernels(Kernels::Plain));
            let (a, b) = (fused.losses(&batch(), true).unwrap(), plain.losses(&batch(), true).unwrap());
            assert_eq!(a.expert_tokens, b.expert_tokens);
            assert!((a.auxiliary - b.auxiliary).abs() < 1e-6 && a.auxiliary > 0.0);
            let (a, b) = (a.total.backward().unwrap(), b.total.backward().unwrap());
            for (x, y) in fused.parameters().iter().zip(plain.parameters().iter()) {
                let (x_grad, y_grad) = (flat(a.get(&x.var).unwrap()), flat(b.get(&y.var).unwrap()));
                assert_close(&x.name, &x_grad, &y_grad, 2e-4);
                assert!(x_grad.iter().any(|g| *g != 0.0), "the gradient of {} is zero", x.name);
            }
        }
    }

    #[test]
    fn the_auxiliary_loss_is_added_and_only_in_training() {
        let model = model(MoeConfig { aux_loss_alpha: 0.3, ..MoeConfig::default() });
        let training = model.losses(&batch(), true).unwrap();
        let total = f64::from(training.total.to_scalar::<f32>().unwrap());
        assert!((total - training.parts.cross_entropy - training.auxiliary).abs() < 1e-5);
        assert_eq!(model.losses(&batch(), false).unwrap().auxiliary, 0.0);
    }

    /// The layer by loops over tokens and experts, all experts computed, in f64.
    fn by_hand(layer: &Moe, x: &[f32], hidden: usize, inner: usize) -> Vec<f64> {
        let values = |t: &Tensor| -> Vec<f64> { flat(t).into_iter().map(f64::from).collect() };
        let (router, input, output) = (values(&layer.router_EC), values(&layer.input_EGC), values(&layer.output_ECF));
        let product = |w: &[f64], x: &[f64]| -> Vec<f64> {
            w.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
        };
        let ffn = |input: &[f64], output: &[f64], x: &[f64], inner: usize| {
            let h = product(input, x);
            let act: Vec<f64> = (0..inner).map(|f| h[f] / (1.0 + (-h[f]).exp()) * h[inner + f]).collect();
            product(output, &act)
        };
        let experts = layer.config.n_routed_experts;
        let token = |x: &[f32]| {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let logits = product(&router, &x);
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            let scores: Vec<f64> = logits.iter().map(|l| l.exp() / sum).collect();
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            order.truncate(layer.config.num_experts_per_tok);
            let norm: f64 = if layer.config.normalises() { order.iter().map(|e| scores[*e]).sum() } else { 1.0 };
            let mut y = vec![0f64; hidden];
            for e in order {
                let (from, to) = (e * 2 * inner * hidden, (e + 1) * 2 * inner * hidden);
                let part = ffn(&input[from..to], &output[from / 2..to / 2], &x, inner);
                y.iter_mut().zip(part).for_each(|(y, part)| *y += scores[e] / norm * part);
            }
            if let Some(shared) = &layer.shared {
                let (input, output) = (values(&shared.input_GC), values(&shared.output_CF));
                let part = ffn(&input, &output, &x, input.len() / hidden / 2);
                y.iter_mut().zip(part).for_each(|(y, part)| *y += part);
            }
            y
        };
        x.chunks(hidden).flat_map(token).collect()
    }

    #[test]
    fn the_layer_equals_a_computation_by_hand() {
        for moe in kinds() {
            let model = model(moe.clone());
            let layer = Moe::new(model.config(), &moe, model.parameters(), "model.layers.1").unwrap();
            let x = crate::ops::testing::var(&[2, 7, 16], 4);
            for kernels in [Kernels::Fused, Kernels::Plain] {
                let found = layer.forward(&Pass::inference(kernels, 0), &x).unwrap().output;
                let expected: Vec<f32> = by_hand(&layer, &flat(&x), 16, 24).into_iter().map(|y| y as f32).collect();
                assert_close("output", &flat(&found), &expected, 1e-4);
            }
        }
    }

    #[test]
    fn the_auxiliary_loss_of_equal_scores_is_alpha() {
        // Every expert equally likely: mean_t s = 1 / E, sum_e ce = E, whatever was chosen.
        let moe = model(MoeConfig::default());
        let layer = Moe::new(moe.config(), &MoeConfig::default(), moe.parameters(), "model.layers.0").unwrap();
        let scores = Tensor::full(0.25f32, (6, 4), &Device::Cpu).unwrap();
        let chosen = [0, 1, 0, 1, 0, 2, 3, 1, 0, 1, 2, 3];
        let loss = layer.auxiliary(&scores, &chosen, 2).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 0.01).abs() < 1e-7, "{loss}");
    }
}
