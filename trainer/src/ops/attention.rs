//! Causal attention with grouped queries (Ainslie et al. 2023).
//!
//! The fused form goes through each head in blocks of query rows (as FlashAttention, Dao et al. 2022, with one block
//! of keys): it never holds the `T x T` matrix, computes only the half below the diagonal and, where documents are
//! masked, only from the first document of the block on, and its backward computes the probabilities again instead of
//! storing them.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::gemm::{Matrix, On, Write, gemm};
use super::vector::{dot, exp_shifted, scale, vectorized};
use super::{Dropout, Kernels, slice};

/// Query rows a block.
const BLOCK_ROWS: usize = 64;

/// What attention does beyond being causal.
#[derive(Debug, Clone, Default)]
pub struct AttentionOptions {
    /// For each position `[B, T]`, the first position of its sequence that it may see: its document's first. They
    /// never fall within a sequence.
    pub starts: Option<Arc<[u32]>>,
    /// Dropout on the probabilities; element `(head * T + query) * T + key` of a sequence.
    pub dropout: Option<Dropout>,
}

/// Attention of `q [B, T, H, D]` over `k, v [B, T, K, D]`; each position sees itself and what came before.
///
/// # Errors
/// Where shapes, precision or device do not fit; `K` must divide `H`.
pub fn attention(kernels: Kernels, q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
    match kernels {
        Kernels::Fused => {
            q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, Attention { options: options.clone() })
        }
        Kernels::Plain => plain(q, k, v, 0, options),
    }
}

/// The plain form, for queries that start at position `offset` of the keys: `k, v [B, offset + T, K, D]`.
///
/// # Errors
/// As [`attention`].
pub fn attention_cached(q: &Tensor, k: &Tensor, v: &Tensor, offset: usize) -> Result<Tensor> {
    plain(q, k, v, offset, &AttentionOptions::default())
}

fn plain(q: &Tensor, k: &Tensor, v: &Tensor, offset: usize, options: &AttentionOptions) -> Result<Tensor> {
    let (batch, queries, heads, head_dim) = q.dims4()?;
    let (_, keys, kv_heads, _) = k.dims4()?;
    let group = heads / kv_heads;
    let q = q.reshape((batch, queries, kv_heads, group, head_dim))?.permute((0, 2, 3, 1, 4))?;
    let q = q.contiguous()?.reshape((batch, kv_heads, group * queries, head_dim))?;
    let k_t = k.permute((0, 2, 3, 1))?.contiguous()?;
    let v = v.transpose(1, 2)?.contiguous()?;
    let scores = (q.matmul(&k_t)? * (head_dim as f64).powf(-0.5))?;
    let mask = match &options.starts {
        None => causal_mask(&vec![0; queries], group, keys, offset, &scores)?,
        Some(starts) => {
            let masks = starts.chunks(queries).map(|starts| causal_mask(starts, group, keys, offset, &scores));
            Tensor::stack(&masks.collect::<Result<Vec<_>>>()?, 0)?.unsqueeze(1)?
        }
    };
    let probabilities = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
    let probabilities = super::dropout(Kernels::Plain, &probabilities, options.dropout.as_ref())?;
    let out = probabilities.matmul(&v)?.reshape((batch, kv_heads, group, queries, head_dim))?;
    out.permute((0, 3, 1, 2, 4))?.contiguous()?.reshape((batch, queries, heads, head_dim))
}

/// 0 where a query sees a key, minus infinity where it does not; `[group * queries, keys]`.
fn causal_mask(starts: &[u32], group: usize, keys: usize, offset: usize, like: &Tensor) -> Result<Tensor> {
    let queries = starts.len();
    let value = |row: usize, key: usize| {
        let seen = key <= row % queries + offset && key >= starts[row % queries] as usize;
        if seen { 0f32 } else { f32::NEG_INFINITY }
    };
    let rows = group * queries;
    let mask: Vec<f32> = (0..rows * keys).map(|i| value(i / keys, i % keys)).collect();
    Tensor::from_vec(mask, (rows, keys), like.device())?.to_dtype(like.dtype())
}

struct Attention {
    options: AttentionOptions,
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Positions a sequence.
    pub positions: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, of which `heads` is a multiple.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
}

