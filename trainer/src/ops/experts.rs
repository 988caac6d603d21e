//! Mixture of experts: rows sorted by expert, one product an expert over its rows only, and the weighted sum back.
//!
//! Only chosen experts are computed: a row appears once for each expert it was sent to, and an expert's product has as
//! many rows as it was sent. Expert weights are one tensor `[E, out, in]`, as GraniteMoe keeps them.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::gemm::{Matrix, On, Write, gemm};
use super::vector::{add, dot, vectorized};
use super::{Kernels, ROWS_PER_TASK, slice};

/// Which rows go to which experts. A *slot* is a (row, expert) pair; slots are sorted by expert, then row.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Row of each slot.
    row_of_slot: Arc<[u32]>,
    /// Slot of each row's choices, `[M, k]`.
    slot_of_choice: Arc<[u32]>,
    /// First slot of each expert, then the number of slots.
    first_slot: Arc<[usize]>,
    /// Experts a row, `k`.
    choices: usize,
}

impl Routing {
    /// The routing of rows that chose `chosen [M, k]` of `experts`.
    ///
    /// # Errors
    /// Where an expert does not exist.
    pub fn new(chosen: &[u32], choices: usize, experts: usize) -> Result<Routing> {
        let mut counts = vec![0usize; experts];
        for expert in chosen {
            match counts.get_mut(*expert as usize) {
                Some(count) => *count += 1,
                None => bail!("expert {expert} is not below {experts}"),
            }
        }
        let mut first_slot = vec![0usize];
        first_slot.extend(counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }));
        let mut next = first_slot.clone();
        let mut row_of_slot = vec![0u32; chosen.len()];
        let mut slot_of_choice = vec![0u32; chosen.len()];
        for (choice, expert) in chosen.iter().enumerate() {
            let slot = &mut next[*expert as usize];
            row_of_slot[*slot] = (choice / choices.max(1)) as u32;
            slot_of_choice[choice] = *slot as u32;
            *slot += 1;
        }
        let (row_of_slot, slot_of_choice) = (row_of_slot.into(), slot_of_choice.into());
        Ok(Routing { row_of_slot, slot_of_choice, first_slot: first_slot.into(), choices })
    }

    /// Rows sent to each expert.
    pub fn counts(&self) -> Vec<u64> {
        self.first_slot.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect()
    }

    fn slots(&self) -> usize {
        self.row_of_slot.len()
    }

    fn rows(&self) -> usize {
        self.slots() / self.choices.max(1)
    }

    /// (expert, first slot, slots) of the experts that were sent rows.
    fn spans(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let spans = self.first_slot.windows(2).enumerate().map(|(expert, pair)| (expert, pair[0], pair[1] - pair[0]));
        spans.filter(|span| span.2 > 0)
    }
}

/// Each slot's row of `x [M, C]`, as `[M * k, C]`.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn gather(kernels: Kernels, x: &Tensor, routing: &Routing) -> Result<Tensor> {
    if x.dim(0)? != routing.rows() {
        bail!("experts: {} rows, but {} were routed", x.dim(0)?, routing.rows());
    }
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op1(Gather { routing: routing.clone() }),
        Kernels::Plain => x.index_select(&Tensor::from_slice(&routing.row_of_slot, routing.slots(), x.device())?, 0),
    }
}

struct Gather {
    routing: Routing,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "experts-gather"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, (_, width)) = (slice::of_storage(x, layout)?, layout.shape().dims2()?);
        let mut y = vec![0f32; self.routing.slots() * width];
        y.par_chunks_mut(width).zip(&*self.routing.row_of_slot).with_min_len(ROWS_PER_TASK).for_each(|(y, row)| {
            let at = *row as usize * width;
            y.copy_from_slice(&x[at..at + width]);
        });
        Ok(slice::into_storage(y, (self.routing.slots(), width)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = x.dims2()?;
        let dy = dy.contiguous()?;
        let dy = slice::of_tensor(&dy)?;
        let mut dx = vec![0f32; rows * width];
        let choices = self.routing.slot_of_choice.par_chunks(self.routing.choices);
        dx.par_chunks_mut(width).zip(choices).with_min_len(ROWS_PER_TASK).for_each(|(dx, slots)| {
            for slot in slots {
                let at = *slot as usize * width;
                vectorized(|| add(dx, &dy[at..at + width]));
            }
        });
        drop(dy);
        Ok(Some(slice::into_tensor(dx, x.shape())?))
    }
}

