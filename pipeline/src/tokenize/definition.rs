//! A `tokenizer.json` as data: what of it is ignored, and which ids it can make.
//!
//! Truncation, padding and the post-processor shape model inputs, not corpora: a document must keep all its tokens and
//! gets BOS and EOS from us. BPE dropout makes ids random, and a dataset is a function of its input.

use std::path::Path;

use serde_json::Value;

use super::Error;

/// Parts of a tokenizer that would change or frame the ids of a document.
const IGNORED: [&str; 3] = ["truncation", "padding", "post_processor"];

/// A parsed `tokenizer.json` without what is ignored.
pub(super) struct Definition {
    /// The JSON document.
    pub value: Value,
    /// What was taken out, for people.
    pub notes: Vec<String>,
}

impl Definition {
    /// Parses the bytes of `path` and takes out what is ignored.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Definition, Error> {
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        let mut notes = Vec::new();
        let Some(root) = value.as_object_mut() else {
            let found = "JSON that is not an object".to_owned();
            return Err(Error::NotATokenizer { path: path.to_owned(), found });
        };
        for part in IGNORED {
            if let Some(old) = root.insert(part.to_owned(), Value::Null).filter(|old| changes_ids(part, old)) {
                notes.push(format!("{part} of the tokenizer is ignored: {}", kind_of(&old)));
            }
        }
        let dropout = root.get_mut("model").and_then(|model| model.get_mut("dropout"));
        if let Some(dropout) = dropout.filter(|dropout| dropout.as_f64().is_some_and(|rate| rate > 0.0)) {
            notes.push(format!("model.dropout of the tokenizer is ignored: {dropout}"));
            *dropout = Value::Null;
        }
        Ok(Definition { value, notes })
    }

    /// The id of a token of the model's own vocabulary; added tokens are the engine's to number.
    pub fn model_id(&self, token: &str) -> Option<u32> {
        match self.vocab()? {
            Value::Object(vocab) => vocab.get(token).and_then(id_of),
            Value::Array(pieces) => pieces
                .iter()
                .position(|piece| piece.get(0).and_then(Value::as_str) == Some(token))
                .map(|index| index as u32),
            _ => None,
        }
    }

    /// The entries of the model's own vocabulary.
    pub fn model_tokens(&self) -> impl Iterator<Item = &str> {
        let named = self.vocab().and_then(Value::as_object).into_iter().flat_map(|vocab| vocab.keys());
        let pieces = self.vocab().and_then(Value::as_array).into_iter().flatten();
        named.map(String::as_str).chain(pieces.filter_map(|piece| piece.get(0)?.as_str()))
    }

    /// The largest id of the model's own vocabulary, and its token.
    pub fn largest_model_id(&self) -> Option<(u32, String)> {
        match self.vocab()? {
            Value::Object(vocab) => {
                let ids = vocab.iter().filter_map(|(token, id)| Some((id_of(id)?, token)));
                ids.max().map(|(id, token)| (id, token.clone()))
            }
            Value::Array(pieces) => {
                let token = pieces.last()?.get(0)?.as_str()?;
                Some((pieces.len() as u32 - 1, token.to_owned()))
            }
            _ => None,
        }
    }

    /// Declared added tokens with their declared ids.
    pub fn declared_added(&self) -> impl Iterator<Item = (u32, &str)> {
        let tokens = self.value.get("added_tokens").and_then(Value::as_array);
        tokens
            .into_iter()
            .flatten()
            .filter_map(|token| Some((id_of(token.get("id")?)?, token.get("content")?.as_str()?)))
    }

    fn vocab(&self) -> Option<&Value> {
        self.value.get("model")?.get("vocab")
    }
}

fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// Whether a part that is there would have changed ids: a `ByteLevel` post-processor only trims offsets, and a template
/// without special tokens adds nothing, so nobody needs to hear of them.
fn changes_ids(part: &str, value: &Value) -> bool {
    if value.is_null() {
        return false;
    }
    if part != "post_processor" {
        return true;
    }
    match kind_of(value).as_str() {
        "ByteLevel" => false,
        "TemplateProcessing" => {
            value.get("special_tokens").and_then(Value::as_object).is_none_or(|tokens| !tokens.is_empty())
        }
        "Sequence" => {
            let members = value.get("processors").and_then(Value::as_array);
            members.is_none_or(|members| members.iter().any(|member| changes_ids(part, member)))
        }
        _ => true,
    }
}

fn kind_of(value: &Value) -> String {
    match value.get("type").and_then(Value::as_str) {
        Some(kind) => kind.to_owned(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Definition {
        Definition::parse(Path::new("t.json"), text.as_bytes()).unwrap()
    }

    #[test]
    fn truncation_padding_and_dropout_are_taken_out_and_named() {
        let definition = parse(
            r#"{"truncation":{"max_length":4},"padding":{"pad_id":0},"model":{"dropout":0.1,"vocab":{}},"post_processor":null}"#,
        );
        assert!(definition.value["truncation"].is_null() && definition.value["model"]["dropout"].is_null());
        assert_eq!(definition.notes.len(), 3);
        assert!(definition.notes[2].contains("dropout"));
    }

    #[test]
    fn a_post_processor_is_noted_only_if_it_adds_tokens() {
        let quiet = r#"{"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing","special_tokens":{}}]}}"#;
        assert!(parse(quiet).notes.is_empty());
        let loud = r#"{"post_processor":{"type":"TemplateProcessing","special_tokens":{"<s>":{}}}}"#;
        assert_eq!(parse(loud).notes, ["post_processor of the tokenizer is ignored: TemplateProcessing"]);
    }

    #[test]
    fn the_largest_id_need_not_be_the_last_entry() {
        let definition = parse(r#"{"model":{"vocab":{"a":7,"b":70000,"c":2}}}"#);
        assert_eq!(definition.largest_model_id(), Some((70_000, "b".to_owned())));
    }

    #[test]
    fn unigram_ids_are_positions() {
        let definition = parse(r#"{"model":{"vocab":[["<unk>",0.0],["x",-1.0]]}}"#);
        assert_eq!(definition.largest_model_id(), Some((1, "x".to_owned())));
        assert_eq!(definition.model_id("x"), Some(1));
    }
}
