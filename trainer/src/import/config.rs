//! `config.json` of others in this crate's terms.
//!
//! transformers 5 writes `rope_parameters` where earlier ones wrote `rope_theta` and `rope_scaling`, and `dtype` for
//! `torch_dtype`; the notebook's class leaves sizes out that the weights tell. Read as they stand, such files would be
//! taken for a model with other angles.

use std::path::Path;

use serde_json::{Map, Value};

use crate::checkpoint::{CONFIG_FILE, TensorFile};
use crate::config::ModelConfig;
use crate::error::{Error, Result};

type Fields = Map<String, Value>;

/// `model_type` of the notebook's class, which is a Llama.
const OF_NOTEBOOK: [&str; 2] = ["minimind", "MiniMind"];

/// Reads the `config.json` of a folder.
///
/// # Errors
/// Where it cannot be read or describes a model that is not supported.
pub fn read_config(folder: &Path) -> Result<ModelConfig> {
    let path = folder.join(CONFIG_FILE);
    let mut fields = read_fields(&path)?;
    normalise(&mut fields);
    validated(&path, fields)
}

/// As [`read_config`], with sizes it leaves out taken from the weights.
pub(super) fn read_with(folder: &Path, file: &TensorFile) -> Result<ModelConfig> {
    let path = folder.join(CONFIG_FILE);
    let mut fields = read_fields(&path)?;
    normalise(&mut fields);
    complete(&mut fields, file);
    validated(&path, fields)
}

fn read_fields(path: &Path) -> Result<Fields> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Json { path: path.to_path_buf(), problem: error.to_string() })
}

fn validated(path: &Path, fields: Fields) -> Result<ModelConfig> {
    let json = |problem: String| Error::Json { path: path.to_path_buf(), problem };
    let config: ModelConfig = serde_json::from_value(Value::Object(fields)).map_err(|error| json(error.to_string()))?;
    config.validate().map_err(|error| json(error.to_string()))?;
    Ok(config)
}

fn is_absent(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_none_or(Value::is_null)
}

/// Moves what newer versions of transformers and the notebook's class call otherwise.
fn normalise(fields: &mut Fields) {
    if let Some(Value::Object(mut rope)) = fields.remove("rope_parameters") {
        if let Some(theta) = rope.remove("rope_theta") {
            fields.insert("rope_theta".to_owned(), theta);
        }
        let kind = rope.get("rope_type").and_then(Value::as_str).unwrap_or("default");
        if kind != "default" {
            fields.insert("rope_scaling".to_owned(), Value::Object(rope));
        }
    }
    if let Some(dtype) = fields.remove("dtype") {
        fields.entry("torch_dtype").or_insert(dtype);
    }
    if fields.get("model_type").and_then(Value::as_str).is_some_and(|kind| OF_NOTEBOOK.contains(&kind)) {
        of_notebook(fields);
    }
    for list in ["bos_token_id", "eos_token_id"] {
        // Llama 3 names several ids that end a text; the first is the document's.
        if let Some(first) = fields.get(list).and_then(|value| value.get(0)).cloned() {
            fields.insert(list.to_owned(), first);
        }
    }
    // Whatever precision the file had, the model here is float32.
    fields.insert("torch_dtype".to_owned(), "float32".into());
}

/// The notebook's class: a Llama, but where it has experts.
fn of_notebook(fields: &mut Fields) {
    if fields.get("use_moe").and_then(Value::as_bool) == Some(true) {
        return;
    }
    fields.insert("model_type".to_owned(), "llama".into());
    fields.remove("architectures");
    // The notebook's `dropout` is one of training, and no part of the shape.
    fields.remove("dropout");
}

/// Takes what the configuration leaves out from the shapes of the weights.
fn complete(fields: &mut Fields, file: &TensorFile) {
    let shape = |wanted: &str| file.shapes().find(|(name, _)| *name == wanted).map(|(_, shape)| shape.to_vec());
    if is_absent(fields, "intermediate_size") && is_absent(fields, "hidden_dim") {
        fields.remove("hidden_dim");
        if let Some(inner) = shape("model.layers.0.mlp.gate_proj.weight").and_then(|shape| shape.first().copied()) {
            fields.insert("intermediate_size".to_owned(), inner.into());
        }
    }
    if is_absent(fields, "head_dim") {
        let size = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name).and_then(Value::as_u64));
        let (hidden, heads) = (size(["hidden_size", "dim"]), size(["num_attention_heads", "n_heads"]));
        if let Some(head) = hidden.zip(heads).and_then(|(hidden, heads)| hidden.checked_div(heads)) {
            fields.insert("head_dim".to_owned(), head.into());
        }
    }
    if is_absent(fields, "tie_word_embeddings") {
        let (embedding, output) = (file.get("model.embed_tokens.weight"), file.get("lm_head.weight"));
        let tied = output.is_none() || embedding == output;
        fields.insert("tie_word_embeddings".to_owned(), tied.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ModelConfig> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), json).unwrap();
        read_config(folder.path())
    }

    const SIZES: &str = r#""hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 96, "vocab_size": 100, "max_position_embeddings": 32"#;

    #[test]
    fn the_angles_of_transformers_5_are_read() {
        let rope = r#""rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "dtype": "bfloat16""#;
        let config = read(&format!("{{{SIZES}, {rope}, \"eos_token_id\": [7, 8]}}")).unwrap();
        assert_eq!((config.rope_theta, config.eos_token_id), (500_000.0, Some(7)));
        assert!(config.rope_scaling.is_none());
    }

    #[test]
    fn scaling_that_is_not_known_is_refused_rather_than_dropped() {
        let rope = r#""rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn", "factor": 2.0}"#;
        assert!(read(&format!("{{{SIZES}, {rope}}}")).is_err());
    }

    #[test]
    fn a_config_that_is_no_object_or_of_another_architecture_is_refused() {
        assert!(matches!(read("[1]"), Err(Error::Json { .. })));
        assert!(read(&format!("{{{SIZES}, \"model_type\": \"gpt2\"}}")).is_err());
        assert!(read(r#"{"model_type": "minimind", "use_moe": true}"#).is_err());
    }
}
