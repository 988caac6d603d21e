//! Every operation of a device against its CPU twin, then the whole gradient, then training steps.
//!
//! Inputs are drawn afresh for every check, outputs are poisoned before, sizes are odd where the kernels allow it. For
//! 16-bit elements the CPU computes in `f32` from the rounded inputs, so what remains is the device's own error:
//! `|device - cpu| / |cpu|` over all elements.

use std::fmt;

use candle_core::DType;

use super::device::{Address, Device, Element, bytes_of, bytes_of_mut};
use super::ops::{AttentionKernels, CudaOps, Rows};
use super::step::{CudaConfig, CudaStep};
use crate::config::{ModelConfig, ModelShape};
use crate::data::{Batch, IGNORED};
use crate::engine::EngineStep;
use crate::engine::cpu::CpuOps;
use crate::engine::ops::{Attended, Heads, Ops, Turn, Write};
use crate::error::Result;
use crate::model::{Llama, ParameterSpec};
use crate::ops::Places;
use crate::optimizer::{AdamW, AdamWConfig};
use crate::rng;
use crate::train::TrainStep;

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was compared.
    pub name: String,
    /// `|device - cpu| / |cpu|`; NaN where an element was not written.
    pub error: f64,
    /// The largest error that rounding explains.
    pub tolerance: f64,
}

impl Finding {
    /// Whether rounding explains the error.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let verdict = if self.passes() { "pass" } else { "FAIL" };
        write!(f, "{verdict}  {:<58} {:.2e} of {:.0e}", self.name, self.error, self.tolerance)
    }
}

/// Relative error of one operation that sums in `f32` and rounds its result to the element.
fn tolerance(element: Element) -> f64 {
    match element {
        Element::F32 => 2e-5,
        Element::F16 => 2e-3,
        Element::Bf16 => 1.2e-2,
    }
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = squares(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    if found.len() != expected.len() {
        return f64::NAN;
    }
    difference / squares(&mut expected.iter().map(|x| f64::from(*x))).max(1e-30)
}

fn rounded(values: &mut [f32], element: Element) {
    match element {
        Element::F32 => {}
        Element::Bf16 => values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32()),
        Element::F16 => values.iter_mut().for_each(|x| *x = half::f16::from_f32(*x).to_f32()),
    }
}

/// Sizes of the model that the checks use.
#[derive(Debug, Clone, Copy)]
pub struct CheckSizes {
    /// Elements a head.
    pub head_dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Vocabulary.
    pub vocab_size: usize,
    /// Layers.
    pub layers: usize,
    /// Sequences.
    pub sequences: usize,
    /// Positions.
    pub positions: usize,
    /// Whether documents are masked and some targets do not count.
    pub masked: bool,
}

impl CheckSizes {
    fn config(self) -> Result<ModelConfig> {
        let shape = ModelShape {
            dim: self.head_dim * self.heads,
            n_layers: self.layers,
            n_heads: self.heads,
            n_kv_heads: Some(self.kv_heads),
            hidden_dim: Some(self.head_dim * self.heads + 24),
            vocab_size: self.vocab_size,
            max_seq_len: self.positions,
            tie_embeddings: false,
            ..ModelShape::default()
        };
        shape.config(None, None)
    }
}

/// A model of rounded weights, larger than usual so that every path matters.
fn model(config: &ModelConfig, element: Element, seed: u64) -> Result<Llama> {
    let values = |spec: &ParameterSpec| {
        let mut values: Vec<f32> = spec.initial(seed).iter().map(|x| x * 4.0).collect();
        rounded(&mut values, element);
        Ok(values)
    };
    Llama::build(config, DType::F32, &candle_core::Device::Cpu, values)
}

fn optimizer(model: &Llama) -> AdamW {
    use crate::model::LanguageModel;
    // With the usual 1e-8, a gradient that is nothing but rounding moves its weight by the whole learning rate, and two
    // right implementations part; above the rounding of gradients, an update is as close as its gradients are.
    AdamW::new(AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-3, weight_decay: 0.1 }, model.parameters())
}

