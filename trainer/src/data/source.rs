//! Where tokens come from: a dataset's manifest, or a bare `.bin` of uint16 such as the notebook makes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use schemas::dtype::Dtype;
use schemas::manifest::Split;
use shards::dataset::Dataset;

use super::Windows;
use super::packing::PackedOrder;
use super::pool::ShardPool;
use super::windows::{Cuts, Segment, Sequences};
use crate::config::Packing;
use crate::error::{Error, Result};

/// A headerless file of uint16 ids.
#[derive(Debug)]
pub(super) struct BareFile {
    path: PathBuf,
    file: File,
    tokens: u64,
}

impl BareFile {
    fn open(path: &Path) -> Result<BareFile> {
        let file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        if bytes % 2 != 0 {
            let problem = format!("{bytes} bytes are no whole number of uint16");
            return Err(Error::Data { path: path.to_path_buf(), problem });
        }
        Ok(BareFile { path: path.to_path_buf(), file, tokens: bytes / 2 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read_at(&self, token_offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, token_offset * 2).map_err(Error::io(&self.path))
    }
}

/// How much of a dataset is checked against its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Each shard from its first use on, while training goes on.
    #[default]
    Background,
    /// Every shard before training.
    Full,
    /// Nothing beyond sizes and headers.
    Off,
}

#[derive(Debug)]
enum Kind {
    Bare(BareFile),
    Dataset(Box<Dataset>),
}

/// An opened dataset.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    kind: Kind,
    verify: Verify,
}

impl Source {
    /// Opens a manifest, a dataset folder, or a bare `.bin` of uint16; checks sizes, headers and the manifest's hash.
    ///
    /// # Errors
    /// Where it cannot be opened or is not whole.
    pub fn open(path: &Path) -> Result<Source> {
        let is_bare = path.extension().is_some_and(|extension| extension == "bin") && path.is_file();
        let kind = match is_bare {
            true => Kind::Bare(BareFile::open(path)?),
            false => Kind::Dataset(Box::new(Dataset::open(path)?)),
        };
        Ok(Source { path: path.to_path_buf(), kind, verify: Verify::default() })
    }

    /// With another extent of checking.
    ///
    /// # Errors
    /// With [`Verify::Full`], where a shard is not the one the manifest lists.
    pub fn verified(self, verify: Verify) -> Result<Source> {
        if let (Verify::Full, Kind::Dataset(dataset)) = (verify, &self.kind) {
            for split in Split::ALL {
                super::pool::check_all(dataset, split)?;
            }
        }
        Ok(Source { verify, ..self })
    }

    pub(super) fn dataset(&self) -> Option<&Dataset> {
        match &self.kind {
            Kind::Dataset(dataset) => Some(dataset),
            Kind::Bare(_) => None,
        }
    }

    /// The manifest, folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The vocabulary the ids belong to, where a manifest says.
    pub fn vocab_size(&self) -> Option<usize> {
        Some(self.dataset()?.manifest().tokenizer.vocab_size as usize)
    }

    /// The ids before and after a document, where a manifest says.
    pub fn bos_eos(&self) -> (Option<u32>, Option<u32>) {
        self.dataset().map_or((None, None), |dataset| {
            let tokenizer = &dataset.manifest().tokenizer;
            (tokenizer.bos_id, tokenizer.eos_id)
        })
    }

    /// The folder that holds `tokenizer.json`, where there is one.
    pub fn tokenizer_folder(&self) -> Option<&Path> {
        self.dataset().map(Dataset::dir)
    }

    /// What identifies the data: the manifest's hash, or the size of a bare file.
    pub fn identity(&self) -> String {
        match &self.kind {
            Kind::Dataset(dataset) => dataset.manifest().manifest_hash.clone(),
            Kind::Bare(file) => format!("bare file of {} tokens", file.tokens),
        }
    }

    /// Tokens to train on.
    pub fn train_tokens(&self) -> u64 {
        match &self.kind {
            Kind::Dataset(dataset) => dataset.manifest().splits.train.tokens,
            Kind::Bare(file) => file.tokens,
        }
    }

    /// The training sequences of `positions + 1` tokens, in the order of `seed`.
    ///
    /// # Errors
    /// Where a shard cannot be opened, there is no sequence, or a bare file is to be packed.
    pub fn train(&self, positions: usize, vocab_size: usize, seed: u64, packing: Packing) -> Result<Windows> {
        let sequences = match packing {
            Packing::Concatenate => {
                Sequences::Cut(Cuts::new(self.segments(Split::Train), sequence_tokens(positions)?, Some(seed)))
            }
            Packing::BestFit => {
                let problem =
                    "a bare .bin has no index that says where documents start; it cannot be packed".to_owned();
                let bare = || Error::Data { path: self.path.clone(), problem };
                let dataset = self.dataset().ok_or_else(bare)?;
                Sequences::Packed(PackedOrder::new(dataset, Split::Train, positions, seed)?)
            }
        };
        self.not_empty(self.windows(Split::Train, sequences, positions, vocab_size)?)
    }

