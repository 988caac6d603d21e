//! Reading a checkpoint: every file, name, shape and digest is checked, and each lie has its own error.

use std::path::Path;

use candle_core::Device;

use super::state::{STATE_VERSION, TrainerState};
use super::tensors::TensorFile;
use super::{OPTIMIZER_FILE, STATE_FILE};
use crate::error::{Error, Result};
use crate::import;
use crate::model::{Llama, Parameters};
use crate::optimizer::Moments;

/// Reads `trainer_state.json`, and checks the digests of the files it lists.
///
/// # Errors
/// Where it is not one, or a file is not the one that was saved.
pub fn read_state(folder: &Path) -> Result<TrainerState> {
    let path = folder.join(STATE_FILE);
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let broken = |problem: String| Error::Json { path: path.clone(), problem };
    let state: TrainerState = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    if state.format_version != STATE_VERSION {
        return Err(broken(format!("format_version is {}, this trainer reads {STATE_VERSION}", state.format_version)));
    }
    for (name, expected) in &state.files {
        // A name is one of a file beside this one, never a path elsewhere.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(broken(format!("files: {name:?} is no plain file name")));
        }
        let path = folder.join(name);
        let found = shards::commit::hash_file(&path)?.sha256;
        if found != *expected {
            return Err(Error::Checksum { path, expected: expected.clone(), found });
        }
    }
    Ok(state)
}

/// Loads the model of a checkpoint, or of any folder with `config.json` and the safetensors of a Llama.
///
/// # Errors
/// Where a file is damaged, or names and shapes are not those of the configuration.
pub fn load_model(folder: &Path, device: &Device) -> Result<Llama> {
    import::load(folder, None, device)
}

