//! The stages of a run, in order: read, dedup, tokenize, (scatter, gather,) order, write, rejects, commit.
//!
//! - [`read`]: parse, clean, measure, filter, hash; one task a part of an input. Its output is cut into chunks.
//!   Instead of it [`rows`], where a dataset is made from datasets: their rows and rejects.
//! - [`dedup`]: one task a range of hashes; finds the documents that stand earlier.
//! - [`tokenize`]: one task a chunk; ids of the kept documents.
//! - [`shuffle`]: only with `--shuffle`; documents in the order of a hash. [`source`]: what the next two walk.
//! - [`order`]: prefix sums over counts; fixes shards, files, rows, columns before anything final is written.
//! - [`write`]: one task a shard; `.bin`, `.idx`, Parquet.
//! - [`rejects`]: one task a file; what was not kept, and why.
//! - [`commit`]: copies, checks the ledger, writes the manifest last.

pub mod commit;
pub mod dedup;
pub mod layout;
pub mod order;
pub mod read;
pub mod rejects;
pub mod rows;
pub mod shuffle;
pub mod source;
mod table;
pub mod tokenize;
pub mod write;

use crate::engine::plan::Plan;
use crate::engine::stage::Stage;

/// The stages of a plan, without the commit.
pub fn chain(plan: &Plan) -> Vec<Box<dyn Stage>> {
    let read: Box<dyn Stage> =
        if plan.derived.is_some() { Box::new(rows::RowsStage::default()) } else { Box::new(read::ReadStage) };
    let mut stages = vec![read];
    if plan.finds_duplicates() {
        stages.push(Box::new(dedup::DedupStage));
    }
    stages.push(Box::new(tokenize::TokenizeStage));
    if plan.config.order.shuffle {
        stages.push(Box::new(shuffle::ScatterStage));
        stages.push(Box::new(shuffle::GatherStage));
    }
    stages.push(Box::new(order::OrderStage));
    stages.push(Box::new(write::WriteStage));
    stages.push(Box::new(rejects::RejectsStage));
    stages
}
