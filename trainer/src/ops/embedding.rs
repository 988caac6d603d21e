//! Token embedding: one row of the table for each id.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Kernels, slice};

/// Rows of `table [V, C]` for `ids [B, T]` (given flat), as `[B, T, C]`.
///
/// # Errors
/// Where an id is not below V, or `ids` are not `B * T`.
pub fn embedding(kernels: Kernels, table: &Tensor, ids: &Arc<[u32]>, batch: usize) -> Result<Tensor> {
    let (vocabulary, hidden) = table.dims2()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        candle_core::bail!("token id {id} is not below the vocabulary of {vocabulary}");
    }
    let positions = ids.len() / batch.max(1);
    let rows = match kernels {
        Kernels::Fused => table.apply_op1(Embedding { ids: ids.clone() })?,
        Kernels::Plain => {
            let index = Tensor::from_slice(ids, ids.len(), table.device())?;
            table.index_select(&index, 0)?
        }
    };
    rows.reshape((batch, positions, hidden))
}

/// Copies the rows of `table` that `ids` name; each id must be below its rows.
pub fn forward(rows: &mut [f32], table: &[f32], ids: &[u32], hidden: usize) {
    for (row, &id) in rows.chunks_exact_mut(hidden).zip(ids) {
        let at = id as usize * hidden;
        row.copy_from_slice(&table[at..at + hidden]);
    }
}

/// Adds the gradients of rows to those of the table.
pub fn backward(dtable: &mut [f32], drows: &[f32], ids: &[u32], hidden: usize) {
    for (drow, &id) in drows.chunks_exact(hidden).zip(ids) {
        let at = id as usize * hidden;
        super::vector::add(&mut dtable[at..at + hidden], drow);
    }
}

struct Embedding {
    ids: Arc<[u32]>,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, hidden) = layout.shape().dims2()?;
        let mut rows = vec![0f32; self.ids.len() * hidden];
        forward(&mut rows, slice::of_storage(table, layout)?, &self.ids, hidden);
        Ok(slice::into_storage(rows, (self.ids.len(), hidden)))
    }

    fn bwd(&self, table: &Tensor, _rows: &Tensor, drows: &Tensor) -> Result<Option<Tensor>> {
        let (vocabulary, hidden) = table.dims2()?;
        let drows = drows.contiguous()?;
        let mut dtable = vec![0f32; vocabulary * hidden];
        backward(&mut dtable, &slice::of_tensor(&drows)?, &self.ids, hidden);
        Ok(Some(slice::into_tensor(dtable, table.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same, var};

    #[test]
    fn fused_equals_plain_with_repeated_ids() {
        let ids: Arc<[u32]> = vec![3, 0, 3, 4, 3, 1].into();
        let inputs = [var(&[5, 6], 1)];
        let run = |kernels| {
            let ids = ids.clone();
            move |v: &[candle_core::Var]| embedding(kernels, &v[0], &ids, 2)
        };
        assert_same(&inputs, run(Kernels::Fused), run(Kernels::Plain));
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_an_error() {
        let ids: Arc<[u32]> = vec![5].into();
        assert!(embedding(Kernels::Fused, &var(&[5, 6], 1), &ids, 1).is_err());
    }
}
