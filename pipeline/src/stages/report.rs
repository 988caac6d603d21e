//! What the tasks kept for the report, added up in the order of the tasks.

use std::collections::{HashMap, HashSet};

use super::augment;
use super::cut::{self, CutDone};
use super::mix::{self, BudgetDone, MixDone};
use super::read::{self, ReadDone};
use super::rejects::{self, RejectsDone};
use super::write::{self, WriteDone};
use crate::clean;
use crate::engine::run::Run;
use crate::error::Error;
use crate::mix::Cut;
use crate::mix::hash::unit;
use crate::report::figures::Gathered;
use crate::report::mixture::{GroupGoal, Mixture};
use crate::report::shares::Shares;

/// Adds up what the tasks of `shards` shards and `reject_files` files of rejects say.
///
/// # Errors
/// Where a marker cannot be read.
pub fn gather(run: &Run, shards: usize, reject_files: usize) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    for rank in 0..shards {
        let done: WriteDone = run.marker(write::NAME, rank)?;
        gathered.kept.merge(&done.sketches);
    }
    for rank in 0..reject_files {
        let done: RejectsDone = run.marker(rejects::NAME, rank)?;
        gathered.rejected.merge(&done.sketches);
        gathered.reasons.merge(&done.reasons);
    }
    gathered.mix = mixture(run)?;
    let excerpts = excerpts(run, &mut gathered)?;
    for example in gathered.reasons.0.iter_mut().flat_map(|reason| &mut reason.examples) {
        if let Some(text) = excerpts.get(&(example.source.clone(), example.line)) {
            example.excerpt.get_or_insert_with(|| text.clone());
        }
    }
    Ok(gathered)
}

/// What mixing made of the values of its column, if documents were mixed by one.
fn mixture(run: &Run) -> Result<Option<Mixture>, Error> {
    let Some(by) = &run.mix.by else { return Ok(None) };
    let (mut before, mut after) = (Shares::default(), Shares::default());
    for rank in 0..augment::units(run)? {
        let done: MixDone = run.marker(mix::NAME, rank)?;
        before.merge(&done.before);
        after.merge(&done.after);
    }
    let budget: Option<BudgetDone> = match run.mix.needs_counts() {
        true => Some(run.marker(mix::BUDGET, 0)?),
        false => None,
    };
    let (cuts, max_copies) = (run.cuts()?, run.mix.max_copies);
    let goal = |(index, name): (usize, &String)| {
        let cut = cuts.get(index).copied().unwrap_or(Cut::ALL);
        let of = |budget: &BudgetDone| Some(((*budget.wanted.get(index)?)?, *budget.found.get(index)?));
        let amounts = budget.as_ref().and_then(of);
        let short = amounts.is_some_and(|(wanted, found)| wanted > found.saturating_mul(u64::from(max_copies)));
        let weight = f64::from(cut.whole) + unit(cut.below);
        GroupGoal { name: name.clone(), weight, wanted_tokens: amounts.map(|(wanted, _)| wanted), short }
    };
    let goals = run.mix.groups.iter().enumerate().map(goal).collect();
    Ok(Some(Mixture::new(by, max_copies, goals, &before, &after)))
}

/// The beginnings of texts that the read tasks dropped, by input and line; adds up what cleaning changed.
fn excerpts(run: &Run, gathered: &mut Gathered) -> Result<HashMap<(String, i64), String>, Error> {
    // Only what will be shown is kept, so that memory does not grow with the tasks.
    let shown = gathered.reasons.0.iter().flat_map(|reason| &reason.examples);
    let shown: HashSet<(String, i64)> = shown.map(|example| (example.source.clone(), example.line)).collect();
    let mut excerpts = HashMap::new();
    let layout = run.layout()?;
    if let Some(passages) = run.passages {
        let count = gathered.cleaned.entry(passages.step().to_owned()).or_default();
        for chunk in 0..layout.chunks.len() {
            let done: CutDone = run.marker(cut::NAME, chunk)?;
            count.documents += done.documents;
            count.changes += done.places;
        }
    }
    for (rank, (part, base)) in run.plan.parts.iter().zip(&layout.line_bases).enumerate() {
        let done: ReadDone = run.marker(read::NAME, rank)?;
        clean::merge_counts(&mut gathered.cleaned, &done.cleaned);
        let label = run.plan.inputs.get(part.input).map_or("", |input| &input.label);
        for example in done.examples.0.into_iter().flat_map(|reason| reason.examples) {
            let line = *base as i64 + example.line + 1;
            let place = (label.to_owned(), line);
            if shown.contains(&place) {
                excerpts.extend(example.excerpt.map(|text| (place, text)));
            }
        }
    }
    Ok(excerpts)
}
