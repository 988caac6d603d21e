//! One layer, forward and backward: `x += o(attention(norm(x)))`, then `x += down(swiglu(norm(x)))`.

use super::buffers::LayerActivations;
use super::plan::{LayerPlan, Plan};
use crate::error::Result;
use crate::ops::attention::{self, AttentionOptions, Sizes};
use crate::ops::gemm::{Matrix, On, Write, gemm};
use crate::ops::rope::{Turn, turn};
use crate::ops::{Places, rms_norm, swiglu};

/// A layer in a pass over a batch.
pub struct Layer<'a> {
    pub plan: &'a Plan,
    pub at: LayerPlan,
    pub weights: &'a [&'a [f32]],
    pub sequences: usize,
    pub positions: usize,
    /// Where documents start, if they are masked.
    pub places: &'a Places,
}

/// Working space that layers share.
pub struct Space<'a> {
    pub normed: &'a mut [f32],
    pub dnormed: &'a mut [f32],
    pub inner: &'a mut [f32],
    pub dattended: &'a mut [f32],
}

/// `y (+)= x W^T` for `x [M, in]` and `weight [out, in]`.
fn project(y: &mut [f32], write: Write, x: &[f32], weight: &[f32], inputs: usize) {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    gemm(y, outputs, write, Matrix::dense(x, rows, inputs), Matrix::dense(weight, outputs, inputs).t(), On::AllThreads);
}

/// `dx (+)= dy W`.
fn project_back(dx: &mut [f32], write: Write, dy: &[f32], weight: &[f32], inputs: usize) {
    let outputs = weight.len() / inputs;
    let dy = Matrix::dense(dy, dy.len() / outputs, outputs);
    gemm(dx, inputs, write, dy, Matrix::dense(weight, outputs, inputs), On::AllThreads);
}

/// `dW += dy^T x`.
fn project_weight(dw: &mut [f32], dy: &[f32], x: &[f32], inputs: usize) {
    let (rows, outputs) = (x.len() / inputs, dw.len() / inputs);
    let (dy, x) = (Matrix::dense(dy, rows, outputs), Matrix::dense(x, rows, inputs));
    gemm(dw, inputs, Write::Add, dy.t(), x, On::AllThreads);
}

