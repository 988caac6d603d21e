//! The log-probability a model gives each token.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::Result;
use crate::model::LanguageModel;

/// Logits of a batch, at most: 128 MiB of float32.
const BATCH_LOGITS_MAX: usize = 32 << 20;
/// Sequences of a batch, at most.
const BATCH_SEQUENCES_MAX: usize = 64;

/// Consecutive tokens of which those from `scored_from` on are judged; the ones before are context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// At most one more than the model's positions.
    pub tokens: Vec<u32>,
    /// At least 1: the first token has no context.
    pub scored_from: usize,
}

impl Piece {
    /// Inputs of the model: all tokens but the last.
    fn inputs(&self) -> &[u32] {
        self.tokens.split_last().map_or(&[], |(_, inputs)| inputs)
    }
}

/// Pieces of `positions + 1` tokens, `stride` apart, that judge every token but the first once.
pub fn pieces(tokens: &[u32], positions: usize, stride: usize) -> Vec<Piece> {
    let (mut found, mut start, mut judged) = (Vec::new(), 0, 1);
    while judged < tokens.len() {
        let end = tokens.len().min(start + positions + 1);
        found.push(Piece { tokens: tokens[start..end].to_vec(), scored_from: judged - start });
        judged = end;
        // A stride that is no multiple of what is left still has to reach the first token not judged.
        start = (start + stride.max(1)).min(end.saturating_sub(1));
    }
    found
}

/// For each piece the log-probability, natural, of its tokens from `scored_from` on.
///
/// # Errors
/// Where a piece is longer than the model's positions, or an id is beyond its vocabulary.
pub fn score(model: &dyn LanguageModel, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    // Those of like length together: shorter ones are filled up to the longest of their batch.
    order.sort_by_key(|&index| std::cmp::Reverse(pieces[index].tokens.len()));
    let mut scores = vec![Vec::new(); pieces.len()];
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let positions = pieces[longest].inputs().len();
        let logits = positions.max(1) * model.config().vocab_size;
        let count = (BATCH_LOGITS_MAX / logits).clamp(1, BATCH_SEQUENCES_MAX).min(rest.len());
        let (batch, later) = rest.split_at(count);
        for (&index, found) in batch.iter().zip(score_batch(model, pieces, batch, positions)?) {
            scores[index] = found;
        }
        rest = later;
    }
    Ok(scores)
}

fn score_batch(
    model: &dyn LanguageModel,
    pieces: &[Piece],
    batch: &[usize],
    positions: usize,
) -> Result<Vec<Vec<f32>>> {
    if positions == 0 {
        return Ok(vec![Vec::new(); batch.len()]);
    }
    let mut ids = vec![0; batch.len() * positions];
    for (row, &index) in ids.chunks_exact_mut(positions).zip(batch) {
        // What fills a row up comes after its tokens, where attention does not look.
        let inputs = pieces[index].inputs();
        row[..inputs.len()].copy_from_slice(inputs);
    }
    let ids: Arc<[u32]> = ids.into();
    let logits = model.logits(&ids, batch.len(), None)?.flatten_all()?.to_vec1::<f32>()?;
    let vocabulary = model.config().vocab_size;
    let rows = logits.par_chunks_exact(positions * vocabulary).zip(batch);
    Ok(rows.map(|(logits_TV, &index)| targets(logits_TV, vocabulary, &pieces[index])).collect())
}

fn targets(logits_TV: &[f32], vocabulary: usize, piece: &Piece) -> Vec<f32> {
    let judged = piece.tokens.iter().enumerate().skip(piece.scored_from.max(1));
    judged.map(|(at, &id)| log_probability(&logits_TV[(at - 1) * vocabulary..at * vocabulary], id)).collect()
}

/// The logarithm of softmax at `id`, summed in float64.
pub fn log_probability(logits: &[f32], id: u32) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
    let logit = logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    (f64::from(logit - highest) - sum.ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Batch;
    use crate::generate::testing::model;

    #[test]
    fn every_token_but_the_first_is_judged_once_whatever_the_stride() {
        for length in 0..30u32 {
            let tokens: Vec<u32> = (0..length).collect();
            for stride in 1..=6 {
                let mut judged: Vec<u32> = Vec::new();
                for piece in pieces(&tokens, 6, stride) {
                    assert!(piece.tokens.len() <= 7 && piece.scored_from >= 1);
                    judged.extend(&piece.tokens[piece.scored_from..]);
                }
                assert_eq!(judged, (1..length.max(1)).collect::<Vec<u32>>(), "{length} {stride}");
            }
        }
    }

    #[test]
    fn a_smaller_stride_gives_more_context() {
        let tokens: Vec<u32> = (0..13).collect();
        assert!(pieces(&tokens, 6, 6)[1..].iter().all(|piece| piece.scored_from == 1));
        assert!(pieces(&tokens, 6, 3)[1..].iter().all(|piece| piece.scored_from == 4));
    }

    #[test]
    fn the_mean_is_the_loss_of_training() {
        let model = model(None);
        let tokens: Vec<u32> = (0..18u32).map(|i| i * 7 % 20).collect();
        let batch = Batch::from_windows(&tokens, 2, 8).unwrap();
        let loss = model.loss(&batch, false).unwrap().to_scalar::<f32>().unwrap();
        let windows: Vec<Piece> =
            tokens.chunks(9).map(|window| Piece { tokens: window.to_vec(), scored_from: 1 }).collect();
        let scores: Vec<f32> = score(&model, &windows).unwrap().concat();
        assert!((loss + scores.iter().sum::<f32>() / 16.0).abs() < 1e-5);
    }

    #[test]
    fn a_piece_is_scored_the_same_alone_and_among_longer_ones() {
        let model = model(None);
        let piece = |length: u32| Piece { tokens: (0..length).map(|i| i * 3 % 20).collect(), scored_from: 1 };
        let together = score(&model, &[piece(3), piece(12), piece(1), piece(7)]).unwrap();
        assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [2, 11, 0, 6]);
        for (length, scores) in [3, 12, 1, 7].into_iter().zip(&together) {
            let alone = score(&model, &[piece(length)]).unwrap().concat();
            crate::ops::testing::assert_close("scores", scores, &alone, 1e-5);
        }
    }

    #[test]
    fn probabilities_sum_to_one() {
        let logits = [100.0, -3.0, 99.0, 0.5];
        let sum: f32 = (0..4).map(|id| log_probability(&logits, id).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