impl Sizes {
    fn new(q: &[usize], k: &[usize], v: &[usize]) -> Result<Sizes> {
        let (&[batch, positions, heads, head_dim], &[_, _, kv_heads, _]) = (q, k) else {
            bail!("attention wants 4 dimensions, not {q:?} and {k:?}")
        };
        if k != [batch, positions, kv_heads, head_dim] || v != k || kv_heads == 0 || heads % kv_heads != 0 {
            bail!("attention: keys {k:?} and values {v:?} do not fit queries {q:?}")
        }
        Ok(Sizes { batch, positions, heads, kv_heads, head_dim })
    }

    /// Query heads that share a key head.
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Distance between the positions of a query head.
    fn q_stride(self) -> usize {
        self.heads * self.head_dim
    }

    /// Distance between the positions of a key head.
    fn kv_stride(self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn tasks(self) -> usize {
        self.batch * self.kv_heads
    }

    /// Where the queries of group member `member` of a task start.
    fn q_start(self, task: usize, member: usize) -> usize {
        let (batch, kv_head) = (task / self.kv_heads, task % self.kv_heads);
        batch * self.positions * self.q_stride() + (kv_head * self.group() + member) * self.head_dim
    }

    /// Number of the query head that group member `member` of a task is.
    fn query_head(self, task: usize, member: usize) -> usize {
        task % self.kv_heads * self.group() + member
    }

    /// Where the keys and values of a task start.
    fn kv_start(self, task: usize) -> usize {
        let (batch, kv_head) = (task / self.kv_heads, task % self.kv_heads);
        batch * self.positions * self.kv_stride() + kv_head * self.head_dim
    }

    fn softmax_scale(self) -> f32 {
        (self.head_dim as f32).powf(-0.5)
    }
}

/// A block of query rows, and the keys that any of them sees.
#[derive(Clone, Copy)]
struct Block {
    /// First query.
    first: usize,
    /// Queries.
    rows: usize,
    /// First key.
    low: usize,
}

impl Block {
    /// Keys.
    fn width(self) -> usize {
        self.first + self.rows - self.low
    }
}

/// The inputs of one key head: slices that start at its first element.
#[derive(Clone, Copy)]
struct Head<'a> {
    sizes: Sizes,
    /// Sequence of the batch.
    sequence: usize,
    k: &'a [f32],
    v: &'a [f32],
    /// First position seen, for each of the sequence's.
    starts: Option<&'a [u32]>,
    dropout: Option<&'a Dropout>,
}

impl<'a> Head<'a> {
    fn new(sizes: Sizes, task: usize, k: &'a [f32], v: &'a [f32], options: &'a AttentionOptions) -> Head<'a> {
        let (start, sequence) = (sizes.kv_start(task), task / sizes.kv_heads);
        let starts = options.starts.as_ref();
        let starts = starts.and_then(|s| s.get(sequence * sizes.positions..(sequence + 1) * sizes.positions));
        Head { sizes, sequence, k: &k[start..], v: &v[start..], starts, dropout: options.dropout.as_ref() }
    }

    fn start(&self, query: usize) -> usize {
        self.starts.map_or(0, |starts| starts[query] as usize)
    }

    fn blocks(self) -> impl Iterator<Item = Block> {
        let positions = self.sizes.positions;
        let block = move |first: usize| {
            let rows = (first + BLOCK_ROWS).min(positions) - first;
            Block { first, rows, low: self.start(first).min(first) }
        };
        (0..positions).step_by(BLOCK_ROWS).map(block)
    }

    fn keys(&self, block: Block) -> Matrix<'a> {
        let stride = self.sizes.kv_stride();
        Matrix::strided(&self.k[block.low * stride..], block.width(), self.sizes.head_dim, stride)
    }

