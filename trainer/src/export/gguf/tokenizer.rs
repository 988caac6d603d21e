//! A `tokenizer.json` in GGUF's terms: byte-level BPE, called `gpt2` there.
//!
//! GGUF does not carry the expression that splits text before merging; llama.cpp knows some by name. A tokenizer whose
//! expression has no name there is refused, unless one is given: its text would be split otherwise without a word.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::format::{Metadata, Value};
use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Kinds of tokens, by llama.cpp's numbers.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Expressions that split text, and what llama.cpp calls them.
const SPLITS: [(&str, &str); 2] = [
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "llama-bpe",
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "qwen2",
    ),
];

/// A vocabulary, its merges, and how text is split.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    tokens: BTreeMap<u32, (String, i32)>,
    merges: Vec<String>,
    split: String,
}

impl Vocabulary {
    /// Reads a `tokenizer.json`; `split` overrides llama.cpp's name of how text is split.
    ///
    /// # Errors
    /// Where it is no byte-level BPE, or its way to split text has no name.
    pub fn read(path: &Path, split: Option<&str>) -> Result<Vocabulary> {
        let problem = |problem: String| Error::Tokenizer { path: path.to_path_buf(), problem };
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let json: Json = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
        parse(&json, split).map_err(problem)
    }

    /// Adds what llama.cpp wants to know.
    pub(super) fn describe(&self, metadata: &mut Metadata, config: &ModelConfig) -> Result<()> {
        let size = config.vocab_size as u32;
        if let Some((id, _)) = self.tokens.range(size..).next() {
            let problem = format!("{size} is too small for the tokenizer's id {id}");
            return Err(Error::Config { field: "vocab_size", problem });
        }
        // Ids without a token fill a vocabulary that was rounded up.
        let token = |id| self.tokens.get(&id).cloned().unwrap_or_else(|| (format!("[PAD{id}]"), UNUSED));
        let (tokens, kinds) = (0..size).map(token).unzip();
        metadata.add("tokenizer.ggml.model", Value::Text("gpt2".to_owned()));
        metadata.add("tokenizer.ggml.pre", Value::Text(self.split.clone()));
        metadata.add("tokenizer.ggml.tokens", Value::Texts(tokens));
        metadata.add("tokenizer.ggml.token_type", Value::I32s(kinds));
        metadata.add("tokenizer.ggml.merges", Value::Texts(self.merges.clone()));
        if let Some(bos) = config.bos_token_id {
            metadata.add("tokenizer.ggml.bos_token_id", Value::U32(bos));
        }
        if let Some(eos) = config.eos_token_id {
            metadata.add("tokenizer.ggml.eos_token_id", Value::U32(eos));
        }
        metadata.add("tokenizer.ggml.add_bos_token", Value::Bool(config.bos_token_id.is_some()));
        metadata.add("tokenizer.ggml.add_eos_token", Value::Bool(false));
        Ok(())
    }
}

fn parse(json: &Json, split: Option<&str>) -> Result<Vocabulary, String> {
    let model = &json["model"];
    if model["type"] != "BPE" {
        return Err(format!("model.type is {}, only byte-level BPE is written as GGUF", model["type"]));
    }
    let named = split_name(&json["pre_tokenizer"])?;
    let split = match (split, named) {
        (Some(split), _) | (None, Some(split)) => split.to_owned(),
        (None, None) => return Err("llama.cpp has no name for how it splits text; give one as --pre".to_owned()),
    };
    if !json["normalizer"].is_null() && json["normalizer"]["type"] != "NFC" {
        return Err("GGUF carries no normalizer, and this one has".to_owned());
    }
    Ok(Vocabulary { tokens: tokens(json)?, merges: merges(&model["merges"])?, split })
}

/// The steps before merging, as a list.
fn steps(pre_tokenizer: &Json) -> Vec<&Json> {
    match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps.iter().collect(),
        None => vec![pre_tokenizer],
    }
}