impl Layer<'_> {
    fn sizes(&self) -> Sizes {
        Sizes {
            batch: self.sequences,
            positions: self.positions,
            heads: self.plan.heads,
            kv_heads: self.plan.kv_heads,
            head_dim: self.plan.head_dim,
        }
    }

    fn attention(&self) -> AttentionOptions {
        AttentionOptions { starts: self.places.starts.clone(), dropout: None }
    }

    /// Transforms `x` in place and keeps what [`Layer::backward`] needs.
    pub fn forward(&self, x: &mut [f32], kept: &mut LayerActivations, space: &mut Space) -> Result<()> {
        self.attend(x, kept, space)?;
        self.feed(x, kept, space);
        Ok(())
    }

    fn attend(&self, x: &mut [f32], kept: &mut LayerActivations, space: &mut Space) -> Result<()> {
        let (plan, at, w) = (self.plan, self.at, self.weights);
        kept.input.copy_from_slice(x);
        rms_norm::forward(space.normed, x, w[at.input_norm], plan.eps);
        project(&mut kept.q, Write::Replace, space.normed, w[at.q], plan.hidden);
        project(&mut kept.k, Write::Replace, space.normed, w[at.k], plan.hidden);
        project(&mut kept.v, Write::Replace, space.normed, w[at.v], plan.hidden);
        turn(&mut kept.q, self.positions, plan.heads, &plan.rope, self.places, Turn::Forward)?;
        turn(&mut kept.k, self.positions, plan.kv_heads, &plan.rope, self.places, Turn::Forward)?;
        kept.attended = attention::forward(&kept.q, &kept.k, &kept.v, self.sizes(), &self.attention());
        project(x, Write::Add, &kept.attended, w[at.o], plan.queries());
        Ok(())
    }

    fn feed(&self, x: &mut [f32], kept: &mut LayerActivations, space: &mut Space) {
        let (plan, at, w) = (self.plan, self.at, self.weights);
        kept.middle.copy_from_slice(x);
        rms_norm::forward(space.normed, x, w[at.post_attention_norm], plan.eps);
        project(&mut kept.gate, Write::Replace, space.normed, w[at.gate], plan.hidden);
        project(&mut kept.up, Write::Replace, space.normed, w[at.up], plan.hidden);
        swiglu::forward(space.inner, &kept.gate, &kept.up);
        project(x, Write::Add, space.inner, w[at.down], plan.inner);
    }

    /// Turns the gradient of the layer's output into that of its input, and adds those of its weights to `gradients`.
    pub fn backward(
        &self,
        dx: &mut [f32],
        kept: &mut LayerActivations,
        space: &mut Space,
        gradients: &mut [Vec<f32>],
    ) -> Result<()> {
        self.feed_back(dx, kept, space, gradients);
        self.attend_back(dx, kept, space, gradients)
    }

    fn feed_back(&self, dx: &mut [f32], kept: &mut LayerActivations, space: &mut Space, gradients: &mut [Vec<f32>]) {
        let (plan, at, w) = (self.plan, self.at, self.weights);
        swiglu::forward(space.inner, &kept.gate, &kept.up);
        project_weight(&mut gradients[at.down], dx, space.inner, plan.inner);
        project_back(space.inner, Write::Replace, dx, w[at.down], plan.inner);
        swiglu::backward(&mut kept.gate, &mut kept.up, space.inner);
        rms_norm::forward(space.normed, &kept.middle, w[at.post_attention_norm], plan.eps);
        project_weight(&mut gradients[at.gate], &kept.gate, space.normed, plan.hidden);
        project_weight(&mut gradients[at.up], &kept.up, space.normed, plan.hidden);
        project_back(space.dnormed, Write::Replace, &kept.gate, w[at.gate], plan.hidden);
        project_back(space.dnormed, Write::Add, &kept.up, w[at.up], plan.hidden);
        let (dw, weight) = (&mut gradients[at.post_attention_norm], w[at.post_attention_norm]);
        rms_norm::backward(dx, dw, &kept.middle, weight, space.dnormed, plan.eps);
    }

    fn attend_back(
        &self,
        dx: &mut [f32],
        kept: &mut LayerActivations,
        space: &mut Space,
        gradients: &mut [Vec<f32>],
    ) -> Result<()> {
        let (plan, at, w) = (self.plan, self.at, self.weights);
        project_weight(&mut gradients[at.o], dx, &kept.attended, plan.queries());
        project_back(space.dattended, Write::Replace, dx, w[at.o], plan.queries());
        let LayerActivations { q, k, v, attended, .. } = &*kept;
        let [mut dq, mut dk, dv] =
            attention::backward((q, k, v), attended, space.dattended, self.sizes(), &self.attention());
        turn(&mut dq, self.positions, plan.heads, &plan.rope, self.places, Turn::Back)?;
        turn(&mut dk, self.positions, plan.kv_heads, &plan.rope, self.places, Turn::Back)?;
        rms_norm::forward(space.normed, &kept.input, w[at.input_norm], plan.eps);
        project_weight(&mut gradients[at.q], &dq, space.normed, plan.hidden);
        project_weight(&mut gradients[at.k], &dk, space.normed, plan.hidden);
        project_weight(&mut gradients[at.v], &dv, space.normed, plan.hidden);
        project_back(space.dnormed, Write::Replace, &dq, w[at.q], plan.hidden);
        project_back(space.dnormed, Write::Add, &dk, w[at.k], plan.hidden);
        project_back(space.dnormed, Write::Add, &dv, w[at.v], plan.hidden);
        let (dw, weight) = (&mut gradients[at.input_norm], w[at.input_norm]);
        rms_norm::backward(dx, dw, &kept.input, weight, space.dnormed, plan.eps);
        Ok(())
    }
}
