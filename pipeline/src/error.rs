//! What can stop a run, and the exit code each reason maps to.

use std::path::{Path, PathBuf};

use crate::tokenize::Error as Refused;

/// Why a run stopped. A damaged line is never one of these: it costs that line alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{action} {}: {source}{}", path.display(), hint_for(source))]
    Io {
        /// "read", "write", ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program that makes versions of documents does not do what it should.
    #[error("augment.command {command:?}: {detail}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// What was expected and found.
        detail: String,
    },
    /// A file of the work folder is not what its task wrote.
    #[error("read task file {} at byte {offset}: expected {expected}, found {found}\nhint: its task will be done again on the next run", path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// A marker or the plan cannot be read.
    #[error("read {}: {detail}\nhint: delete this file and run again; its task will be done anew", path.display())]
    Marker {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process works on the folder.
    #[error("dataset folder {} is busy: {owner}\nhint: wait for it to end, or choose another --out", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
        /// Who holds it.
        owner: String,
    },
    /// The folder belongs to another run.
    #[error("dataset folder {} was made by another {what}: expected {expected}, found {found}\nhint: choose another --out, or delete the folder", path.display())]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// "configuration", "input", ...
        what: &'static str,
        /// What this run has.
        expected: String,
        /// What the folder has.
        found: String,
    },
    /// An input is not what it was when the run was planned.
    #[error("input {} changed since the run was planned: expected {expected}, found {found}\nhint: restore it, or delete the dataset folder and start again", path.display())]
    InputChanged {
        /// The input.
        path: PathBuf,
        /// Size and time at plan.
        expected: String,
        /// Size and time now.
        found: String,
    },
    /// A setting cannot be right.
    #[error("{setting}: {detail}{}", hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
    Usage {
        /// The flag or key.
        setting: String,
        /// What is wrong with it.
        detail: String,
        /// What to do.
        hint: Option<String>,
    },
    /// More invalid lines than `--max-invalid` allows.
    #[error(
        "{invalid} of {lines} lines are invalid, more than --max-invalid {max}: {rules}\nhint: nothing was committed; look at them with `pipeline check`"
    )]
    TooManyInvalid {
        /// Invalid lines.
        invalid: u64,
        /// All lines.
        lines: u64,
        /// The limit.
        max: f64,
        /// Counts by rule.
        rules: String,
    },
    /// The counts of the run do not add up: a defect of this program.
    #[error("{what}: expected {expected}, found {found}\nhint: this is a defect of shardmill; please report it")]
    Inconsistent {
        /// Which count.
        what: String,
        /// One side of the pair.
        expected: String,
        /// The other.
        found: String,
    },
    /// An engine that executes tasks failed.
    #[error("{engine}: {detail}\nhint: {hint}")]
    Engine {
        /// `slurm`, `ray`, `local`.
        engine: &'static str,
        /// What it said.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// A signal asked the run to stop.
    #[error("interrupted; the same command finishes the work")]
    Interrupted(i32),
    /// Reading inputs.
    #[error(transparent)]
    Read(#[from] crate::read::Error),
    /// Preparing to clean.
    #[error("--clean: {0}")]
    Clean(#[from] crate::clean::Error),
    /// Planning or applying filters.
    #[error(transparent)]
    Filter(#[from] crate::filter::Error),
    /// Loading what measures need.
    #[error(transparent)]
    Measure(#[from] crate::measure::Error),
    /// Loading or applying the tokenizer.
    #[error(transparent)]
    Tokenize(#[from] crate::tokenize::Error),
    /// Writing or reading the dataset.
    #[error(transparent)]
    Shards(#[from] shards::error::Error),
    /// Looking into a dataset.
    #[error(transparent)]
    Look(#[from] crate::look::Error),
    /// Building Arrow arrays.
    #[error("build record batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// Wraps an error of the operating system.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::Io { action, path: path.to_owned(), source }
    }

    /// A setting that cannot be right.
    pub fn usage(setting: &str, detail: impl Into<String>, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::Usage { setting: setting.to_owned(), detail: detail.into(), hint }
    }

    /// The documented exit code: 1 failure, 2 usage or config, 4 folder busy or of another run, 128 + signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } | Error::Clean(_) => 2,
            Error::Busy { .. } | Error::OtherRun { .. } => 4,
            Error::Read(error) if error.is_usage() => 2,
            Error::Filter(error) if !matches!(error, crate::filter::Error::Null { .. }) => 2,
            Error::Measure(error) if !matches!(error, crate::measure::Error::Changed { .. }) => 2,
            Error::Tokenize(error) if !matches!(error, Refused::Changed { .. } | Refused::Encode { .. }) => 2,
            Error::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(130),
            Error::Filter(crate::filter::Error::Null { .. } | crate::filter::Error::Evaluate { .. }) => 1,
            Error::Filter(_) => 2,
            _ => 1,
        }
    }
}

fn hint_for(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "\nhint: free some space and run the same command again; finished tasks are kept"
        }
        std::io::ErrorKind::PermissionDenied => "\nhint: check the permissions of this path",
        _ => "",
    }
}
