//! `trainer_state.json`: where a run stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;

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
    /// Tokens trained on.
    pub tokens: u64,
    /// Threads that computed it; another number may round differently.
    pub threads: usize,
    /// What was trained on.
    pub data: DataIdentity,
    /// The run's settings.
    pub config: TrainConfig,
    /// sha256 of the other files of this folder.
    pub files: BTreeMap<String, String>,
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
}

impl DataIdentity {
    /// The first field in which two differ, with both values.
    pub fn difference(&self, other: &DataIdentity) -> Option<(&'static str, String, String)> {
        [
            ("the data's hash", self.hash.clone(), other.hash.clone()),
            ("max_seq_len", self.sequence_length.to_string(), other.sequence_length.to_string()),
            ("the data's number of windows", self.windows.to_string(), other.windows.to_string()),
            ("seed", self.seed.to_string(), other.seed.to_string()),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
    }
}
