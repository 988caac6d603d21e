//! What can go wrong in the library: one variant for each way an input can lie.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the trainer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting is out of its range, or two do not fit each other.
    #[error("{field}: {problem}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it, and what is wanted.
        problem: String,
    },
    /// A `config.json` or another JSON file does not parse.
    #[error("{path}: {problem}", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column, and what was expected there.
        problem: String,
    },
    /// The device is unknown or not built in.
    #[error("device {device}: {problem}")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why it cannot be had.
        problem: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The shards of a dataset could not be read.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// The data cannot feed this model.
    #[error("{path}: {problem}", path = .path.display())]
    Data {
        /// The dataset or shard.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A token id is not below the vocabulary.
    #[error("{path}: token {offset} is {id}, but ids must be below the vocabulary of {vocab_size}", path = .path.display())]
    TokenId {
        /// The shard.
        path: PathBuf,
        /// Its place in the shard, in tokens.
        offset: u64,
        /// The id found.
        id: u32,
        /// The vocabulary.
        vocab_size: usize,
    },
    /// A loader thread ended early.
    #[error("a loader thread ended without a batch")]
    LoaderGone,
    /// A safetensors file is cut off or its header is not one.
    #[error("{path}: not a whole safetensors file: {problem}", path = .path.display())]
    TensorFile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// Weights are pickled: a file that runs code when it is opened, which is not done here.
    #[error("{path}: pickled weights are not read, only safetensors", path = .path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint lacks a tensor.
    #[error("{path}: tensor {name} is missing", path = .path.display())]
    TensorMissing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A checkpoint has a tensor that the model has not.
    #[error("{path}: tensor {name} is not part of the model that config.json describes", path = .path.display())]
    TensorUnknown {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the model's.
    #[error("{path}: tensor {name} has shape {found:?}, expected {expected:?}", path = .path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor has another precision than can be loaded.
    #[error("{path}: tensor {name} is {found}, expected {expected}", path = .path.display())]
    TensorDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is accepted.
        expected: &'static str,
        /// The file's.
        found: String,
    },
    /// A file is not the one that was saved with the checkpoint.
    #[error("{path}: sha256 is {found}, but trainer_state.json says {expected}", path = .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// As saved.
        expected: String,
        /// As found.
        found: String,
    },
    /// A checkpoint belongs to another run.
    #[error("{path}: {field} is {found}, but this run has {expected}", path = .path.display())]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// The setting that differs.
        field: String,
        /// This run's value.
        expected: String,
        /// The checkpoint's value.
        found: String,
    },
    /// There is no checkpoint where one was asked for.
    #[error("{path}: no checkpoint here", path = .path.display())]
    NoCheckpoint {
        /// The folder searched.
        path: PathBuf,
    },
    /// Another process trains into the same folder.
    #[error("{path}: another run is using this folder", path = .path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds the results of a run that is not being resumed.
    #[error("{path}: holds an earlier run", path = .path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Training diverged.
    #[error("step {step}: {quantity} is {value}; the last checkpoint is untouched")]
    NotFinite {
        /// The optimizer step, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        quantity: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
    /// A loss or gradient norm is far beyond its mean.
    #[error("step {step}: {quantity} is {value}, its moving mean {mean:.4}; the last checkpoint is untouched")]
    Spike {
        /// The optimizer step, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        quantity: &'static str,
        /// The outlier.
        value: f64,
        /// What it was compared with.
        mean: f64,
    },
    /// A rank of a distributed run has gone, or does not fit.
    #[error("rank {rank} of {size}: {problem}")]
    Distributed {
        /// This rank.
        rank: usize,
        /// Ranks in all.
        size: usize,
        /// What happened, and to which rank.
        problem: String,
    },
    /// The tokenizer does not load, or does not encode.
    #[error("{path}: {problem}", path = .path.display())]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
    /// A prompt leaves no room.
    #[error("the prompt has {tokens} tokens, but the model has {positions} positions")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// `max_position_embeddings`.
        positions: usize,
    },
}

impl Error {
    /// An input or output error at a path.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// What the person could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::TensorFile { .. } | Error::Checksum { .. } => {
                "the checkpoint is damaged; pass --resume with an earlier checkpoints/step-... folder"
            }
            Error::TensorShape { .. } | Error::TensorUnknown { .. } | Error::TensorMissing { .. } => {
                "config.json and model.safetensors belong to different models"
            }
            Error::Pickle { .. } => {
                "convert it where you trust it: python -c \"import torch; from safetensors.torch import save_file; \
                 w = torch.load('FILE', weights_only=True, map_location='cpu'); \
                 save_file({k: v.clone().contiguous() for k, v in w.items()}, 'model.safetensors')\""
            }
            Error::Mismatch { .. } => "use the same settings and data as before, or another --out",
            Error::Occupied { .. } => "pass --resume auto to continue it, or another --out",
            Error::Busy { .. } => "wait for it to end, or pass another --out",
            Error::NotFinite { .. } => {
                "lower --learning-rate or raise --warmup-iters; --resume auto continues from the last checkpoint"
            }
            Error::Spike { .. } => "raise --spike-factor, or pass --spike-policy skip to leave such steps out",
            Error::Distributed { .. } => {
                "the other ranks' messages say why; the same command on all ranks continues from the last checkpoint"
            }
            Error::TokenId { .. } => "give the --vocab-size of the tokenizer that made the data",
            Error::PromptTooLong { .. } => "shorten the prompt, or pass --window to go on from its end",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
