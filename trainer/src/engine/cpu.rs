//! The operations on `f32` slices, by the kernels of [`crate::ops`].

use super::activations::Need;
use super::ops::{Attended, Heads, Ops, Turn, Write};
use super::plan::Plan;
use crate::data::Batch;
use crate::error::Result;
use crate::ops::attention::{self, AttentionOptions, Sizes};
use crate::ops::cross_entropy::GradientOf;
use crate::ops::gemm::{Matrix, On, gemm};
use crate::ops::rope::turn;
use crate::ops::vector::add_large;
use crate::ops::{LossParts, Places, cross_entropy, embedding, rms_norm, swiglu};

/// A micro-batch on the CPU.
pub struct CpuOps<'a> {
    pub plan: &'a Plan,
    pub weights: &'a [&'a [f32]],
    /// Empty where only the loss is wanted.
    pub gradients: &'a mut [Vec<f32>],
    pub batch: &'a Batch,
    /// Which position each row has.
    pub places: Places,
    /// Weight of the z-loss, where gradients are wanted.
    pub z_loss: f64,
}

impl CpuOps<'_> {
    fn sizes(&self) -> Sizes {
        Sizes {
            batch: self.batch.sequences,
            positions: self.batch.positions,
            heads: self.plan.heads,
            kv_heads: self.plan.kv_heads,
            head_dim: self.plan.head_dim,
        }
    }

    fn attention(&self) -> AttentionOptions {
        AttentionOptions { starts: self.places.starts.clone(), dropout: None }
    }
}

/// A buffer for `rows` rows; attention here computes its sums again, so it keeps none.
pub fn buffer(rows: usize, need: Need) -> Vec<f32> {
    match need {
        Need::Rows(width) => vec![0f32; rows * width],
        Need::Normalizers => Vec::new(),
    }
}

impl Ops for CpuOps<'_> {
    type Rows = Vec<f32>;

    fn embed(&mut self, x: &mut Vec<f32>) -> Result<()> {
        embedding::forward(x, self.weights[self.plan.embedding], &self.batch.inputs, self.plan.hidden);
        Ok(())
    }

    fn embed_back(&mut self, dx: &Vec<f32>) -> Result<()> {
        embedding::backward(&mut self.gradients[self.plan.embedding], dx, &self.batch.inputs, self.plan.hidden);
        Ok(())
    }

    fn norm(&mut self, y: &mut Vec<f32>, x: &Vec<f32>, weight: usize) -> Result<()> {
        rms_norm::forward(y, x, self.weights[weight], self.plan.eps);
        Ok(())
    }

    fn add_norm(
        &mut self,
        sum: &mut Vec<f32>,
        y: &mut Vec<f32>,
        x: &Vec<f32>,
        delta: &Vec<f32>,
        weight: usize,
    ) -> Result<()> {
        sum.copy_from_slice(x);
        add_large(sum, delta);
        self.norm(y, sum, weight)
    }

    fn norm_back(&mut self, dx: &mut Vec<f32>, write: Write, x: &Vec<f32>, weight: usize, dy: &Vec<f32>) -> Result<()> {
        if write == Write::Replace {
            dx.fill(0.0);
        }
        rms_norm::backward(dx, &mut self.gradients[weight], x, self.weights[weight], dy, self.plan.eps);
        Ok(())
    }

    fn project(&mut self, y: &mut Vec<f32>, x: &Vec<f32>, weight: usize) -> Result<()> {
        let (weight, rows) = (self.weights[weight], self.batch.inputs.len());
        let (inputs, outputs) = (x.len() / rows, y.len() / rows);
        let (x, w) = (Matrix::dense(x, rows, inputs), Matrix::dense(weight, outputs, inputs));
        gemm(y, outputs, Write::Replace, x, w.t(), On::AllThreads);
        Ok(())
    }

    fn project_back(&mut self, dx: &mut Vec<f32>, write: Write, dy: &Vec<f32>, weight: usize) -> Result<()> {
        let (weight, rows) = (self.weights[weight], self.batch.inputs.len());
        let (inputs, outputs) = (dx.len() / rows, dy.len() / rows);
        let (dy, w) = (Matrix::dense(dy, rows, outputs), Matrix::dense(weight, outputs, inputs));
        gemm(dx, inputs, write, dy, w, On::AllThreads);
        Ok(())
    }

    fn project_weight(&mut self, weight: usize, dy: &Vec<f32>, x: &Vec<f32>) -> Result<()> {
        let rows = self.batch.inputs.len();
        let (inputs, outputs) = (x.len() / rows, dy.len() / rows);
        let (dy, x) = (Matrix::dense(dy, rows, outputs), Matrix::dense(x, rows, inputs));
        gemm(&mut self.gradients[weight], inputs, Write::Add, dy.t(), x, On::AllThreads);
        Ok(())
    }

    fn rotate(&mut self, x: &mut Vec<f32>, heads: usize, way: Turn) -> Result<()> {
        Ok(turn(x, self.batch.positions, heads, &self.plan.rope, &self.places, way)?)
    }

    fn attend(&mut self, to: &mut Attended<Vec<f32>>, of: &Heads<Vec<f32>>) -> Result<()> {
        to.out = attention::forward(&of.q, &of.k, &of.v, self.sizes(), &self.attention());
        Ok(())
    }

    fn attend_back(
        &mut self,
        gradients: &mut Heads<Vec<f32>>,
        of: &Heads<Vec<f32>>,
        gave: &Attended<Vec<f32>>,
        dout: &Vec<f32>,
    ) -> Result<()> {
        let [q, k, v] = attention::backward((&of.q, &of.k, &of.v), &gave.out, dout, self.sizes(), &self.attention());
        *gradients = Heads { q, k, v };
        Ok(())
    }

    fn swiglu(&mut self, y: &mut Vec<f32>, gate: &Vec<f32>, up: &Vec<f32>) -> Result<()> {
        swiglu::forward(y, gate, up);
        Ok(())
    }

    fn swiglu_back(&mut self, gate: &mut Vec<f32>, up: &mut Vec<f32>, dy: &Vec<f32>) -> Result<()> {
        swiglu::backward(gate, up, dy);
        Ok(())
    }

    fn loss(&mut self, normed: &Vec<f32>, dnormed: Option<&mut Vec<f32>>) -> Result<LossParts> {
        let (plan, targets) = (self.plan, &self.batch.targets);
        let output = self.weights[plan.output];
        let z_loss = if dnormed.is_some() { self.z_loss } else { 0.0 };
        let of = GradientOf::SumByRows;
        let gradients = dnormed.map(|dx| cross_entropy::Gradients { dx, dw: &mut self.gradients[plan.output], of });
        Ok(cross_entropy::forward(normed, output, targets, plan.hidden, z_loss, gradients))
    }
}
