//! Text to ids, and ids to text as they come.

use std::path::{Path, PathBuf};

use tokenizers_reference::Tokenizer;

use crate::error::{Error, Result};

/// A `tokenizer.json`, for one prompt at a time.
///
/// The older tokenizers crate is used, which candle brings along anyway: it reads every tokenizer, and a prompt needs
/// no speed. Text that looks like a special token is encoded as text, as the pipeline does.
#[derive(Debug)]
pub struct TextCodec {
    path: PathBuf,
    tokenizer: Tokenizer,
}

impl TextCodec {
    /// Opens the `tokenizer.json` of a folder, or the file itself.
    ///
    /// # Errors
    /// Where it does not load.
    pub fn open(path: &Path) -> Result<TextCodec> {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let problem = |problem: String| Error::Tokenizer { path: path.clone(), problem };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| problem(error.to_string()))?;
        tokenizer.set_encode_special_tokens(true);
        // A tokenizer saved with truncation would cut prompts without saying so.
        tokenizer.with_truncation(None).map_err(|error| problem(error.to_string()))?.with_padding(None);
        Ok(TextCodec { path, tokenizer })
    }

    fn problem(&self, error: impl std::fmt::Display) -> Error {
        Error::Tokenizer { path: self.path.clone(), problem: error.to_string() }
    }

    /// The ids of a text, without BOS and EOS.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| self.problem(error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, special tokens left out; bytes that are no UTF-8 become replacement characters.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| self.problem(error))
    }

    /// A name for one id, special or not: its text, or the vocabulary's entry where it is no whole characters.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn token_name(&self, id: u32) -> Result<String> {
        let text = self.tokenizer.decode(&[id], false).map_err(|error| self.problem(error))?;
        let entry = || self.tokenizer.id_to_token(id).unwrap_or_else(|| format!("<{id}>"));
        Ok(if text.is_empty() || text.contains(char::REPLACEMENT_CHARACTER) { entry() } else { text })
    }

    /// A decoder that gives text as soon as it is whole characters.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { codec: self, ids: Vec::new(), given: 0 }
    }
}

/// Text of tokens as they come; a character spread over tokens is held back until it is whole.
#[derive(Debug)]
pub struct TextStream<'a> {
    codec: &'a TextCodec,
    /// Tokens whose text may still change or is needed to decode what follows.
    ids: Vec<u32>,
    /// Bytes of their text already given.
    given: usize,
}

/// Tokens kept for context; decoding starts anew behind them, so the cost of a token does not grow.
const CONTEXT_TOKENS: usize = 64;

/// Replacement characters at the end that may yet become a character: all but the last byte of the longest.
const PENDING_MAX: usize = 3;

/// Bytes at the end of a text that the next tokens may change.
fn pending_bytes(text: &str) -> usize {
    let replaced = text.chars().rev().take(PENDING_MAX).take_while(|c| *c == char::REPLACEMENT_CHARACTER);
    replaced.map(char::len_utf8).sum()
}

impl TextStream<'_> {
    /// Adds a token and returns the text that is now whole.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.codec.decode(&self.ids)?;
        let whole = text.len() - pending_bytes(&text);
        let new = text.get(self.given..whole).unwrap_or_default().to_owned();
        self.given = self.given.max(whole);
        if self.ids.len() > 2 * CONTEXT_TOKENS {
            self.ids.drain(..CONTEXT_TOKENS);
            let kept = self.codec.decode(&self.ids)?;
            self.given = kept.len() - pending_bytes(&kept);
        }
        Ok(new)
    }

    /// The text held back at the end, where the last character never became whole.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn finish(self) -> Result<String> {
        Ok(self.codec.decode(&self.ids)?.get(self.given..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::testing::bytes_codec;

    #[test]
    fn characters_of_several_tokens_are_streamed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let codec = bytes_codec(folder.path());
        let text = "a\u{4f60}\u{597d}\u{1f468} ".repeat(40);
        let mut stream = codec.stream();
        let pieces: Vec<String> = codec.encode(&text).unwrap().into_iter().map(|id| stream.push(id).unwrap()).collect();
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
        assert!(pieces.iter().filter(|piece| piece.is_empty()).count() >= 40 * 7);
    }

    #[test]
    fn a_character_that_never_ends_is_given_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let codec = bytes_codec(folder.path());
        let mut stream = codec.stream();
        assert_eq!(stream.push(0xe4).unwrap(), "");
        assert_eq!(stream.finish().unwrap(), "\u{fffd}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_stream_to_their_lossy_text(bytes in proptest::collection::vec(0u8.., 0..60)) {
            let folder = tempfile::tempdir().unwrap();
            let codec = bytes_codec(folder.path());
            let mut stream = codec.stream();
            let mut text = String::new();
            for byte in &bytes {
                text.push_str(&stream.push(u32::from(*byte)).unwrap());
            }
            text.push_str(&stream.finish().unwrap());
            proptest::prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        assert!(matches!(TextCodec::open(folder.path()), Err(Error::Tokenizer { .. })));
    }
}