/// Ids of which one is common, so that its rows are cut into pieces.
fn batch(sizes: CheckSizes, seed: u64) -> Result<Batch> {
    let count = sizes.sequences * (sizes.positions + 1);
    let id = |i: usize| {
        let draw = rng::bits(seed, 1, i as u64);
        if draw.is_multiple_of(3) { 5 } else { (draw >> 8) as u32 % sizes.vocab_size as u32 }
    };
    let ids: Vec<u32> = (0..count).map(id).collect();
    let mut batch = Batch::from_windows(&ids, sizes.sequences, sizes.positions)?;
    if sizes.masked {
        // Documents of 5, 21, 37.. inputs; the last target of each does not count.
        let mut starts = vec![0u32; batch.inputs.len()];
        let mut targets = batch.targets.to_vec();
        for (row, start) in starts.iter_mut().enumerate() {
            let at = row % sizes.positions;
            let (mut first, mut length) = (0, 5);
            while first + length <= at {
                (first, length) = (first + length, length + 16);
            }
            *start = first as u32;
            if at + 1 == first + length {
                targets[row] = IGNORED;
            }
        }
        (batch.starts, batch.targets) = (Some(starts.into()), targets.into());
    }
    Ok(batch)
}

/// A check of one operation after the other over one micro-batch.
struct Check<'a, D> {
    cpu: CpuOps<'a>,
    device: &'a mut CudaOps<D>,
    element: Element,
    draws: u64,
    seed: u64,
    findings: Vec<Finding>,
    label: String,
}

