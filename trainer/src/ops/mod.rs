//! Operations with a gradient: each file is one operation, its forward, its backward and its plain twin.
//!
//! The *plain* form is a composition of candle operations that keep the tape; it runs on every device and in every
//! precision, and it is the definition. The *fused* form is one node on the tape with a hand-written backward over
//! `f32` slices: candle's own element-wise operations are single-threaded and every node costs a gradient buffer that
//! is allocated, zeroed and added to, which on a CPU is as dear as the arithmetic. Tests hold the two together.
//!
//! Shape legend: `B` batch, `T` positions, `H` query heads, `K` key and value heads, `D` one head, `M` rows
//! (`B * T`), `C` hidden size, `F` feed-forward size, `V` vocabulary.

use candle_core::{DType, Device, Tensor};

pub(crate) mod attention;
pub(crate) mod cross_entropy;
mod dropout;
pub(crate) mod embedding;
mod experts;
pub(crate) mod gemm;
mod linear;
pub(crate) mod rms_norm;
pub(crate) mod rope;
mod slice;
pub(crate) mod swiglu;
pub(crate) mod vector;

pub use self::attention::{AttentionOptions, attention, attention_cached};
pub use self::cross_entropy::{LossParts, linear_cross_entropy};
pub use self::dropout::{Dropout, dropout};
pub use self::embedding::embedding;
pub use self::experts::{Routing, combine, expert_linear, gather};
pub use self::linear::linear;
pub use self::rms_norm::rms_norm;
pub use self::rope::{Places, RopeTable, rope};
pub(crate) use self::slice::of_tensor as elements;
pub use self::swiglu::{swiglu, swiglu_packed};

/// Which form of the operations runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// One tape node an operation, hand-written backward; CPU and `f32` only.
    Fused,
    /// candle's own operations; any device, any precision.
    Plain,
}

impl Kernels {
    /// The fastest form that runs in this precision on this device.
    pub fn best(device: &Device, dtype: DType) -> Kernels {
        if device.is_cpu() && dtype == DType::F32 { Kernels::Fused } else { Kernels::Plain }
    }
}

/// Rows that one task of a row-wise operation takes: fixed, so that sums over rows do not depend on threads.
pub(crate) const ROWS_PER_TASK: usize = 64;

/// `[.., C]` seen as `[M, C]`: the number of rows and their length.
fn rows_of(x: &Tensor) -> candle_core::Result<(usize, usize)> {
    let columns = x.dim(candle_core::D::Minus1)?;
    Ok((x.elem_count() / columns.max(1), columns))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Comparing a fused operation with its plain twin.

    use candle_core::{DType, Device, Tensor, Var};

    /// A variable of pseudo-random values in about -1..1, the same for the same `seed`.
    pub fn var(shape: &[usize], seed: u64) -> Var {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count as u64).map(|i| crate::rng::normal(seed, 7, i) as f32 * 0.6).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Value and gradients of `sum(weights * f(inputs))`, where `weights` make every output element count.
    pub fn value_and_gradients(
        inputs: &[Var],
        f: impl Fn(&[Var]) -> candle_core::Result<Tensor>,
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let output = f(inputs).unwrap();
        let weights = var(output.dims(), 99);
        let loss = (&output * weights.as_tensor().detach()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let flat = |t: &Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (flat(&output), inputs.iter().map(|v| flat(gradients.get(v).expect("a gradient"))).collect())
    }

    /// Asserts that two vectors agree within `tolerance` of the larger's scale.
    pub fn assert_close(name: &str, a: &[f32], b: &[f32], tolerance: f32) {
        assert_eq!(a.len(), b.len(), "{name}: lengths differ");
        let scale = a.iter().chain(b).fold(1e-3f32, |m, x| m.max(x.abs()));
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            assert!((x - y).abs() <= tolerance * scale, "{name}[{i}]: {x} against {y}");
        }
    }

    /// Asserts that both forms give the same value and the same gradients.
    pub fn assert_same(
        inputs: &[Var],
        fused: impl Fn(&[Var]) -> candle_core::Result<Tensor>,
        plain: impl Fn(&[Var]) -> candle_core::Result<Tensor>,
    ) {
        let (fused_value, fused_gradients) = value_and_gradients(inputs, fused);
        let (plain_value, plain_gradients) = value_and_gradients(inputs, plain);
        assert_close("value", &fused_value, &plain_value, 1e-5);
        for (i, (a, b)) in fused_gradients.iter().zip(&plain_gradients).enumerate() {
            assert_close(&format!("gradient {i}"), a, b, 2e-5);
        }
    }
}
