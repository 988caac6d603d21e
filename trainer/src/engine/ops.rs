//! The operations of a training step, as a trait: what the list of the model is written in.
//!
//! Weights are named by their position in the list of parameters; an implementation holds their values and the sums of
//! their gradients, and the micro-batch at hand. Shapes: `M` rows (`B * T`), `C` hidden size, `V` vocabulary.

pub use crate::ops::gemm::Write;
pub use crate::ops::rope::Turn;

use crate::error::Result;
use crate::ops::LossParts;

/// Queries, keys and values, or their gradients: `[M, H * D]`, `[M, K * D]`, `[M, K * D]`.
#[derive(Debug)]
pub struct Heads<R> {
    /// Queries.
    pub q: R,
    /// Keys.
    pub k: R,
    /// Values.
    pub v: R,
}

/// What attention gave, and the logarithm of each row's sum where an implementation keeps it.
#[derive(Debug)]
pub struct Attended<R> {
    /// `[M, H * D]`.
    pub out: R,
    /// `[B, H, T]`.
    #[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "the CPU computes its sums again"))]
    pub normalizers: R,
}

/// An implementation of the operations, with one micro-batch at hand.
pub trait Ops {
    /// A matrix of activations.
    type Rows;

    /// `x [M, C]` = the embeddings of the input ids.
    fn embed(&mut self, x: &mut Self::Rows) -> Result<()>;

    /// Adds the gradient of [`Ops::embed`] to the table's.
    fn embed_back(&mut self, dx: &Self::Rows) -> Result<()>;

    /// `y = norm(x) * weight`.
    fn norm(&mut self, y: &mut Self::Rows, x: &Self::Rows, weight: usize) -> Result<()>;

    /// `sum = x + delta`, then `y = norm(sum) * weight`.
    fn add_norm(
        &mut self,
        sum: &mut Self::Rows,
        y: &mut Self::Rows,
        x: &Self::Rows,
        delta: &Self::Rows,
        weight: usize,
    ) -> Result<()>;

    /// Adds the gradient of [`Ops::norm`] to `dx`, or replaces it, and adds the weight's to its sum.
    fn norm_back(
        &mut self,
        dx: &mut Self::Rows,
        write: Write,
        x: &Self::Rows,
        weight: usize,
        dy: &Self::Rows,
    ) -> Result<()>;

    /// `y = x W^T`.
    fn project(&mut self, y: &mut Self::Rows, x: &Self::Rows, weight: usize) -> Result<()>;

    /// `dx (+)= dy W`.
    fn project_back(&mut self, dx: &mut Self::Rows, write: Write, dy: &Self::Rows, weight: usize) -> Result<()>;

    /// Adds `dy^T x` to the weight's gradient.
    fn project_weight(&mut self, weight: usize, dy: &Self::Rows, x: &Self::Rows) -> Result<()>;

    /// Turns `heads` heads by their positions, in place.
    fn rotate(&mut self, x: &mut Self::Rows, heads: usize, turn: Turn) -> Result<()>;

    /// Causal attention.
    fn attend(&mut self, to: &mut Attended<Self::Rows>, of: &Heads<Self::Rows>) -> Result<()>;

    /// The gradients of [`Ops::attend`].
    fn attend_back(
        &mut self,
        gradients: &mut Heads<Self::Rows>,
        of: &Heads<Self::Rows>,
        gave: &Attended<Self::Rows>,
        dout: &Self::Rows,
    ) -> Result<()>;

    /// `y = silu(gate) * up`.
    fn swiglu(&mut self, y: &mut Self::Rows, gate: &Self::Rows, up: &Self::Rows) -> Result<()>;

    /// Replaces `gate` and `up` by their gradients.
    fn swiglu_back(&mut self, gate: &mut Self::Rows, up: &mut Self::Rows, dy: &Self::Rows) -> Result<()>;

    /// The mean loss of the targets given the normalised rows. Where `dnormed` is given, it becomes the gradient of the
    /// targets' sum divided by all rows, and the output layer's is added to its sum.
    fn loss(&mut self, normed: &Self::Rows, dnormed: Option<&mut Self::Rows>) -> Result<LossParts>;
}