impl<D: Device> Check<'_, D> {
    fn rows(&self) -> usize {
        self.cpu.batch.inputs.len()
    }

    /// Fresh values, and the same on the device.
    fn draw(&mut self, width: usize) -> Result<(Vec<f32>, Rows)> {
        self.draws += 1;
        let count = (self.rows() * width) as u64;
        let mut values: Vec<f32> = (0..count).map(|i| rng::normal(self.seed, self.draws, i) as f32).collect();
        rounded(&mut values, self.element);
        let rows = self.poisoned(width)?;
        match self.element {
            Element::F32 => self.device.device.copy_in(rows.at, bytes_of(&values))?,
            Element::Bf16 => {
                let bits: Vec<u16> = values.iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect();
                self.device.device.copy_in(rows.at, bytes_of(&bits))?;
            }
            Element::F16 => {
                let bits: Vec<u16> = values.iter().map(|x| half::f16::from_f32(*x).to_bits()).collect();
                self.device.device.copy_in(rows.at, bytes_of(&bits))?;
            }
        }
        Ok((values, rows))
    }

    /// A device matrix in which every element is no number.
    fn poisoned(&self, width: usize) -> Result<Rows> {
        let bytes = self.rows() * width * self.element.bytes();
        let at = self.device.device.allocate(bytes)?;
        self.device.device.fill(at, 0xff, bytes)?;
        Ok(Rows { at, width })
    }

    fn zeros(&self, width: usize) -> Vec<f32> {
        vec![0f32; self.rows() * width]
    }

    fn values(&self, rows: Rows) -> Result<Vec<f32>> {
        let count = self.rows() * rows.width;
        if self.element == Element::F32 {
            return self.f32s(rows.at, count);
        }
        let mut bits = vec![0u16; count];
        self.device.device.copy_out(bytes_of_mut(&mut bits), rows.at)?;
        let wide = |bits: u16| match self.element {
            Element::F16 => half::f16::from_bits(bits).to_f32(),
            _ => half::bf16::from_bits(bits).to_f32(),
        };
        Ok(bits.into_iter().map(wide).collect())
    }

    fn f32s(&self, at: Address, count: usize) -> Result<Vec<f32>> {
        let mut values = vec![0f32; count];
        self.device.device.copy_out(bytes_of_mut(&mut values), at)?;
        Ok(values)
    }

    fn record(&mut self, name: &str, found: &[f32], expected: &[f32]) {
        let finding = Finding {
            name: format!("{name} {}", self.label),
            error: relative_error(found, expected),
            tolerance: tolerance(self.element),
        };
        self.findings.push(finding);
    }

    fn compare(&mut self, name: &str, found: Rows, expected: &[f32]) -> Result<()> {
        let found = self.values(found)?;
        self.record(name, &found, expected);
        Ok(())
    }

    /// Compares the gradient of a weight, and forgets it on both sides.
    fn compare_gradient(&mut self, name: &str, weight: usize) -> Result<()> {
        let at = self.device.flat.gradient(weight);
        let found = self.f32s(at, self.device.flat.weight_elements(weight))?;
        let expected = std::mem::take(&mut self.cpu.gradients[weight]);
        self.record(name, &found, &expected);
        self.cpu.gradients[weight] = vec![0f32; expected.len()];
        self.device.flat.clear_gradients(&self.device.device)
    }

    fn embedding(&mut self) -> Result<()> {
        let (hidden, weight) = (self.cpu.plan.hidden, self.cpu.plan.embedding);
        let (mut expected, mut found) = (self.zeros(hidden), self.poisoned(hidden)?);
        self.cpu.embed(&mut expected)?;
        self.device.embed(&mut found)?;
        self.compare("embedding forward", found, &expected)?;
        let (dx, dx_device) = self.draw(hidden)?;
        self.cpu.embed_back(&dx)?;
        self.device.embed_back(&dx_device)?;
        self.compare_gradient("embedding backward", weight)
    }

    fn norm(&mut self) -> Result<()> {
        let (hidden, weight) = (self.cpu.plan.hidden, self.cpu.plan.norm);
        let ((x, x_device), (delta, delta_device)) = (self.draw(hidden)?, self.draw(hidden)?);
        let (mut sum, mut y) = (self.zeros(hidden), self.zeros(hidden));
        let (mut sum_device, mut y_device) = (self.poisoned(hidden)?, self.poisoned(hidden)?);
        self.cpu.norm(&mut y, &x, weight)?;
        self.device.norm(&mut y_device, &x_device, weight)?;
        self.compare("norm forward", y_device, &y)?;
        self.cpu.add_norm(&mut sum, &mut y, &x, &delta, weight)?;
        self.device.add_norm(&mut sum_device, &mut y_device, &x_device, &delta_device, weight)?;
        self.compare("residual sum", sum_device, &sum)?;
        self.compare("residual norm forward", y_device, &y)?;
        let ((mut dx, mut dx_device), (dy, dy_device)) = (self.draw(hidden)?, self.draw(hidden)?);
        for (name, write) in [("norm backward, added", Write::Add), ("norm backward", Write::Replace)] {
            self.cpu.norm_back(&mut dx, write, &x, weight, &dy)?;
            self.device.norm_back(&mut dx_device, write, &x_device, weight, &dy_device)?;
            self.compare(name, dx_device, &dx)?;
            self.compare_gradient(&format!("{name}, weight"), weight)?;
        }
        Ok(())
    }

    fn projection(&mut self) -> Result<()> {
        let (hidden, inner, weight) = (self.cpu.plan.hidden, self.cpu.plan.inner, self.cpu.plan.layers[0].gate);
        let ((x, x_device), (dy, dy_device)) = (self.draw(hidden)?, self.draw(inner)?);
        let (mut y, mut y_device) = (self.zeros(inner), self.poisoned(inner)?);
        self.cpu.project(&mut y, &x, weight)?;
        self.device.project(&mut y_device, &x_device, weight)?;
        self.compare("projection forward", y_device, &y)?;
        let (mut dx, mut dx_device) = (self.zeros(hidden), self.poisoned(hidden)?);
        for (name, write) in [("projection backward", Write::Replace), ("projection backward, added", Write::Add)] {
            self.cpu.project_back(&mut dx, write, &dy, weight)?;
            self.device.project_back(&mut dx_device, write, &dy_device, weight)?;
            self.compare(name, dx_device, &dx)?;
        }
        self.cpu.project_weight(weight, &dy, &x)?;
        self.device.project_weight(weight, &dy_device, &x_device)?;
        self.compare_gradient("projection weight", weight)
    }

    fn rotation(&mut self) -> Result<()> {
        let (width, heads) = (self.cpu.plan.queries(), self.cpu.plan.heads);
        for (name, turn) in [("rope forward", Turn::Forward), ("rope backward", Turn::Back)] {
            let (mut x, mut x_device) = self.draw(width)?;
            self.cpu.rotate(&mut x, heads, turn)?;
            self.device.rotate(&mut x_device, heads, turn)?;
            self.compare(name, x_device, &x)?;
        }
        Ok(())
    }

    fn attention(&mut self) -> Result<()> {
        let (queries, keys, heads) = (self.cpu.plan.queries(), self.cpu.plan.keys(), self.cpu.plan.heads);
        let ((q, q_device), (k, k_device), (v, v_device)) = (self.draw(queries)?, self.draw(keys)?, self.draw(keys)?);
        let (of, of_device) = (Heads { q, k, v }, Heads { q: q_device, k: k_device, v: v_device });
        let mut gave = Attended { out: self.zeros(queries), normalizers: Vec::new() };
        self.cpu.attend(&mut gave, &of)?;
        let (dout, dout_device) = self.draw(queries)?;
        let mut gradients = Heads { q: Vec::new(), k: Vec::new(), v: Vec::new() };
        self.cpu.attend_back(&mut gradients, &of, &gave, &dout)?;
        for (name, kernels) in [("", AttentionKernels::Fastest), ("reference ", AttentionKernels::Reference)] {
            self.device.attention = kernels;
            // Normalizers are f32: twice the 16-bit width is enough for any element.
            let (out, normalizers) = (self.poisoned(queries)?, self.poisoned(2 * heads)?);
            let mut found = Attended { out, normalizers };
            self.device.attend(&mut found, &of_device)?;
            self.compare(&format!("{name}attention forward"), found.out, &gave.out)?;
            let mut slopes = Heads { q: self.poisoned(queries)?, k: self.poisoned(keys)?, v: self.poisoned(keys)? };
            self.device.attend_back(&mut slopes, &of_device, &found, &dout_device)?;
            self.compare(&format!("{name}attention backward, queries"), slopes.q, &gradients.q)?;
            self.compare(&format!("{name}attention backward, keys"), slopes.k, &gradients.k)?;
            self.compare(&format!("{name}attention backward, values"), slopes.v, &gradients.v)?;
        }
        self.device.attention = AttentionKernels::Fastest;
        Ok(())
    }

    fn activation(&mut self) -> Result<()> {
        let inner = self.cpu.plan.inner;
        let ((mut gate, mut gate_device), (mut up, mut up_device)) = (self.draw(inner)?, self.draw(inner)?);
        let (mut y, mut y_device) = (self.zeros(inner), self.poisoned(inner)?);
        self.cpu.swiglu(&mut y, &gate, &up)?;
        self.device.swiglu(&mut y_device, &gate_device, &up_device)?;
        self.compare("swiglu forward", y_device, &y)?;
        let (dy, dy_device) = self.draw(inner)?;
        self.cpu.swiglu_back(&mut gate, &mut up, &dy)?;
        self.device.swiglu_back(&mut gate_device, &mut up_device, &dy_device)?;
        self.compare("swiglu backward, gate", gate_device, &gate)?;
        self.compare("swiglu backward, up", up_device, &up)
    }

    fn loss(&mut self) -> Result<()> {
        let (hidden, output) = (self.cpu.plan.hidden, self.cpu.plan.output);
        let (x, x_device) = self.draw(hidden)?;
        let (mut dx, mut dx_device) = (self.zeros(hidden), self.poisoned(hidden)?);
        let expected = self.cpu.loss(&x, Some(&mut dx))?;
        // In f16 a share of a mean is below the smallest number: the training step scales it, and so does this check.
        let scale = if self.element == Element::F16 { 1024.0 } else { 1.0 };
        self.device.loss_scale = scale;
        let found = self.device.loss(&x_device, Some(&mut dx_device))?;
        self.device.loss_scale = 1.0;
        dx.iter_mut().for_each(|x| *x *= scale as f32);
        self.cpu.gradients[output].iter_mut().for_each(|x| *x *= scale as f32);
        let parts = |loss: crate::ops::LossParts| [loss.cross_entropy as f32, loss.z as f32];
        self.record("cross-entropy and z-loss", &parts(found), &parts(expected));
        self.compare("cross-entropy backward", dx_device, &dx)?;
        self.compare_gradient("cross-entropy backward, weight", output)
    }

    fn all(mut self) -> Result<Vec<Finding>> {
        self.embedding()?;
        self.norm()?;
        self.projection()?;
        self.rotation()?;
        self.attention()?;
        self.activation()?;
        self.loss()?;
        Ok(self.findings)
    }
}