/// Each slot's row of `x [M * k, in]` times its expert's part of `weight [E, out, in]`: `[M * k, out]`.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn expert_linear(kernels: Kernels, x: &Tensor, weight: &Tensor, routing: &Routing) -> Result<Tensor> {
    let ((slots, inputs), (experts, outputs, columns)) = (x.dims2()?, weight.dims3()?);
    if slots != routing.slots() || columns != inputs || experts + 1 != routing.first_slot.len() {
        bail!("experts: input {:?} does not fit weight {:?}", x.dims(), weight.dims());
    }
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op2(&weight.contiguous()?, ExpertLinear { routing: routing.clone() }),
        Kernels::Plain => {
            let part = |(expert, first, count): (usize, usize, usize)| {
                let weight = weight.narrow(0, expert, 1)?.reshape((outputs, inputs))?;
                x.narrow(0, first, count)?.matmul(&weight.t()?)
            };
            Tensor::cat(&routing.spans().map(part).collect::<Result<Vec<_>>>()?, 0)
        }
    }
}

struct ExpertLinear {
    routing: Routing,
}

impl CustomOp2 for ExpertLinear {
    fn name(&self) -> &'static str {
        "expert-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_l: &Layout, w: &CpuStorage, w_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (slice::of_storage(x, x_l)?, slice::of_storage(w, w_l)?);
        let (_, outputs, inputs) = w_l.shape().dims3()?;
        let mut y = vec![0f32; self.routing.slots() * outputs];
        for (expert, first, count) in self.routing.spans() {
            let weight = Matrix::dense(&w[expert * outputs * inputs..], outputs, inputs);
            let x = Matrix::dense(&x[first * inputs..], count, inputs);
            gemm(&mut y[first * outputs..], outputs, Write::Replace, x, weight.t(), On::AllThreads);
        }
        Ok(slice::into_storage(y, (self.routing.slots(), outputs)))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (x_values, w_values, dy) = (slice::of_tensor(x)?, slice::of_tensor(w)?, slice::of_tensor(&dy)?);
        let (_, outputs, inputs) = w.dims3()?;
        let (mut dx, mut dw) = (vec![0f32; x_values.len()], vec![0f32; w_values.len()]);
        for (expert, first, count) in self.routing.spans() {
            let at = expert * outputs * inputs;
            let dy = Matrix::dense(&dy[first * outputs..], count, outputs);
            let weight = Matrix::dense(&w_values[at..], outputs, inputs);
            gemm(&mut dx[first * inputs..], inputs, Write::Replace, dy, weight, On::AllThreads);
            let x = Matrix::dense(&x_values[first * inputs..], count, inputs);
            gemm(&mut dw[at..], inputs, Write::Replace, dy.t(), x, On::AllThreads);
        }
        Ok((Some(slice::into_tensor(dx, x.shape())?), Some(slice::into_tensor(dw, w.shape())?)))
    }
}

/// For each row, the sum over its choices of `weights [M, k]` times the slot's row of `y [M * k, C]`: `[M, C]`.
///
/// # Errors
/// Where shapes, precision or device do not fit.
pub fn combine(kernels: Kernels, y: &Tensor, weights: &Tensor, routing: &Routing) -> Result<Tensor> {
    let (slots, width) = y.dims2()?;
    if slots != routing.slots() || weights.dims() != [routing.rows(), routing.choices] {
        bail!("experts: outputs {:?} do not fit weights {:?}", y.dims(), weights.dims());
    }
    match kernels {
        Kernels::Fused => y.contiguous()?.apply_op2(&weights.contiguous()?, Combine { routing: routing.clone() }),
        Kernels::Plain => {
            let index = Tensor::from_slice(&routing.slot_of_choice, slots, y.device())?;
            let by_row = y.index_select(&index, 0)?.reshape((routing.rows(), routing.choices, width))?;
            by_row.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)
        }
    }
}

struct Combine {
    routing: Routing,
}