    /// Training sequences cut from segments, in the order of `seed`; there may be none.
    pub(super) fn cuts(&self, segments: Vec<Segment>, positions: usize, vocab: usize, seed: u64) -> Result<Windows> {
        let cuts = Cuts::new(segments, sequence_tokens(positions)?, Some(seed));
        self.windows(Split::Train, Sequences::Cut(cuts), positions, vocab)
    }

    fn not_empty(&self, windows: Windows) -> Result<Windows> {
        if windows.count() == 0 {
            let positions = windows.positions();
            let problem = format!("{} training tokens hold no window of {positions} + 1", self.train_tokens());
            return Err(Error::Data { path: self.path.clone(), problem });
        }
        Ok(windows)
    }

    /// The validation windows in the order of the shards; none where there is no validation side.
    ///
    /// # Errors
    /// Where a shard cannot be opened.
    pub fn val(&self, positions: usize, vocab_size: usize) -> Result<Option<Windows>> {
        let cuts = Cuts::new(self.segments(Split::Val), sequence_tokens(positions)?, None);
        let windows = self.windows(Split::Val, Sequences::Cut(cuts), positions, vocab_size)?;
        Ok((windows.count() > 0).then_some(windows))
    }

    /// Every shard of a side, whole.
    pub(super) fn segments(&self, split: Split) -> Vec<Segment> {
        let whole = |(shard, tokens)| Segment { shard, token_offset: 0, tokens };
        self.shard_tokens(split).into_iter().enumerate().map(whole).collect()
    }

    fn shard_tokens(&self, split: Split) -> Vec<u64> {
        match (&self.kind, split) {
            (Kind::Dataset(dataset), split) => dataset.shard_tokens(split),
            (Kind::Bare(file), Split::Train) => vec![file.tokens],
            (Kind::Bare(_), Split::Val) => Vec::new(),
        }
    }

    fn windows(&self, split: Split, sequences: Sequences, positions: usize, vocab_size: usize) -> Result<Windows> {
        let (pool, dtype) = match &self.kind {
            Kind::Bare(_) => (ShardPool::bare(BareFile::open(&self.path)?), Dtype::U16),
            Kind::Dataset(dataset) => {
                (ShardPool::of_dataset(dataset, split, self.verify == Verify::Background), dataset.manifest().dtype)
            }
        };
        Ok(Windows::new(pool, sequences, positions, dtype, vocab_size))
    }
}

fn sequence_tokens(positions: usize) -> Result<u32> {
    let problem = || Error::Config { field: "max_seq_len", problem: format!("{positions} is too long") };
    u32::try_from(positions).map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tiny_dataset;

    #[test]
    fn a_dataset_tells_vocabulary_ids_and_both_sides() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 3);
        for path in [folder.path().to_path_buf(), folder.path().join("manifest.json")] {
            let source = Source::open(&path).unwrap();
            assert_eq!((source.vocab_size(), source.bos_eos()), (Some(50), (Some(1), Some(2))));
            assert_eq!(source.identity().len(), 64);
            assert!(source.train(8, 50, 0, Packing::Concatenate).unwrap().count() > 100);
            assert!(source.val(8, 50).unwrap().unwrap().count() > 10);
        }
    }

    #[test]
    fn every_window_of_several_shards_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 3);
        let windows = Source::open(folder.path()).unwrap().train(8, 50, 4, Packing::Concatenate).unwrap();
        let mut places: Vec<_> = (0..windows.count()).map(|sample| windows.locate(sample).unwrap()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len() as u64, windows.count());
        assert_eq!(places.last().unwrap().0, 2);
    }

    #[test]
    fn an_odd_number_of_bytes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        std::fs::write(&path, [0; 5]).unwrap();
        assert!(matches!(Source::open(&path), Err(Error::Data { .. })));
    }

    #[test]
    fn data_too_short_for_a_window_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        std::fs::write(&path, [0; 16]).unwrap();
        let source = Source::open(&path).unwrap();
        assert!(source.train(7, 10, 0, Packing::Concatenate).is_ok());
        assert!(source.train(8, 10, 0, Packing::Concatenate).err().unwrap().to_string().contains("no window of 8 + 1"));
    }

    #[test]
    fn a_changed_shard_is_found_by_a_full_check() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 2);
        let path = folder.path().join("tokens/train-00001.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Source::open(folder.path()).unwrap().verified(Verify::Full).unwrap_err();
        assert!(matches!(error, Error::Shards(shards::Error::FileHash { .. })), "{error}");
    }

    #[test]
    fn a_changed_shard_is_found_in_the_background() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 2);
        let path = folder.path().join("tokens/train-00001.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let windows = Source::open(folder.path()).unwrap().train(8, 50, 0, Packing::Concatenate).unwrap();
        let (mut bytes, mut tokens) = (Vec::new(), Vec::new());
        let read = |sample| windows.read(sample % windows.count(), &mut bytes, &mut tokens);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut read = read;
        let error = (0..).find_map(|sample| {
            assert!(std::time::Instant::now() < deadline, "the change was not found");
            read(sample).err()
        });
        assert!(matches!(error, Some(Error::Shards(shards::Error::FileHash { .. }))));
    }
}
