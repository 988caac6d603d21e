//! Rotary position embedding (Su et al. 2021), the rotate-half kind of Hugging Face's `LlamaForCausalLM`.
//!
//! Pair `i` of a head of size `D` is `(x[i], x[i + D/2])`, turned by `position * theta^(-2i/D)`. The notebook's model
//! turns neighbours `(x[2i], x[2i+1])` instead: the same function after a permutation of the rows of `q_proj` and
//! `k_proj`. candle's `rope` cuts the tape, so it is not used.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::vector::vectorized;
use super::{Kernels, ROWS_PER_TASK, slice};
use crate::config::{ModelConfig, rotary_frequencies};

/// Cosines and sines by position.
#[derive(Debug, Clone)]
pub struct RopeTable {
    half: usize,
    positions: usize,
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
}

impl RopeTable {
    /// The table for heads of `head_dim` elements (even) and positions below `positions`.
    pub fn new(head_dim: usize, positions: usize, theta: f64) -> RopeTable {
        RopeTable::of_frequencies(&rotary_frequencies(theta, head_dim, None), positions)
    }

    /// The table of a model, with its scaling.
    pub fn of(config: &ModelConfig) -> RopeTable {
        let frequencies = rotary_frequencies(config.rope_theta, config.head_size(), config.rope_scaling.as_ref());
        RopeTable::of_frequencies(&frequencies, config.max_position_embeddings)
    }

    fn of_frequencies(frequencies: &[f64], positions: usize) -> RopeTable {
        let angles = || (0..positions).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let cos = angles().map(|angle| angle.cos() as f32).collect();
        let sin = angles().map(|angle| angle.sin() as f32).collect();
        RopeTable { half: frequencies.len(), positions, cos, sin }
    }

    /// How many positions the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Cosines `[positions, D/2]`.
    pub fn cosines(&self) -> &[f32] {
        &self.cos
    }

    /// Sines `[positions, D/2]`.
    pub fn sines(&self) -> &[f32] {
        &self.sin
    }

    fn rows<'a>(&self, table: &'a [f32], first: usize, count: usize) -> Result<&'a [f32]> {
        table
            .get(first * self.half..(first + count) * self.half)
            .ok_or_else(|| candle_core::Error::msg(format!("position {} exceeds {}", first + count, self.positions)))
    }

    /// Rows of a table for each of `rows` sequences and positions, as `[B, T, 1, half]`; `B` is 1 where all agree.
    fn tensor(&self, table: &[f32], places: &Places, (batch, count): (usize, usize), like: &Tensor) -> Result<Tensor> {
        let rows = match &places.starts {
            None => self.rows(table, places.offset, count)?.to_vec(),
            Some(starts) => {
                let row = |index: usize| self.rows(table, places.position(index, index % count, starts), 1);
                let rows: Vec<&[f32]> = (0..batch * count).map(row).collect::<Result<_>>()?;
                rows.concat()
            }
        };
        let batch = if places.starts.is_some() { batch } else { 1 };
        Tensor::from_vec(rows, (batch, count, 1, self.half), like.device())?.to_dtype(like.dtype())
    }
}

/// Which position each row has.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Position of the first row of every sequence.
    pub offset: usize,
    /// For each row `[B, T]`, the row of its sequence at which positions begin anew: its document's first.
    pub starts: Option<Arc<[u32]>>,
}

impl Places {
    /// Rows that continue `offset` earlier ones.
    pub fn after(offset: usize) -> Places {
        Places { offset, starts: None }
    }

    fn position(&self, index: usize, row: usize, starts: &[u32]) -> usize {
        self.offset + row.saturating_sub(starts.get(index).map_or(0, |start| *start as usize))
    }
}

/// Turns `x [B, T, H, D]` by the positions of its rows.
///
/// # Errors
/// Where shapes, precision or device do not fit, or a position exceeds the table.
pub fn rope(kernels: Kernels, x: &Tensor, table: &RopeTable, places: &Places) -> Result<Tensor> {
    match kernels {
        Kernels::Fused => x.contiguous()?.apply_op1(Rope { table: table.clone(), places: places.clone() }),
        Kernels::Plain => plain(x, table, places),
    }
}

fn plain(x: &Tensor, table: &RopeTable, places: &Places) -> Result<Tensor> {
    let (batch, positions, _, head_dim) = x.dims4()?;
    let half = head_dim / 2;
    let cos = table.tensor(&table.cos, places, (batch, positions), x)?;
    let sin = table.tensor(&table.sin, places, (batch, positions), x)?;
    let (low, high) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let turned_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let turned_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[turned_low, turned_high], 3)
}

/// The way a pair is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// As the position says.
    Forward,
    /// Back again: the gradient.
    Back,
}

struct Rope {
    table: RopeTable,
    places: Places,
}

