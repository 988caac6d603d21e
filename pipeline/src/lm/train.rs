//! Training, step by step: words, counts, adjusted counts, discounted shares, the trie.

use std::path::{Path, PathBuf};

use super::corpus::{Corpus, Sums, Writer};
use super::counts::Adjuster;
use super::discounts::{Discounts, Statistics};
use super::gram::{By, Gram, ORDER_MAX};
use super::smooth::smooth;
use super::sort::{Room, Sorted, Sorter, Stream};
use super::trie::{self, Parts};
use super::vocabulary::Words;
use crate::error::Error;
use crate::measure::Splitter;
use crate::record::Records;

/// How a model is trained.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most words of an n-gram, 2 to [`ORDER_MAX`].
    pub order: usize,
    /// For each order, the most occurrences of an n-gram that is left out; for orders beyond the list its last number.
    pub prune: Vec<u64>,
    /// What sorting and counting may hold in memory, in bytes.
    pub memory: u64,
}

impl Settings {
    /// Refuses what no model can have.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check(&self) -> Result<(), Error> {
        if !(2..=ORDER_MAX).contains(&self.order) {
            return Err(Error::usage("--order", format!("expected 2 to {ORDER_MAX}, found {}", self.order), ""));
        }
        let prune = &self.prune;
        if prune.len() > self.order {
            let detail = format!("expected at most {} numbers, one an order, found {}", self.order, prune.len());
            return Err(Error::usage("--prune", detail, ""));
        }
        if prune.first().is_some_and(|first| *first != 0) {
            let hint = "single words are never left out: `--prune 0,0,1` leaves out n-grams from order 3 on";
            return Err(Error::usage("--prune", format!("expected 0 first, found {}", self.listed()), hint));
        }
        if !prune.is_sorted() {
            let hint = "an n-gram cannot stay where a shorter one that it ends in goes";
            return Err(Error::usage("--prune", format!("expected ascending numbers, found {}", self.listed()), hint));
        }
        Ok(())
    }

    fn listed(&self) -> String {
        self.prune.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    fn prune_of_orders(&self) -> Vec<u64> {
        let last = self.prune.last().copied().unwrap_or_default();
        (0..self.order).map(|at| self.prune.get(at).copied().unwrap_or(last)).collect()
    }
}

/// What was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was read.
    pub sums: Sums,
    /// n-grams of each order in the model; of order 1 with `<unk>`, `<s>` and `</s>`.
    pub ngrams: Vec<u64>,
    /// n-grams of each order left out.
    pub pruned: Vec<u64>,
    /// What was taken off the counts of each order.
    pub discounts: Vec<Discounts>,
    /// Size of the model.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
}

/// A model in the making.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    folder: WorkFolder,
    writer: Writer,
}

/// A folder for runs, deleted at the end.
#[derive(Debug)]
struct WorkFolder(PathBuf);

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What cannot be deleted is deleted by the next training there.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Trainer {
    /// `folder` is emptied now and deleted at the end.
    ///
    /// # Errors
    /// [`Error::Usage`], [`Error::Io`].
    pub fn create(settings: Settings, folder: &Path) -> Result<Trainer, Error> {
        settings.check()?;
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|error| Error::io("delete", folder, error))?;
        }
        std::fs::create_dir_all(folder).map_err(|error| Error::io("create folder", folder, error))?;
        let work = WorkFolder(folder.to_owned());
        let writer = Writer::create(folder, settings.memory as usize / 10 * 8)?;
        Ok(Trainer { settings, folder: work, writer })
    }

    /// Adds the texts of some documents; each of their lines is a sentence.
    ///
    /// # Errors
    /// [`Error::Usage`] where the words no longer fit in memory; [`Error::Io`].
    pub fn add(&mut self, records: &Records, splitter: &Splitter) -> Result<(), Error> {
        self.writer.add(records, splitter)
    }

    /// Makes the model of all that was added. `step` is told what is done.
    ///
    /// # Errors
    /// [`Error::Usage`] where there was no text; [`Error::Io`].
    pub fn finish(self, out: &Path, mut step: impl FnMut(&'static str)) -> Result<Report, Error> {
        let Trainer { settings, folder, writer } = self;
        let folder = folder.0.as_path();
        let (corpus, vocabulary, sums) = writer.finish()?;
        if sums.words == 0 {
            return Err(Error::usage("CORPUS", "expected text, found no word in it", ""));
        }
        let types = vocabulary.len() as u64;
        let mut words = vocabulary.finish(folder)?;
        step("counting");
        let counted = count(&settings, &corpus, &words, folder)?;
        let ends = [0, 1].map(|first| words.renumbered.get(first).copied().unwrap_or_default());
        words.renumbered = Vec::new();
        step("adjusting counts");
        let (adjusted, statistics) = adjust(&settings, counted, folder)?;
        let discounts: Vec<Discounts> = statistics.iter().map(Discounts::of).collect();
        step("smoothing");
        let (grams, backoffs) = smooth_all(&settings, adjusted, &discounts, folder)?;
        step("writing");
        let mut ngrams: Vec<u64> = statistics.iter().map(|statistics| statistics.kept).collect();
        if let Some(first) = ngrams.first_mut() {
            *first = types + 1;
        }
        let parts = Parts {
            unigram_weight: unigram_weight(&grams)?,
            grams: &grams,
            backoffs: &backoffs,
            counts: &ngrams,
            words: &words,
            begin: ends[0],
        };
        let digest = trie::write(&parts, folder, out)?;
        let pruned = statistics.iter().map(|statistics| statistics.all - statistics.kept).collect();
        Ok(Report { sums, ngrams, pruned, discounts, bytes: digest.bytes, sha256: digest.sha256 })
    }
}

