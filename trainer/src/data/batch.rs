//! A micro-batch: windows of tokens, each seen as inputs and as targets one place later.

use std::sync::Arc;

use crate::error::{Error, Result};

/// `sequences` windows of `positions` inputs and targets each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Input ids `[B, T]`, flat.
    pub inputs: Arc<[u32]>,
    /// For each input, the id that follows it.
    pub targets: Arc<[u32]>,
    /// `B`.
    pub sequences: usize,
    /// `T`.
    pub positions: usize,
}

impl Batch {
    /// A batch of windows of `positions + 1` tokens, given back to back.
    ///
    /// # Errors
    /// Where `tokens` are not `sequences` such windows.
    pub fn from_windows(tokens: &[u32], sequences: usize, positions: usize) -> Result<Batch> {
        if sequences == 0 || positions == 0 || tokens.len() != sequences * (positions + 1) {
            let problem = format!("{} tokens are not {sequences} windows of {positions} + 1", tokens.len());
            return Err(Error::Config { field: "batch", problem });
        }
        let of =
            |skip: usize| tokens.chunks_exact(positions + 1).flat_map(move |w| &w[skip..skip + positions]).copied();
        Ok(Batch { inputs: of(0).collect(), targets: of(1).collect(), sequences, positions })
    }

    /// Tokens predicted.
    pub fn tokens(&self) -> u64 {
        self.targets.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_inputs_one_place_later() {
        let batch = Batch::from_windows(&[1, 2, 3, 4, 5, 6, 7, 8], 2, 3).unwrap();
        assert_eq!((&*batch.inputs, &*batch.targets), (&[1, 2, 3, 5, 6, 7][..], &[2, 3, 4, 6, 7, 8][..]));
        assert_eq!(batch.tokens(), 6);
    }

    #[test]
    fn a_partial_window_is_an_error() {
        assert!(Batch::from_windows(&[1, 2, 3, 4, 5], 2, 2).is_err());
    }
}
