//! One optimizer step: the mean gradient over micro-batches, clipped, and the update.
//!
//! The loop knows [`TrainStep`] only; [`crate::engine`] takes the place of the tape where it can.

use super::Gradients;
use crate::data::Batch;
use crate::error::Result;
use crate::model::LanguageModel;
use crate::ops::elements;
use crate::ops::vector::add_large;
use crate::optimizer::AdamW;

/// What computes an optimizer step.
pub trait TrainStep {
    /// Forward and backward of a micro-batch, whose gradient is added to the step's; returns its mean loss.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn micro_batch(&mut self, batch: &Batch) -> Result<f64>;

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

    /// Mean loss of a batch, without gradient.
    ///
    /// # Errors
    /// Where the batch does not fit the model.
    fn loss(&self, batch: &Batch) -> Result<f64>;

    /// The model.
    fn model(&self) -> &dyn LanguageModel;

    /// The optimizer.
    fn optimizer(&self) -> &AdamW;
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
    fn micro_batch(&mut self, batch: &Batch) -> Result<f64> {
        let loss = self.model.loss(batch, true)?;
        let mut store = loss.backward()?;
        for (parameter, sum) in self.model.parameters().iter().zip(self.gradients.next_micro_batch()) {
            let missing = || candle_core::Error::msg(format!("the tape does not reach {}", parameter.name));
            let gradient = store.remove(&parameter.var).ok_or_else(missing)?.contiguous()?;
            add_large(sum, &elements(&gradient)?);
        }
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn gradient_norm(&mut self) -> Result<f64> {
        Ok(self.gradients.norm())
    }

    fn update(&mut self, learning_rate: f64, norm: f64, grad_clip: f64) -> Result<()> {
        self.gradients.apply(&mut self.optimizer, self.model.parameters(), learning_rate, norm, grad_clip)
    }

    fn loss(&self, batch: &Batch) -> Result<f64> {
        Ok(f64::from(self.model.loss(batch, false)?.to_scalar::<f32>()?))
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
        let one = |(i, t): (&[u32], &[u32])| Batch { inputs: i.into(), targets: t.into(), sequences: 1, positions: 6 };
        inputs.zip(targets).map(one).collect()
    }

    #[test]
    fn accumulated_micro_batches_equal_one_batch() {
        let (mut whole, mut parts) = (step(), step());
        let batch = batch(4);
        let loss = whole.micro_batch(&batch).unwrap();
        let losses: Vec<f64> = halves(&batch).iter().map(|half| parts.micro_batch(half).unwrap()).collect();
        assert!((loss - losses.iter().sum::<f64>() / 4.0).abs() < 1e-6);
        let (a, b) = (whole.gradient_norm().unwrap(), parts.gradient_norm().unwrap());
        assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
        whole.update(1e-2, a, 1.0).unwrap();
        parts.update(1e-2, b, 1.0).unwrap();
        let (a, b) = (whole.loss(&batch).unwrap(), parts.loss(&batch).unwrap());
        assert!((a - b).abs() < 1e-4, "{a} {b}");
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
