//! A folder in Hugging Face's layout: weights in one file or several with an index, configuration, tokenizer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::checkpoint::{CONFIG_FILE, INDEX_FILE, MODEL_FILE, Named, Precision, write_model_files, write_weights};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::LanguageModel;

/// Largest weight file unless told otherwise, as `transformers` cuts them.
pub const SHARD_BYTES_MAX: u64 = 5_000_000_000;

/// How a folder is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Of the weights.
    pub precision: Precision,
    /// A file holds no more, unless one weight alone is larger.
    pub shard_bytes_max: u64,
}

/// Writes a model to a new folder, with the tokenizer's files of `tokenizer`; `config.json` is written last.
///
/// # Errors
/// [`Error::Occupied`] where the folder holds a model; where a file cannot be written.
pub fn write(model: &dyn LanguageModel, tokenizer: Option<&Path>, out: &Path, layout: Layout) -> Result<()> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    if out.join(CONFIG_FILE).exists() {
        return Err(Error::Occupied { path: out.to_path_buf() });
    }
    write_all_weights(&super::named(model.parameters())?, out, layout)?;
    let config = ModelConfig { torch_dtype: layout.precision.name().to_owned(), ..model.config().clone() };
    write_model_files(out, &config, tokenizer)?;
    shards::commit::sync_dir(out)?;
    Ok(())
}

/// Weights in files of at most `shard_bytes_max` bytes, in order.
fn shards<'a, 'v>(weights: &'a [Named<'v>], layout: Layout) -> Vec<&'a [Named<'v>]> {
    let (mut found, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, weight) in weights.iter().enumerate() {
        let more = weight.values.len() as u64 * layout.precision.bytes();
        if index > start && bytes + more > layout.shard_bytes_max {
            found.push(&weights[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += more;
    }
    found.push(&weights[start..]);
    found
}

fn write_all_weights(weights: &[Named], out: &Path, layout: Layout) -> Result<()> {
    let shards = shards(weights, layout);
    if let [all] = shards.as_slice() {
        return write_weights(&out.join(MODEL_FILE), all, layout.precision);
    }
    let mut weight_map = BTreeMap::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
        write_weights(&out.join(&name), shard, layout.precision)?;
        weight_map.extend(shard.iter().map(|weight| (weight.name.as_str(), name.clone())));
    }
    let bytes: u64 = weights.iter().map(|weight| weight.values.len() as u64 * layout.precision.bytes()).sum();
    let index = json!({"metadata": {"total_size": bytes}, "weight_map": weight_map});
    shards::commit::write_atomic(out.join(INDEX_FILE), format!("{index:#}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::checkpoint::load_model;
    use crate::generate::testing::model;
    use crate::model::{Llama, Parameter};

    fn values(model: &Llama) -> Vec<(String, Vec<f32>)> {
        let of = |p: &Parameter| (p.name.clone(), p.var.flatten_all().unwrap().to_vec1().unwrap());
        model.parameters().iter().map(of).collect()
    }

    fn round_trip(layout: Layout) -> (tempfile::TempDir, Llama) {
        let folder = tempfile::tempdir().unwrap();
        write(&model(Some(2)), None, folder.path(), layout).unwrap();
        let loaded = load_model(folder.path(), &Device::Cpu).unwrap();
        (folder, loaded)
    }

    #[test]
    fn several_files_are_read_back_as_the_same_model() {
        let (folder, loaded) = round_trip(Layout { precision: Precision::Float32, shard_bytes_max: 5_000 });
        assert_eq!(values(&loaded), values(&model(Some(2))));
        assert!(!folder.path().join(MODEL_FILE).exists());
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert!(files.filter(|file| file.file_name().to_string_lossy().starts_with("model-0")).count() > 2);
    }

    #[test]
    fn half_precision_is_read_back_rounded() {
        for (precision, error) in [(Precision::BFloat16, 2f32.powi(-8)), (Precision::Float16, 2f32.powi(-11))] {
            let (folder, loaded) = round_trip(Layout { precision, shard_bytes_max: SHARD_BYTES_MAX });
            let exact = values(&model(Some(2))).into_iter().flat_map(|(_, values)| values);
            let rounded = values(&loaded).into_iter().flat_map(|(_, values)| values);
            assert!(exact.zip(rounded).all(|(a, b)| (a - b).abs() <= error * a.abs() + 1e-7));
            let config = std::fs::read_to_string(folder.path().join(CONFIG_FILE)).unwrap();
            assert!(config.contains(precision.name()));
        }
    }

    #[test]
    fn a_folder_that_holds_a_model_is_left_alone() {
        let layout = Layout { precision: Precision::Float32, shard_bytes_max: SHARD_BYTES_MAX };
        let (folder, _) = round_trip(layout);
        assert!(matches!(write(&model(None), None, folder.path(), layout), Err(Error::Occupied { .. })));
    }
}
