//! Output layer and cross-entropy in one: the logits of a whole micro-batch never exist.
//!
//! `V` logits a position are the largest tensor of a small model (32 x 512 positions of 6,400 are 420 MB, and their
//! gradient as much again). Rows are taken in chunks that stay in cache; where a gradient is wanted, it is computed
//! while the chunk is there (the method of Liger Kernel, Hsu et al. 2024).

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::gemm::{Matrix, On, Write, gemm};
use super::vector::{exp_shifted, scale, vectorized};
use super::{Kernels, rows_of, slice};
use crate::data::IGNORED;

/// Logits held at once: 16 MiB.
const CHUNK_LOGITS: usize = 1 << 22;

/// What a loss is made of; means over the targets that count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossParts {
    /// Cross-entropy, in nats a token.
    pub cross_entropy: f64,
    /// `z_loss * mean(logsumexp^2)`, which keeps logits from drifting (Chowdhery et al. 2022).
    pub z: f64,
    /// Targets that count: those that are not [`IGNORED`].
    pub targets: u64,
}

/// Mean over rows of `-log softmax(x W^T)[target]` and the z-loss, for `x [.., C]`, `weight [V, C]`; a scalar, and its
/// parts. Rows whose target is [`IGNORED`] do not count.
///
/// `gradient` says that `backward` will be called; without it only the loss is computed.
///
/// # Errors
/// Where shapes, precision or device do not fit, or a target is not below V.
pub fn linear_cross_entropy(
    kernels: Kernels,
    x: &Tensor,
    weight: &Tensor,
    targets: &Arc<[u32]>,
    z_loss: f64,
    gradient: bool,
) -> Result<(Tensor, LossParts)> {
    let ((rows, _), (vocabulary, _)) = (rows_of(x)?, weight.dims2()?);
    if rows != targets.len() || rows == 0 {
        bail!("{} targets for {rows} rows", targets.len());
    }
    if let Some(id) = targets.iter().find(|&&id| id as usize >= vocabulary && id != IGNORED) {
        bail!("target id {id} is not below the vocabulary of {vocabulary}");
    }
    match kernels {
        Kernels::Fused => {
            let parts = Arc::new(Mutex::new(LossParts::default()));
            let kept = Mutex::new(None);
            let op = LinearCrossEntropy { targets: targets.clone(), z_loss, gradient, kept, parts: parts.clone() };
            let loss = x.contiguous()?.apply_op2(weight, op)?;
            let parts = parts.lock().map(|parts| *parts).unwrap_or_default();
            Ok((loss, parts))
        }
        Kernels::Plain => plain(x, weight, targets, z_loss),
    }
}

fn plain(x: &Tensor, weight: &Tensor, targets: &Arc<[u32]>, z_loss: f64) -> Result<(Tensor, LossParts)> {
    let (rows, vocabulary) = (targets.len(), weight.dim(0)?);
    let logits = super::linear(Kernels::Plain, x, weight)?.reshape((rows, vocabulary))?;
    let count = counted(targets);
    let share = |id: &u32| if *id == IGNORED { 0f32 } else { 1.0 / count.max(1) as f32 };
    let shares = Tensor::from_vec(targets.iter().map(share).collect::<Vec<f32>>(), (rows, 1), x.device())?;
    let shares = shares.to_dtype(logits.dtype())?;
    let ids: Vec<u32> = targets.iter().map(|id| if *id == IGNORED { 0 } else { *id }).collect();
    let index = Tensor::from_vec(ids, (rows, 1), x.device())?;
    let highest = logits.max_keepdim(D::Minus1)?.detach();
    let log_sum = (logits.broadcast_sub(&highest)?.exp()?.sum_keepdim(D::Minus1)?.log()? + highest)?;
    let cross_entropy = ((&log_sum - logits.gather(&index, D::Minus1)?)? * &shares)?.sum_all()?;
    let z = ((log_sum.sqr()? * &shares)?.sum_all()? * z_loss)?;
    let value = |tensor: &Tensor| tensor.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>();
    let parts = LossParts { cross_entropy: value(&cross_entropy)?, z: value(&z)?, targets: count };
    Ok(((cross_entropy + z)?, parts))
}

fn counted(targets: &[u32]) -> u64 {
    targets.iter().filter(|id| **id != IGNORED).count() as u64
}

