//! Writing a checkpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::state::TrainerState;
use super::tensors::Named;
use super::{
    CONFIG_FILE, CheckpointFolder, Checkpoints, GENERATION_FILE, MODEL_FILE, OPTIMIZER_FILE, STATE_FILE,
    TOKENIZER_FILES, files, tensors,
};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Parameters;
use crate::optimizer::Moments;

/// What is saved.
pub struct Saved<'a> {
    /// Shape of the model.
    pub model: &'a ModelConfig,
    /// Its weights.
    pub parameters: &'a Parameters,
    /// The optimizer's moments, in the order of the weights.
    pub moments: &'a [Moments],
    /// Where the run stands; `files` is filled in here.
    pub state: TrainerState,
    /// Where the tokenizer's files lie, if anywhere.
    pub tokenizer: Option<&'a Path>,
}

/// Writes and publishes the checkpoint of `saved.state.step`.
///
/// # Errors
/// Where a file cannot be written; nothing is published then.
pub fn save(checkpoints: &Checkpoints, saved: Saved) -> Result<CheckpointFolder> {
    let step = saved.state.step;
    let folder = checkpoints.begin(step)?;
    write_files(&folder, saved)?;
    checkpoints.publish(&folder, step)
}

fn write_files(folder: &Path, saved: Saved) -> Result<()> {
    let mut digests = BTreeMap::new();
    let mut digest = |name: &str| -> Result<()> {
        digests.insert(name.to_owned(), shards::commit::hash_file(&folder.join(name))?.sha256);
        Ok(())
    };
    tensors::write(&folder.join(MODEL_FILE), &weights(saved.parameters)?)?;
    digest(MODEL_FILE)?;
    tensors::write(&folder.join(OPTIMIZER_FILE), &moments(saved.parameters, saved.moments))?;
    digest(OPTIMIZER_FILE)?;
    write_model_files(folder, saved.model, saved.tokenizer)?;
    digest(CONFIG_FILE)?;
    let state = TrainerState { files: digests, ..saved.state };
    files::write_synced(&folder.join(STATE_FILE), &json(&state))
}

/// Writes what goes with the weights: the tokenizer's files, `generation_config.json`, and `config.json` last.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_model_files(folder: &Path, model: &ModelConfig, tokenizer: Option<&Path>) -> Result<()> {
    for name in TOKENIZER_FILES {
        if let Some(from) = tokenizer.map(|tokenizer| tokenizer.join(name)).filter(|from| from.is_file()) {
            let bytes = std::fs::read(&from).map_err(Error::io(&from))?;
            files::write_synced(&folder.join(name), &bytes)?;
        }
    }
    files::write_synced(&folder.join(GENERATION_FILE), &json(&generation_config(model)))?;
    files::write_synced(&folder.join(CONFIG_FILE), &json(model))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // The types are plain structs, whose serialization cannot fail.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn generation_config(model: &ModelConfig) -> serde_json::Value {
    serde_json::json!({
        "_from_model_config": true,
        "bos_token_id": model.bos_token_id,
        "eos_token_id": model.eos_token_id,
    })
}

fn weights(parameters: &Parameters) -> Result<Vec<Named<'static>>> {
    let named = |parameter: &crate::model::Parameter| {
        let values = parameter.var.flatten_all()?.to_vec1::<f32>()?;
        Ok(Named { name: parameter.name.clone(), shape: parameter.var.dims().to_vec(), values: Cow::Owned(values) })
    };
    parameters.iter().map(named).collect()
}

fn moments<'a>(parameters: &Parameters, moments: &'a [Moments]) -> Vec<Named<'a>> {
    let named = |prefix: &str, parameter: &crate::model::Parameter, values: &'a [f32]| Named {
        name: format!("{prefix}.{}", parameter.name),
        shape: parameter.var.dims().to_vec(),
        values: Cow::Borrowed(values),
    };
    let pairs = parameters.iter().zip(moments);
    pairs.flat_map(|(p, m)| [named("first", p, &m.first), named("second", p, &m.second)]).collect()
}
