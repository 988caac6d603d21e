//! Root-mean-square normalisation (Zhang & Sennrich 2019): `y = x / sqrt(mean(x^2) + eps) * weight`.
//!
//! candle's own `RmsNorm::forward` silently cuts the tape on contiguous input, so it is not used.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::vector::{dot, dot3, vectorized};
use super::{Kernels, ROWS_PER_TASK, slice};

/// Normalises the rows of `x [.., C]` and scales them by `weight [C]`.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn rms_norm(kernels: Kernels, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op2(weight, RmsNorm { eps: eps as f32 }),
        Kernels::Plain => {
            let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
            x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)
        }
    }
}

struct RmsNorm {
    eps: f32,
}

/// `1 / sqrt(mean(x^2) + eps)` of one row.
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

fn forward_rows(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let columns = weight.len();
    for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
        let r = inverse_rms(x, eps);
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * r * w;
        }
    }
}

/// Adds the rows' gradient to `dx` and returns their share of the weight's gradient.
fn backward_rows(dx: &mut [f32], x: &[f32], weight: &[f32], dy: &[f32], eps: f32) -> Vec<f32> {
    let columns = weight.len();
    let mut dw = vec![0f32; columns];
    for ((dx, x), dy) in dx.chunks_exact_mut(columns).zip(x.chunks_exact(columns)).zip(dy.chunks_exact(columns)) {
        let r = inverse_rms(x, eps);
        let pull = r * r * r * dot3(x, weight, dy) / columns as f32;
        for i in 0..columns {
            dx[i] += r * weight[i] * dy[i] - pull * x[i];
            dw[i] += dy[i] * x[i] * r;
        }
    }
    dw
}

/// `y = norm(x) * weight`, row by row.
pub fn forward(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let task = ROWS_PER_TASK * weight.len();
    let tasks = y.par_chunks_mut(task).zip(x.par_chunks(task));
    tasks.for_each(|(y, x)| vectorized(|| forward_rows(y, x, weight, eps)));
}

/// Adds the gradients of [`forward`] to `dx` and `dw`.
pub fn backward(dx: &mut [f32], dw: &mut [f32], x: &[f32], weight: &[f32], dy: &[f32], eps: f32) {
    let task = ROWS_PER_TASK * weight.len();
    let tasks = dx.par_chunks_mut(task).zip(x.par_chunks(task)).zip(dy.par_chunks(task));
    let parts: Vec<Vec<f32>> =
        tasks.map(|((dx, x), dy)| vectorized(|| backward_rows(dx, x, weight, dy, eps))).collect();
    parts.iter().for_each(|part| super::vector::add(dw, part));
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_l: &Layout, w: &CpuStorage, w_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (slice::of_storage(x, x_l)?, slice::of_storage(w, w_l)?);
        if x_l.dims().last() != Some(&w.len()) || w.is_empty() {
            candle_core::bail!("rms-norm: input {:?} does not fit weight {:?}", x_l.dims(), w_l.dims());
        }
        let mut y = vec![0f32; x.len()];
        forward(&mut y, x, w, self.eps);
        Ok(slice::into_storage(y, x_l.shape()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (x_values, w_values, dy) = (slice::of_tensor(x)?, slice::of_tensor(w)?, slice::of_tensor(&dy)?);
        let (mut dx, mut dw) = (vec![0f32; x_values.len()], vec![0f32; w_values.len()]);
        backward(&mut dx, &mut dw, &x_values, &w_values, &dy, self.eps);
        Ok((Some(slice::into_tensor(dx, x.shape())?), Some(slice::into_tensor(dw, w.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    #[test]
    fn fused_equals_plain_in_value_and_gradients() {
        // More rows than one task takes, and a row length that is no multiple of the lanes.
        let inputs = [var(&[3, 50, 37], 1), var(&[37], 2)];
        let run = |kernels| move |v: &[candle_core::Var]| rms_norm(kernels, &v[0], &v[1], 1e-5);
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn a_row_of_equal_values_becomes_the_weight() {
        let (x, w) = (Tensor::full(3f32, (1, 4), &candle_core::Device::Cpu).unwrap(), var(&[4], 3));
        let y = rms_norm(Kernels::Fused, &x, &w, 0.0).unwrap();
        crate::ops::testing::assert_close(
            "y",
            &y.flatten_all().unwrap().to_vec1().unwrap(),
            &w.to_vec1().unwrap(),
            1e-6,
        );
    }
}
