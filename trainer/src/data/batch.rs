//! A micro-batch: windows of tokens, each seen as inputs and as targets one place later.

use std::sync::Arc;

use crate::error::{Error, Result};

/// The target of a position that does not count: padding, and the last token of a packed document.
pub const IGNORED: u32 = u32::MAX;

/// `sequences` windows of `positions` inputs and targets each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Input ids `[B, T]`, flat.
    pub inputs: Arc<[u32]>,
    /// For each input, the id that follows it, or [`IGNORED`].
    pub targets: Arc<[u32]>,
    /// `B`.
    pub sequences: usize,
    /// `T`.
    pub positions: usize,
    /// Number of each sequence's sample in the run, `[B]`: what dropout is keyed by.
    pub samples: Arc<[u64]>,
    /// For each input, the place in its sequence of its document's first input, `[B, T]`: attention does not look
    /// before it and positions count from it. `None` where documents are not masked.
    pub starts: Option<Arc<[u32]>>,
}

impl Batch {
    /// A batch of windows of `positions + 1` tokens, given back to back, with samples 0, 1, ..
    ///
    /// # Errors
    /// Where `tokens` are not `sequences` such windows.
    pub fn from_windows(tokens: &[u32], sequences: usize, positions: usize) -> Result<Batch> {
        if sequences == 0 || positions == 0 || tokens.len() != sequences * (positions + 1) {
            let problem = format!("{} tokens are not {sequences} windows of {positions} + 1", tokens.len());
            return Err(Error::Config { field: "batch", problem });
        }
        let of = |skip: usize| {
            let mut ids = Vec::with_capacity(sequences * positions);
            tokens
                .chunks_exact(positions + 1)
                .for_each(|window| ids.extend_from_slice(&window[skip..skip + positions]));
            ids.into()
        };
        let samples = (0..sequences as u64).collect();
        Ok(Batch { inputs: of(0), targets: of(1), sequences, positions, samples, starts: None })
    }

    /// Targets that count.
    pub fn tokens(&self) -> u64 {
        self.targets.iter().filter(|id| **id != IGNORED).count() as u64
    }

    /// The share of targets that count: what its mean loss weighs among micro-batches of one shape.
    pub fn weight(&self) -> f64 {
        self.tokens() as f64 / self.targets.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_inputs_one_place_later() {
        let batch = Batch::from_windows(&[1, 2, 3, 4, 5, 6, 7, 8], 2, 3).unwrap();
        assert_eq!((&*batch.inputs, &*batch.targets), (&[1, 2, 3, 5, 6, 7][..], &[2, 3, 4, 6, 7, 8][..]));
        assert_eq!((batch.tokens(), batch.weight()), (6, 1.0));
    }

    #[test]
    fn ignored_targets_do_not_count() {
        let batch = Batch::from_windows(&[1, 2, 3, 4, 5], 1, 4).unwrap();
        let batch = Batch { targets: vec![2, IGNORED, 4, IGNORED].into(), ..batch };
        assert_eq!((batch.tokens(), batch.weight()), (2, 0.5));
    }

    #[test]
    fn a_partial_window_is_an_error() {
        assert!(Batch::from_windows(&[1, 2, 3, 4, 5], 2, 2).is_err());
    }
}