impl CustomOp2 for Combine {
    fn name(&self) -> &'static str {
        "experts-combine"
    }

    fn cpu_fwd(&self, y: &CpuStorage, y_l: &Layout, w: &CpuStorage, w_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, weights) = (slice::of_storage(y, y_l)?, slice::of_storage(w, w_l)?);
        let (_, width) = y_l.shape().dims2()?;
        let (rows, choices) = (self.routing.rows(), self.routing.choices);
        let mut out = vec![0f32; rows * width];
        let chosen = self.routing.slot_of_choice.par_chunks(choices).zip(weights.par_chunks(choices));
        out.par_chunks_mut(width).zip(chosen).with_min_len(ROWS_PER_TASK).for_each(|(out, (slots, weights))| {
            for (slot, weight) in slots.iter().zip(weights) {
                let at = *slot as usize * width;
                vectorized(|| out.iter_mut().zip(&y[at..at + width]).for_each(|(out, y)| *out += weight * y));
            }
        });
        Ok(slice::into_storage(out, (rows, width)))
    }

    fn bwd(&self, y: &Tensor, w: &Tensor, _out: &Tensor, dout: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dout = dout.contiguous()?;
        let (y_values, weights, dout) = (slice::of_tensor(y)?, slice::of_tensor(w)?, slice::of_tensor(&dout)?);
        let (y_values, weights, dout): (&[f32], &[f32], &[f32]) = (&y_values, &weights, &dout);
        let (width, choices) = (y.dim(1)?, self.routing.choices);
        let dot_of = |(choice, slot): (usize, &u32)| {
            let (at, row) = (*slot as usize * width, choice / choices * width);
            vectorized(|| dot(&y_values[at..at + width], &dout[row..row + width]))
        };
        let slots = &*self.routing.slot_of_choice;
        let dweights: Vec<f32> = slots.par_iter().enumerate().with_min_len(ROWS_PER_TASK).map(dot_of).collect();
        let mut weight_of_slot = vec![0f32; slots.len()];
        slots.iter().zip(weights).for_each(|(slot, weight)| weight_of_slot[*slot as usize] = *weight);
        let mut dy = vec![0f32; y_values.len()];
        let chosen = self.routing.row_of_slot.par_iter().zip(&weight_of_slot);
        dy.par_chunks_mut(width).zip(chosen).with_min_len(ROWS_PER_TASK).for_each(|(dy, (row, weight))| {
            let at = *row as usize * width;
            vectorized(|| dy.iter_mut().zip(&dout[at..at + width]).for_each(|(dy, dout)| *dy = weight * dout));
        });
        Ok((Some(slice::into_tensor(dy, y.shape())?), Some(slice::into_tensor(dweights, w.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::ops::testing::{assert_same, var};

    /// Five rows, two of four experts each; nobody chose expert 2.
    fn routing() -> Routing {
        Routing::new(&[3, 0, 1, 3, 0, 1, 3, 1, 0, 3], 2, 4).unwrap()
    }

    #[test]
    fn slots_are_sorted_by_expert_then_row() {
        let routing = routing();
        assert_eq!(*routing.row_of_slot, [0, 2, 4, 1, 2, 3, 0, 1, 3, 4]);
        assert_eq!(*routing.slot_of_choice, [6, 0, 3, 7, 1, 4, 8, 5, 2, 9]);
        assert_eq!(routing.counts(), [3, 3, 0, 4]);
    }

    #[test]
    fn gather_fused_equals_plain() {
        let inputs = [var(&[5, 6], 1)];
        let run = |kernels| move |v: &[Var]| gather(kernels, &v[0], &routing());
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn expert_linear_fused_equals_plain_where_an_expert_was_not_chosen() {
        let inputs = [var(&[10, 6], 1), var(&[4, 7, 6], 2)];
        let run = |kernels| move |v: &[Var]| expert_linear(kernels, &v[0], &v[1], &routing());
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn combine_fused_equals_plain() {
        let inputs = [var(&[10, 6], 1), var(&[5, 2], 2)];
        let run = |kernels| move |v: &[Var]| combine(kernels, &v[0], &v[1], &routing());
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn an_expert_that_does_not_exist_is_an_error() {
        assert!(Routing::new(&[0, 4], 2, 4).is_err());
    }

    #[test]
    fn rows_that_were_not_routed_are_an_error() {
        assert!(gather(Kernels::Fused, &var(&[4, 6], 1), &routing()).is_err());
    }
}
