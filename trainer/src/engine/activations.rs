//! What a micro-batch needs in memory: listed once, so that what is counted is what is allocated.

use super::ops::{Attended, Heads};
use super::plan::Plan;

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `[M, width]` activations.
    Rows(usize),
    /// `[B, heads, T]` in `f32`, for attention that keeps the logarithms of its sums.
    Normalizers,
}

/// What a layer's backward pass needs of its forward pass.
#[derive(Debug)]
pub struct Kept<R> {
    /// Queries and keys after rotation, and values.
    pub heads: Heads<R>,
    /// What attention gave.
    pub attended: Attended<R>,
    /// The residual stream between attention and feed-forward, `[M, C]`.
    pub middle: R,
    /// Feed-forward gates, `[M, F]`; in the backward pass, their gradients.
    pub gate: R,
    /// Feed-forward values, `[M, F]`; in the backward pass, their gradients.
    pub up: R,
}

/// Working space that layers share.
#[derive(Debug)]
pub struct Space<R> {
    /// Normalised rows, `[M, C]`.
    pub normed: R,
    /// Their gradient.
    pub dnormed: R,
    /// What attention or the feed-forward layer adds to the residual stream, `[M, C]`.
    pub delta: R,
    /// Feed-forward activations, or their gradients, `[M, F]`.
    pub inner: R,
    /// Gradient of what attention gave, `[M, H * D]`.
    pub dattended: R,
    /// Gradients of queries, keys and values.
    pub dheads: Heads<R>,
}

/// Everything a micro-batch needs.
#[derive(Debug)]
pub struct Activations<R> {
    /// The residual stream before each layer and after the last, `[M, C]`.
    pub stream: Vec<R>,
    /// One a layer; a single one where they are computed again in the backward pass.
    pub kept: Vec<Kept<R>>,
    /// The gradient of the residual stream, `[M, C]`.
    pub dx: R,
    /// Shared.
    pub space: Space<R>,
}

impl<R> Activations<R> {
    /// All buffers, each made by `make`. With `recompute`, layers share what they keep.
    ///
    /// # Errors
    /// Where `make` fails.
    pub fn new<E>(plan: &Plan, recompute: bool, mut make: impl FnMut(Need) -> Result<R, E>) -> Result<Self, E> {
        let (hidden, inner) = (Need::Rows(plan.hidden), Need::Rows(plan.inner));
        let (queries, keys) = (Need::Rows(plan.queries()), Need::Rows(plan.keys()));
        let heads = |make: &mut dyn FnMut(Need) -> Result<R, E>| {
            Ok(Heads { q: make(queries)?, k: make(keys)?, v: make(keys)? })
        };
        let layers = plan.layers.len();
        let mut kept = Vec::new();
        for _ in 0..if recompute { layers.min(1) } else { layers } {
            kept.push(Kept {
                heads: heads(&mut make)?,
                attended: Attended { out: make(queries)?, normalizers: make(Need::Normalizers)? },
                middle: make(hidden)?,
                gate: make(inner)?,
                up: make(inner)?,
            });
        }
        Ok(Activations {
            stream: (0..=layers).map(|_| make(hidden)).collect::<Result<_, E>>()?,
            kept,
            dx: make(hidden)?,
            space: Space {
                normed: make(hidden)?,
                dnormed: make(hidden)?,
                delta: make(hidden)?,
                inner: make(inner)?,
                dattended: make(queries)?,
                dheads: heads(&mut make)?,
            },
        })
    }

    /// Whether layers share what they keep, so that the backward pass computes it again.
    pub fn recomputes(&self) -> bool {
        self.kept.len() + 1 < self.stream.len()
    }
}
