//! The attention layer: projections, rotation, attention, output projection; and the cache of keys and values.

use candle_core::Tensor;

use super::pass::Pass;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Parameters;
use crate::ops::{RopeTable, attention, attention_cached, dropout, linear, rope};

/// Keys and values of the positions seen so far, by layer.
#[derive(Debug, Clone, Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    positions: usize,
}

impl KvCache {
    /// An empty cache for `layers` layers.
    pub fn new(layers: usize) -> KvCache {
        KvCache { layers: vec![None; layers], positions: 0 }
    }

    /// Positions held.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Notes that every layer has appended `count` positions.
    pub(super) fn advance(&mut self, count: usize) {
        self.positions += count;
    }

    /// Appends a layer's new keys and values `[B, T, K, D]`, and returns all of them.
    fn append(&mut self, layer: usize, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let Some(slot) = self.layers.get_mut(layer) else {
            return Err(candle_core::Error::msg("the cache has fewer layers than the model").into());
        };
        let (k, v) = match slot.take() {
            Some((old_k, old_v)) => (Tensor::cat(&[old_k, k], 1)?, Tensor::cat(&[old_v, v], 1)?),
            None => (k, v),
        };
        *slot = Some((k.clone(), v.clone()));
        Ok((k, v))
    }
}

/// Attention with grouped queries.
#[derive(Debug, Clone)]
pub struct Attention {
    layer: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    q_proj: Tensor,
    k_proj: Tensor,
    v_proj: Tensor,
    o_proj: Tensor,
    rope: RopeTable,
}

impl Attention {
    /// The attention of layer `layer`, whose weights start with `prefix`.
    pub fn new(
        config: &ModelConfig,
        parameters: &Parameters,
        rope: &RopeTable,
        layer: usize,
        prefix: &str,
    ) -> Result<Attention> {
        let weight = |name: &str| parameters.get(&format!("{prefix}.{name}.weight"));
        Ok(Attention {
            layer,
            heads: config.num_attention_heads,
            kv_heads: config.kv_heads(),
            head_dim: config.head_size(),
            q_proj: weight("q_proj")?,
            k_proj: weight("k_proj")?,
            v_proj: weight("v_proj")?,
            o_proj: weight("o_proj")?,
            rope: rope.clone(),
        })
    }

    /// `[B, T, C]` to `[B, T, C]`; with a cache, the input continues what it holds.
    pub fn forward(&self, pass: &Pass, x_BTC: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor> {
        let (batch, positions, _) = x_BTC.dims3()?;
        let (kernels, offset) = (pass.kernels, pass.places.offset);
        if offset + positions > self.rope.positions() {
            return Err(Error::PromptTooLong { tokens: offset + positions, positions: self.rope.positions() });
        }
        let project = |weight, heads| linear(kernels, x_BTC, weight)?.reshape((batch, positions, heads, self.head_dim));
        let q_BTHD = rope(kernels, &project(&self.q_proj, self.heads)?, &self.rope, &pass.places)?;
        let k_BTKD = rope(kernels, &project(&self.k_proj, self.kv_heads)?, &self.rope, &pass.places)?;
        let v_BTKD = project(&self.v_proj, self.kv_heads)?;
        let out_BTHD = match cache {
            Some(cache) => {
                let (k, v) = cache.append(self.layer, k_BTKD, v_BTKD)?;
                attention_cached(&q_BTHD, &k, &v, offset)?
            }
            None => attention(pass.attention, &q_BTHD, &k_BTKD, &v_BTKD, &pass.attention_options(self.layer))?,
        };
        let merged = out_BTHD.reshape((batch, positions, self.heads * self.head_dim))?;
        let out_BTC = linear(kernels, &merged, &self.o_proj)?;
        let dropped = pass.dropout(&format!("layer {} attention output", self.layer));
        Ok(dropout(kernels, &out_BTC, dropped.as_ref())?)
    }
}
