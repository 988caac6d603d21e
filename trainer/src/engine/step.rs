//! The whole model, forward and backward, as a training step.

use std::sync::{Mutex, PoisonError};

use super::buffers::Buffers;
use super::layer::{Layer, Space};
use super::plan::Plan;
use crate::data::{Batch, IGNORED};
use crate::error::{Error, Result};
use crate::model::{LanguageModel, Llama};
use crate::ops::cross_entropy::GradientOf;
use crate::ops::{Kernels, LossParts, Places, cross_entropy, elements, embedding, rms_norm};
use crate::optimizer::AdamW;
use crate::train::{Gradients, MicroLoss, TrainStep};

/// The step by an explicit list of operations; CPU and `f32`.
pub struct EngineStep {
    model: Llama,
    optimizer: AdamW,
    plan: Plan,
    gradients: Gradients,
    /// Behind a lock only because evaluation borrows the step immutably.
    buffers: Mutex<Buffers>,
}

/// A pass of one batch through the model.
struct Pass<'a> {
    plan: &'a Plan,
    weights: &'a [&'a [f32]],
    batch: &'a Batch,
    places: Places,
    z_loss: f64,
}

impl Pass<'_> {
    fn layer(&self, index: usize) -> Layer<'_> {
        let at = self.plan.layers[index];
        let (sequences, positions) = (self.batch.sequences, self.batch.positions);
        Layer { plan: self.plan, at, weights: self.weights, sequences, positions, places: &self.places }
    }

    /// Fills `x` with the residual stream after the last layer, and `normed` with its normalisation.
    fn forward(&self, buffers: &mut Buffers) -> Result<()> {
        let Buffers { layers, x, normed, dnormed, inner, dattended, .. } = buffers;
        embedding::forward(x, self.weights[self.plan.embedding], &self.batch.inputs, self.plan.hidden);
        for (index, kept) in layers.iter_mut().enumerate() {
            self.layer(index).forward(x, kept, &mut Space { normed, dnormed, inner, dattended })?;
        }
        rms_norm::forward(normed, x, self.weights[self.plan.norm], self.plan.eps);
        Ok(())
    }

    /// The loss alone, without z-loss.
    fn loss(&self, buffers: &Buffers) -> LossParts {
        let output = self.weights[self.plan.output];
        cross_entropy::forward(&buffers.normed, output, &self.batch.targets, self.plan.hidden, 0.0, None)
    }

    /// The loss, and all gradients.
    fn backward(&self, buffers: &mut Buffers, gradients: &mut [Vec<f32>]) -> Result<LossParts> {
        let (plan, weights) = (self.plan, self.weights);
        let Buffers { layers, x, dx, normed, dnormed, inner, dattended, .. } = buffers;
        let (of, output) = (GradientOf::SumByRows, weights[plan.output]);
        let wanted = cross_entropy::Gradients { dx: dnormed, dw: &mut gradients[plan.output], of };
        let (targets, z_loss) = (&self.batch.targets, self.z_loss);
        let loss = cross_entropy::forward(normed, output, targets, plan.hidden, z_loss, Some(wanted));
        dx.fill(0.0);
        rms_norm::backward(dx, &mut gradients[plan.norm], x, weights[plan.norm], dnormed, plan.eps);
        for (index, kept) in layers.iter_mut().enumerate().rev() {
            self.layer(index).backward(dx, kept, &mut Space { normed, dnormed, inner, dattended }, gradients)?;
        }
        embedding::backward(&mut gradients[plan.embedding], dx, &self.batch.inputs, plan.hidden);
        Ok(loss)
    }
}

impl EngineStep {
    /// Whether the engine computes what this model asks for; the tape does where it does not.
    pub fn supports(model: &Llama) -> bool {
        let (config, options) = (model.config(), model.training_options());
        let plain = config.dropout == 0.0 && config.attention_dropout == 0.0 && config.moe.is_none();
        plain && options.flash_attn && !options.recompute && model.kernels() == Kernels::Fused
    }

