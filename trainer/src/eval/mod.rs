//! What a model makes of texts: the probability of every token, summed over whatever groups of documents are asked for.
//!
//! A document is read from its start, in pieces of at most the model's positions. [`score`] gives each token's
//! log-probability, [`Tally`] sums them to loss, perplexity and bits a byte.

mod documents;
mod rows;
mod score;
mod tally;

pub use documents::{Document, Documents};
pub use rows::{DocumentRow, column, describe};
pub use score::{Piece, log_probability, pieces, score};
pub use tally::{Groups, Tally};

use crate::error::Result;
use crate::generate::TextCodec;
use crate::model::LanguageModel;

/// Pieces gathered before they are scored together, so that those of like length share a batch.
const GATHERED_PIECES: usize = 256;

/// A model, ready to judge documents.
pub struct Evaluator<'a> {
    model: &'a dyn LanguageModel,
    codec: Option<&'a TextCodec>,
    stride: usize,
}

impl<'a> Evaluator<'a> {
    /// With `stride` new tokens a piece: the model's positions to read each token once, fewer to give each more context.
    /// Bytes are counted with `codec`.
    pub fn new(model: &'a dyn LanguageModel, codec: Option<&'a TextCodec>, stride: Option<usize>) -> Evaluator<'a> {
        let positions = model.config().max_position_embeddings;
        Evaluator { model, codec, stride: stride.unwrap_or(positions).clamp(1, positions) }
    }

    /// Adds every document to the tally of its group.
    ///
    /// # Errors
    /// Where a document cannot be read, or has an id beyond the model's vocabulary.
    pub fn judge(&self, documents: impl Iterator<Item = Result<Document>>, groups: &mut Groups) -> Result<()> {
        let positions = self.model.config().max_position_embeddings;
        let (mut gathered, mut of) = (Vec::new(), Vec::new());
        for document in documents {
            let document = document?;
            let tally = groups.entry(&document.group);
            tally.documents += 1;
            if let Some(codec) = self.codec {
                tally.bytes += codec.decode(&document.tokens)?.len() as u64;
            }
            for piece in pieces(&document.tokens, positions, self.stride) {
                gathered.push(piece);
                of.push(document.group.clone());
            }
            if gathered.len() >= GATHERED_PIECES {
                self.add(&mut gathered, &mut of, groups)?;
            }
        }
        self.add(&mut gathered, &mut of, groups)
    }

    fn add(&self, gathered: &mut Vec<Piece>, of: &mut Vec<String>, groups: &mut Groups) -> Result<()> {
        for (group, scores) in of.drain(..).zip(score(self.model, gathered)?) {
            groups.entry(&group).add(&scores);
        }
        gathered.clear();
        Ok(())
    }
}
