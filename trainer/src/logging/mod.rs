//! Where a run is shown beside the console: TensorBoard's event files, Weights & Biases, and what reads a run's
//! `metrics.jsonl` back ([`History`]).
//!
//! `metrics.jsonl` is the record; everything here follows it. A logger that fails says so once and is dropped: no disk
//! that is full for pictures ends a training run.

mod event_file;
mod history;
mod terminal;
mod wandb;

use std::path::Path;

pub use event_file::EventFile;
pub use history::{History, Sample, Series};
pub use terminal::Frame;
pub use wandb::{Bridge, check as check_wandb};

use crate::error::Result;

/// The loggers of a run.
#[derive(Debug, Default)]
pub struct Loggers {
    tensorboard: Option<EventFile>,
    bridge: Option<Bridge>,
}

impl Loggers {
    /// Also writes event files to `OUT/tensorboard`; a run that goes on after `step` takes back what lies beyond.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn with_tensorboard(self, out: &Path, step: u64) -> Result<Loggers> {
        Ok(Loggers { tensorboard: Some(EventFile::create(&out.join("tensorboard"), step)?), ..self })
    }

    /// Also reports to Weights & Biases.
    ///
    /// # Errors
    /// Where Python does not start.
    pub fn with_wandb(self, out: &Path, project: &str, config: &serde_json::Value) -> Result<Loggers> {
        Ok(Loggers { bridge: Some(Bridge::start(out, project, config)?), ..self })
    }

    /// Takes a record of `metrics.jsonl`; returns what to tell a person where a logger failed.
    pub fn record(&mut self, record: &impl serde::Serialize) -> Option<String> {
        let failed = self.tensorboard.as_mut()?.record(record).err()?;
        self.tensorboard = None;
        Some(format!("tensorboard: {failed}; no more events are written"))
    }

    /// Ends them: lets the bridge send what is left.
    pub fn finish(self) -> Option<String> {
        self.bridge?.finish()
    }
}
