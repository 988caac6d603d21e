//! `metrics.jsonl` read back: for each metric, its value at each step.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::train::METRICS_FILE;

/// Name of the file of texts written while training.
const SAMPLES_FILE: &str = "samples.jsonl";

/// A metric: (step, value), in order of steps.
pub type Series = Vec<(u64, f64)>;

/// A text written while training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// After this step.
    pub step: u64,
    /// What it was to continue.
    pub prompt: String,
    /// Prompt and continuation.
    pub text: String,
}

/// What a run has logged so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    series: BTreeMap<String, Series>,
}

/// The objects of a file of JSON lines; a line still being written, or none at all, is left out.
fn objects(path: &Path) -> Result<Vec<Map<String, Value>>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(path)(error)),
    }
}

impl History {
    /// Reads what the run of an output folder has logged.
    ///
    /// # Errors
    /// Where the file cannot be read; a folder without one has an empty history.
    pub fn read(out: &Path) -> Result<History> {
        let mut history = History::default();
        for line in objects(&out.join(METRICS_FILE))? {
            history.add(&line);
        }
        Ok(history)
    }

    fn add(&mut self, line: &Map<String, Value>) {
        let Some(step) = line.get("step").and_then(Value::as_u64) else { return };
        for (name, value) in line.iter().filter(|(name, _)| *name != "step") {
            if let Some(value) = value.as_f64() {
                self.series.entry(name.clone()).or_default().push((step, value));
            }
        }
    }

    /// A metric's values; empty where there are none.
    pub fn series(&self, name: &str) -> &[(u64, f64)] {
        self.series.get(name).map_or(&[], Vec::as_slice)
    }

    /// The metrics there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The last step and value of a metric.
    pub fn last(&self, name: &str) -> Option<(u64, f64)> {
        self.series(name).last().copied()
    }

    /// Whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The texts written while training.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn samples(out: &Path) -> Result<Vec<Sample>> {
        let text = |line: &Map<String, Value>, name: &str| line.get(name)?.as_str().map(str::to_owned);
        let sample = |line: &Map<String, Value>| {
            let step = line.get("step")?.as_u64()?;
            Some(Sample { step, prompt: text(line, "prompt").unwrap_or_default(), text: text(line, "text")? })
        };
        Ok(objects(&out.join(SAMPLES_FILE))?.iter().filter_map(sample).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_every_whole_line_is_kept() {
        let out = tempfile::tempdir().unwrap();
        let lines = "{\"step\":1,\"loss\":2.5,\"lr\":1}\nnot json\n{\"step\":1,\"val_loss\":2}\n{\"step\":2,\"loss\":2,\"x\":\"y\"}\n{\"ste";
        std::fs::write(out.path().join(METRICS_FILE), lines).unwrap();
        let history = History::read(out.path()).unwrap();
        assert_eq!(history.series("loss"), [(1, 2.5), (2, 2.0)]);
        assert_eq!(history.names().collect::<Vec<_>>(), ["loss", "lr", "val_loss"]);
        assert_eq!((history.last("val_loss"), history.last("x")), (Some((1, 2.0)), None));
    }

    #[test]
    fn a_folder_without_metrics_has_an_empty_history() {
        let out = tempfile::tempdir().unwrap();
        assert!(History::read(out.path()).unwrap().is_empty());
        assert!(History::samples(out.path()).unwrap().is_empty());
    }
}