fn cuda_step<D: Device>(
    device: D,
    sizes: CheckSizes,
    element: Element,
    recompute: bool,
    seed: u64,
) -> Result<CudaStep<D>> {
    let model = model(&sizes.config()?, element, seed)?;
    let optimizer = optimizer(&model);
    let config = CudaConfig { element, recompute, rows_max: sizes.sequences * sizes.positions };
    CudaStep::new(device, model, optimizer, config)
}

/// Every operation against its CPU twin.
///
/// # Errors
/// Where the device refuses something.
pub fn operations<D: Device>(device: D, sizes: CheckSizes, element: Element, seed: u64) -> Result<Vec<Finding>> {
    use crate::model::LanguageModel;
    let mut step = cuda_step(device, sizes, element, false, seed)?;
    let twin = model(&sizes.config()?, element, seed)?;
    let batch = batch(sizes, seed)?;
    let guards =
        twin.parameters().iter().map(|p| crate::ops::elements(&p.var)).collect::<candle_core::Result<Vec<_>>>()?;
    let weights: Vec<&[f32]> = guards.iter().map(|guard| &**guard).collect();
    let mut gradients: Vec<Vec<f32>> = weights.iter().map(|weight| vec![0f32; weight.len()]).collect();
    let ops = step.operations();
    (ops.loss_scale, ops.z_loss) = (1.0, 0.01);
    ops.load(&batch)?;
    let plan = ops.plan.clone();
    let places = Places { offset: 0, starts: batch.starts.clone() };
    let masked = if sizes.masked { " masked" } else { "" };
    let label = format!("D={} {}{masked}", sizes.head_dim, element.suffix());
    let cpu = CpuOps { plan: &plan, weights: &weights, gradients: &mut gradients, batch: &batch, places, z_loss: 0.01 };
    Check { cpu, device: ops, element, draws: 0, seed, findings: Vec::new(), label }.all()
}

