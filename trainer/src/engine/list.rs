//! The model as a list of operations, and its backward: `x += o(attention(norm(x)))`, `x += down(swiglu(norm(x)))`.

use super::activations::{Activations, Kept, Space};
use super::ops::{Ops, Turn, Write};
use super::plan::{LayerPlan, Plan};
use crate::error::Result;
use crate::ops::LossParts;

/// The queries, keys and values of a layer from its normalised input, and what attention gives.
fn attend<O: Ops>(ops: &mut O, plan: &Plan, at: LayerPlan, kept: &mut Kept<O::Rows>, normed: &O::Rows) -> Result<()> {
    let heads = &mut kept.heads;
    ops.project(&mut heads.q, normed, at.q)?;
    ops.project(&mut heads.k, normed, at.k)?;
    ops.project(&mut heads.v, normed, at.v)?;
    ops.rotate(&mut heads.q, plan.heads, Turn::Forward)?;
    ops.rotate(&mut heads.k, plan.kv_heads, Turn::Forward)?;
    ops.attend(&mut kept.attended, &kept.heads)
}

/// A layer up to its feed-forward gates; `space.normed` holds its normalised input, and then that of the gates.
fn layer<O: Ops>(
    ops: &mut O,
    plan: &Plan,
    at: LayerPlan,
    kept: &mut Kept<O::Rows>,
    space: &mut Space<O::Rows>,
    input: &O::Rows,
) -> Result<()> {
    attend(ops, plan, at, kept, &space.normed)?;
    ops.project(&mut space.delta, &kept.attended.out, at.o)?;
    ops.add_norm(&mut kept.middle, &mut space.normed, input, &space.delta, at.post_attention_norm)?;
    ops.project(&mut kept.gate, &space.normed, at.gate)?;
    ops.project(&mut kept.up, &space.normed, at.up)
}

/// Fills the residual stream, and `space.normed` with the normalisation of its end.
///
/// # Errors
/// Where an operation fails.
pub fn forward<O: Ops>(ops: &mut O, plan: &Plan, activations: &mut Activations<O::Rows>) -> Result<()> {
    let recomputes = activations.recomputes();
    let Activations { stream, kept, space, .. } = activations;
    let Some(first) = stream.first_mut() else { return Ok(()) };
    ops.embed(first)?;
    ops.norm(&mut space.normed, first, plan.layers.first().map_or(plan.norm, |layer| layer.input_norm))?;
    for (index, &at) in plan.layers.iter().enumerate() {
        let (before, after) = stream.split_at_mut(index + 1);
        let (Some(input), Some(output)) = (before.last(), after.first_mut()) else { break };
        let Some(kept) = kept.get_mut(if recomputes { 0 } else { index }) else { break };
        layer(ops, plan, at, kept, space, input)?;
        ops.swiglu(&mut space.inner, &kept.gate, &kept.up)?;
        ops.project(&mut space.delta, &space.inner, at.down)?;
        let next = plan.layers.get(index + 1).map_or(plan.norm, |layer| layer.input_norm);
        ops.add_norm(output, &mut space.normed, &kept.middle, &space.delta, next)?;
    }
    Ok(())
}

/// The loss after [`forward`], and every gradient.
///
/// # Errors
/// Where an operation fails.
pub fn backward<O: Ops>(ops: &mut O, plan: &Plan, activations: &mut Activations<O::Rows>) -> Result<LossParts> {
    let recomputes = activations.recomputes();
    let Activations { stream, kept, dx, space } = activations;
    let loss = ops.loss(&space.normed, Some(&mut space.dnormed))?;
    let Some(last) = stream.last() else { return Ok(loss) };
    ops.norm_back(dx, Write::Replace, last, plan.norm, &space.dnormed)?;
    for (index, (&at, input)) in plan.layers.iter().zip(stream.iter()).enumerate().rev() {
        let Some(kept) = kept.get_mut(if recomputes { 0 } else { index }) else { break };
        // The last layer's are still there.
        if recomputes && index + 1 < plan.layers.len() {
            ops.norm(&mut space.normed, input, at.input_norm)?;
            layer(ops, plan, at, kept, space, input)?;
        }
        feed_back(ops, at, kept, space, dx)?;
        attend_back(ops, plan, at, kept, space, input, dx)?;
    }
    ops.embed_back(dx)?;
    Ok(loss)
}

fn feed_back<O: Ops>(
    ops: &mut O,
    at: LayerPlan,
    kept: &mut Kept<O::Rows>,
    space: &mut Space<O::Rows>,
    dx: &mut O::Rows,
) -> Result<()> {
    ops.swiglu(&mut space.inner, &kept.gate, &kept.up)?;
    ops.project_weight(at.down, dx, &space.inner)?;
    ops.project_back(&mut space.inner, Write::Replace, dx, at.down)?;
    ops.swiglu_back(&mut kept.gate, &mut kept.up, &space.inner)?;
    ops.norm(&mut space.normed, &kept.middle, at.post_attention_norm)?;
    ops.project_weight(at.gate, &kept.gate, &space.normed)?;
    ops.project_weight(at.up, &kept.up, &space.normed)?;
    ops.project_back(&mut space.dnormed, Write::Replace, &kept.gate, at.gate)?;
    ops.project_back(&mut space.dnormed, Write::Add, &kept.up, at.up)?;
    ops.norm_back(dx, Write::Add, &kept.middle, at.post_attention_norm, &space.dnormed)
}

fn attend_back<O: Ops>(
    ops: &mut O,
    plan: &Plan,
    at: LayerPlan,
    kept: &Kept<O::Rows>,
    space: &mut Space<O::Rows>,
    input: &O::Rows,
    dx: &mut O::Rows,
) -> Result<()> {
    ops.project_weight(at.o, dx, &kept.attended.out)?;
    ops.project_back(&mut space.dattended, Write::Replace, dx, at.o)?;
    ops.attend_back(&mut space.dheads, &kept.heads, &kept.attended, &space.dattended)?;
    let dheads = &mut space.dheads;
    ops.rotate(&mut dheads.q, plan.heads, Turn::Back)?;
    ops.rotate(&mut dheads.k, plan.kv_heads, Turn::Back)?;
    ops.norm(&mut space.normed, input, at.input_norm)?;
    for (weight, gradient, write) in
        [(at.q, &dheads.q, Write::Replace), (at.k, &dheads.k, Write::Add), (at.v, &dheads.v, Write::Add)]
    {
        ops.project_weight(weight, gradient, &space.normed)?;
        ops.project_back(&mut space.dnormed, write, gradient, weight)?;
    }
    ops.norm_back(dx, Write::Add, input, at.input_norm, &space.dnormed)
}
