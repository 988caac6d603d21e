//! One optimizer step: the mean gradient over micro-batches, clipped, and the update.
//!
//! The loop knows [`TrainStep`] only; [`crate::engine`] takes the place of the tape where it can.

use super::Gradients;
use crate::data::Batch;
use crate::error::Result;
use crate::model::LanguageModel;
use crate::ops::vector::add_large;
use crate::ops::{LossParts, elements};
use crate::optimizer::AdamW;

/// The loss of a micro-batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MicroLoss {
    /// Cross-entropy and z-loss.
    pub parts: LossParts,
    /// Auxiliary loss of the experts.
    pub auxiliary: f64,
    /// Tokens sent to each expert, layer by layer; empty without experts.
    pub expert_tokens: Vec<u64>,
}

/// What computes an optimizer step.
pub trait TrainStep {
    /// Forward and backward of a micro-batch, whose gradient is added to the step's; returns its loss.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn micro_batch(&mut self, batch: &Batch) -> Result<MicroLoss>;

    /// The gradients since the last update, where the host holds them.
    fn gradients(&mut self) -> Option<&mut Gradients>;

    /// Throws the gradients since the last update away.
    ///
    /// # Errors
    /// Where the device fails.
    fn discard(&mut self) -> Result<()>;

    /// The norm of the mean gradient over the micro-batches since the last update.
    ///
    /// # Errors
    /// Where a tensor operation fails.
    fn gradient_norm(&mut self) -> Result<f64>;

    /// Updates the weights with the mean gradient, scaled down to `grad_clip` where `norm` exceeds it.
    ///
    /// # Errors
    /// Where a tensor operation fails.
    fn update(&mut self, learning_rate: f64, norm: f64, grad_clip: f64) -> Result<()>;

    /// Mean cross-entropy of a batch, without gradient.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn loss(&self, batch: &Batch) -> Result<f64>;

    /// The model; as of the last [`TrainStep::download`].
    fn model(&self) -> &dyn LanguageModel;

    /// The optimizer; as of the last [`TrainStep::download`].
    fn optimizer(&self) -> &AdamW;

    /// Brings model and optimizer on the host up to date, where a device holds them.
    ///
    /// # Errors
    /// Where the device fails.
    fn download(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The step by candle's tape: the reference for any engine.
pub struct AutogradStep<M> {
    model: M,
    optimizer: AdamW,
    gradients: Gradients,
}

impl<M: LanguageModel> AutogradStep<M> {
    /// A step for a model and its optimizer.
    pub fn new(model: M, optimizer: AdamW) -> AutogradStep<M> {
        AutogradStep { gradients: Gradients::new(model.parameters()), model, optimizer }
    }
}

impl<M: LanguageModel> TrainStep for AutogradStep<M> {
    fn micro_batch(&mut self, batch: &Batch) -> Result<MicroLoss> {
        let sums = self.gradients.next_micro_batch(batch.weight());
        let losses = self.model.gradients(batch, &mut |index, gradient| {
            add_large(&mut sums[index], &elements(&gradient.contiguous()?)?);
            Ok(())
        })?;
        Ok(MicroLoss { parts: losses.parts, auxiliary: losses.auxiliary, expert_tokens: losses.expert_tokens })
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
        Ok(self.model.losses(batch, false)?.parts.cross_entropy)
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
    use crate::config::ModelShape;
    use crate::model::Llama;
    use crate::optimizer::AdamWConfig;

    fn step() -> AutogradStep<Llama> {
        let shape =
            ModelShape { dim: 16, n_layers: 1, n_heads: 2, n_kv_heads: None, vocab_size: 20, ..Default::default() };
        let model = Llama::init(&shape.config(None, None).unwrap(), 1, &Device::Cpu).unwrap();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let optimizer = AdamW::new(config, model.parameters());
        AutogradStep::new(model, optimizer)
    }

    fn batch(sequences: usize) -> Batch {
        let tokens: Vec<u32> = (0..sequences as u32 * 7).map(|i| i * i % 20).collect();
        Batch::from_windows(&tokens, sequences, 6).unwrap()
    }

    /// The micro-batches of `batch`, one sequence each.
    fn halves(batch: &Batch) -> Vec<Batch> {
        let (inputs, targets) = (batch.inputs.chunks(6), batch.targets.chunks(6));
        let alone = |(i, t): (&[u32], &[u32])| Batch {
            inputs: i.into(),
            targets: t.into(),
            sequences: 1,
            samples: vec![0].into(),
            ..batch.clone()
        };
        inputs.zip(targets).map(alone).collect()
    }

    #[test]
    fn accumulated_micro_batches_equal_one_batch() {
        let (mut whole, mut parts) = (step(), step());
        let batch = batch(4);
        let of = |step: &mut AutogradStep<Llama>, batch| step.micro_batch(batch).unwrap().parts.cross_entropy;
        let loss = of(&mut whole, &batch);
        let losses: Vec<f64> = halves(&batch).iter().map(|half| of(&mut parts, half)).collect();
        assert!((loss - losses.iter().sum::<f64>() / 4.0).abs() < 1e-6);
        let (a, b) = (whole.gradient_norm().unwrap(), parts.gradient_norm().unwrap());
        assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
        whole.update(1e-2, a, 1.0).unwrap();
        parts.update(1e-2, b, 1.0).unwrap();
        let (a, b) = (whole.loss(&batch).unwrap(), parts.loss(&batch).unwrap());
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }

    #[test]
    fn targets_count_alike_however_many_their_micro_batch_has() {
        let (mut whole, mut parts) = (step(), step());
        let mut batch = batch(2);
        let mut targets = batch.targets.to_vec();
        targets[..5].fill(crate::data::IGNORED);
        batch.targets = targets.into();
        whole.micro_batch(&batch).unwrap();
        halves(&batch).iter().for_each(|half| drop(parts.micro_batch(half).unwrap()));
        let (a, b) = (whole.gradient_norm().unwrap(), parts.gradient_norm().unwrap());
        assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
    }

    #[test]
    fn steps_on_one_batch_reduce_its_loss_and_change_every_parameter() {
        let mut step = step();
        let before: Vec<Vec<f32>> = weights(&step);
        let batch = batch(2);
        let first = step.loss(&batch).unwrap();
        for _ in 0..30 {
            step.micro_batch(&batch).unwrap();
            let norm = step.gradient_norm().unwrap();
            step.update(1e-2, norm, 1.0).unwrap();
        }
        assert!(step.loss(&batch).unwrap() < 0.5 * first);
        assert!(before.iter().zip(weights(&step)).all(|(a, b)| *a != b));
    }

    fn weights(step: &AutogradStep<Llama>) -> Vec<Vec<f32>> {
        step.model.parameters().iter().map(|p| p.var.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }
}