/// Gradients for an upstream gradient of 1.
struct Kept {
    dx: Vec<f32>,
    dw: Vec<f32>,
}

struct LinearCrossEntropy {
    targets: Arc<[u32]>,
    z_loss: f64,
    gradient: bool,
    kept: Mutex<Option<Kept>>,
    parts: Arc<Mutex<LossParts>>,
}

/// Turns a row of logits into the gradient `share (softmax (1 + 2 z lse) - onehot)`, where `lse` is the logarithm of
/// the sum of exponentials, and returns the row's cross-entropy and `lse^2`.
#[inline(always)]
fn row_loss(logits: &mut [f32], target: u32, z_loss: f64, share: f32) -> (f64, f64) {
    if target == IGNORED {
        logits.fill(0.0);
        return (0.0, 0.0);
    }
    let chosen = logits[target as usize];
    let (sum, highest) = exp_shifted(logits, 1.0);
    let log_sum = (sum as f64).ln() + highest as f64;
    scale(logits, share / sum * (1.0 + 2.0 * z_loss * log_sum) as f32);
    logits[target as usize] -= share;
    (log_sum - chosen as f64, log_sum * log_sum)
}

/// Where gradients go: `dx` is replaced, `dw` added to.
pub struct Gradients<'a> {
    /// Of the input `[M, C]`.
    pub dx: &'a mut [f32],
    /// Of the weight `[V, C]`.
    pub dw: &'a mut [f32],
    /// What they are gradients of.
    pub of: GradientOf,
}

/// The quantity whose gradient is computed; they differ where targets are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradientOf {
    /// The mean over the targets that count.
    Mean,
    /// Their sum divided by all rows, so that micro-batches add up by how many targets they have.
    SumByRows,
}

