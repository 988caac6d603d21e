//! The fast training step: an explicit list of operations forward, and the same list backward.
//!
//! candle's tape allocates, zeroes and adds a gradient buffer for every edge; here every buffer is allocated once,
//! weight gradients are sums that the matrix product makes in place, and nothing is recorded. What is cheap is computed
//! again in the backward pass instead of kept: normalised inputs, the feed-forward activation, attention
//! probabilities. [`crate::model`] is the reference: tests hold its gradients and these together.
//!
//! # Layout
//! - `plan`: where each weight stands, and the sizes of the model.
//! - `activations`: what a micro-batch needs in memory, listed once for allocation and for counting bytes.
//! - `ops`: the operations as a trait; `list` is the model in terms of it, forward and backward.
//! - `compute`: where and in what precision a run computes, and the step for it.
//! - `cpu`: the operations on `f32` slices; `step` is the training step over them.
//! - `cuda`: the operations as kernel launches, over a GPU or over an emulator that runs the same kernels on a CPU.
//!
//! **Invariant:** there is one list. A gradient that is right on the CPU can be wrong on a GPU only inside one
//! operation, and each operation is compared with its CPU twin.

mod activations;
mod compute;
mod cpu;
#[cfg(any(test, feature = "cuda"))]
pub mod cuda;
mod list;
mod ops;
mod plan;
mod step;

pub use compute::Compute;
pub use step::EngineStep;