    /// A step for a model of `f32` on the CPU and its optimizer.
    ///
    /// # Errors
    /// Where a weight is missing.
    pub fn new(model: Llama, optimizer: AdamW) -> Result<EngineStep> {
        let plan = Plan::new(model.config(), model.parameters())?;
        let gradients = Gradients::new(model.parameters());
        Ok(EngineStep { model, optimizer, plan, gradients, buffers: Mutex::default() })
    }
}

/// Refuses ids and lengths that the kernels would index beyond their slices with.
fn check(plan: &Plan, batch: &Batch) -> Result<()> {
    if batch.positions > plan.rope.positions() {
        return Err(Error::PromptTooLong { tokens: batch.positions, positions: plan.rope.positions() });
    }
    let targets = batch.targets.iter().filter(|id| **id != IGNORED);
    match batch.inputs.iter().chain(targets).find(|&&id| id as usize >= plan.vocab_size) {
        Some(id) => {
            let problem = format!("token id {id} is not below the vocabulary of {}", plan.vocab_size);
            Err(candle_core::Error::msg(problem).into())
        }
        None => Ok(()),
    }
}

/// Runs `pass` with the weights and with buffers for the batch.
fn with_pass<R>(
    (model, plan, buffers): (&Llama, &Plan, &Mutex<Buffers>),
    batch: &Batch,
    pass: impl FnOnce(Pass, &mut Buffers) -> Result<R>,
) -> Result<R> {
    check(plan, batch)?;
    let guards = model.parameters().iter().map(|p| elements(&p.var)).collect::<candle_core::Result<Vec<_>>>()?;
    let weights: Vec<&[f32]> = guards.iter().map(|guard| &**guard).collect();
    let mut buffers = buffers.lock().unwrap_or_else(PoisonError::into_inner);
    if buffers.shape != (batch.sequences, batch.positions) {
        // The old ones first, so that both never exist together.
        *buffers = Buffers::default();
        *buffers = Buffers::new(plan, batch.sequences, batch.positions);
    }
    let places = Places { offset: 0, starts: batch.starts.clone() };
    let z_loss = model.training_options().z_loss;
    pass(Pass { plan, weights: &weights, batch, places, z_loss }, &mut buffers)
}

impl TrainStep for EngineStep {
    fn micro_batch(&mut self, batch: &Batch) -> Result<MicroLoss> {
        let gradients = self.gradients.next_micro_batch(batch.weight());
        let parts = with_pass((&self.model, &self.plan, &self.buffers), batch, |pass, buffers| {
            pass.forward(buffers)?;
            pass.backward(buffers, gradients)
        })?;
        Ok(MicroLoss { parts, ..MicroLoss::default() })
    }

    fn gradients(&mut self) -> &mut Gradients {
        &mut self.gradients
    }

    fn gradient_norm(&mut self) -> Result<f64> {
        Ok(self.gradients.norm())
    }

    fn update(&mut self, learning_rate: f64, norm: f64, grad_clip: f64) -> Result<()> {
        self.gradients.apply(&mut self.optimizer, self.model.parameters(), learning_rate, norm, grad_clip)
    }

    fn loss(&self, batch: &Batch) -> Result<f64> {
        with_pass((&self.model, &self.plan, &self.buffers), batch, |pass, buffers| {
            pass.forward(buffers)?;
            Ok(pass.loss(buffers).cross_entropy)
        })
    }

    fn model(&self) -> &dyn LanguageModel {
        &self.model
    }

    fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::{ModelConfig, ModelShape};
    use crate::ops::testing::assert_close;
    use crate::optimizer::AdamWConfig;

    fn config(tie_embeddings: bool) -> ModelConfig {
        let shape = ModelShape {
            dim: 24,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            hidden_dim: Some(40),
            vocab_size: 31,
            max_seq_len: 80,
            tie_embeddings,
            ..ModelShape::default()
        };
        shape.config(None, None).unwrap()
    }

    fn batch(seed: u32, sequences: usize, positions: usize) -> Batch {
        let count = (sequences * (positions + 1)) as u32;
        let tokens: Vec<u32> = (0..count).map(|i| (i * i + seed * i + i / 7) % 31).collect();
        Batch::from_windows(&tokens, sequences, positions).unwrap()
    }

