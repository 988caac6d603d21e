//! The training step on a device.

use std::sync::{Mutex, PoisonError};

use super::device::{Device, Element, refused};
use super::flat::Flat;
use super::ops::{CudaOps, Rows, micro_batch_bytes};
use crate::config::ModelConfig;
use crate::data::Batch;
use crate::engine::activations::Activations;
use crate::engine::list;
use crate::engine::ops::Ops;
use crate::engine::plan::Plan;
use crate::engine::step::check;
use crate::error::Result;
use crate::model::{LanguageModel, Llama};
use crate::ops::LossParts;
use crate::optimizer::AdamW;
use crate::train::{Gradients, MicroLoss, TrainStep};

/// Where the scale of an `f16` loss starts; a power of two, so that it changes no rounding.
const LOSS_SCALE_START: f64 = 65_536.0;

/// Updates without overflow after which the scale doubles.
const LOSS_SCALE_PATIENCE: u64 = 1_000;

/// How a device computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaConfig {
    /// Of weights and activations.
    pub element: Element,
    /// Whether activations are computed again in the backward pass instead of kept.
    pub recompute: bool,
    /// Tokens of the largest micro-batch.
    pub rows_max: usize,
}

/// Operations and activations, which evaluation and training take turns with.
struct State<D> {
    ops: CudaOps<D>,
    activations: Activations<Rows>,
}

impl<D: Device> State<D> {
    fn micro_batch(&mut self, batch: &Batch) -> Result<LossParts> {
        let State { ops, activations } = self;
        ops.load(batch)?;
        let plan = ops.plan.clone();
        list::forward(ops, &plan, activations)?;
        list::backward(ops, &plan, activations)
    }

    fn loss(&mut self, batch: &Batch) -> Result<f64> {
        let State { ops, activations } = self;
        ops.load(batch)?;
        let plan = ops.plan.clone();
        list::forward(ops, &plan, activations)?;
        Ok(ops.loss(&activations.space.normed, None)?.cross_entropy)
    }
}

/// The step on a device. The model and the optimizer on the host are as of the last [`TrainStep::download`].
pub struct CudaStep<D> {
    model: Llama,
    optimizer: AdamW,
    updates: u64,
    updates_since_overflow: u64,
    /// Of the micro-batches since the last update: their weights' sum, and themselves where an overflow repeats them.
    weight: f64,
    kept: Vec<Batch>,
    state: Mutex<State<D>>,
}

/// Refuses a model that the list or the kernels do not compute.
///
/// # Errors
/// Naming the device, what is not supported, and which sizes are.
pub fn check_supported(device: &str, config: &ModelConfig, element: Element) -> Result<()> {
    check_kind(device, config)?;
    check_shape(device, config, element)
}

/// Refuses what the list does not have yet.
fn check_kind(device: &str, config: &ModelConfig) -> Result<()> {
    let unsupported = [
        ("mixture of experts", config.moe.is_some()),
        ("dropout", config.dropout != 0.0 || config.attention_dropout != 0.0),
    ];
    match unsupported.into_iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(refused(device, format!("{what} is not supported here yet; use cpu"))),
        None => Ok(()),
    }
}

/// Refuses sizes that the kernels do not do.
fn check_shape(device: &str, config: &ModelConfig, element: Element) -> Result<()> {
    let pack = 16 / element.bytes();
    let multiples = [
        ("hidden_size", config.hidden_size, pack),
        ("intermediate_size", config.intermediate_size, pack),
        ("head_dim", config.head_size(), 2 * pack),
    ];
    for (name, size, multiple) in multiples {
        if !size.is_multiple_of(multiple) {
            return Err(refused(device, format!("{name} must be a multiple of {multiple} here, not {size}")));
        }
    }
    if config.head_size() > 256 {
        return Err(refused(device, format!("head_dim is at most 256 here, not {}", config.head_size())));
    }
    Ok(())
}

/// Refuses a run that does not fit the device's memory, and says what would.
fn check_memory(device: &dyn Device, plan: &Plan, model: &Llama, config: CudaConfig) -> Result<()> {
    let CudaConfig { element, recompute, rows_max } = config;
    let sizes = model.parameters().iter().map(|parameter| parameter.var.elem_count());
    let state = Flat::bytes(sizes, element);
    let activations = micro_batch_bytes(plan, element, rows_max, recompute);
    // cuBLAS keeps a workspace and the driver its code.
    let reserve = 256 << 20;
    let (free, _) = device.memory_bytes()?;
    if state + activations + reserve <= free {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1u32 << 30);
    let room = free.saturating_sub(state + reserve);
    let fits = |recompute| {
        let per_token = micro_batch_bytes(plan, element, 1 << 14, recompute) / (1 << 14);
        room / per_token.max(1)
    };
    let advice = match (fits(recompute), fits(true)) {
        (0, 0) => "no micro-batch fits beside them".to_owned(),
        (now, again) if recompute || again <= now => format!("{now} tokens a micro-batch would fit"),
        (now, again) => format!("{now} tokens a micro-batch would fit, {again} with recomputation"),
    };
    let problem = format!(
        "out of memory: weights and optimizer take {:.2} GiB, a micro-batch of {rows_max} tokens {:.2} GiB, and {:.2} \
         GiB are free; {advice}",
        gib(state),
        gib(activations),
        gib(free),
    );
    Err(refused(&device.name(), problem))
}

