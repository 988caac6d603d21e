//! A reader of datasets written from the documented layout alone; it imports none of the code under test.
//!
//! Layout of `.idx` (little-endian): `MMIDIDX\0\0`, u64 version 1, u8 dtype (4 = i32, 8 = u16), u64 sequences,
//! u64 documents + 1, then i32 lengths, i64 byte offsets, i64 document indices from 0.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A committed dataset, opened by its manifest.
#[derive(Debug)]
pub struct Dataset {
    /// Its folder.
    pub dir: PathBuf,
    /// Its manifest.
    pub manifest: Value,
}

/// The documents of one shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Shard {
    /// Token ids of each document.
    pub documents: Vec<Vec<u32>>,
    /// First token of each document, counted from the start of the shard.
    pub token_offsets: Vec<u64>,
}

impl Dataset {
    /// Opens `dir/manifest.json`.
    #[track_caller]
    pub fn open(dir: &Path) -> Dataset {
        let path = dir.join("manifest.json");
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Dataset { dir: dir.to_owned(), manifest: serde_json::from_slice(&bytes).expect("a manifest is JSON") }
    }

    /// A number of the manifest, by JSON pointer.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.manifest.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", self.manifest))
    }

    /// The ledger's terms: lines, blank, invalid, dropped, kept.
    pub fn ledger(&self) -> [u64; 5] {
        let sum = |value: &Value| leaves(value);
        let ledger = &self.manifest["ledger"];
        [
            self.number("/ledger/lines"),
            self.number("/ledger/blank"),
            sum(&ledger["invalid"]),
            sum(&ledger["dropped"]),
            self.number("/ledger/kept"),
        ]
    }

    /// Asserts that every line is counted once and that documents follow from it.
    #[track_caller]
    pub fn assert_ledger(&self) {
        let [lines, blank, invalid, dropped, kept] = self.ledger();
        assert_eq!(lines, blank + invalid + dropped + kept, "{:#}", self.manifest["ledger"]);
        let input_lines: u64 = self.inputs().iter().map(|input| input["lines"].as_u64().expect("lines")).sum();
        assert_eq!(lines, input_lines, "ledger and inputs disagree");
        assert_eq!(self.number("/documents/total"), kept, "no document was repeated or generated");
        let sides = self.number("/splits/train/documents") + self.number("/splits/val/documents");
        assert_eq!(sides, kept, "documents of the two sides");
    }

    /// The inputs of the manifest.
    pub fn inputs(&self) -> &[Value] {
        self.manifest["inputs"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Paths of a side's `.bin` files, relative to the dataset.
    #[track_caller]
    pub fn shards(&self, split: &str) -> Vec<String> {
        let paths = self.manifest["splits"][split]["shards"].as_array().expect("shards is a list");
        paths.iter().map(|path| path.as_str().expect("a path").to_owned()).collect()
    }

    /// Every document of a side, in shard order.
    #[track_caller]
    pub fn documents(&self, split: &str) -> Vec<Vec<u32>> {
        let shards = self.shards(split);
        shards.iter().flat_map(|path| read_shard(&self.dir.join(path)).documents).collect()
    }

    /// Asserts that every listed file has the size and sha256 the manifest says, and that nothing else is there.
    #[track_caller]
    pub fn assert_files(&self) {
        let files = self.manifest["files"].as_array().expect("files is a list");
        for file in files {
            let path = file["path"].as_str().expect("a path");
            let bytes = fs::read(self.dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(Some(bytes.len() as u64), file["bytes"].as_u64(), "bytes of {path}");
            assert_eq!(Some(sha256_hex(&bytes).as_str()), file["sha256"].as_str(), "sha256 of {path}");
        }
        let mut listed: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).collect();
        listed.push("manifest.json");
        listed.sort_unstable();
        let tree = crate::tree::dataset_tree(&self.dir);
        let found: Vec<&str> = tree.keys().map(String::as_str).collect();
        assert_eq!(found, listed, "files on disk and files listed");
    }
}

fn leaves(value: &Value) -> u64 {
    match value {
        Value::Object(map) => map.values().map(leaves).sum(),
        other => other.as_u64().unwrap_or_default(),
    }
}

/// sha256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a `.bin` file and the `.idx` beside it.
#[track_caller]
pub fn read_shard(bin: &Path) -> Shard {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (tokens, index) = (read(bin), read(&bin.with_extension("idx")));
    let u64_at = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(&index[..9], b"MMIDIDX\0\0");
    assert_eq!(u64_at(9), 1, "index version");
    let width = match index[17] {
        8 => 2,
        4 => 4,
        code => panic!("dtype code {code}"),
    };
    let (sequences, bounds) = (u64_at(18) as usize, u64_at(26) as usize);
    assert_eq!(bounds, sequences + 1, "a document is a sequence");
    assert_eq!(index.len(), 42 + 20 * sequences, "index length");
    let mut shard = Shard { documents: Vec::new(), token_offsets: Vec::new() };
    let mut end = 0;
    for n in 0..sequences {
        let length = u32::from_le_bytes(index[34 + 4 * n..38 + 4 * n].try_into().expect("four bytes")) as usize;
        let offset = u64_at(34 + 4 * sequences + 8 * n) as usize;
        assert_eq!(offset, end, "documents are back to back");
        assert_eq!(u64_at(34 + 12 * sequences + 8 * n), n as u64, "document index");
        end = offset + length * width;
        shard.documents.push(tokens[offset..end].chunks_exact(width).map(token).collect());
        shard.token_offsets.push((offset / width) as u64);
    }
    assert_eq!(end, tokens.len(), "the shard ends with its last document");
    assert_eq!(u64_at(34 + 20 * sequences), sequences as u64, "last document index");
    shard
}

fn token(bytes: &[u8]) -> u32 {
    let mut wide = [0; 4];
    wide[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(wide)
}

/// Entropy in nats of the distribution of single tokens: what a model that knows frequencies only pays per token.
pub fn unigram_entropy(documents: &[Vec<u32>]) -> f64 {
    let mut counts = std::collections::BTreeMap::<u32, u64>::new();
    for id in documents.iter().flatten() {
        *counts.entry(*id).or_default() += 1;
    }
    let total: u64 = counts.values().sum();
    let share = |count: &u64| *count as f64 / total as f64;
    counts.values().map(|count| -share(count) * share(count).ln()).sum()
}
