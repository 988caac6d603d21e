//! `metrics.jsonl`: one line an optimizer step, exactly once, also after a kill.
//!
//! Lines are appended as steps happen and made durable before each checkpoint is published, so a checkpoint never
//! knows a step that the file does not. Going on from a checkpoint first cuts what lies beyond it: those steps will be
//! made again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Name of the file in the output folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// An optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// From 1.
    pub step: u64,
    /// Mean over the global batch, before the update.
    pub loss: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Norm of the mean gradient, before clipping.
    pub grad_norm: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Tokens a second of this step.
    pub tokens_per_s: f64,
    /// Auxiliary loss of the experts, mean over the global batch; it is part of what is minimised, not of `loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aux_loss: Option<f64>,
    /// Share of the tokens' choices that each expert got, over all layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert_load: Option<Vec<f64>>,
    /// z-loss, mean over the global batch; it is part of what is minimised, not of `loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z_loss: Option<f64>,
    /// Whether the guard threw the step's gradient away; absent where not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// An evaluation after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// After this step.
    pub step: u64,
    /// Mean cross-entropy, in nats a token.
    pub val_loss: f64,
    /// Its exponential.
    pub val_ppl: f64,
}

/// The open file.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

/// The step of a whole line.
fn step_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Step {
        step: u64,
    }
    serde_json::from_slice::<Step>(line).ok().map(|record| record.step)
}

/// The lines up to `step`; a line that was cut off ends them.
fn through(bytes: &[u8], step: u64) -> &[u8] {
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') || step_of(line).is_none_or(|found| found > step) {
            break;
        }
        end += line.len();
    }
    &bytes[..end]
}

impl Metrics {
    /// Opens the file of a run that goes on after `step`; lines beyond it are cut.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn resume(out: &Path, step: u64) -> Result<Metrics> {
        let path = out.join(METRICS_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let kept = through(&bytes, step);
        if kept.len() != bytes.len() {
            shards::commit::write_atomic(&path, kept)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Metrics { path, file })
    }

    /// Appends a record as one line, in one write.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let json = |error: serde_json::Error| Error::Json { path: self.path.clone(), problem: error.to_string() };
        let mut line = serde_json::to_vec(record).map_err(json)?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io(&self.path))
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"{\"step\":1,\"loss\":2}\n{\"step\":1,\"val_loss\":2}\n{\"step\":2,\"loss\":1}\n{\"ste";

    #[test]
    fn lines_beyond_the_checkpoint_and_a_cut_line_go() {
        assert_eq!(through(LINES, 0), b"");
        assert_eq!(through(LINES, 1), &LINES[..44]);
        assert_eq!(through(LINES, 9), &LINES[..64]);
    }

    #[test]
    fn a_resumed_file_continues_after_the_cut() {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join(METRICS_FILE), LINES).unwrap();
        let mut metrics = Metrics::resume(out.path(), 1).unwrap();
        metrics.append(&EvaluationRecord { step: 2, val_loss: 1.0, val_ppl: 2.5 }).unwrap();
        let text = std::fs::read_to_string(out.path().join(METRICS_FILE)).unwrap();
        assert_eq!(text.lines().last().unwrap(), "{\"step\":2,\"val_loss\":1.0,\"val_ppl\":2.5}");
        assert_eq!(text.lines().count(), 3);
    }
}
