//! `trainer_state.json`: where a run stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Packing, TrainConfig};
use crate::train::GuardState;

/// Version of the file's layout.
pub const STATE_VERSION: u32 = 1;

/// Where a run stands after an optimizer step.
///
/// There is no generator state: every random number is a function of seed and counter. The loader's position is the
/// number of samples consumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// [`STATE_VERSION`].
    pub format_version: u32,
    /// Version of the trainer that wrote it.
    pub tool_version: String,
    /// Optimizer steps made.
    pub step: u64,
    /// Training windows consumed: the loader's position.
    pub samples: u64,
    /// Tokens trained on: targets that count.
    pub tokens: u64,
    /// Updates the optimizer made: steps that the guard did not skip.
    #[serde(default)]
    pub updates: Option<u64>,
    /// What the guard remembers.
    #[serde(default)]
    pub guard: GuardState,
    /// The best evaluation so far.
    #[serde(default)]
    pub best: Option<Best>,
    /// Ranks that computed it; `accumulation_steps` is of each.
    #[serde(default = "one")]
    pub world_size: usize,
    /// Threads that computed it; another number may round differently.
    pub threads: usize,
    /// What was trained on.
    pub data: DataIdentity,
    /// The run's settings.
    pub config: TrainConfig,
    /// sha256 of the other files of this folder.
    pub files: BTreeMap<String, String>,
}

fn one() -> usize {
    1
}

impl TrainerState {
    /// Sequences of an optimizer step, over all ranks.
    pub fn global_batch(&self) -> u64 {
        self.config.global_batch(self.world_size)
    }
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After this step.
    pub step: u64,
    /// Validation loss.
    pub val_loss: f64,
}

/// When a run went on with a larger dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrownAt {
    /// Hash of the smaller dataset's manifest.
    pub from: String,
    /// Samples consumed of it.
    pub samples: u64,
}

/// What decides which tokens sample `n` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// Hash of the manifest; for a bare `.bin`, its size.
    pub hash: String,
    /// Windows an epoch.
    pub windows: u64,
    /// Positions a window.
    pub sequence_length: usize,
    /// Seed of the order.
    pub seed: u64,
    /// How documents became sequences.
    #[serde(default)]
    pub packing: Packing,
    /// Where the data has grown.
    #[serde(default)]
    pub grown: Option<GrownAt>,
}

impl DataIdentity {
    /// The first field in which two differ, with both values.
    pub fn difference(&self, other: &DataIdentity) -> Option<(&'static str, String, String)> {
        [
            ("the data's hash", self.hash.clone(), other.hash.clone()),
            ("max_seq_len", self.sequence_length.to_string(), other.sequence_length.to_string()),
            ("packing", format!("{:?}", self.packing), format!("{:?}", other.packing)),
            ("the data's number of windows", self.windows.to_string(), other.windows.to_string()),
            ("seed", self.seed.to_string(), other.seed.to_string()),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
    }
}
