//! The whole model, forward and backward, as a training step.

use std::sync::{Mutex, PoisonError};

use super::activations::Activations;
use super::cpu::{CpuOps, buffer};
use super::list;
use super::ops::Ops;
use super::plan::Plan;
use crate::data::{Batch, IGNORED};
use crate::error::{Error, Result};
use crate::model::{LanguageModel, Llama};
use crate::ops::{Kernels, Places, elements};
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

/// Activations for the shape of batch seen last.
#[derive(Default)]
struct Buffers {
    shape: (usize, usize),
    activations: Option<Activations<Vec<f32>>>,
}

impl Buffers {
    /// Buffers for a batch: the old ones where they fit; else they go first, so that both never exist together.
    fn of(&mut self, plan: &Plan, recompute: bool, batch: &Batch) -> Result<&mut Activations<Vec<f32>>> {
        let shape = (batch.sequences, batch.positions);
        if self.shape != shape {
            (self.shape, self.activations) = (shape, None);
        }
        match &mut self.activations {
            Some(activations) => Ok(activations),
            empty => {
                let rows = batch.inputs.len();
                Ok(empty.insert(Activations::new(plan, recompute, |need| Ok::<_, Error>(buffer(rows, need)))?))
            }
        }
    }
}

impl EngineStep {
    /// Whether the engine computes what this model asks for; the tape does where it does not.
    pub fn supports(model: &Llama) -> bool {
        let (config, options) = (model.config(), model.training_options());
        let plain = config.dropout == 0.0 && config.attention_dropout == 0.0 && config.moe.is_none();
        plain && options.flash_attn && model.kernels() == Kernels::Fused
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

    /// The sums of gradients, in the order of the parameters.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn gradient_sums(&self) -> &[Vec<f32>] {
        self.gradients.sums()
    }
}

/// Refuses ids and lengths that the kernels would index beyond their slices with.
pub(super) fn check(plan: &Plan, batch: &Batch) -> Result<()> {
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

/// Runs `pass` with the operations on the model's weights, and with activations for the batch.
fn with_pass<R>(
    (model, plan, buffers): (&Llama, &Plan, &Mutex<Buffers>),
    batch: &Batch,
    gradients: &mut [Vec<f32>],
    pass: impl FnOnce(&mut CpuOps, &mut Activations<Vec<f32>>) -> Result<R>,
) -> Result<R> {
    check(plan, batch)?;
    let guards = model.parameters().iter().map(|p| elements(&p.var)).collect::<candle_core::Result<Vec<_>>>()?;
    let weights: Vec<&[f32]> = guards.iter().map(|guard| &**guard).collect();
    let options = model.training_options();
    let mut buffers = buffers.lock().unwrap_or_else(PoisonError::into_inner);
    let activations = buffers.of(plan, options.recompute, batch)?;
    let places = Places { offset: 0, starts: batch.starts.clone() };
    let z_loss = options.z_loss;
    pass(&mut CpuOps { plan, weights: &weights, gradients, batch, places, z_loss }, activations)
}

impl TrainStep for EngineStep {
    fn micro_batch(&mut self, batch: &Batch) -> Result<MicroLoss> {
        let gradients = self.gradients.next_micro_batch(batch.weight());
        let step = (&self.model, &self.plan, &self.buffers);
        let parts = with_pass(step, batch, gradients, |ops, activations| {
            list::forward(ops, step.1, activations)?;
            list::backward(ops, step.1, activations)
        })?;
        Ok(MicroLoss { parts, ..MicroLoss::default() })
    }

    fn gradients(&mut self) -> Option<&mut Gradients> {
        Some(&mut self.gradients)
    }

    fn discard(&mut self) -> Result<()> {
        self.gradients.clear();
        Ok(())
    }

    fn gradient_norm(&mut self) -> Result<f64> {
        Ok(self.gradients.norm())
    }

    fn update(&mut self, learning_rate: f64, norm: f64, grad_clip: f64) -> Result<()> {
        self.gradients.apply(&mut self.optimizer, self.model.parameters(), learning_rate, norm, grad_clip)
    }

    fn loss(&self, batch: &Batch) -> Result<f64> {
        let step = (&self.model, &self.plan, &self.buffers);
        let parts = with_pass(step, batch, &mut [], |ops, activations| {
            list::forward(ops, step.1, activations)?;
            ops.loss(&activations.space.normed, None)
        })?;
        Ok(parts.cross_entropy)
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
        for (tied, recompute) in [(true, false), (false, false), (false, true)] {
            let mut engine = step(&config(tied));
            let options = crate::model::TrainingOptions { recompute, ..Default::default() };
            engine.model = engine.model.clone().with_training_options(options);
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