/// llama.cpp's name of how text is split; an error where the tokenizer is not byte-level.
fn split_name(pre_tokenizer: &Json) -> Result<Option<&'static str>, String> {
    let steps = steps(pre_tokenizer);
    let Some(level) = steps.iter().find(|step| step["type"] == "ByteLevel") else {
        return Err("it is not byte-level, only byte-level BPE is written as GGUF".to_owned());
    };
    if level["add_prefix_space"] == true {
        return Err("it puts a space before every text, which llama.cpp would not".to_owned());
    }
    // Absent means true, as the field came later.
    let by_gpt2 = level["use_regex"] != false;
    Ok(match steps.as_slice() {
        [_] if by_gpt2 => Some("gpt-2"),
        [digits, _] if by_gpt2 && digits["type"] == "Digits" && digits["individual_digits"] == true => Some("smollm"),
        [split, _] if !by_gpt2 && split["type"] == "Split" && split["behavior"] == "Isolated" => {
            let found = SPLITS.iter().find(|(expression, _)| split["pattern"]["Regex"] == *expression);
            found.map(|(_, name)| *name)
        }
        _ => None,
    })
}

fn id_of(value: &Json) -> Result<u32, String> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| format!("{value} is no token id"))
}

fn tokens(json: &Json) -> Result<BTreeMap<u32, (String, i32)>, String> {
    let vocabulary = json["model"]["vocab"].as_object().ok_or("model.vocab is no object")?;
    let mut tokens = BTreeMap::new();
    for (token, id) in vocabulary {
        tokens.insert(id_of(id)?, (token.clone(), NORMAL));
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let content = added["content"].as_str().ok_or("an added token has no content")?;
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        tokens.insert(id_of(&added["id"])?, (content.to_owned(), kind));
    }
    Ok(tokens)
}

/// Merges as `left right`, whether they stand as text or as pairs.
fn merges(json: &Json) -> Result<Vec<String>, String> {
    let merge = |merge: &Json| match (merge.as_str(), merge[0].as_str(), merge[1].as_str()) {
        (Some(text), ..) => Ok(text.to_owned()),
        (None, Some(left), Some(right)) => Ok(format!("{left} {right}")),
        _ => Err(format!("{merge} is no merge")),
    };
    json.as_array().ok_or("model.merges is no list")?.iter().map(merge).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokenizer(pre_tokenizer: Json) -> Json {
        json!({
            "normalizer": null, "pre_tokenizer": pre_tokenizer,
            "added_tokens": [{"id": 3, "content": "</s>", "special": true}, {"id": 4, "content": "x", "special": false}],
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b", ["ab", "a"]]},
        })
    }

    #[test]
    fn tokens_merges_and_kinds_are_taken_over() {
        let read = parse(&tokenizer(json!({"type": "ByteLevel", "add_prefix_space": false})), None).unwrap();
        assert_eq!((read.split.as_str(), read.merges), ("gpt-2", vec!["a b".to_owned(), "ab a".to_owned()]));
        let kinds: Vec<i32> = read.tokens.values().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [NORMAL, NORMAL, NORMAL, CONTROL, USER_DEFINED]);
    }

    #[test]
    fn known_expressions_have_their_names_and_others_need_one() {
        let with = |expression: &str| {
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})
        };
        for (expression, name) in SPLITS {
            assert_eq!(parse(&tokenizer(with(expression)), None).unwrap().split, name);
        }
        assert!(parse(&tokenizer(with("x+")), None).unwrap_err().contains("--pre"));
        assert_eq!(parse(&tokenizer(with("x+")), Some("mine")).unwrap().split, "mine");
    }

    #[test]
    fn a_tokenizer_that_is_not_byte_level_is_refused() {
        assert!(parse(&tokenizer(json!({"type": "Metaspace"})), None).is_err());
        assert!(parse(&tokenizer(json!({"type": "ByteLevel", "add_prefix_space": true})), None).is_err());
        assert!(parse(&json!({"model": {"type": "Unigram"}}), None).is_err());
        assert!(parse(&Json::Null, None).is_err());
    }
}
