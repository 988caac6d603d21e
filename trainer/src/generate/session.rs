//! One context and its cache of keys and values, fed token by token, and what happens where the positions end.

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::model::{KvCache, LanguageModel};

/// What becomes of a context that is longer than the model's positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// A longer prompt is an error, and text ends where the positions end.
    #[default]
    Refuse,
    /// The model goes on with the last half of the positions, read anew.
    Window,
}

/// A context under way.
pub struct Session<'m> {
    model: &'m dyn LanguageModel,
    cache: KvCache,
    context: Vec<u32>,
    overflow: Overflow,
}

fn row(logits_BTV: &Tensor, position: usize) -> Result<Vec<f32>> {
    Ok(logits_BTV.narrow(1, position, 1)?.flatten_all()?.to_vec1::<f32>()?)
}

impl<'m> Session<'m> {
    /// An empty context.
    pub fn new(model: &'m dyn LanguageModel, overflow: Overflow) -> Session<'m> {
        let cache = KvCache::new(model.config().num_hidden_layers);
        Session { model, cache, context: Vec::new(), overflow }
    }

    /// The model.
    pub fn model(&self) -> &'m dyn LanguageModel {
        self.model
    }

    /// The tokens fed so far.
    pub fn context(&self) -> &[u32] {
        &self.context
    }

    /// Positions of the model.
    fn positions(&self) -> usize {
        self.model.config().max_position_embeddings
    }

    /// Whether another token can be fed.
    pub fn has_room(&self) -> bool {
        self.overflow == Overflow::Window || self.cache.positions() < self.positions()
    }

    /// Adds tokens to the context; returns the logits `[V]` after the last.
    ///
    /// # Errors
    /// Where there is no token, an id is beyond the vocabulary, or the context is too long and must not be cut.
    pub fn feed(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            return Err(Error::Config { field: "prompt", problem: "has no token".to_owned() });
        }
        let (positions, held) = (self.positions(), self.cache.positions());
        self.context.extend_from_slice(ids);
        if held + ids.len() <= positions {
            return self.read(ids.into());
        }
        if self.overflow == Overflow::Refuse {
            return Err(Error::PromptTooLong { tokens: held + ids.len(), positions });
        }
        self.cache = KvCache::new(self.model.config().num_hidden_layers);
        let kept = self.context.len() - self.context.len().min(positions.div_ceil(2));
        self.read(self.context[kept..].into())
    }

    /// As [`Session::feed`], but returns the logits after every token, `[T, V]` flat; the context is never cut.
    ///
    /// # Errors
    /// As [`Session::feed`], whatever [`Overflow`] says.
    pub fn feed_all(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        let (positions, tokens) = (self.positions(), self.cache.positions() + ids.len());
        if tokens > positions {
            return Err(Error::PromptTooLong { tokens, positions });
        }
        self.context.extend_from_slice(ids);
        Ok(self.model.logits(&ids.into(), 1, Some(&mut self.cache))?.flatten_all()?.to_vec1::<f32>()?)
    }

    fn read(&mut self, ids: Arc<[u32]>) -> Result<Vec<f32>> {
        row(&self.model.logits(&ids, 1, Some(&mut self.cache))?, ids.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::testing::model;
    use crate::ops::testing::assert_close;

    fn logits_of(model: &dyn LanguageModel, ids: &[u32]) -> Vec<f32> {
        row(&model.logits(&ids.into(), 1, None).unwrap(), ids.len() - 1).unwrap()
    }

    #[test]
    fn prefill_then_token_by_token_gives_the_logits_of_the_whole_context() {
        let model = model(None);
        let ids = [3, 7, 1, 9, 2, 2, 5, 8];
        let mut session = Session::new(&model, Overflow::Refuse);
        for range in [0..3, 3..4, 4..5, 5..6, 6..8] {
            let fed = session.feed(&ids[range.clone()]).unwrap();
            assert_close("logits", &fed, &logits_of(&model, &ids[..range.end]), 1e-5);
        }
        assert_eq!(session.context(), ids);
    }

    #[test]
    fn a_window_goes_on_with_the_last_half_of_the_positions() {
        let model = model(None);
        let ids: Vec<u32> = (0..13).collect();
        let mut session = Session::new(&model, Overflow::Window);
        session.feed(&ids[..12]).unwrap();
        let thirteenth = session.feed(&ids[12..]).unwrap();
        assert_close("logits", &thirteenth, &logits_of(&model, &ids[7..]), 1e-5);
        let mut at_once = Session::new(&model, Overflow::Window);
        assert_close("logits", &at_once.feed(&ids).unwrap(), &thirteenth, 1e-5);
    }

    #[test]
    fn a_context_that_is_too_long_or_empty_is_refused() {
        let model = model(None);
        let feed = |count| Session::new(&model, Overflow::Refuse).feed(&vec![1; count]);
        assert!(matches!(feed(13), Err(Error::PromptTooLong { tokens: 13, positions: 12 })));
        assert!(matches!(feed(0), Err(Error::Config { field: "prompt", .. })));
    }
}
