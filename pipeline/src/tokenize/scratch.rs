//! [`Scratch`]: what one thread needs to encode, and a pool of them: what a thread remembers of one block of documents
//! is worth having for the next.

use std::sync::{Mutex, PoisonError};

use tokenizers::pipeline::PipelineToken;

use crate::bpe::Memo;

/// Working space of one thread; reusing it saves allocations and the work done before.
#[derive(Default)]
pub struct Scratch {
    tokens: Vec<PipelineToken>,
    /// Megabytes, so it is there only if our own engine encodes.
    memo: Option<Box<Memo>>,
}

impl Scratch {
    pub(super) fn tokens(&mut self) -> &mut Vec<PipelineToken> {
        &mut self.tokens
    }

    pub(super) fn memo(&mut self) -> &mut Memo {
        self.memo.get_or_insert_default()
    }
}

/// Scratches that nobody uses at the moment: at most as many as there were threads at once.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    /// Lends one to `work`.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = idle.unwrap_or_default();
        let result = work(&mut scratch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }
}
