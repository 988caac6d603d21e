//! What can be wrong with a tokenizer, each with the file it stands in.

use std::path::PathBuf;

/// Why a tokenizer cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("parse {}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// The file is JSON, but no tokenizer that any engine reads.
    #[error("{}: expected a Hugging Face tokenizer, found {found}", path.display())]
    NotATokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What the engine said.
        found: String,
    },
    /// BOS or EOS is neither given nor in `tokenizer_config.json`.
    #[error(
        "{}: no {role}_token: expected a token, found {found}; say `--{role} TOKEN`, or `--{role} none` for no such token",
        path.display()
    )]
    NoSpecialToken {
        /// `tokenizer_config.json`.
        path: PathBuf,
        /// `bos` or `eos`.
        role: &'static str,
        /// `null`, `no such key` or `no such file`.
        found: String,
    },
    /// BOS or EOS is not a token of the vocabulary.
    #[error("{}: {role} token {token:?} is not in the vocabulary", path.display())]
    UnknownToken {
        /// `tokenizer.json`.
        path: PathBuf,
        /// `bos` or `eos`.
        role: &'static str,
        /// The token asked for.
        token: String,
    },
    /// An id of the vocabulary does not fit the dtype.
    #[error(
        "{}: token id {id} ({token:?}) does not fit {dtype}, whose largest id is {id_max}; say `--dtype u32`",
        path.display()
    )]
    IdTooLarge {
        /// `tokenizer.json`.
        path: PathBuf,
        /// The largest id of the vocabulary.
        id: u32,
        /// Its token.
        token: String,
        /// The dtype asked for.
        dtype: &'static str,
        /// The largest id it holds.
        id_max: u32,
    },
    /// The tokenizer is not the one that was loaded.
    #[error("{} changed since it was loaded: expected sha256 {expected}, found {found}", path.display())]
    Changed {
        /// `tokenizer.json`.
        path: PathBuf,
        /// Hash at load time.
        expected: String,
        /// Hash now.
        found: String,
    },
    /// The engine refused a text.
    #[error("encode {bytes} bytes of text: {detail}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What the engine said.
        detail: String,
    },
    /// The engine refused a sequence of ids.
    #[error("decode {tokens} tokens: {detail}")]
    Decode {
        /// Length of the sequence.
        tokens: usize,
        /// What the engine said.
        detail: String,
    },
    /// An id is beyond the vocabulary.
    #[error("token id {id} at position {position} is not below the vocabulary size {vocab_size}")]
    UnknownId {
        /// The id.
        id: u32,
        /// Its index in the sequence.
        position: usize,
        /// Size of the vocabulary.
        vocab_size: u32,
    },
    /// A vocabulary of the asked size cannot be trained.
    #[error(
        "train a vocabulary of {asked} tokens: {possible} are possible; say another `--vocab-size`, give more text, or lower `--min-frequency`"
    )]
    VocabSize {
        /// The size asked for.
        asked: usize,
        /// Which sizes are possible.
        possible: String,
    },
    /// Distinct words are more than fit the memory allowed.
    #[error(
        "train: with {words} distinct words it takes {} MiB, --memory allows {} MiB; give more memory or a sample of the corpus",
        needed >> 20,
        memory >> 20
    )]
    WordsTooMany {
        /// Distinct words when the limit was met.
        words: u64,
        /// Bytes that training would take.
        needed: u64,
        /// Bytes allowed.
        memory: u64,
    },
    /// The trainer failed.
    #[error("train: {detail}")]
    Train {
        /// What it said.
        detail: String,
    },
}
