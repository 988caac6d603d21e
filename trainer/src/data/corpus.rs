//! What a run trains on: a dataset, several with weights, or one that has grown from a smaller one.

use std::path::Path;

use super::grown::Grown;
use super::mixture::Mixture;
use super::{Samples, Source, Verify};
use crate::config::{Packing, TrainConfig};
use crate::error::{Error, Result};

/// The datasets of a run.
#[derive(Debug)]
pub struct Corpus {
    sources: Vec<(Source, f64)>,
    grown_from: Option<Source>,
}

impl Corpus {
    /// One dataset.
    pub fn of(source: Source) -> Corpus {
        Corpus { sources: vec![(source, 1.0)], grown_from: None }
    }

    /// Opens what a configuration names.
    ///
    /// # Errors
    /// Where a dataset cannot be opened, or weights, mixture and growth do not fit each other.
    pub fn open(config: &TrainConfig, verify: Verify) -> Result<Corpus> {
        let paths: Vec<&Path> = std::iter::once(&config.data).chain(&config.more_data).map(AsRef::as_ref).collect();
        let refuse = |field, problem: String| Err(Error::Config { field, problem });
        let weights = &config.data_weights;
        if !weights.is_empty() && weights.len() != paths.len() {
            return refuse("data_weights", format!("{} weights for {} datasets", weights.len(), paths.len()));
        }
        if config.grown_from.is_some() && (paths.len() > 1 || config.packing == Packing::BestFit) {
            return refuse("grown_from", "goes with one dataset of concatenated documents".to_owned());
        }
        let open = |path: &Path| Source::open(path)?.verified(verify);
        let sources = paths.iter().map(|path| open(path)).collect::<Result<Vec<Source>>>()?;
        // Without weights each dataset gives what it has.
        let weight = |(index, source): (usize, &Source)| {
            weights.get(index).copied().unwrap_or_else(|| source.train_tokens() as f64)
        };
        let weights: Vec<f64> = sources.iter().enumerate().map(weight).collect();
        let grown_from = config.grown_from.as_deref().map(Source::open).transpose()?;
        Ok(Corpus { sources: sources.into_iter().zip(weights).collect(), grown_from })
    }

    /// The first dataset: what says vocabulary and tokenizer, and what is validated on.
    ///
    /// # Errors
    /// Where there is none.
    pub fn first(&self) -> Result<&Source> {
        let none = || Error::Config { field: "data", problem: "names no dataset".to_owned() };
        self.sources.first().map(|(source, _)| source).ok_or_else(none)
    }

    /// What identifies the data: hashes of all datasets, with their weights where there are several.
    pub fn identity(&self) -> String {
        match self.sources.as_slice() {
            [(source, _)] => source.identity(),
            several => {
                let parts: Vec<String> =
                    several.iter().map(|(s, weight)| format!("{} x {weight}", s.identity())).collect();
                parts.join(" + ")
            }
        }
    }

    /// What identifies the dataset that this one has grown from.
    pub fn grown_from(&self) -> Option<String> {
        self.grown_from.as_ref().map(Source::identity)
    }

    /// The training samples; `consumed` is how many a run had made before the data grew.
    ///
    /// # Errors
    /// Where a shard cannot be opened, there is no sequence, or datasets do not fit each other.
    pub fn train(&self, config: &TrainConfig, vocab_size: usize, consumed: u64) -> Result<Samples> {
        let (positions, seed, masks) = (config.sequence_length, config.seed, config.masks_documents());
        if let Some(smaller) = &self.grown_from {
            let grown = Grown::new(smaller, self.first()?, consumed, (positions, vocab_size, seed))?;
            return Ok(Samples::grown(grown, masks));
        }
        self.sources.iter().try_for_each(|(source, _)| fits(source, vocab_size, masks))?;
        let windows = |source: &Source| source.train(positions, vocab_size, seed, config.packing);
        match self.sources.as_slice() {
            [(source, _)] => Ok(Samples::of(windows(source)?, masks)),
            several => {
                let parts = several.iter().map(|(source, weight)| Ok((windows(source)?, *weight)));
                Ok(Samples::mixed(Mixture::new(parts.collect::<Result<_>>()?, seed)?, masks))
            }
        }
    }

    /// The validation samples of the first dataset, where it has a validation side.
    ///
    /// # Errors
    /// Where a shard cannot be opened.
    pub fn val(&self, config: &TrainConfig, vocab_size: usize) -> Result<Option<Samples>> {
        let windows = self.first()?.val(config.sequence_length, vocab_size)?;
        Ok(windows.map(|windows| Samples::of(windows, config.masks_documents())))
    }
}

/// Refuses a dataset that another tokenizer or a missing index makes useless, before anything is read.
fn fits(source: &Source, vocab_size: usize, masks: bool) -> Result<()> {
    if let Some(needed) = source.vocab_size().filter(|needed| *needed > vocab_size) {
        let problem = format!("{vocab_size} is below the {needed} ids of the tokenizer of {}", source.path().display());
        return Err(Error::Config { field: "vocab_size", problem });
    }
    if masks && source.vocab_size().is_none() {
        let problem = format!("{} is a bare .bin, whose documents are not known", source.path().display());
        return Err(Error::Config { field: "document_mask", problem });
    }
    Ok(())
}