impl<D: Device> CudaStep<D> {
    /// A step for a model of `f32` on the host and its optimizer, after `updates` updates.
    ///
    /// # Errors
    /// Where the model's sizes are not supported, or memory does not suffice.
    pub fn new(device: D, model: Llama, optimizer: AdamW, config: CudaConfig) -> Result<CudaStep<D>> {
        let plan = Plan::new(model.config(), model.parameters())?;
        check_supported(&device.name(), model.config(), config.element)?;
        check_memory(&device, &plan, &model, config)?;
        let flat = Flat::new(&device, config.element, model.parameters(), &optimizer)?;
        let (mut ops, activations) =
            CudaOps::new(device, plan, config.element, flat, config.rows_max, config.recompute)?;
        ops.z_loss = model.training_options().z_loss;
        if config.element == Element::F16 {
            ops.loss_scale = LOSS_SCALE_START;
        }
        Ok(CudaStep {
            updates: optimizer.updates(),
            model,
            optimizer,
            updates_since_overflow: 0,
            weight: 0.0,
            kept: Vec::new(),
            state: Mutex::new(State { ops, activations }),
        })
    }

    fn state(&mut self) -> &mut State<D> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operations, for checks.
    pub(super) fn operations(&mut self) -> &mut CudaOps<D> {
        &mut self.state().ops
    }

    /// The model on the host.
    pub(super) fn host_model(&self) -> &Llama {
        &self.model
    }

    /// What gradients are multiplied by for the mean over the micro-batches.
    fn inverse(&mut self) -> f64 {
        let weight = if self.weight > 0.0 { self.weight } else { 1.0 };
        1.0 / (weight * self.state().ops.loss_scale)
    }

    fn norm(&mut self) -> Result<f64> {
        let inverse = self.inverse();
        let ops = &self.state().ops;
        ops.flat.measure(&ops.device, inverse, 0.0)?;
        Ok(ops.flat.measured(&ops.device)?.norm)
    }

    /// Makes the micro-batches again with a smaller loss scale.
    fn repeat(&mut self) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        let state = self.state();
        state.ops.loss_scale /= 2.0;
        state.ops.flat.clear_gradients(&state.ops.device)?;
        kept.iter().try_for_each(|batch| state.micro_batch(batch).map(drop))?;
        (self.kept, self.updates_since_overflow) = (kept, 0);
        Ok(())
    }

    /// The sums of gradients, in the order of the parameters, without the loss scale.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn gradient_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        let ops = &self.state().ops;
        let mut sums = ops.flat.gradient_sums(&ops.device)?;
        let scale = ops.loss_scale as f32;
        sums.iter_mut().flatten().for_each(|sum| *sum /= scale);
        Ok(sums)
    }
}

impl<D: Device> TrainStep for CudaStep<D> {
    fn micro_batch(&mut self, batch: &Batch) -> Result<MicroLoss> {
        self.weight += batch.weight();
        let state = self.state();
        check(&state.ops.plan, batch)?;
        let scales = state.ops.element == Element::F16;
        let parts = state.micro_batch(batch)?;
        if scales {
            self.kept.push(batch.clone());
        }
        Ok(MicroLoss { parts, ..MicroLoss::default() })
    }

    fn gradients(&mut self) -> Option<&mut Gradients> {
        None
    }

    fn discard(&mut self) -> Result<()> {
        self.weight = 0.0;
        self.kept.clear();
        let ops = &self.state().ops;
        ops.flat.clear_gradients(&ops.device)
    }

    fn gradient_norm(&mut self) -> Result<f64> {
        let mut norm = self.norm()?;
        while !norm.is_finite() && self.state().ops.loss_scale > 1.0 {
            self.repeat()?;
            norm = self.norm()?;
        }
        Ok(norm)
    }

    fn update(&mut self, learning_rate: f64, _norm: f64, grad_clip: f64) -> Result<()> {
        let (inverse, config, updates) = (self.inverse(), self.optimizer.config(), self.updates + 1);
        let ops = &self.state().ops;
        ops.flat.measure(&ops.device, inverse, grad_clip)?;
        ops.flat.update(&ops.device, config, updates, learning_rate)?;
        (self.updates, self.weight) = (updates, 0.0);
        self.kept.clear();
        self.updates_since_overflow += 1;
        let patient = self.updates_since_overflow.is_multiple_of(LOSS_SCALE_PATIENCE);
        let ops = &mut self.state().ops;
        if ops.element == Element::F16 && patient {
            ops.loss_scale *= 2.0;
        }
        Ok(())
    }

    fn loss(&self, batch: &Batch) -> Result<f64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        check(&state.ops.plan, batch)?;
        state.loss(batch)
    }

    fn model(&self) -> &dyn LanguageModel {
        &self.model
    }

    fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    fn download(&mut self) -> Result<()> {
        let ops = &self.state.get_mut().unwrap_or_else(PoisonError::into_inner).ops;
        let weights = ops.flat.master_weights(&ops.device)?;
        for (parameter, values) in self.model.parameters().iter().zip(weights) {
            let shape = parameter.var.shape().clone();
            parameter.var.set(&candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?)?;
        }
        let moments = ops.flat.moments(&ops.device)?;
        self.optimizer = AdamW::restore(self.optimizer.config(), moments, self.updates);
        Ok(())
    }
}