/// Mean loss of `targets` given `x [M, C]` and `weight [V, C]`, and its gradients where they are wanted.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    targets: &[u32],
    hidden: usize,
    z_loss: f64,
    mut gradients: Option<Gradients>,
) -> LossParts {
    let (rows, vocabulary, count) = (targets.len(), weight.len() / hidden, counted(targets));
    let divisor = match &gradients {
        Some(Gradients { of: GradientOf::SumByRows, .. }) => rows as f64,
        _ => count.max(1) as f64,
    };
    let share = (1.0 / divisor) as f32;
    let chunk_rows = (CHUNK_LOGITS / vocabulary).clamp(16, rows.max(16));
    let mut logits = vec![0f32; chunk_rows.min(rows) * vocabulary];
    let w = Matrix::dense(weight, vocabulary, hidden);
    let (mut cross_entropy, mut squares) = (0f64, 0f64);
    for (chunk, targets) in targets.chunks(chunk_rows).enumerate() {
        let start = chunk * chunk_rows * hidden;
        let x = Matrix::dense(&x[start..start + targets.len() * hidden], targets.len(), hidden);
        gemm(&mut logits, vocabulary, Write::Replace, x, w.t(), On::AllThreads);
        let losses: Vec<(f64, f64)> = logits
            .par_chunks_mut(vocabulary)
            .zip(targets)
            .map(|(logits, &target)| vectorized(|| row_loss(logits, target, z_loss, share)))
            .collect();
        cross_entropy += losses.iter().map(|loss| loss.0).sum::<f64>();
        squares += losses.iter().map(|loss| loss.1).sum::<f64>();
        if let Some(Gradients { dx, dw, .. }) = &mut gradients {
            let dlogits = Matrix::dense(&logits, targets.len(), vocabulary);
            gemm(&mut dx[start..], hidden, Write::Replace, dlogits, w, On::AllThreads);
            gemm(dw, hidden, Write::Add, dlogits.t(), x, On::AllThreads);
        }
    }
    let count_f64 = count.max(1) as f64;
    LossParts { cross_entropy: cross_entropy / count_f64, z: z_loss * squares / count_f64, targets: count }
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_l: &Layout, w: &CpuStorage, w_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (slice::of_storage(x, x_l)?, slice::of_storage(w, w_l)?);
        let (_, hidden) = w_l.shape().dims2()?;
        if x_l.dims().last() != Some(&hidden) {
            bail!("output layer: input {:?} does not fit weight {:?}", x_l.dims(), w_l.dims());
        }
        let mut kept = self.gradient.then(|| Kept { dx: vec![0f32; x.len()], dw: vec![0f32; w.len()] });
        let gradients =
            kept.as_mut().map(|kept| Gradients { dx: &mut kept.dx, dw: &mut kept.dw, of: GradientOf::Mean });
        let parts = forward(x, w, &self.targets, hidden, self.z_loss, gradients);
        if let Ok(mut slot) = self.parts.lock() {
            *slot = parts;
        }
        if let Ok(mut slot) = self.kept.lock() {
            *slot = kept;
        }
        Ok(slice::into_storage(vec![(parts.cross_entropy + parts.z) as f32], ()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _loss: &Tensor, dloss: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.kept.lock().ok().and_then(|mut slot| slot.take());
        let Some(Kept { mut dx, mut dw }) = kept else { bail!("cross-entropy was computed without its gradient") };
        let upstream = dloss.to_scalar::<f32>()?;
        if upstream != 1.0 {
            scale(&mut dx, upstream);
            scale(&mut dw, upstream);
        }
        Ok((Some(slice::into_tensor(dx, x.shape())?), Some(slice::into_tensor(dw, w.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    fn compare_with(rows: usize, vocabulary: usize, z_loss: f64, ignored: usize) {
        let id = |i: usize| if i % 4 < ignored { IGNORED } else { (i * 5 % vocabulary) as u32 };
        let targets: Arc<[u32]> = (0..rows).map(id).collect();
        let inputs = [var(&[rows, 12], 1), var(&[vocabulary, 12], 2)];
        let of = |kernels, v: &[candle_core::Var]| {
            linear_cross_entropy(kernels, &v[0], &v[1], &targets, z_loss, true).unwrap()
        };
        let run = |kernels| move |v: &[candle_core::Var]| Ok(of(kernels, v).0);
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
        let (fused, plain) = (of(Kernels::Fused, &inputs).1, of(Kernels::Plain, &inputs).1);
        assert_eq!(fused.targets, plain.targets);
        assert!((fused.cross_entropy - plain.cross_entropy).abs() < 1e-5 && (fused.z - plain.z).abs() < 1e-5);
    }

    fn compare(rows: usize, vocabulary: usize) {
        compare_with(rows, vocabulary, 0.0, 0);
    }

    #[test]
    fn fused_equals_plain_with_z_loss_and_ignored_targets() {
        compare_with(13, 31, 0.1, 0);
        compare_with(13, 31, 0.1, 2);
        compare_with(8, 31, 0.0, 4);
    }

    #[test]
    fn the_z_loss_is_the_mean_square_of_the_logarithm_of_the_sum() {
        let (x, w) = (var(&[2, 4], 1), Tensor::zeros((10, 4), candle_core::DType::F32, x_device()).unwrap());
        let targets: Arc<[u32]> = vec![1, 2].into();
        let (loss, parts) = linear_cross_entropy(Kernels::Fused, &x, &w, &targets, 0.5, false).unwrap();
        let lse = 10f64.ln();
        assert!((parts.z - 0.5 * lse * lse).abs() < 1e-6 && (parts.cross_entropy - lse).abs() < 1e-6);
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - parts.z - parts.cross_entropy).abs() < 1e-5);
    }

    fn x_device() -> &'static candle_core::Device {
        &candle_core::Device::Cpu
    }

    #[test]
    fn fused_equals_plain_in_one_chunk() {
        compare(9, 31);
    }

    #[test]
    fn fused_equals_plain_over_several_chunks() {
        compare(45, CHUNK_LOGITS / 20);
    }

    #[test]
    fn equal_logits_lose_the_logarithm_of_the_vocabulary() {
        let (x, w) =
            (Tensor::zeros((3, 4), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap(), var(&[10, 4], 1));
        let targets: Arc<[u32]> = vec![1, 2, 9].into();
        let (loss, _) = linear_cross_entropy(Kernels::Fused, &x, &w, &targets, 0.0, false).unwrap();
        assert!((loss.to_scalar::<f32>().unwrap() - 10f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_target_beyond_the_vocabulary_is_an_error() {
        let targets: Arc<[u32]> = vec![10].into();
        let (x, w) = (var(&[1, 4], 1), var(&[10, 4], 2));
        assert!(linear_cross_entropy(Kernels::Fused, &x, &w, &targets, 0.0, false).is_err());
    }
}