    fn values(&self, block: Block) -> Matrix<'a> {
        let stride = self.sizes.kv_stride();
        Matrix::strided(&self.v[block.low * stride..], block.width(), self.sizes.head_dim, stride)
    }

    /// Attention probabilities of a block's queries over its keys.
    fn probabilities(&self, out: &mut [f32], queries: Matrix, block: Block) {
        let width = block.width();
        gemm(out, width, Write::Replace, queries, self.keys(block).t(), On::ThisThread);
        let factor = self.sizes.softmax_scale();
        vectorized(|| {
            for (row, scores) in out.chunks_exact_mut(width).take(block.rows).enumerate() {
                let query = block.first + row;
                let (seen, later) = scores.split_at_mut(query + 1 - block.low);
                let (earlier, seen) = seen.split_at_mut(self.start(query).clamp(block.low, query) - block.low);
                let (sum, _) = exp_shifted(seen, factor);
                scale(seen, 1.0 / sum);
                earlier.fill(0.0);
                later.fill(0.0);
            }
        });
    }

    /// Multiplies the elements of a block of probabilities of query head `head` by their dropout factors.
    fn drop(&self, values: &mut [f32], head: usize, block: Block) {
        let (Some(dropout), positions, width) = (self.dropout, self.sizes.positions, block.width()) else { return };
        for (row, values) in values.chunks_exact_mut(width).take(block.rows).enumerate() {
            let first = ((head * positions + block.first + row) * positions + block.low) as u64;
            for (element, value) in (first..).zip(values) {
                *value *= dropout.factor(self.sequence, element);
            }
        }
    }
}

/// Copies the tasks' `[T, width]` results into `[B, T, tasks a batch * width]`.
fn interleave(sizes: Sizes, width: usize, parts: &[&[f32]]) -> Vec<f32> {
    let row = sizes.kv_heads * width;
    let mut out = vec![0f32; sizes.batch * sizes.positions * row];
    out.par_chunks_mut(row).enumerate().with_min_len(BLOCK_ROWS).for_each(|(index, out)| {
        let (batch, position) = (index / sizes.positions, index % sizes.positions);
        for (kv_head, out) in out.chunks_exact_mut(width).enumerate() {
            let part = parts[batch * sizes.kv_heads + kv_head];
            out.copy_from_slice(&part[position * width..(position + 1) * width]);
        }
    });
    out
}

/// The outputs of one key head's group, `[T, group * D]`.
fn forward_head(q: &[f32], head: Head, task: usize) -> Vec<f32> {
    let sizes = head.sizes;
    let (dim, width) = (sizes.head_dim, sizes.group() * sizes.head_dim);
    let mut out = vec![0f32; sizes.positions * width];
    let mut scores = vec![0f32; BLOCK_ROWS * sizes.positions];
    for member in 0..sizes.group() {
        let q = &q[sizes.q_start(task, member)..];
        for block in head.blocks() {
            let queries = Matrix::strided(&q[block.first * sizes.q_stride()..], block.rows, dim, sizes.q_stride());
            head.probabilities(&mut scores, queries, block);
            head.drop(&mut scores, sizes.query_head(task, member), block);
            let probabilities = Matrix::dense(&scores, block.rows, block.width());
            let out = &mut out[block.first * width + member * dim..];
            gemm(out, width, Write::Replace, probabilities, head.values(block), On::ThisThread);
        }
    }
    out
}

/// The gradients of one key head's group.
fn backward_head(q: &[f32], out: &[f32], dout: &[f32], head: Head, task: usize) -> HeadGradients {
    let sizes = head.sizes;
    let (dim, stride, width) = (sizes.head_dim, sizes.q_stride(), sizes.group() * sizes.head_dim);
    let mut gradients = HeadGradients::zeros(sizes);
    let mut probabilities = vec![0f32; BLOCK_ROWS * sizes.positions];
    let mut scores = vec![0f32; BLOCK_ROWS * sizes.positions];
    for member in 0..sizes.group() {
        let (start, query_head) = (sizes.q_start(task, member), sizes.query_head(task, member));
        for block in head.blocks() {
            let (at, rows, keys) = (start + block.first * stride, block.rows, block.width());
            let queries = Matrix::strided(&q[at..], rows, dim, stride);
            let dqueries_out = Matrix::strided(&dout[at..], rows, dim, stride);
            head.probabilities(&mut probabilities, queries, block);
            gemm(&mut scores, keys, Write::Replace, dqueries_out, head.values(block).t(), On::ThisThread);
            head.drop(&mut scores, query_head, block);
            vectorized(|| {
                score_gradients(&mut scores, &probabilities, &out[at..], &dout[at..], sizes, keys, rows);
            });
            head.drop(&mut probabilities, query_head, block);
            let p = Matrix::dense(&probabilities, rows, keys);
            let ds = Matrix::dense(&scores, rows, keys);
            let dq = &mut gradients.dq[block.first * width + member * dim..];
            gemm(dq, width, Write::Replace, ds, head.keys(block), On::ThisThread);
            gemm(&mut gradients.dk[block.low * dim..], dim, Write::Add, ds.t(), queries, On::ThisThread);
            gemm(&mut gradients.dv[block.low * dim..], dim, Write::Add, p.t(), dqueries_out, On::ThisThread);
        }
    }
    gradients
}

