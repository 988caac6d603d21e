//! The stages of a run, in order: read, (against,) dedup, (signatures, candidates, texts, verify, cluster, settle,)
//! losers, groups, duplicates, (passages, repeats, cut,) keys, tokenize, (scatter, gather,) order, write, rejects, commit.
//!
//! - [`read`]: parse, clean, measure, filter, hash; one task a part of an input. Its output is cut into chunks.
//!   Instead of it [`rows`], where a dataset is made from datasets: their rows and rejects.
//! - [`against`]: only with `--against`; the match keys of earlier datasets.
//! - [`dedup`]: one task a range of hashes; finds the documents that have an exact duplicate that stays.
//! - Only with `--dedup minhash`: [`signatures`] (match keys), [`candidates`] (pairs that share one), [`texts`] (what is
//!   needed to compare them), [`verify`] (pairs that are similar indeed), [`cluster`] or [`components`] (who stays), [`settle`] (for whom).
//! - [`losers`]: one task a chunk; the documents that go, and what for. [`groups`], [`duplicates`]: clusters, written.
//! - [`passages`], [`repeats`], [`cut`]: only where passages are looked for; their keys, the copies that go, the rows
//!   without them.
//! - [`keys`]: the match keys of what is kept, for a later run.
//! - [`augment`]: only where versions of documents are made; rows of their own.
//! - [`tokenize`]: one task a chunk; ids of the kept documents.
//! - [`mix`]: only where documents are mixed or a subset is written; how often each document occurs.
//! - [`shuffle`]: only with `--shuffle`; documents in the order of a hash. [`source`]: what the next two walk.
//! - [`order`]: prefix sums over counts; fixes shards, files, rows, columns before anything final is written.
//! - [`write`]: one task a shard; `.bin`, `.idx`, Parquet.
//! - [`rejects`]: one task a file; what was not kept, and why.
//! - [`commit`]: copies, checks the ledger, writes the manifest last.

pub mod against;
pub mod augment;
pub mod candidates;
pub mod cluster;
pub mod commit;
pub mod components;
pub mod cut;
pub mod dedup;
pub mod duplicates;
pub mod groups;
pub mod keys;
pub mod layout;
pub mod losers;
pub mod mix;
pub mod order;
pub mod passages;
mod ranges;
pub mod read;
pub mod rejects;
pub mod repeats;
mod report;
pub mod rows;
pub mod settle;
pub mod shuffle;
pub mod signatures;
pub mod source;
mod table;
pub mod texts;
pub mod tokenize;
pub mod verify;
mod walk;
pub mod write;

use schemas::config::Cluster;

use crate::dedup::settings::Near;
use crate::engine::plan::Plan;
use crate::engine::stage::Stage;

/// The stages of a plan, without the commit.
pub fn chain(plan: &Plan) -> Vec<Box<dyn Stage>> {
    let read: Box<dyn Stage> =
        if plan.derived.is_some() { Box::new(rows::RowsStage::default()) } else { Box::new(read::ReadStage) };
    let mut stages = vec![read];
    if plan.finds_duplicates() {
        if !plan.against.is_empty() {
            stages.push(Box::new(against::AgainstStage));
        }
        stages.push(Box::new(dedup::DedupStage));
        if let Some(near) = plan.near() {
            push_near(&mut stages, near);
        }
        stages.push(Box::new(losers::LosersStage));
        stages.push(Box::new(groups::GroupsStage));
        stages.push(Box::new(duplicates::DuplicatesStage));
    }
    if let Some(settings) = plan.passages() {
        stages.push(Box::new(passages::PassagesStage(settings)));
        stages.push(Box::new(repeats::RepeatsStage(settings)));
        stages.push(Box::new(cut::CutStage(settings)));
    }
    if plan.keeps_keys() {
        stages.push(Box::new(keys::KeysStage));
    }
    if plan.is_augmented() {
        stages.push(Box::new(augment::AugmentStage));
    }
    stages.push(Box::new(tokenize::TokenizeStage));
    if plan.is_mixed() {
        if plan.mix().is_ok_and(|mix| mix.needs_counts()) {
            stages.push(Box::new(mix::BudgetStage));
        }
        stages.push(Box::new(mix::MixStage));
    }
    if plan.config.order.shuffle {
        stages.push(Box::new(shuffle::ScatterStage));
        stages.push(Box::new(shuffle::GatherStage));
    }
    stages.push(Box::new(order::OrderStage));
    stages.push(Box::new(write::WriteStage));
    stages.push(Box::new(rejects::RejectsStage));
    stages
}

fn push_near(stages: &mut Vec<Box<dyn Stage>>, near: Near) {
    stages.push(Box::new(signatures::SignaturesStage(near)));
    stages.push(Box::new(candidates::CandidatesStage));
    stages.push(Box::new(texts::TextsStage(near)));
    stages.push(Box::new(verify::VerifyStage(near)));
    match near.cluster {
        Cluster::Star => stages.push(Box::new(cluster::ClusterStage)),
        Cluster::Component => stages.push(Box::new(components::ComponentsStage)),
    }
    stages.push(Box::new(settle::SettleStage));
}