    fn step(config: &ModelConfig) -> EngineStep {
        // Larger weights than usual, so that every path matters.
        let values = |spec: &crate::model::ParameterSpec| Ok(spec.initial(3).iter().map(|x| x * 5.0).collect());
        let model = Llama::build(config, candle_core::DType::F32, &Device::Cpu, values).unwrap();
        let constants = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let optimizer = AdamW::new(constants, model.parameters());
        EngineStep::new(model, optimizer).unwrap()
    }

    #[test]
    fn loss_and_gradients_are_those_of_the_tape() {
        for tied in [true, false] {
            let mut engine = step(&config(tied));
            // More positions than one attention block, and two micro-batches of different shape.
            let batches = [batch(1, 2, 70), batch(2, 3, 9)];
            let mut expected: Vec<Vec<f32>> = Vec::new();
            for batch in &batches {
                let loss = engine.model.loss(batch, true).unwrap();
                let store = loss.backward().unwrap();
                let flat = |p: &crate::model::Parameter| store.get(&p.var).unwrap().flatten_all().unwrap().to_vec1();
                let gradients: Vec<Vec<f32>> = engine.model.parameters().iter().map(|p| flat(p).unwrap()).collect();
                match expected.is_empty() {
                    true => expected = gradients,
                    false => expected.iter_mut().flatten().zip(gradients.iter().flatten()).for_each(|(a, b)| *a += b),
                }
                let loss = f64::from(loss.to_scalar::<f32>().unwrap());
                assert!((engine.loss(batch).unwrap() - loss).abs() < 1e-5 * loss);
                assert!((engine.micro_batch(batch).unwrap().parts.cross_entropy - loss).abs() < 1e-5 * loss);
            }
            let found = engine.gradients.next_micro_batch(1.0);
            for ((parameter, found), expected) in engine.model.parameters().iter().zip(found).zip(&expected) {
                assert_close(&parameter.name, found, expected, 1e-4);
                assert!(found.iter().any(|g| *g != 0.0), "{} has no gradient", parameter.name);
            }
        }
    }

    #[test]
    fn masked_documents_ignored_targets_and_z_loss_are_those_of_the_tape() {
        let mut engine = step(&config(true));
        let options = crate::model::TrainingOptions { z_loss: 0.05, ..Default::default() };
        engine.model = engine.model.clone().with_training_options(options);
        let mut batch = batch(1, 2, 70);
        let mut targets = batch.targets.to_vec();
        (targets[5], targets[69], targets[100]) = (IGNORED, IGNORED, IGNORED);
        let starts = (0..140).map(|i| if i % 70 < 6 { 0 } else { 6 + (i % 70 - 6) / 30 * 30 });
        (batch.targets, batch.starts) = (targets.into(), Some(starts.collect()));
        let mut expected = Vec::new();
        let losses = engine.model.gradients(&batch, &mut |_, gradient| {
            expected.push(gradient.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        });
        let (losses, found) = (losses.unwrap(), engine.micro_batch(&batch).unwrap());
        assert!((losses.parts.cross_entropy - found.parts.cross_entropy).abs() < 1e-5);
        assert!((losses.parts.z - found.parts.z).abs() < 1e-5 && losses.parts.z > 0.0);
        let found = engine.gradients.next_micro_batch(0.0);
        for ((parameter, found), expected) in engine.model.parameters().iter().zip(found).zip(&expected) {
            assert_close(&parameter.name, found, expected, 1e-4);
        }
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_an_error() {
        let batch = Batch::from_windows(&[1, 2, 31], 1, 2).unwrap();
        assert!(step(&config(true)).micro_batch(&batch).is_err());
    }

    #[test]
    fn a_sequence_beyond_the_positions_is_refused() {
        let batch = batch(1, 1, 81);
        assert!(matches!(step(&config(true)).loss(&batch), Err(Error::PromptTooLong { .. })));
    }
}