/// Loads the optimizer's moments, in the order of the model's weights.
///
/// # Errors
/// As [`load_model`].
pub fn load_optimizer(folder: &Path, parameters: &Parameters) -> Result<Vec<Moments>> {
    let path = folder.join(OPTIMIZER_FILE);
    let mut file = TensorFile::read(&path)?;
    let mut moments = Vec::with_capacity(parameters.len());
    for parameter in parameters.iter() {
        let mut take = |prefix: &str| file.take(&format!("{prefix}.{}", parameter.name), parameter.var.dims());
        moments.push(Moments { first: take("first")?, second: take("second")? });
    }
    file.finish(&[])?;
    Ok(moments)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::{CONFIG_FILE, Checkpoints, DataIdentity, MODEL_FILE, Saved, save};
    use crate::config::{ModelShape, TrainConfig};
    use crate::model::LanguageModel;
    use crate::optimizer::{AdamW, AdamWConfig};

    fn state(step: u64) -> TrainerState {
        TrainerState {
            format_version: STATE_VERSION,
            tool_version: "test".into(),
            step,
            samples: 7,
            tokens: 70,
            updates: Some(4),
            guard: Default::default(),
            best: None,
            world_size: 1,
            threads: 1,
            data: DataIdentity {
                hash: "h".into(),
                windows: 3,
                sequence_length: 10,
                seed: 0,
                packing: Default::default(),
                grown: None,
            },
            config: TrainConfig::default(),
            files: BTreeMap::new(),
        }
    }

    /// A saved checkpoint of a tiny model, and the model.
    fn saved() -> (tempfile::TempDir, PathBuf, Llama) {
        let shape =
            ModelShape { dim: 8, n_layers: 1, n_heads: 2, n_kv_heads: None, vocab_size: 11, ..Default::default() };
        let model = Llama::init(&shape.config(Some(1), Some(2)).unwrap(), 3, &Device::Cpu).unwrap();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.9, eps: 1e-8, weight_decay: 0.0 };
        let optimizer = AdamW::new(config, model.parameters());
        let out = tempfile::tempdir().unwrap();
        let what = Saved {
            model: model.config(),
            parameters: model.parameters(),
            moments: optimizer.moments(),
            state: state(4),
            tokenizer: None,
        };
        let folder = save(&Checkpoints::of_run(out.path()), what).unwrap().path;
        (out, folder, model)
    }

    fn rewrite_json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
        let mut value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
    }

    #[test]
    fn a_checkpoint_round_trips() {
        let (_out, folder, model) = saved();
        let loaded = load_model(&folder, &Device::Cpu).unwrap();
        assert_eq!(loaded.config(), model.config());
        for (a, b) in loaded.parameters().iter().zip(model.parameters().iter()) {
            let flat = |p: &crate::model::Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!((&a.name, flat(a)), (&b.name, flat(b)));
        }
        assert_eq!(load_optimizer(&folder, loaded.parameters()).unwrap().len(), loaded.parameters().len());
        let read = read_state(&folder).unwrap();
        assert_eq!((read.step, read.samples), (4, 7));
    }

    #[test]
    fn a_truncated_weight_file_is_reported_at_every_length() {
        let (_out, folder, _) = saved();
        let path = folder.join(MODEL_FILE);
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(load_model(&folder, &Device::Cpu), Err(Error::TensorFile { .. })), "length {length}");
        }
    }

    #[test]
    fn a_header_length_beyond_the_file_is_reported() {
        let (_out, folder, _) = saved();
        std::fs::write(folder.join(MODEL_FILE), [0xff; 64]).unwrap();
        assert!(matches!(load_model(&folder, &Device::Cpu), Err(Error::TensorFile { .. })));
    }

    #[test]
    fn a_flipped_bit_is_found_by_the_digest() {
        let (_out, folder, _) = saved();
        let path = folder.join(OPTIMIZER_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(read_state(&folder), Err(Error::Checksum { .. })));
    }

    #[test]
    fn weights_of_another_shape_are_reported_by_name() {
        let (_out, folder, _) = saved();
        rewrite_json(&folder.join(CONFIG_FILE), |config| config["vocab_size"] = 12.into());
        let error = load_model(&folder, &Device::Cpu).unwrap_err();
        assert!(matches!(&error, Error::TensorShape { name, .. } if name == "model.embed_tokens.weight"), "{error}");
    }

    #[test]
    fn a_missing_layer_is_reported_by_name() {
        let (_out, folder, _) = saved();
        rewrite_json(&folder.join(CONFIG_FILE), |config| config["num_hidden_layers"] = 2.into());
        let error = load_model(&folder, &Device::Cpu).unwrap_err();
        assert!(matches!(&error, Error::TensorMissing { name, .. } if name.contains("layers.1.")), "{error}");
    }

    #[test]
    fn a_weight_that_the_model_has_not_is_reported_by_name() {
        let (_out, folder, model) = saved();
        let extra = |name: &str| super::super::tensors::Named {
            name: name.into(),
            shape: vec![1],
            values: std::borrow::Cow::Owned(vec![0.0]),
        };
        let named = |p: &crate::model::Parameter| super::super::tensors::Named {
            name: p.name.clone(),
            shape: p.var.dims().to_vec(),
            values: p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap().into(),
        };
        let mut all: Vec<_> = model.parameters().iter().map(named).collect();
        all.push(extra("model.layers.0.self_attn.q_proj.bias"));
        super::super::tensors::write(&folder.join(MODEL_FILE), &all).unwrap();
        let error = load_model(&folder, &Device::Cpu).unwrap_err();
        assert!(matches!(&error, Error::TensorUnknown { name, .. } if name.ends_with("bias")), "{error}");
    }

    #[test]
    fn a_precision_that_is_not_read_is_reported() {
        let (_out, folder, _) = saved();
        let path = folder.join(MODEL_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(5).position(|w| w == b"\"F32\"").unwrap();
        bytes[at..at + 5].copy_from_slice(b"\"I32\"");
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(load_model(&folder, &Device::Cpu), Err(Error::TensorDtype { .. })));
    }

    #[test]
    fn a_state_that_is_not_json_is_reported_with_its_place() {
        let (_out, folder, _) = saved();
        std::fs::write(folder.join(STATE_FILE), "{\"step\": }").unwrap();
        let error = read_state(&folder).unwrap_err();
        assert!(matches!(error, Error::Json { .. }) && error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn a_state_of_a_later_version_is_refused() {
        let (_out, folder, _) = saved();
        rewrite_json(&folder.join(STATE_FILE), |state| state["format_version"] = 2.into());
        assert!(read_state(&folder).unwrap_err().to_string().contains("format_version is 2"));
    }

    #[test]
    fn a_state_that_lists_a_path_elsewhere_is_refused() {
        let (_out, folder, _) = saved();
        rewrite_json(&folder.join(STATE_FILE), |state| state["files"]["../../x"] = "00".into());
        assert!(matches!(read_state(&folder), Err(Error::Json { .. })));
    }

    #[test]
    fn a_missing_file_is_reported() {
        let (_out, folder, _) = saved();
        std::fs::remove_file(folder.join(OPTIMIZER_FILE)).unwrap();
        assert!(matches!(read_state(&folder), Err(Error::Shards(shards::Error::Io { .. }))));
    }
}
