//! The most probable segmentation under a unigram model: Viterbi over ends of pieces.

use super::{Kind, Part, SentencePiece, first_len};

/// How much less than the least score a character gets that no piece stands for.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The best path that ends at a byte.
#[derive(Debug, Clone, Copy, Default)]
struct Best {
    score: f32,
    start: Option<usize>,
    known: bool,
}

pub(super) fn segment<'a>(model: &SentencePiece, text: &'a str) -> Vec<Part<'a>> {
    let mut best = vec![Best::default(); text.len() + 1];
    let mut start = 0;
    while start < text.len() {
        let rest = text.get(start..).unwrap_or_default();
        let so_far = best.get(start).map_or(0.0, |best| best.score);
        let single = first_len(rest);
        let mut has_single = false;
        for len in 1..=rest.len().min(model.longest) {
            let Some(piece) = rest.get(..len).and_then(|piece| model.piece(piece)) else { continue };
            if piece.kind == Kind::Unused {
                continue;
            }
            let score = match piece.kind {
                Kind::UserDefined => len as f32 * model.max_score - 0.1,
                _ => piece.score,
            };
            offer(&mut best, start, len, score + so_far, true);
            has_single |= len == single;
        }
        if !has_single {
            let score = model.min_score - UNKNOWN_PENALTY + so_far;
            offer(&mut best, start, single, score, false);
        }
        start += single;
    }
    let mut parts = Vec::new();
    let mut end = text.len();
    while let Some((start, known)) = best.get(end).and_then(|best| Some((best.start?, best.known))) {
        parts.push(Part { text: text.get(start..end).unwrap_or_default(), known });
        end = start;
    }
    parts.reverse();
    parts
}

fn offer(best: &mut [Best], start: usize, len: usize, score: f32, known: bool) {
    if let Some(best) = best.get_mut(start + len)
        && (best.start.is_none() || score > best.score)
    {
        *best = Best { score, start: Some(start), known };
    }
}
