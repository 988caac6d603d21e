//! Linear layer without bias: `y = x W^T`.
//!
//! The weight is `[out, in]`, as PyTorch and safetensors hold it. candle would build this from `matmul` and a
//! transpose, and pay for the weight's gradient with a strided element-wise pass over it; here it is one product.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::gemm::{Matrix, On, Write, gemm};
use super::{Kernels, rows_of, slice};

/// `x [.., in]` times `weight [out, in]` gives `[.., out]`.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn linear(kernels: Kernels, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op2(&weight.contiguous()?, Linear),
        Kernels::Plain => plain(x, weight),
    }
}

fn plain(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, inputs) = rows_of(x)?;
    let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?;
    y.reshape(with_last(x.dims(), weight.dim(0)?))
}

fn with_last(dims: &[usize], last: usize) -> Shape {
    let mut dims = dims.to_vec();
    if let Some(end) = dims.last_mut() {
        *end = last;
    }
    Shape::from(dims)
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_l: &Layout, w: &CpuStorage, w_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (slice::of_storage(x, x_l)?, slice::of_storage(w, w_l)?);
        let (outputs, inputs) = w_l.shape().dims2()?;
        if x_l.dims().last() != Some(&inputs) {
            candle_core::bail!("linear: input {:?} does not fit weight {:?}", x_l.dims(), w_l.dims());
        }
        let rows = x.len() / inputs.max(1);
        let mut y = vec![0f32; rows * outputs];
        let (x, w) = (Matrix::dense(x, rows, inputs), Matrix::dense(w, outputs, inputs));
        gemm(&mut y, outputs, Write::Replace, x, w.t(), On::AllThreads);
        Ok(slice::into_storage(y, with_last(x_l.dims(), outputs)))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (x_values, w_values, dy) = (slice::of_tensor(x)?, slice::of_tensor(w)?, slice::of_tensor(&dy)?);
        let (outputs, inputs) = w.dims2()?;
        let rows = x_values.len() / inputs.max(1);
        let dy = Matrix::dense(&dy, rows, outputs);
        let mut dx = vec![0f32; rows * inputs];
        gemm(&mut dx, inputs, Write::Replace, dy, Matrix::dense(&w_values, outputs, inputs), On::AllThreads);
        let mut dw = vec![0f32; outputs * inputs];
        gemm(&mut dw, inputs, Write::Replace, dy.t(), Matrix::dense(&x_values, rows, inputs), On::AllThreads);
        Ok((Some(slice::into_tensor(dx, x.shape())?), Some(slice::into_tensor(dw, w.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    #[test]
    fn fused_equals_plain_in_value_and_gradients() {
        let inputs = [var(&[2, 5, 12], 1), var(&[7, 12], 2)];
        assert_same(&inputs, |v| linear(Kernels::Fused, &v[0], &v[1]), |v| linear(Kernels::Plain, &v[0], &v[1]));
    }

    #[test]
    fn an_input_that_does_not_fit_is_an_error() {
        assert!(linear(Kernels::Fused, &var(&[2, 5], 1), &var(&[7, 12], 2)).is_err());
    }
}
