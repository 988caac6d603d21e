//! The samples of a run, by number: of one dataset, of several mixed, or of one that has grown.

use std::sync::Arc;

use super::grown::Grown;
use super::mixture::Mixture;
use super::windows::Row;
use super::{Batch, Scratch, Span, Windows};
use crate::error::Result;

/// Samples by number, and whether their documents are masked.
pub struct Samples {
    kind: Kind,
    masks_documents: bool,
}

enum Kind {
    One(Box<Windows>),
    Mixed(Mixture),
    Grown(Box<Grown>),
}

impl Samples {
    /// The samples of one side of a dataset.
    pub fn of(windows: Windows, masks_documents: bool) -> Samples {
        Samples { kind: Kind::One(Box::new(windows)), masks_documents }
    }

    pub(super) fn mixed(mixture: Mixture, masks_documents: bool) -> Samples {
        Samples { kind: Kind::Mixed(mixture), masks_documents }
    }

    pub(super) fn grown(grown: Grown, masks_documents: bool) -> Samples {
        Samples { kind: Kind::Grown(Box::new(grown)), masks_documents }
    }

    /// Sequences of an epoch: all of all datasets.
    pub fn count(&self) -> u64 {
        match &self.kind {
            Kind::One(windows) => windows.count(),
            Kind::Mixed(mixture) => mixture.parts().iter().map(Windows::count).sum(),
            Kind::Grown(grown) => grown.count(),
        }
    }

    /// Positions a sequence predicts.
    pub fn positions(&self) -> usize {
        match &self.kind {
            Kind::One(windows) => windows.positions(),
            Kind::Mixed(mixture) => mixture.parts().first().map_or(0, Windows::positions),
            Kind::Grown(grown) => grown.positions(),
        }
    }

    /// The windows a sample is one of, the position of their dataset, and the sample's number there.
    fn find(&self, sample: u64) -> (usize, &Windows, u64) {
        match &self.kind {
            Kind::One(windows) => (0, windows, sample),
            Kind::Mixed(mixture) => {
                let (part, sample) = mixture.locate(sample);
                (part, &mixture.parts()[part], sample)
            }
            Kind::Grown(grown) => {
                let (windows, sample) = grown.find(sample);
                (0, windows, sample)
            }
        }
    }

    /// Position of the dataset that a sample is of, and where its tokens lie there.
    ///
    /// # Errors
    /// Where there are no sequences.
    pub fn spans(&self, sample: u64) -> Result<(usize, Vec<Span>)> {
        let (part, windows, sample) = self.find(sample);
        let mut spans = Vec::new();
        windows.spans(sample, &mut spans)?;
        Ok((part, spans))
    }

    /// The micro-batch of `sequences` samples from `first` on.
    ///
    /// # Errors
    /// Where a shard or its index cannot be read, or an id is not below the vocabulary.
    pub fn batch(&self, first: u64, sequences: usize, scratch: &mut Scratch) -> Result<Batch> {
        let positions = self.positions();
        let ids = || std::iter::repeat_n(0u32, sequences * positions).collect::<Arc<[u32]>>();
        let (mut inputs, mut targets, mut starts) = (ids(), ids(), self.masks_documents.then(ids));
        let (inputs_now, targets_now) = (Arc::make_mut(&mut inputs), Arc::make_mut(&mut targets));
        let mut starts_now = starts.as_mut().map(Arc::make_mut);
        for index in 0..sequences {
            let (_, windows, sample) = self.find(first + index as u64);
            let place = index * positions..(index + 1) * positions;
            let row = Row {
                inputs: &mut inputs_now[place.clone()],
                targets: &mut targets_now[place.clone()],
                starts: starts_now.as_mut().and_then(|starts| starts.get_mut(place)),
            };
            windows.fill(sample, scratch, row)?;
        }
        Ok(Batch {
            inputs,
            targets,
            sequences,
            positions,
            samples: (first..first + sequences as u64).collect(),
            starts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Packing;
    use crate::data::{IGNORED, Source};
    use crate::testing::tiny_dataset;

    fn samples(packing: Packing, masks: bool) -> (tempfile::TempDir, Samples) {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 2);
        let windows = Source::open(folder.path()).unwrap().train(64, 50, 3, packing).unwrap();
        (folder, Samples::of(windows, masks))
    }

    fn batches(samples: &Samples) -> Vec<Batch> {
        let mut scratch = Scratch::default();
        (0..samples.count()).map(|sample| samples.batch(sample, 1, &mut scratch).unwrap()).collect()
    }

    #[test]
    fn masked_documents_start_with_bos_and_end_with_an_ignored_target() {
        let (_folder, samples) = samples(Packing::Concatenate, true);
        for batch in batches(&samples) {
            let starts = batch.starts.clone().unwrap();
            for (at, (&input, &target)) in batch.inputs.iter().zip(&*batch.targets).enumerate() {
                // In this dataset 1 begins a document, 2 ends it, and neither is within.
                assert_eq!(input == 1, at > 0 && starts[at] as usize == at || at == 0 && input == 1);
                assert_eq!(target == IGNORED, input == 2);
            }
        }
    }

    #[test]
    fn packed_documents_are_whole_and_each_token_is_predicted_once() {
        let (folder, samples) = samples(Packing::BestFit, true);
        let all = batches(&samples);
        let predicted: u64 = all.iter().map(Batch::tokens).sum();
        let manifest = shards::dataset::read_manifest(&folder.path().join("manifest.json")).unwrap();
        let train = &manifest.splits.train;
        assert_eq!(predicted, train.tokens - train.documents);
        let firsts = |batch: &Batch| batch.inputs.iter().filter(|id| **id == 1).count() as u64;
        assert_eq!(all.iter().map(firsts).sum::<u64>(), train.documents);
    }

    #[test]
    fn without_a_mask_every_target_counts() {
        let (_folder, samples) = samples(Packing::Concatenate, false);
        assert!(batches(&samples).iter().all(|batch| batch.tokens() == 64 && batch.starts.is_none()));
    }
}
