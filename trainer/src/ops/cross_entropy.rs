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

/// Logits held at once: 16 MiB.
const CHUNK_LOGITS: usize = 1 << 22;

/// Mean over rows of `-log softmax(x W^T)[target]`, for `x [.., C]`, `weight [V, C]`; a scalar.
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
    gradient: bool,
) -> Result<Tensor> {
    let ((rows, _), (vocabulary, _)) = (rows_of(x)?, weight.dims2()?);
    if rows != targets.len() || rows == 0 {
        bail!("{} targets for {rows} rows", targets.len());
    }
    if let Some(id) = targets.iter().find(|&&id| id as usize >= vocabulary) {
        bail!("target id {id} is not below the vocabulary of {vocabulary}");
    }
    match kernels {
        Kernels::Fused => {
            let op = LinearCrossEntropy { targets: targets.clone(), gradient, kept: Mutex::new(None) };
            x.contiguous()?.apply_op2(weight, op)
        }
        Kernels::Plain => {
            let logits = super::linear(kernels, x, weight)?.reshape((rows, vocabulary))?;
            let index = Tensor::from_slice(targets, (rows, 1), x.device())?;
            let chosen = candle_nn::ops::log_softmax(&logits, D::Minus1)?.gather(&index, D::Minus1)?;
            chosen.mean_all()?.neg()
        }
    }
}

/// Gradients for an upstream gradient of 1.
struct Kept {
    dx: Vec<f32>,
    dw: Vec<f32>,
}

struct LinearCrossEntropy {
    targets: Arc<[u32]>,
    gradient: bool,
    kept: Mutex<Option<Kept>>,
}

/// Turns a row of logits into the gradient `(softmax - onehot) / rows`, and returns the row's loss.
#[inline(always)]
fn row_loss(logits: &mut [f32], target: usize, rows: usize) -> f64 {
    let chosen = logits[target];
    let (sum, highest) = exp_shifted(logits, 1.0);
    let share = 1.0 / rows as f32;
    scale(logits, share / sum);
    logits[target] -= share;
    (sum as f64).ln() + highest as f64 - chosen as f64
}

/// Where gradients go: `dx` is replaced, `dw` added to.
pub struct Gradients<'a> {
    /// Of the input `[M, C]`.
    pub dx: &'a mut [f32],
    /// Of the weight `[V, C]`.
    pub dw: &'a mut [f32],
}

/// Mean loss of `targets` given `x [M, C]` and `weight [V, C]`, and its gradients where they are wanted.
pub fn forward(x: &[f32], weight: &[f32], targets: &[u32], hidden: usize, mut gradients: Option<Gradients>) -> f64 {
    let (rows, vocabulary) = (targets.len(), weight.len() / hidden);
    let chunk_rows = (CHUNK_LOGITS / vocabulary).clamp(16, rows.max(16));
    let mut logits = vec![0f32; chunk_rows.min(rows) * vocabulary];
    let w = Matrix::dense(weight, vocabulary, hidden);
    let mut loss = 0f64;
    for (chunk, targets) in targets.chunks(chunk_rows).enumerate() {
        let start = chunk * chunk_rows * hidden;
        let x = Matrix::dense(&x[start..start + targets.len() * hidden], targets.len(), hidden);
        gemm(&mut logits, vocabulary, Write::Replace, x, w.t(), On::AllThreads);
        let losses: Vec<f64> = logits
            .par_chunks_mut(vocabulary)
            .zip(targets)
            .map(|(logits, &target)| vectorized(|| row_loss(logits, target as usize, rows)))
            .collect();
        loss += losses.iter().sum::<f64>();
        if let Some(Gradients { dx, dw }) = &mut gradients {
            let dlogits = Matrix::dense(&logits, targets.len(), vocabulary);
            gemm(&mut dx[start..], hidden, Write::Replace, dlogits, w, On::AllThreads);
            gemm(dw, hidden, Write::Add, dlogits.t(), x, On::AllThreads);
        }
    }
    loss / rows as f64
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
        let gradients = kept.as_mut().map(|kept| Gradients { dx: &mut kept.dx, dw: &mut kept.dw });
        let loss = forward(x, w, &self.targets, hidden, gradients);
        if let Ok(mut slot) = self.kept.lock() {
            *slot = kept;
        }
        Ok(slice::into_storage(vec![loss as f32], ()))
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

    fn compare(rows: usize, vocabulary: usize) {
        let targets: Arc<[u32]> = (0..rows).map(|i| (i * 5 % vocabulary) as u32).collect();
        let inputs = [var(&[rows, 12], 1), var(&[vocabulary, 12], 2)];
        let run = |kernels| {
            let targets = targets.clone();
            move |v: &[candle_core::Var]| linear_cross_entropy(kernels, &v[0], &v[1], &targets, true)
        };
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
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
        let loss = linear_cross_entropy(Kernels::Fused, &x, &w, &targets, false).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 10f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_target_beyond_the_vocabulary_is_an_error() {
        let targets: Arc<[u32]> = vec![10].into();
        assert!(linear_cross_entropy(Kernels::Fused, &var(&[1, 4], 1), &var(&[10, 4], 2), &targets, false).is_err());
    }
}
