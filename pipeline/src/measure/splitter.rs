//! [`Splitter`]: how a text is split into words, with what that needs.

use std::path::Path;
use std::sync::Arc;

use schemas::config::{SpecialCharacters, Words};

use super::Error;
use super::classes::Classes;
use super::sentencepiece::SentencePiece;
use super::words;

/// Splits text into words.
#[derive(Debug, Clone, Default)]
pub struct Splitter {
    how: Words,
    /// Of words that are its pieces.
    model: Option<Arc<SentencePiece>>,
}

impl Splitter {
    /// Several splitters that share a SentencePiece model, each with the column it is for; and the hash of the model, where one of
    /// them needs it.
    ///
    /// # Errors
    /// [`Error::Needs`] where it is needed and not given; whatever is wrong with it.
    pub fn load<const N: usize>(
        uses: [(Words, &'static str); N],
        model: Option<&str>,
    ) -> Result<([Splitter; N], Option<String>), Error> {
        let column = uses.iter().find(|(how, _)| *how == Words::Sentencepiece).map(|(_, column)| *column);
        let Some(column) = column else {
            return Ok((uses.map(|(how, _)| Splitter { how, model: None }), None));
        };
        let path = model.ok_or(Error::Needs { column, key: "sentencepiece_model" })?;
        let (model, hash) = SentencePiece::load(Path::new(path))?;
        let model = Arc::new(model);
        let splitter = |(how, _)| Splitter { how, model: (how == Words::Sentencepiece).then(|| Arc::clone(&model)) };
        Ok((uses.map(splitter), Some(hash)))
    }

    /// Calls `each` with every word of a text, in order.
    pub fn each_word(&self, text: &str, each: &mut dyn FnMut(&str)) {
        match &self.model {
            Some(model) => model.each_piece(text, each),
            // Which special characters count makes no difference to words.
            None => words::each_word(text, self.how, Classes::get(SpecialCharacters::Compatible), each),
        }
    }
}