fn turn_head(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (low, high) = x.split_at_mut(cos.len());
    for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        let (a, b, s) = (*low, *high, sin * sign);
        *low = a * cos - b * s;
        *high = b * cos + a * s;
    }
}

/// Turns `x [B, T, H, D]` in place.
///
/// # Errors
/// Where the table has fewer positions.
pub fn turn(
    x: &mut [f32],
    positions: usize,
    heads: usize,
    table: &RopeTable,
    places: &Places,
    way: Turn,
) -> Result<()> {
    let cos = table.rows(&table.cos, places.offset, positions)?;
    let sin = table.rows(&table.sin, places.offset, positions)?;
    let (half, sign) = (table.half, if way == Turn::Forward { 1.0 } else { -1.0 });
    let row = heads * 2 * half;
    let first_row =
        |index: usize| places.starts.as_ref().and_then(|starts| starts.get(index)).map_or(0, |s| *s as usize);
    x.par_chunks_mut(row).enumerate().with_min_len(ROWS_PER_TASK).for_each(|(index, x)| {
        let at = (index % positions).saturating_sub(first_row(index)) * half;
        let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
        vectorized(|| x.chunks_exact_mut(2 * half).for_each(|x| turn_head(x, cos, sin, sign)));
    });
    Ok(())
}

impl Rope {
    fn turned(&self, x: &[f32], dims: &[usize], way: Turn) -> Result<Vec<f32>> {
        let &[_, positions, heads, head_dim] = dims else { candle_core::bail!("rope wants 4 dimensions") };
        if head_dim != 2 * self.table.half {
            candle_core::bail!("rope: head of {head_dim} does not fit a table for {}", 2 * self.table.half);
        }
        let mut y = x.to_vec();
        turn(&mut y, positions, heads, &self.table, &self.places, way)?;
        Ok(y)
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_l: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.turned(slice::of_storage(x, x_l)?, x_l.dims(), Turn::Forward)?;
        Ok(slice::into_storage(y, x_l.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = self.turned(&slice::of_tensor(&dy.contiguous()?)?, x.dims(), Turn::Back)?;
        Ok(Some(slice::into_tensor(dx, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::testing::{assert_same, var};

    fn compare(places: Places) {
        let table = RopeTable::new(8, 20, 10_000.0);
        let inputs = [var(&[2, 9, 3, 8], 1)];
        let run = |kernels| {
            let (table, places) = (table.clone(), places.clone());
            move |v: &[candle_core::Var]| rope(kernels, &v[0], &table, &places)
        };
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn fused_equals_plain_in_value_and_gradients() {
        compare(Places::after(4));
    }

    #[test]
    fn fused_equals_plain_where_positions_begin_anew() {
        let starts: Vec<u32> = [0, 0, 0, 3, 3, 3, 3, 7, 7].into_iter().chain([0, 1, 1, 1, 1, 1, 1, 1, 8]).collect();
        compare(Places { offset: 0, starts: Some(starts.into()) });
    }

    #[test]
    fn a_row_is_turned_as_the_same_row_of_a_document_of_its_own() {
        let (x, table) = (var(&[1, 5, 1, 4], 3), RopeTable::new(4, 9, 10_000.0));
        let starts = Places { offset: 0, starts: Some(vec![0, 0, 2, 2, 2].into()) };
        let whole = rope(Kernels::Fused, &x, &table, &starts).unwrap().narrow(1, 2, 3).unwrap();
        let alone = rope(Kernels::Fused, &x.narrow(1, 2, 3).unwrap(), &table, &Places::default()).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&whole), flat(&alone));
    }

    #[test]
    fn a_pair_turns_by_the_formula() {
        let (theta, position, pair, head_dim) = (10_000f64, 5usize, 1usize, 4usize);
        let x = Tensor::from_vec(vec![0.3f32, 0.7, -0.2, 0.4], (1, 1, 1, 4), &Device::Cpu).unwrap();
        let y = rope(Kernels::Fused, &x, &RopeTable::new(head_dim, 6, theta), &Places::after(position)).unwrap();
        let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        let angle = position as f64 * theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let (low, high) = (0.7f64, 0.4f64);
        assert!((y[1] as f64 - (low * angle.cos() - high * angle.sin())).abs() < 1e-6);
        assert!((y[3] as f64 - (high * angle.cos() + low * angle.sin())).abs() < 1e-6);
    }

    #[test]
    fn a_position_beyond_the_table_is_an_error() {
        let table = RopeTable::new(4, 6, 10_000.0);
        assert!(rope(Kernels::Fused, &var(&[1, 3, 1, 4], 1), &table, &Places::after(4)).is_err());
        assert!(rope(Kernels::Plain, &var(&[1, 3, 1, 4], 1), &table, &Places::after(4)).is_err());
    }
}
