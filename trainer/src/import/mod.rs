//! Checkpoints of others: Hugging Face's layout in one file or several, any of three precisions, and the layout of
//! Meta's code and the notebook's (`wq`, `w1`), whose rotary embedding turns neighbouring elements.
//!
//! [`load`] gives a model in this crate's terms, whatever the folder was. Nothing pickled is opened.

mod config;
mod names;
mod rope;

use std::path::Path;

use candle_core::{DType, Device};

pub use config::read_config;
pub use rope::{RopeLayout, to_neighbours};

use crate::checkpoint::TensorFile;
use crate::config::ModelConfig;
use crate::data::Source;
use crate::error::{Error, Result};
use crate::model::Llama;

/// The weights of a folder under Hugging Face's names, with `q_proj` and `k_proj` for rotary embedding by halves.
fn weights(folder: &Path, layout: Option<RopeLayout>) -> Result<(ModelConfig, TensorFile)> {
    let file = TensorFile::read_folder(folder)?;
    let of_notebook = names::is_notebooks(&file);
    let file = if of_notebook { file.renamed(names::of_hugging_face) } else { file };
    let config = config::read_with(folder, &file)?;
    let layout = layout.unwrap_or(if of_notebook { RopeLayout::Interleaved } else { RopeLayout::Half });
    Ok(match layout {
        RopeLayout::Half => (config, file),
        RopeLayout::Interleaved => {
            let head_dim = config.head_size();
            (config, file.changed(|name, shape, values| rope::to_halves(name, shape, values, head_dim)))
        }
    })
}

/// Makes a model of `config` with the weights of a folder, whose own configuration may differ in what is no size:
/// positions, BOS and EOS, dropout.
///
/// # Errors
/// As [`load`]; where the sizes are others.
pub fn load_as(config: &ModelConfig, folder: &Path, device: &Device) -> Result<Llama> {
    let (_, file) = weights(folder, None)?;
    build(config, file, device)
}

/// The configuration to train a folder's model further with: its own, with at least `positions` positions, and BOS and
/// EOS of the data where it has them.
///
/// # Errors
/// Where the folder holds no Llama, or its vocabulary is smaller than the data's.
pub fn continued(folder: &Path, positions: usize, source: &Source) -> Result<ModelConfig> {
    let (theirs, _) = weights(folder, None)?;
    if let Some(needed) = source.vocab_size().filter(|needed| *needed > theirs.vocab_size) {
        let problem = format!("{} of the model is below the {needed} ids of the data", theirs.vocab_size);
        return Err(Error::Config { field: "vocab_size", problem });
    }
    let (bos, eos) = source.bos_eos();
    Ok(ModelConfig {
        max_position_embeddings: theirs.max_position_embeddings.max(positions),
        bos_token_id: bos.or(theirs.bos_token_id),
        eos_token_id: eos.or(theirs.eos_token_id),
        ..theirs
    })
}

fn build(config: &ModelConfig, mut file: TensorFile, device: &Device) -> Result<Llama> {
    let model = Llama::build(config, DType::F32, device, |spec| file.take(&spec.name, &spec.shape))?;
    // Some tools write a tied output layer a second time.
    file.finish(if config.tie_word_embeddings { &["lm_head.weight"] } else { &[] })?;
    Ok(model)
}

/// Loads the model of a folder; `layout` says how its rotary embedding pairs elements where its names do not.
///
/// # Errors
/// Where a file is damaged or pickled, the configuration is of another architecture, or names and shapes are not its.
pub fn load(folder: &Path, layout: Option<RopeLayout>, device: &Device) -> Result<Llama> {
    let (config, file) = weights(folder, layout)?;
    build(&config, file, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{CONFIG_FILE, MODEL_FILE, Named, Precision, write_weights};
    use crate::config::ModelShape;
    use crate::model::{LanguageModel, Parameters};

    fn model() -> Llama {
        let shape = ModelShape {
            dim: 16,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: Some(2),
            vocab_size: 20,
            max_seq_len: 12,
            ..ModelShape::default()
        };
        Llama::init(&shape.config(Some(1), Some(2)).unwrap(), 4, &Device::Cpu).unwrap()
    }

    fn values(parameters: &Parameters) -> Vec<(String, Vec<f32>)> {
        let of = |p: &crate::model::Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        parameters.iter().map(|p| (p.name.clone(), of(p))).collect()
    }

    /// Writes `model` as the notebook's code saves it: other names, neighbouring elements turned.
    fn write_as_the_notebook(model: &Llama, folder: &Path) {
        let named = |p: &crate::model::Parameter| {
            let (name, shape) = (names::of_notebook(&p.name), p.var.dims().to_vec());
            let values: Vec<f32> = p.var.flatten_all().unwrap().to_vec1().unwrap();
            let values = to_neighbours(&p.name, &shape, &values, 4).unwrap_or(values);
            Named { name, shape, values: values.into() }
        };
        let mut all: Vec<_> = model.parameters().iter().map(named).collect();
        // Its tied output layer and its table of angles are saved too.
        all.push(Named { name: "output.weight".into(), ..all[0].clone() });
        all.push(Named { name: "pos_cis".into(), shape: vec![2], values: vec![0.0; 2].into() });
        write_weights(&folder.join(MODEL_FILE), &all, Precision::Float32).unwrap();
        let config = serde_json::json!({
            "model_type": "minimind", "dim": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 20,
            "hidden_dim": null, "multiple_of": 64, "norm_eps": 1e-5, "max_seq_len": 12, "dropout": 0.0,
            "flash_attn": true, "use_moe": false, "bos_token_id": 1, "eos_token_id": 2,
        });
        std::fs::write(folder.join(CONFIG_FILE), config.to_string()).unwrap();
    }

    #[test]
    fn a_checkpoint_of_the_notebooks_code_becomes_the_same_model() {
        let folder = tempfile::tempdir().unwrap();
        let model = model();
        write_as_the_notebook(&model, folder.path());
        let loaded = load(folder.path(), None, &Device::Cpu).unwrap();
        assert_eq!(values(loaded.parameters()), values(model.parameters()));
        assert_eq!(loaded.config().difference(model.config()), None);
    }

    #[test]
    fn a_layout_that_is_said_wins_over_the_names() {
        let folder = tempfile::tempdir().unwrap();
        let model = model();
        write_as_the_notebook(&model, folder.path());
        let loaded = load(folder.path(), Some(RopeLayout::Half), &Device::Cpu).unwrap();
        assert_ne!(values(loaded.parameters()), values(model.parameters()));
    }

    #[test]
    fn a_model_with_experts_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_as_the_notebook(&model(), folder.path());
        std::fs::write(folder.path().join(CONFIG_FILE), r#"{"model_type": "mixtral"}"#).unwrap();
        assert!(load(folder.path(), None, &Device::Cpu).is_err());
    }
}
