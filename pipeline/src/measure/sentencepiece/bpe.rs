//! Byte pair encoding by scores: of two neighbours that together are a piece, those of the highest score are merged
//! first, the leftmost of equal ones.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::{Kind, Part, SentencePiece, first_len};

#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0 where it was merged into the one before.
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// A user-defined piece: it is never merged.
    is_frozen: bool,
}

#[derive(Debug, PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Merging<'a> {
    model: &'a SentencePiece,
    text: &'a str,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// Of pieces that are unused: the length of the left part they were merged from.
    halves: HashMap<&'a str, usize>,
}

pub(super) fn segment<'a>(model: &'a SentencePiece, text: &'a str) -> Vec<Part<'a>> {
    let mut merging = Merging { model, text, symbols: Vec::new(), agenda: BinaryHeap::new(), halves: HashMap::new() };
    merging.split();
    (1..merging.symbols.len()).for_each(|right| merging.add(Some(right - 1), Some(right)));
    while let Some(pair) = merging.agenda.pop() {
        merging.merge(&pair);
    }
    let mut parts = Vec::new();
    let mut index = merging.symbols.first().map(|_| 0);
    while let Some(symbol) = index.and_then(|index| merging.symbols.get(index)) {
        merging.resegment(merging.text_of(symbol), &mut parts);
        index = symbol.next;
    }
    parts
}

impl<'a> Merging<'a> {
    fn split(&mut self) {
        let mut start = 0;
        while let Some(rest) = self.text.get(start..).filter(|rest| !rest.is_empty()) {
            let frozen = self.model.user_defined(rest);
            let len = frozen.unwrap_or_else(|| first_len(rest));
            let index = self.symbols.len();
            let next = (start + len < self.text.len()).then_some(index + 1);
            let previous = index.checked_sub(1);
            self.symbols.push(Symbol { start, len, previous, next, is_frozen: frozen.is_some() });
            start += len;
        }
    }

    fn text_of(&self, symbol: &Symbol) -> &'a str {
        self.text.get(symbol.start..symbol.start + symbol.len).unwrap_or_default()
    }

    fn add(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (Some(a), Some(b)) = (self.symbols.get(left), self.symbols.get(right)) else { return };
        if a.is_frozen || b.is_frozen {
            return;
        }
        let len = a.len + b.len;
        let joined = self.text.get(a.start..a.start + len).unwrap_or_default();
        let Some(piece) = self.model.piece(joined) else { return };
        self.agenda.push(Pair { score: piece.score, left, right, len });
        if piece.kind == Kind::Unused {
            self.halves.insert(joined, a.len);
        }
    }

    fn merge(&mut self, pair: &Pair) {
        let (Some(left), Some(right)) = (self.symbols.get(pair.left).copied(), self.symbols.get(pair.right).copied())
        else {
            return;
        };
        if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
            return;
        }
        if let Some(symbol) = self.symbols.get_mut(pair.left) {
            (symbol.len, symbol.next) = (pair.len, right.next);
        }
        if let Some(symbol) = self.symbols.get_mut(pair.right) {
            symbol.len = 0;
        }
        if let Some(next) = right.next.and_then(|next| self.symbols.get_mut(next)) {
            next.previous = Some(pair.left);
        }
        self.add(left.previous, Some(pair.left));
        self.add(Some(pair.left), right.next);
    }

    /// Takes pieces that are unused apart again.
    fn resegment(&self, text: &'a str, parts: &mut Vec<Part<'a>>) {
        let piece = self.model.piece(text);
        let half = piece.filter(|piece| piece.kind == Kind::Unused).and_then(|_| self.halves.get(text));
        match half.and_then(|half| text.split_at_checked(*half)) {
            Some((left, right)) => {
                self.resegment(left, parts);
                self.resegment(right, parts);
            }
            None => parts.push(Part { text, known: piece.is_some() }),
        }
    }
}
