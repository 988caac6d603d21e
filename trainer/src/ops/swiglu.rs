//! The gated activation of the feed-forward layer (Shazeer 2020): `silu(gate) * up`, `silu(x) = x / (1 + e^-x)`.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::vector::{exp, vectorized};
use super::{Kernels, ROWS_PER_TASK, slice};

/// Elements that one task takes.
const ELEMENTS_PER_TASK: usize = 1 << 15;

/// `silu(gate) * up`, element by element.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn swiglu(kernels: Kernels, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match kernels {
        Kernels::Fused => gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu),
        Kernels::Plain => gate.silu()? * up,
    }
}

/// `silu(x[.., ..F]) * x[.., F..]` for `x [.., 2F]`: gate and value side by side, as experts keep them.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn swiglu_packed(kernels: Kernels, x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if width % 2 != 0 {
        candle_core::bail!("swiglu: {width} are no pairs of gate and value");
    }
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op1(SwiGluPacked),
        Kernels::Plain => {
            let half = width / 2;
            x.narrow(D::Minus1, 0, half)?.silu()? * x.narrow(D::Minus1, half, half)?
        }
    }
}

struct SwiGluPacked;

impl CustomOp1 for SwiGluPacked {
    fn name(&self) -> &'static str {
        "swiglu-packed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice::of_storage(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(width) = dims.last_mut() else { candle_core::bail!("swiglu wants a dimension") };
        *width /= 2;
        let half = *width;
        let mut y = vec![0f32; x.len() / 2];
        let rows = y.par_chunks_mut(half.max(1)).zip(x.par_chunks(2 * half.max(1))).with_min_len(ROWS_PER_TASK);
        rows.for_each(|(y, x)| {
            let (gate, up) = x.split_at(half);
            vectorized(|| forward_slice(y, gate, up));
        });
        Ok(slice::into_storage(y, dims))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let (mut dx, dy) = (slice::of_tensor(x)?.to_vec(), slice::of_tensor(&dy)?);
        let half = x.dim(D::Minus1)? / 2;
        let rows = dx.par_chunks_mut(2 * half.max(1)).zip(dy.par_chunks(half.max(1))).with_min_len(ROWS_PER_TASK);
        rows.for_each(|(dx, dy)| {
            let (gate, up) = dx.split_at_mut(half);
            vectorized(|| backward_slice(gate, up, dy));
        });
        Ok(Some(slice::into_tensor(dx, x.shape())?))
    }
}

struct SwiGlu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn forward_slice(y: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
        *y = g * sigmoid(*g) * u;
    }
}

/// Replaces `gate` and `up` by their gradients.
#[inline(always)]
fn backward_slice(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
        let (g, u, s) = (*gate, *up, sigmoid(*gate));
        *up = dy * g * s;
        *gate = dy * u * s * (1.0 + g * (1.0 - s));
    }
}

/// `y = silu(gate) * up`.
pub fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    let inputs = gate.par_chunks(ELEMENTS_PER_TASK).zip(up.par_chunks(ELEMENTS_PER_TASK));
    let tasks = y.par_chunks_mut(ELEMENTS_PER_TASK).zip(inputs);
    tasks.for_each(|(y, (gate, up))| vectorized(|| forward_slice(y, gate, up)));
}

/// Replaces `gate` and `up` by their gradients.
pub fn backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    let outputs = gate.par_chunks_mut(ELEMENTS_PER_TASK).zip(up.par_chunks_mut(ELEMENTS_PER_TASK));
    let tasks = outputs.zip(dy.par_chunks(ELEMENTS_PER_TASK));
    tasks.for_each(|((gate, up), dy)| vectorized(|| backward_slice(gate, up, dy)));
}

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, g: &CpuStorage, g_l: &Layout, u: &CpuStorage, u_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (slice::of_storage(g, g_l)?, slice::of_storage(u, u_l)?);
        if g_l.dims() != u_l.dims() {
            candle_core::bail!("swiglu: gate {:?} is not shaped as up {:?}", g_l.dims(), u_l.dims());
        }
        let mut y = vec![0f32; gate.len()];
        forward(&mut y, gate, up);
        Ok(slice::into_storage(y, g_l.shape()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (mut dgate, mut dup) = (slice::of_tensor(gate)?.to_vec(), slice::of_tensor(up)?.to_vec());
        backward(&mut dgate, &mut dup, &slice::of_tensor(&dy)?);
        Ok((Some(slice::into_tensor(dgate, gate.shape())?), Some(slice::into_tensor(dup, up.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    #[test]
    fn fused_equals_plain_in_value_and_gradients() {
        let inputs = [var(&[2, 9, 21], 1), var(&[2, 9, 21], 2)];
        let run = |kernels| move |v: &[candle_core::Var]| swiglu(kernels, &v[0], &v[1]);
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn packed_fused_equals_packed_plain_and_the_two_tensors() {
        let inputs = [var(&[3, 7, 22], 1)];
        let run = |kernels| move |v: &[candle_core::Var]| swiglu_packed(kernels, &v[0]);
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
        let half = |from| inputs[0].narrow(2, from, 11).unwrap();
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let two = swiglu(Kernels::Fused, &half(0), &half(11)).unwrap();
        assert_eq!(flat(swiglu_packed(Kernels::Fused, &inputs[0]).unwrap()), flat(two));
    }
}
