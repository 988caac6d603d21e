//! BOS and EOS: from the command line, else from `tokenizer_config.json` beside the tokenizer; never guessed.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Error;

/// What is said on the command line for "no such token".
const NONE: &str = "none";

/// `tokenizer_config.json`: its bytes if there is such a file.
pub(super) struct TokenizerConfig {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
    value: Value,
}

impl TokenizerConfig {
    /// Reads the file of that name in the folder of `tokenizer_path`; that there is none is no error.
    pub fn beside(tokenizer_path: &Path) -> Result<TokenizerConfig, Error> {
        let path = tokenizer_path.with_file_name("tokenizer_config.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Read { path, source }),
        };
        let value = match &bytes {
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.clone(), source })?
            }
            None => Value::Null,
        };
        Ok(TokenizerConfig { path, bytes, value })
    }

    /// The token of a role: `given`, else the file's. None: documents get no such token.
    ///
    /// # Errors
    /// [`Error::NoSpecialToken`] if neither names one.
    pub fn token(&self, role: &'static str, given: Option<&str>) -> Result<Option<String>, Error> {
        match given {
            Some(NONE) => return Ok(None),
            Some(token) => return Ok(Some(token.to_owned())),
            None => {}
        }
        let entry = self.value.get(format!("{role}_token"));
        let token = entry.and_then(|entry| entry.as_str().or_else(|| entry.get("content")?.as_str()));
        let found = match entry {
            _ if self.bytes.is_none() => "no such file".to_owned(),
            None => "no such key".to_owned(),
            Some(other) => other.to_string(),
        };
        let missing = || Error::NoSpecialToken { path: self.path.clone(), role, found };
        token.map(|token| Some(token.to_owned())).ok_or_else(missing)
    }

    /// The bytes of the dataset's copy: the file's, else a minimal one that `transformers` loads.
    pub fn copy(self, bos: Option<&str>, eos: Option<&str>) -> Vec<u8> {
        self.bytes.unwrap_or_else(|| minimal(bos, eos))
    }
}

fn minimal(bos: Option<&str>, eos: Option<&str>) -> Vec<u8> {
    let mut config = Map::new();
    for (key, token) in [("bos_token", bos), ("eos_token", eos)] {
        config.insert(key.to_owned(), token.map_or(Value::Null, |token| json!(token)));
    }
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    format!("{:#}\n", Value::Object(config)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> TokenizerConfig {
        TokenizerConfig {
            path: PathBuf::from("tokenizer_config.json"),
            bytes: Some(text.as_bytes().to_vec()),
            value: serde_json::from_str(text).unwrap(),
        }
    }

    #[test]
    fn a_token_is_a_string_or_an_object_with_content() {
        let config = config(r#"{"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false}}"#);
        assert_eq!(config.token("bos", None).unwrap().as_deref(), Some("<s>"));
        assert_eq!(config.token("eos", None).unwrap().as_deref(), Some("</s>"));
    }

    #[test]
    fn a_null_token_is_refused_unless_none_is_said() {
        let config = config(r#"{"bos_token":null}"#);
        let error = config.token("bos", None).unwrap_err().to_string();
        assert!(error.contains("found null") && error.contains("--bos none"), "{error}");
        assert_eq!(config.token("bos", Some("none")).unwrap(), None);
    }

    #[test]
    fn an_absent_key_is_refused() {
        let error = config("{}").token("eos", None).unwrap_err().to_string();
        assert!(error.contains("no such key"), "{error}");
    }

    #[test]
    fn what_is_given_wins() {
        let config = config(r#"{"bos_token":"<s>"}"#);
        assert_eq!(config.token("bos", Some("[CLS]")).unwrap().as_deref(), Some("[CLS]"));
    }
}
