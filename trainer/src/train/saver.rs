//! Checkpoints written while training goes on: a step waits for a copy in memory, not for the disk.
//!
//! One save is under way at a time; the next waits for it, so an old checkpoint is deleted only when a newer is durable.

use std::path::PathBuf;
use std::thread::JoinHandle;

use crate::checkpoint::{self, Best, CheckpointFolder, Checkpoints, Saved, TrainerState};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Parameters;
use crate::optimizer::Moments;

/// A copy of everything that a checkpoint holds.
pub struct Snapshot {
    /// Shape of the model.
    pub model: ModelConfig,
    /// Its weights.
    pub parameters: Parameters,
    /// The optimizer's moments.
    pub moments: Vec<Moments>,
    /// Where the run stands.
    pub state: TrainerState,
    /// Where the tokenizer's files lie.
    pub tokenizer: Option<PathBuf>,
}

impl Snapshot {
    /// Refuses what would poison a resumed run.
    fn check_finite(&self) -> Result<()> {
        let step = self.state.step;
        let refuse = |value: f32| Err(Error::NotFinite { step, quantity: "a weight or moment", value: value.into() });
        for parameter in self.parameters.iter() {
            let values = crate::ops::elements(&parameter.var)?;
            values.iter().find(|value| !value.is_finite()).map_or(Ok(()), |value| refuse(*value))?;
        }
        let moments = self.moments.iter().flat_map(|moments| moments.first.iter().chain(&moments.second));
        moments.copied().find(|value| !value.is_finite()).map_or(Ok(()), refuse)
    }

    fn write(self, checkpoints: &Checkpoints) -> Result<CheckpointFolder> {
        self.check_finite()?;
        let Snapshot { model, parameters, moments, state, tokenizer } = &self;
        let (keep, step, best) = (state.config.keep_last, state.step, state.best);
        let saved = Saved { model, parameters, moments, state: state.clone(), tokenizer: tokenizer.as_deref() };
        let folder = checkpoint::save(checkpoints, saved)?;
        if best.is_some_and(|Best { step: best, .. }| best == step) && state.config.keep_best {
            checkpoints.name_best(step)?;
        }
        checkpoints.prune(keep, step)?;
        Ok(folder)
    }
}

/// Writes snapshots on a thread of its own.
#[derive(Default)]
pub struct Saver {
    under_way: Option<JoinHandle<Result<CheckpointFolder>>>,
}

impl Saver {
    /// Starts to write a snapshot; no other may be under way.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(&mut self, checkpoints: &Checkpoints, snapshot: Snapshot) -> Result<()> {
        let checkpoints = checkpoints.clone();
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let job =
            thread.spawn(move || snapshot.write(&checkpoints)).map_err(Error::io("a checkpoint thread".as_ref()))?;
        self.under_way = Some(job);
        Ok(())
    }

    /// The checkpoint that has been written since last asked, if any; does not wait.
    ///
    /// # Errors
    /// Where writing failed.
    pub fn poll(&mut self) -> Result<Option<CheckpointFolder>> {
        match &self.under_way {
            Some(job) if job.is_finished() => self.finish(),
            _ => Ok(None),
        }
    }

    /// Waits for the save under way, if any.
    ///
    /// # Errors
    /// Where writing failed.
    pub fn finish(&mut self) -> Result<Option<CheckpointFolder>> {
        let Some(job) = self.under_way.take() else { return Ok(None) };
        let panicked = |_| candle_core::Error::msg("the thread that writes checkpoints panicked");
        Ok(Some(job.join().map_err(panicked)??))
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // An error has ended the run already; what is under way may still become durable.
        let _ = self.finish();
    }
}
