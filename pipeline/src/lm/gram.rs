//! [`Gram`]: an n-gram with one number, and the two orders in which n-grams are sorted.

use std::cmp::Ordering;

/// Most words of an n-gram: what KenLM's programs are compiled for.
pub const ORDER_MAX: usize = 6;

/// An n-gram, its newest word first; places it does not use hold 0, which is no word that occurs in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Gram {
    pub words: [u32; ORDER_MAX],
    /// A count, or two 32-bit floats.
    pub value: u64,
}

impl Gram {
    /// A probability and the weight of what shorter n-grams say, as the value of an n-gram.
    pub fn with_shares(words: [u32; ORDER_MAX], probability: f32, weight: f32) -> Gram {
        Gram { words, value: u64::from(probability.to_bits()) << 32 | u64::from(weight.to_bits()) }
    }

    /// The probability and the weight.
    pub fn shares(&self) -> (f32, f32) {
        (f32::from_bits((self.value >> 32) as u32), f32::from_bits(self.value as u32))
    }

    /// The words before the newest.
    pub fn context(&self) -> [u32; ORDER_MAX] {
        let mut context = self.words;
        context.rotate_left(1);
        if let Some(last) = context.last_mut() {
            *last = 0;
        }
        context
    }
}

/// How many words two n-grams have in common, from the newest on.
pub(super) fn common(a: &[u32; ORDER_MAX], b: &[u32; ORDER_MAX]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The words of an n-gram but for the oldest ones beyond `order`.
pub(super) fn shortened(words: &[u32; ORDER_MAX], order: usize) -> [u32; ORDER_MAX] {
    let mut short = *words;
    short.iter_mut().skip(order).for_each(|word| *word = 0);
    short
}

/// In which order n-grams are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// By the newest word, then by older ones: n-grams that end alike stand together.
    Suffix,
    /// By the words before the newest, from the last of them on; then by the newest: n-grams that begin alike stand
    /// together, and these beginnings are sorted by suffix.
    Context,
}

impl By {
    pub fn compare(self, a: &Gram, b: &Gram) -> Ordering {
        match (self, a.words.split_first(), b.words.split_first()) {
            (By::Context, Some((a, a_context)), Some((b, b_context))) => a_context.cmp(b_context).then(a.cmp(b)),
            _ => a.words.cmp(&b.words),
        }
    }
}
