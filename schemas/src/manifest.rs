//! `manifest.json`: the commit point of a dataset. What it does not list is not part of the dataset.
//!
//! It holds nothing of the run that made it (times, threads, hosts, absolute paths live in `run/`), so the same
//! input, configuration and version give the same bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::ledger::Ledger;

/// Name of the manifest in a dataset folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// A committed dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of the layout; see [`crate::FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of the tool that wrote the dataset.
    pub tool_version: String,
    /// sha256 of the canonical configuration (the bytes of `config.toml`).
    pub config_hash: String,
    /// The vocabulary the ids belong to.
    pub tokenizer: TokenizerEntry,
    /// Width of a token id.
    pub dtype: Dtype,
    /// Every input, in input order.
    pub inputs: Vec<InputEntry>,
    /// Where every input line went.
    pub ledger: Ledger,
    /// How many rows `data/` holds, and where they come from.
    pub documents: DocumentCounts,
    /// The two sides of the split.
    pub splits: Splits,
    /// Every file of the dataset but this one, by path.
    pub files: Vec<FileEntry>,
    /// False where a damaged input stream ended early.
    pub complete: bool,
    /// sha256 of this manifest's compact JSON with this field empty.
    #[serde(default)]
    pub manifest_hash: String,
}

/// The vocabulary of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenizerEntry {
    /// sha256 of `tokenizer.json`.
    pub hash: String,
    /// Ids run from 0 to `vocab_size - 1`.
    pub vocab_size: u32,
    /// Id written before each document, if any.
    pub bos_id: Option<u32>,
    /// Id written after each document, if any.
    pub eos_id: Option<u32>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputEntry {
    /// Path relative to the INPUT it was found under.
    pub path: String,
    /// Size in bytes, as stored (compressed where it is).
    pub bytes: u64,
    /// xxh3-128 over the xxh3-128 digests of aligned 64 MiB blocks, hexadecimal.
    pub hash: String,
    /// Lines read from it (rows for Parquet and CSV).
    pub lines: u64,
    /// Licence of its text, where one was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where it comes from, where that was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// Rows of `data/` by origin: `total = kept + repeated + generated`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentCounts {
    /// Rows in all.
    pub total: u64,
    /// Input lines that became a document.
    pub kept: u64,
    /// Copies made by mixing.
    pub repeated: u64,
    /// Documents made by augmentation.
    pub generated: u64,
}

/// The two sides of the split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Splits {
    /// Documents to train on.
    pub train: SplitEntry,
    /// Documents to validate on.
    pub val: SplitEntry,
}

impl Splits {
    /// The entry of a side.
    pub fn get(&self, split: Split) -> &SplitEntry {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }
}

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Documents to train on.
    Train,
    /// Documents to validate on.
    Val,
}

impl Split {
    /// Both sides, in file order.
    pub const ALL: [Split; 2] = [Split::Train, Split::Val];

    /// `train` or `val`, as in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
        }
    }
}

/// Counts and shards of one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SplitEntry {
    /// Documents (rows).
    pub documents: u64,
    /// Tokens, BOS and EOS included.
    pub tokens: u64,
    /// Paths of the `.bin` files, in order; the index lies beside each as `.idx`.
    pub shards: Vec<String>,
}

/// One file of the dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// Path relative to the dataset folder, with `/`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Documents (rows) in it, where it holds documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
    /// Tokens in it, where it holds tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// sha256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The bytes that [`Manifest::manifest_hash`] is the sha256 of: compact JSON with that field empty.
    pub fn hashed_bytes(&self) -> Vec<u8> {
        let unhashed = Manifest { manifest_hash: String::new(), ..self.clone() };
        serde_json::to_vec(&unhashed).unwrap_or_default()
    }

    /// The entry of a file, by its path relative to the dataset folder.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        // Writers sort by path; a manifest that does not is searched from its start.
        let sorted = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok();
        sorted.and_then(|at| self.files.get(at)).or_else(|| self.files.iter().find(|file| file.path == path))
    }
}

/// JSON Schema of the manifest, as checked in under `schemas/json/`.
pub fn json_schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(Manifest)).unwrap_or_default()
}
