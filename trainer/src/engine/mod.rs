//! The fast training step: an explicit list of operations forward, and the same list backward.
//!
//! candle's tape allocates, zeroes and adds a gradient buffer for every edge; here every buffer is allocated once,
//! residual connections and weight gradients are sums that the matrix product makes in place, and nothing is recorded.
//! What is cheap is computed again in the backward pass instead of kept: normalised inputs, the feed-forward
//! activation, attention probabilities. [`crate::model`] is the reference: tests hold its gradients and these together.
//!
//! Only the CPU in `f32` so far. A file a concern: `plan` finds the weights, `buffers` hold activations, `layer`
//! is one layer both ways, `step` is the whole model and its place in the training loop.

mod buffers;
mod layer;
mod plan;
mod step;

pub use step::EngineStep;