/// The whole model: loss and every parameter's gradient over two micro-batches, then `steps` training steps, by the
/// CPU's engine and by the device.
///
/// # Errors
/// Where the device refuses something.
pub fn training<D: Device>(
    device: D,
    sizes: CheckSizes,
    element: Element,
    recompute: bool,
    steps: u64,
    seed: u64,
) -> Result<Vec<Finding>> {
    let mut found = cuda_step(device, sizes, element, recompute, seed)?;
    let twin = model(&sizes.config()?, element, seed)?;
    let mut expected = EngineStep::new(twin, optimizer(found.host_model()))?;
    let label = format!("D={} {}{}", sizes.head_dim, element.suffix(), if recompute { " recomputed" } else { "" });
    // Errors of one operation add up over the depth.
    let deep = 4.0 * tolerance(element);
    let mut findings = Vec::new();
    for part in 0..2 {
        let batch = batch(sizes, seed + part)?;
        let loss = |loss: crate::train::MicroLoss| loss.parts.cross_entropy;
        let (a, b) = (loss(found.micro_batch(&batch)?), loss(expected.micro_batch(&batch)?));
        findings.push(Finding { name: format!("loss {part} {label}"), error: (a - b).abs() / b, tolerance: deep });
    }
    let norms = (found.gradient_norm()?, expected.gradient_norm()?);
    findings.push(Finding {
        name: format!("norm {label}"),
        error: (norms.0 - norms.1).abs() / norms.1,
        tolerance: deep,
    });
    let gradients = found.gradient_sums()?;
    for ((parameter, found), expected) in
        expected.model().parameters().iter().zip(&gradients).zip(expected.gradient_sums())
    {
        let name = format!("gradient of {} {label}", parameter.name.trim_end_matches(".weight"));
        findings.push(Finding { name, error: relative_error(found, expected), tolerance: deep });
    }
    for step in 0..steps {
        let norms = (found.gradient_norm()?, expected.gradient_norm()?);
        found.update(1e-3, norms.0, 1.0)?;
        expected.update(1e-3, norms.1, 1.0)?;
        let batch = batch(sizes, seed)?;
        let loss = |loss: crate::train::MicroLoss| loss.parts.cross_entropy;
        let (a, b) = (loss(found.micro_batch(&batch)?), loss(expected.micro_batch(&batch)?));
        let name = format!("loss after step {} {label}", step + 1);
        findings.push(Finding { name, error: (a - b).abs() / b, tolerance: deep });
    }
    found.download()?;
    for (a, b) in found.model().parameters().iter().zip(expected.model().parameters().iter()) {
        let values = |p: &crate::model::Parameter| crate::ops::elements(&p.var).map(|values| values.to_vec());
        let name = format!("{} after training {label}", a.name.trim_end_matches(".weight"));
        findings.push(Finding { name, error: relative_error(&values(a)?, &values(b)?), tolerance: deep });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cuda::Emulator;

    fn sizes(head_dim: usize, positions: usize) -> CheckSizes {
        let masked = positions > 64;
        CheckSizes { head_dim, heads: 4, kv_heads: 2, vocab_size: 61, layers: 2, sequences: 2, positions, masked }
    }

    fn emulator(order: u64) -> Emulator {
        static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        static BUILD: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = BUILD.lock();
        let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
        Emulator::build(folder.path(), order).unwrap()
    }

    fn assert_passes(findings: &[Finding]) {
        assert!(findings.len() > 10);
        let failed: Vec<String> = findings.iter().filter(|f| !f.passes()).map(Finding::to_string).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    const ELEMENTS: [Element; 3] = [Element::F32, Element::Bf16, Element::F16];

    #[test]
    #[ignore = "needs cxx, a C++ compiler"]
    fn every_kernel_equals_its_cpu_twin_in_the_emulator() {
        for (index, element) in ELEMENTS.into_iter().enumerate() {
            // Positions within one tile of attention, and beyond it.
            for (head_dim, positions) in [(32, 70), (64, 33), (128, 67)] {
                let seed = index as u64 * 100 + positions as u64;
                assert_passes(&operations(emulator(seed), sizes(head_dim, positions), element, seed).unwrap());
            }
        }
    }

    #[test]
    #[ignore = "needs cxx, a C++ compiler"]
    fn every_gradient_of_the_model_equals_the_cpus_in_the_emulator() {
        for element in [Element::F32] {
            for recompute in [false, true] {
                let sizes = CheckSizes { positions: 37, ..sizes(32, 37) };
                assert_passes(&training(emulator(7), sizes, element, recompute, 3, 11).unwrap());
            }
        }
    }

    #[test]
    #[ignore = "needs cxx, a C++ compiler"]
    fn the_order_in_which_threads_run_changes_no_bit() {
        let gradients = |order| {
            let sizes = sizes(32, 70);
            let mut step = cuda_step(emulator(order), sizes, Element::Bf16, false, 5).unwrap();
            step.micro_batch(&batch(sizes, 5).unwrap()).unwrap();
            step.gradient_sums().unwrap()
        };
        assert_eq!(gradients(1), gradients(999));
    }
}
