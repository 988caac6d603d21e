//! What tests of several modules need: a small dataset, written by the shards crate.

use std::path::Path;

use schemas::dtype::Dtype;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, FileEntry, InputEntry, Manifest, Split, SplitEntry, Splits, TokenizerEntry};
use shards::shard::ShardWriter;

/// Documents of about 40 tokens in which a token mostly decides the next, so that a small model learns something.
fn document(vocab_size: u32, number: u64) -> Vec<u8> {
    let random = |index| crate::rng::bits(11, number, index);
    let length = 20 + random(0) % 40;
    let mut id = 3 + (random(1) % u64::from(vocab_size - 3)) as u32;
    let mut ids = vec![1u16];
    for index in 0..length {
        ids.push(id as u16);
        let jump = random(2 + index) % 8 == 0;
        let next = if jump { random(100 + index) } else { u64::from(id) * 5 + 7 };
        id = 3 + (next % u64::from(vocab_size - 3)) as u32;
    }
    ids.push(2);
    ids.into_iter().flat_map(u16::to_le_bytes).collect()
}

fn write_side(
    dir: &Path,
    split: Split,
    vocab_size: u32,
    shards: u32,
    documents: impl Fn(u32) -> u64,
) -> (SplitEntry, Vec<FileEntry>) {
    let (mut side, mut files) = (SplitEntry::default(), Vec::new());
    for shard in 0..shards {
        let mut writer = ShardWriter::create(dir, split, shard, Dtype::U16).unwrap();
        for number in 0..documents(shard) {
            let number = number + 10_000 * u64::from(shard) + 1_000_000 * (split == Split::Val) as u64;
            writer.push_document(&document(vocab_size, number)).unwrap();
        }
        side.documents += writer.documents();
        side.tokens += writer.tokens();
        let [bin, idx] = writer.finish().unwrap();
        side.shards.push(bin.path.clone());
        files.extend([bin, idx]);
    }
    (side, files)
}

/// Writes a dataset of `shards` training shards and a validation shard.
pub fn tiny_dataset(dir: &Path, vocab_size: u32, shards: u32) {
    tiny_dataset_of(dir, vocab_size, shards, |_| 60);
}

/// As [`tiny_dataset`], with as many documents in each training shard as `documents` says.
pub fn tiny_dataset_of(dir: &Path, vocab_size: u32, shards: u32, documents: impl Fn(u32) -> u64) {
    let (train, mut files) = write_side(dir, Split::Train, vocab_size, shards, documents);
    let (val, val_files) = write_side(dir, Split::Val, vocab_size, 1, |_| 20);
    files.extend(val_files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let total = train.documents + val.documents;
    let manifest = Manifest {
        format_version: schemas::FORMAT_VERSION,
        tool_version: "test".into(),
        config_hash: "0".repeat(64),
        tokenizer: TokenizerEntry { hash: "0".repeat(64), vocab_size, bos_id: Some(1), eos_id: Some(2) },
        dtype: Dtype::U16,
        inputs: vec![InputEntry {
            path: "a.jsonl".into(),
            bytes: 0,
            hash: "0".repeat(32),
            lines: total,
            license: None,
            origin: None,
        }],
        ledger: Ledger { lines: total, kept: total, ..Ledger::default() },
        documents: DocumentCounts { total, kept: total, ..DocumentCounts::default() },
        splits: Splits { train, val },
        files,
        complete: true,
        manifest_hash: String::new(),
    };
    shards::dataset::write_manifest(dir, manifest).unwrap();
}
