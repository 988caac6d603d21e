//! Activations and working space, allocated once for a shape of batch.

use super::plan::Plan;

/// What a layer's backward pass needs of its forward pass. `M` rows are `B * T`.
#[derive(Debug, Default)]
pub struct LayerActivations {
    /// The residual stream before the layer, `[M, C]`.
    pub input: Vec<f32>,
    /// Queries after rotation, `[M, H * D]`.
    pub q: Vec<f32>,
    /// Keys after rotation, `[M, K * D]`.
    pub k: Vec<f32>,
    /// Values, `[M, K * D]`.
    pub v: Vec<f32>,
    /// What attention gave, `[M, H * D]`.
    pub attended: Vec<f32>,
    /// The residual stream between attention and feed-forward, `[M, C]`.
    pub middle: Vec<f32>,
    /// Feed-forward gates, `[M, F]`; in the backward pass, their gradients.
    pub gate: Vec<f32>,
    /// Feed-forward values, `[M, F]`; in the backward pass, their gradients.
    pub up: Vec<f32>,
}

/// Everything a micro-batch needs.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Sequences and positions that the buffers are made for.
    pub shape: (usize, usize),
    pub layers: Vec<LayerActivations>,
    /// The residual stream, `[M, C]`.
    pub x: Vec<f32>,
    /// Its gradient.
    pub dx: Vec<f32>,
    /// Normalised rows, `[M, C]`.
    pub normed: Vec<f32>,
    /// Their gradient.
    pub dnormed: Vec<f32>,
    /// Feed-forward activations, or their gradients, `[M, F]`.
    pub inner: Vec<f32>,
    /// Gradient of what attention gave, `[M, H * D]`.
    pub dattended: Vec<f32>,
}

impl Buffers {
    /// Buffers for a batch of this shape.
    pub fn new(plan: &Plan, sequences: usize, positions: usize) -> Buffers {
        let rows = |width: usize| vec![0f32; sequences * positions * width];
        let layer = |_: &super::plan::LayerPlan| LayerActivations {
            input: rows(plan.hidden),
            q: rows(plan.queries()),
            k: rows(plan.keys()),
            v: rows(plan.keys()),
            attended: Vec::new(),
            middle: rows(plan.hidden),
            gate: rows(plan.inner),
            up: rows(plan.inner),
        };
        Buffers {
            shape: (sequences, positions),
            layers: plan.layers.iter().map(layer).collect(),
            x: rows(plan.hidden),
            dx: rows(plan.hidden),
            normed: rows(plan.hidden),
            dnormed: rows(plan.hidden),
            inner: rows(plan.inner),
            dattended: rows(plan.queries()),
        }
    }
}