/// n-grams of the highest order, shorter ones at the start of a line, with their occurrences.
fn count(settings: &Settings, corpus: &Corpus, words: &Words, folder: &Path) -> Result<Sorted, Error> {
    let order = settings.order;
    let memory = (settings.memory as usize).saturating_sub(words.renumbered.len() * 4);
    let room = Room { buffer: memory / 10 * 9, kept: memory / 8, merge: memory / 8 };
    let mut sorter = Sorter::new(folder.join("counts"), order, By::Suffix, true, room);
    let number = |first: usize| words.renumbered.get(first).copied().unwrap_or_default();
    let (begin, end) = (number(0), number(1));
    let at_start = |history: &mut [u32; ORDER_MAX]| {
        history.fill(0);
        history.iter_mut().take(1).for_each(|word| *word = begin);
    };
    let mut history = [0; ORDER_MAX];
    at_start(&mut history);
    corpus.each(|word| {
        history.rotate_right(1);
        history.iter_mut().take(1).for_each(|newest| *newest = word.map_or(end, |word| number(word as usize)));
        history.iter_mut().skip(order).for_each(|older| *older = 0);
        sorter.push(Gram { words: history, value: 1 })?;
        if word.is_none() {
            at_start(&mut history);
        }
        Ok(())
    })?;
    sorter.finish()
}

fn adjust(settings: &Settings, counted: Sorted, folder: &Path) -> Result<(Vec<Sorted>, Vec<Statistics>), Error> {
    let order = settings.order;
    let memory = settings.memory as usize;
    let room = Room { buffer: memory / 2 / order, kept: memory / 8 / order, merge: memory / 8 };
    let sorter = |at| Sorter::new(folder.join(format!("adjusted-{}", at + 1)), at + 1, By::Context, false, room);
    let mut sorters: Vec<Sorter> = (0..order).map(sorter).collect();
    let mut statistics = vec![Statistics::default(); order];
    let prune = settings.prune_of_orders();
    Adjuster::new(&prune, &mut sorters, &mut statistics).run(counted.stream()?)?;
    drop(counted);
    let adjusted = sorters.into_iter().map(Sorter::finish).collect::<Result<_, Error>>()?;
    Ok((adjusted, statistics))
}

fn smooth_all(
    settings: &Settings,
    adjusted: Vec<Sorted>,
    discounts: &[Discounts],
    folder: &Path,
) -> Result<(Vec<Sorted>, Vec<PathBuf>), Error> {
    let memory = settings.memory as usize;
    let room = Room { buffer: memory / 2, kept: memory / 8 / settings.order, merge: memory / 8 / settings.order };
    let (mut grams, mut backoffs) = (Vec::new(), Vec::new());
    for (at, (adjusted, discounts)) in adjusted.into_iter().zip(discounts).enumerate() {
        let order = at + 1;
        let backoff = folder.join(format!("backoffs-{at}"));
        let mut sorter = Sorter::new(folder.join(format!("shares-{order}")), order, By::Suffix, false, room);
        smooth(&adjusted, order, discounts, &backoff, &mut sorter)?;
        grams.push(sorter.finish()?);
        backoffs.extend((order > 1).then_some(backoff));
    }
    Ok((grams, backoffs))
}

/// The weight of the uniform distribution: that of every single word.
fn unigram_weight(grams: &[Sorted]) -> Result<f32, Error> {
    let mut stream = grams.first().map(Sorted::stream).transpose()?;
    let first = stream.as_mut().map(Stream::next).transpose()?.flatten();
    Ok(first.map_or(0.0, |gram| gram.shares().1))
}
