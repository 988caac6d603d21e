//! A dataset that has grown: what the run has not seen of the smaller one, then what is new, then everything again.
//!
//! The larger dataset holds each shard of the smaller one, as it was or with more documents after it, as a pipeline run
//! over more inputs gives. The windows of the smaller one are then windows of the larger, in the same places, so
//! going on needs no copy and repeats nothing that was consumed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use schemas::manifest::Split;
use sha2::{Digest, Sha256};
use shards::dataset::Dataset;

use super::windows::Segment;
use super::{Source, Windows};
use crate::error::{Error, Result};

/// The samples of a dataset that has grown, in three stretches.
pub(super) struct Grown {
    /// Sequences of the smaller dataset.
    before: Windows,
    /// Sequences that it had not.
    new: Windows,
    /// Sequences of the larger dataset.
    all: Windows,
    /// The sample with which new sequences begin: when the smaller dataset is used up, or was at the change.
    new_from: u64,
}

impl Grown {
    /// The samples of `larger` for a run that had consumed `consumed` samples of `smaller`.
    ///
    /// # Errors
    /// Where a shard of the smaller dataset is no beginning of the larger's shard of that number.
    pub(super) fn new(
        smaller: &Source,
        larger: &Source,
        consumed: u64,
        (positions, vocab_size, seed): (usize, usize, u64),
    ) -> Result<Grown> {
        let datasets = (smaller.dataset(), larger.dataset());
        let (Some(old), Some(new)) = datasets else {
            let problem = "only datasets with a manifest can be known to have grown".to_owned();
            return Err(Error::Config { field: "grown_from", problem });
        };
        check_beginning(old, new)?;
        let (before, all) = (smaller.segments(Split::Train), larger.segments(Split::Train));
        let windows = |segments| larger.cuts(segments, positions, vocab_size, seed);
        let rest = rests(&before, &all, positions as u64);
        let before = windows(before)?;
        Ok(Grown { new_from: consumed.max(before.count()), before, new: windows(rest)?, all: windows(all)? })
    }

    pub(super) fn count(&self) -> u64 {
        self.all.count()
    }

    pub(super) fn positions(&self) -> usize {
        self.all.positions()
    }

    /// The windows of a sample, and its number there.
    pub(super) fn find(&self, sample: u64) -> (&Windows, u64) {
        let Some(new) = sample.checked_sub(self.new_from) else { return (&self.before, sample) };
        match new.checked_sub(self.new.count()) {
            None => (&self.new, new),
            Some(again) => (&self.all, again),
        }
    }
}

/// What the larger shards hold beyond the smaller ones' windows.
fn rests(before: &[Segment], all: &[Segment], positions: u64) -> Vec<Segment> {
    let rest = |segment: &Segment| {
        let old = before.iter().find(|old| old.shard == segment.shard).map_or(0, |old| old.tokens);
        let seen = old.saturating_sub(1) / positions.max(1) * positions;
        Segment { token_offset: seen, tokens: segment.tokens.saturating_sub(seen), ..*segment }
    };
    all.iter().map(rest).collect()
}

/// Checks that each shard of `old` is the beginning of the shard of its number in `new`.
fn check_beginning(old: &Dataset, new: &Dataset) -> Result<()> {
    let (old_shards, new_shards) = (&old.manifest().splits.train.shards, &new.manifest().splits.train.shards);
    for (number, name) in old_shards.iter().enumerate() {
        let path = new.dir().join(name);
        let other = |problem: &str| Error::Data {
            path: path.clone(),
            problem: format!("{problem} the shard of {}: the dataset has not grown from it", old.dir().display()),
        };
        let entry = old.manifest().file(name).ok_or_else(|| other("the manifest lacks"))?;
        let in_new = new_shards.get(number).and_then(|name| new.manifest().file(name));
        let in_new = in_new.ok_or_else(|| other("there is no"))?;
        let same = in_new.sha256 == entry.sha256;
        if !same && (in_new.bytes < entry.bytes || hash_of_beginning(&path, entry.bytes)? != entry.sha256) {
            return Err(other("does not begin with"));
        }
    }
    Ok(())
}

/// sha256 of the first `bytes` bytes of a file.
fn hash_of_beginning(path: &Path, bytes: u64) -> Result<String> {
    let mut reader = File::open(path).map_err(Error::io(path))?.take(bytes);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0u8; 1 << 20]);
    loop {
        let read = reader.read(&mut buffer).map_err(Error::io(path))?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tiny_dataset, tiny_dataset_of};

    /// Where the tokens of samples lie.
    fn places(grown: &Grown, samples: std::ops::Range<u64>) -> Vec<(usize, u64)> {
        let place = |sample| {
            let (windows, sample) = grown.find(sample);
            windows.locate(sample).unwrap()
        };
        samples.map(place).collect()
    }

    fn datasets() -> (tempfile::TempDir, Source, Source) {
        let folder = tempfile::tempdir().unwrap();
        let (small, large) = (folder.path().join("small"), folder.path().join("large"));
        // The larger one's last common shard has more documents, and there is a shard more.
        tiny_dataset_of(&small, 50, 2, |shard| if shard == 1 { 25 } else { 60 });
        tiny_dataset(&large, 50, 3);
        (folder, Source::open(&small).unwrap(), Source::open(&large).unwrap())
    }

    #[test]
    fn nothing_is_repeated_until_everything_was_seen() {
        let (_folder, small, large) = datasets();
        let windows = small.train(8, 50, 4, crate::config::Packing::Concatenate).unwrap();
        for consumed in [0, 7, windows.count(), windows.count() + 40] {
            let grown = Grown::new(&small, &large, consumed, (8, 50, 4)).unwrap();
            let mut seen: Vec<_> = (0..consumed.min(windows.count())).map(|n| windows.locate(n).unwrap()).collect();
            let all_seen = grown.new_from + grown.new.count();
            seen.extend(places(&grown, consumed..all_seen));
            seen.sort_unstable();
            let mut everything = places(&grown, all_seen..all_seen + grown.count());
            everything.sort_unstable();
            assert_eq!(seen, everything);
        }
    }

    #[test]
    fn a_dataset_that_is_no_continuation_is_refused() {
        let (folder, small, _) = datasets();
        let other = folder.path().join("other");
        tiny_dataset(&other, 49, 3);
        let error = Grown::new(&small, &Source::open(&other).unwrap(), 0, (8, 50, 4)).err().unwrap();
        assert!(error.to_string().contains("does not begin with the shard of"), "{error}");
    }
}