/// Turns the gradients of probabilities into those of scores: `dS = P (dP - sum(dO O)) / sqrt(D)`.
#[inline(always)]
fn score_gradients(dp: &mut [f32], p: &[f32], out: &[f32], dout: &[f32], sizes: Sizes, keys: usize, rows: usize) {
    let (dim, stride, factor) = (sizes.head_dim, sizes.q_stride(), sizes.softmax_scale());
    for row in 0..rows {
        let delta = dot(&out[row * stride..row * stride + dim], &dout[row * stride..row * stride + dim]);
        let (dp, p) = (&mut dp[row * keys..(row + 1) * keys], &p[row * keys..(row + 1) * keys]);
        for (dp, p) in dp.iter_mut().zip(p) {
            *dp = p * (*dp - delta) * factor;
        }
    }
}

/// What one key head's task contributes.
struct HeadGradients {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl HeadGradients {
    fn zeros(sizes: Sizes) -> HeadGradients {
        let kv = sizes.positions * sizes.head_dim;
        HeadGradients { dq: vec![0f32; kv * sizes.group()], dk: vec![0f32; kv], dv: vec![0f32; kv] }
    }
}

/// The outputs `[B, T, H, D]`.
pub fn forward(q: &[f32], k: &[f32], v: &[f32], sizes: Sizes, options: &AttentionOptions) -> Vec<f32> {
    let task = |task: usize| forward_head(q, Head::new(sizes, task, k, v, options), task);
    let parts: Vec<Vec<f32>> = (0..sizes.tasks()).into_par_iter().map(task).collect();
    let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
    interleave(sizes, sizes.group() * sizes.head_dim, &parts)
}

/// The gradients of queries, keys and values; `out` is what [`forward`] gave with the same options.
pub fn backward(
    (q, k, v): (&[f32], &[f32], &[f32]),
    out: &[f32],
    dout: &[f32],
    sizes: Sizes,
    options: &AttentionOptions,
) -> [Vec<f32>; 3] {
    let task = |task: usize| backward_head(q, out, dout, Head::new(sizes, task, k, v, options), task);
    let parts: Vec<HeadGradients> = (0..sizes.tasks()).into_par_iter().map(task).collect();
    let gather = |width, of: fn(&HeadGradients) -> &[f32]| {
        let parts: Vec<&[f32]> = parts.iter().map(of).collect();
        interleave(sizes, width, &parts)
    };
    let dq = gather(sizes.group() * sizes.head_dim, |part| &part.dq);
    [dq, gather(sizes.head_dim, |part| &part.dk), gather(sizes.head_dim, |part| &part.dv)]
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_l: &Layout,
        k: &CpuStorage,
        k_l: &Layout,
        v: &CpuStorage,
        v_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(q_l.dims(), k_l.dims(), v_l.dims())?;
        let (q, k, v) = (slice::of_storage(q, q_l)?, slice::of_storage(k, k_l)?, slice::of_storage(v, v_l)?);
        Ok(slice::into_storage(forward(q, k, v, sizes, &self.options), q_l.shape()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        dout: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(q.dims(), k.dims(), v.dims())?;
        let dout = dout.contiguous()?;
        let (q_values, k_values, v_values) = (slice::of_tensor(q)?, slice::of_tensor(k)?, slice::of_tensor(v)?);
        let (out, dout) = (slice::of_tensor(out)?, slice::of_tensor(&dout)?);
        let [dq, dk, dv] = backward((&q_values, &k_values, &v_values), &out, &dout, sizes, &self.options);
        let tensor = |values, like: &Tensor| slice::into_tensor(values, like.shape()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    fn compare_with(positions: usize, heads: usize, kv_heads: usize, options: &AttentionOptions) {
        let q = var(&[2, positions, heads, 8], 1);
        let (k, v) = (var(&[2, positions, kv_heads, 8], 2), var(&[2, positions, kv_heads, 8], 3));
        let run = |kernels| move |v: &[candle_core::Var]| attention(kernels, &v[0], &v[1], &v[2], options);
        assert_same(&[q, k, v], run(Kernels::Fused), run(Kernels::Plain));
    }

    fn compare(positions: usize, heads: usize, kv_heads: usize) {
        compare_with(positions, heads, kv_heads, &AttentionOptions::default());
    }

    /// Documents of 1, 2, 3, ... positions in the first sequence, one that crosses blocks in the second.
    fn starts(positions: usize) -> Arc<[u32]> {
        let mut starts: Vec<u32> = (1..).flat_map(|n: u32| vec![n * (n - 1) / 2; n as usize]).take(positions).collect();
        starts.extend((0..positions as u32).map(|p| if p < 50 { 0 } else { 50 }));
        starts.into()
    }

    #[test]
    fn fused_equals_plain_with_masked_documents() {
        let positions = BLOCK_ROWS * 2 + 3;
        compare_with(positions, 4, 2, &AttentionOptions { starts: Some(starts(positions)), dropout: None });
    }

    #[test]
    fn fused_equals_plain_with_dropout_and_masked_documents() {
        let (positions, dropout) = (BLOCK_ROWS + 9, Some(Dropout::new(0.2, 1, "attention", &[5, 6])));
        compare_with(positions, 4, 2, &AttentionOptions { starts: None, dropout: dropout.clone() });
        compare_with(positions, 4, 2, &AttentionOptions { starts: Some(starts(positions)), dropout });
    }

    #[test]
    fn a_masked_document_equals_the_document_alone() {
        let (q, k, v) = (var(&[1, 9, 2, 4], 1), var(&[1, 9, 2, 4], 2), var(&[1, 9, 2, 4], 3));
        let options = AttentionOptions { starts: Some(vec![0, 0, 0, 0, 4, 4, 4, 4, 4].into()), dropout: None };
        let whole = attention(Kernels::Fused, &q, &k, &v, &options).unwrap().narrow(1, 4, 5).unwrap();
        let part = |x: &candle_core::Var| x.narrow(1, 4, 5).unwrap();
        let alone = attention(Kernels::Fused, &part(&q), &part(&k), &part(&v), &AttentionOptions::default()).unwrap();
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        crate::ops::testing::assert_close("document", &flat(whole), &flat(alone), 1e-6);
    }

    #[test]
    fn fused_equals_plain_within_one_block() {
        compare(7, 2, 2);
    }

    #[test]
    fn fused_equals_plain_with_grouped_queries_over_several_blocks() {
        compare(BLOCK_ROWS * 2 + 3, 4, 2);
    }

    #[test]
    fn a_later_token_does_not_change_an_earlier_output() {
        let (q, k) = (var(&[1, 5, 2, 4], 1), var(&[1, 5, 2, 4], 2));
        let (v, other) = (var(&[1, 5, 2, 4], 3), var(&[1, 1, 2, 4], 4));
        let changed = Tensor::cat(&[v.narrow(1, 0, 4).unwrap(), other.as_tensor().clone()], 1).unwrap();
        for kernels in [Kernels::Fused, Kernels::Plain] {
            let first_four = |v: &Tensor| {
                let out = attention(kernels, &q, &k, v, &AttentionOptions::default()).unwrap().narrow(1, 0, 4).unwrap();
                out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(first_four(&v), first_four(&changed));
        }
    }

    #[test]
    fn keys_that_do_not_fit_are_an_error() {
        let (q, k) = (var(&[1, 5, 4, 4], 1), var(&[1, 5, 3, 4], 2));
        assert!(attention(Kernels::Fused, &q, &k, &k, &AttentionOptions::default()).is_err());
    }
}
