//! Names of weights: Meta's and the notebook's (`tok_embeddings`, `layers.0.attention.wq`) to Hugging Face's.

use crate::checkpoint::TensorFile;

/// Within a layer, their name and Hugging Face's.
const OF_LAYER: [(&str, &str); 9] = [
    ("attention.wq", "self_attn.q_proj"),
    ("attention.wk", "self_attn.k_proj"),
    ("attention.wv", "self_attn.v_proj"),
    ("attention.wo", "self_attn.o_proj"),
    ("feed_forward.w1", "mlp.gate_proj"),
    ("feed_forward.w2", "mlp.down_proj"),
    ("feed_forward.w3", "mlp.up_proj"),
    ("attention_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
];

/// Outside the layers.
const OUTSIDE: [(&str, &str); 3] =
    [("tok_embeddings", "model.embed_tokens"), ("norm", "model.norm"), ("output", "lm_head")];

/// Tables that can be computed, which some checkpoints carry along.
const TABLES: [&str; 4] = ["pos_cis", "freqs_cis", "mask", "rope.freqs"];

/// Whether the names are the notebook's.
pub fn is_notebooks(file: &TensorFile) -> bool {
    file.shapes().any(|(name, _)| name.trim_start_matches("_orig_mod.") == "tok_embeddings.weight")
}

/// Hugging Face's name; none for a table. A name that is not known stays, to be refused with it.
pub fn of_hugging_face(name: &str) -> Option<String> {
    // torch.compile puts this before every name.
    let name = name.trim_start_matches("_orig_mod.");
    if TABLES.iter().any(|table| name == *table || name.ends_with(&format!(".{table}"))) {
        return None;
    }
    let renamed = match name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => {
            let found = OF_LAYER.iter().find(|(theirs, _)| rest.strip_suffix(".weight") == Some(theirs));
            found.map(|(_, ours)| format!("model.layers.{layer}.{ours}.weight"))
        }
        None => {
            let found = OUTSIDE.iter().find(|(theirs, _)| name.strip_suffix(".weight") == Some(theirs));
            found.map(|(_, ours)| format!("{ours}.weight"))
        }
    };
    Some(renamed.unwrap_or_else(|| name.to_owned()))
}

/// The notebook's name for one of Hugging Face's.
#[cfg(test)]
pub fn of_notebook(name: &str) -> String {
    let all = OF_LAYER.iter().chain(&OUTSIDE);
    let (theirs, ours) = all.filter(|(_, ours)| name.contains(ours)).max_by_key(|(_, ours)| ours.len()).unwrap();
    name.replace(ours, theirs).trim_start_matches("model.").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_torch_compile_and_tables_are_understood() {
        let name = |name| of_hugging_face(name);
        assert_eq!(name("_orig_mod.layers.3.feed_forward.w2.weight").unwrap(), "model.layers.3.mlp.down_proj.weight");
        assert_eq!(name("output.weight").unwrap(), "lm_head.weight");
        assert_eq!((name("pos_cis"), name("layers.0.attention.mask")), (None, None));
        assert_eq!(name("layers.0.attention.wq.bias").unwrap(), "layers.0.attention.wq.bias");
    }
}
