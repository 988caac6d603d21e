//! The gated activation of the feed-forward layer (Shazeer 2020): `silu(gate) * up`, `silu(x) = x / (1 + e^-x)`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::vector::{exp, vectorized};
use super::{Kernels, slice};

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

struct SwiGlu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `y = silu(gate) * up`.
pub fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    let inputs = gate.par_chunks(ELEMENTS_PER_TASK).zip(up.par_chunks(ELEMENTS_PER_TASK));
    y.par_chunks_mut(ELEMENTS_PER_TASK).zip(inputs).for_each(|(y, (gate, up))| {
        vectorized(|| {
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = g * sigmoid(*g) * u;
            }
        });
    });
}

/// Replaces `gate` and `up` by their gradients.
pub fn backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    let outputs = gate.par_chunks_mut(ELEMENTS_PER_TASK).zip(up.par_chunks_mut(ELEMENTS_PER_TASK));
    outputs.zip(dy.par_chunks(ELEMENTS_PER_TASK)).for_each(|((gate, up), dy)| {
        vectorized(|| {
            for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
                let (g, u, s) = (*gate, *up, sigmoid(*gate));
                *up = dy * g * s;
                *gate = dy * u * s * (1.0 + g * (1.0 - s));
            }
        });
    });
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
}
