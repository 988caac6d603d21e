//! From a piece of text to the ids that merging gives it.
//!
//! The search takes the longest token, then the longest behind it that may follow, and so on; where none may follow, it
//! goes back. Only one sequence of tokens leads to each place, so a place that led nowhere is never entered again, and
//! the work is linear in the text whatever it is.

use super::classes::{code_point_of_3, decode};
use super::memo::{AHEAD, Memo, Piece};
use super::model::Model;
use super::trie::{Match, NONE};

/// Tokens that are remembered before the first text: more of them take longer than finding them when they are met.
const REMEMBERED_AT_FIRST: u32 = 1 << 14;

/// Bytes of a Chinese character, and of most others from U+0800 on.
const CHAR_BYTES: usize = 3;
/// The least first byte of such a character, and of the few longer ones.
const LEAD_OF_3: u8 = 0xe0;

impl Model {
    /// Appends the ids of a piece of `text`, and remembers them if it is short.
    #[inline(always)]
    pub fn encode_piece(&self, text: &[u8], piece: Piece, memo: &mut Memo, out: &mut Vec<u32>) {
        if !memo.recall(piece, out) {
            self.encode_unknown(text, piece, memo, out);
        }
    }

    #[inline(never)]
    fn encode_unknown(&self, text: &[u8], piece: Piece, memo: &mut Memo, out: &mut Vec<u32>) {
        let bytes = text.get(piece.start..piece.end).unwrap_or_default();
        let before = out.len();
        if bytes.first().is_some_and(|first| *first >= LEAD_OF_3) {
            // Chinese and its like: its parts are remembered, which occur again more often than it does.
            match self.whole(bytes) {
                Some(id) => out.push(id),
                None => self.encode_links(text, piece, memo, out),
            }
            memo.remember(piece, out.get(before..).unwrap_or_default());
            return;
        }
        if memo.recall_far(piece, out) || memo.recall_long(bytes, out) {
            return;
        }
        match self.token_of(piece.key.bits()).or_else(|| self.whole(bytes)) {
            Some(id) => out.push(id),
            None => self.encode_links(text, piece, memo, out),
        }
        let ids = out.get(before..).unwrap_or_default();
        if !memo.remember(piece, ids) {
            memo.remember_long(bytes, ids);
        }
    }

    /// Cuts a piece at the borders that lie inside no token, which are most of those between Chinese characters, and
    /// appends the ids of the parts.
    fn encode_links(&self, text: &[u8], piece: Piece, memo: &mut Memo, out: &mut Vec<u32>) {
        let until_end = text.get(..piece.end).unwrap_or_default();
        let (mut start, mut ahead) = (piece.start, [Piece::default(); AHEAD]);
        while start < piece.end {
            let mut found = 0;
            for part in &mut ahead {
                if start >= piece.end {
                    break;
                }
                let end = self.link_end(until_end, start);
                *part = self.part(text, start, end, memo);
                (start, found) = (end, found + 1);
            }
            for part in ahead.iter().take(found) {
                self.encode_part(text, *part, memo, out);
            }
        }
    }

    /// A part of a piece. Single characters have a table of their own, and no key.
    #[inline(always)]
    fn part(&self, text: &[u8], start: usize, end: usize, memo: &Memo) -> Piece {
        if end - start == CHAR_BYTES {
            return Piece::without_key(start, end);
        }
        let part = Piece::new(text, start, end);
        let part = if self.has_whole() { part.with_key(part.key.marked()) } else { part };
        memo.prefetch(part);
        part
    }

    /// The end of the part that begins at `start`: the next border that lies inside no token.
    #[inline(always)]
    fn link_end(&self, text: &[u8], start: usize) -> usize {
        let mut at = start;
        while at < text.len() {
            let length = decode(text, at).1;
            at += length;
            if length == CHAR_BYTES && self.never_merges(text, at) {
                break;
            }
        }
        at
    }

    #[inline(always)]
    fn encode_part(&self, text: &[u8], part: Piece, memo: &mut Memo, out: &mut Vec<u32>) {
        let bytes = text.get(part.start..part.end).unwrap_or_default();
        if let [a @ 0xe0..=0xef, b, c] = bytes {
            let code_point = code_point_of_3(*a, *b, *c);
            if !memo.recall_char(code_point, out) {
                let before = out.len();
                self.encode_anew(bytes, memo, out);
                memo.remember_char(code_point, out.get(before..).unwrap_or_default());
            }
        } else if !memo.recall(part, out) {
            let before = out.len();
            match self.token_of(part.key.unmarked().bits()) {
                Some(id) => out.push(id),
                None => self.encode_anew(bytes, memo, out),
            }
            memo.remember(part, out.get(before..).unwrap_or_default());
        }
    }

    /// Remembers pieces that are one token, the first of the vocabulary, which are the most frequent.
    pub fn remember_tokens(&self, memo: &mut Memo) {
        for id in 0..self.size().min(REMEMBERED_AT_FIRST) {
            let bytes = self.bytes(id);
            if self.is_made(id) || self.whole(bytes) == Some(id) {
                memo.remember(Piece::new(bytes, 0, bytes.len()), &[id]);
            }
        }
    }

    /// Appends the ids of a piece.
    pub fn encode_anew(&self, piece: &[u8], memo: &mut Memo, out: &mut Vec<u32>) {
        let base = out.len();
        let (mut at, mut last, mut went_back) = (0, NONE, false);
        let mut found = self.longest_at(piece, 0);
        while at < piece.len() {
            let (token, end) = (found.token(), at + found.length());
            let blocked = end == at || went_back && memo.is_dead_end(end);
            let mut may_follow = || {
                last == NONE
                    || self.never_merges(piece, at)
                    || memo.may_follow(last, token, || self.may_follow(last, token))
            };
            if !blocked && may_follow() {
                out.push(token);
                (at, last) = (end, token);
                found = self.longest_at(piece, at);
                continue;
            }
            found = self.prefix_of(token);
            if found != Match::NONE {
                continue;
            }
            if !went_back {
                memo.clear_dead_ends(piece.len());
                went_back = true;
            }
            memo.mark_dead_end(at);
            // The place before is where the sequence is one token shorter; it is tried with a shorter last token.
            let Some(dropped) = (out.len() > base).then(|| out.pop()).flatten() else { return };
            found = self.match_of(dropped);
            at -= found.length();
            last = if out.len() > base { out.last().copied().unwrap_or(NONE) } else { NONE };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Entry, Unit};
    use super::super::testing::Random;
    use super::*;

    /// A vocabulary over few bytes with random merges: of ranks that ascend, or of any.
    fn random_model(random: &mut Random, shuffled: bool) -> Model {
        let mut words: Vec<Vec<u8>> = (b'a'..=b'd').map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for _ in 0..random.below(30) {
            let (left, right) = (random.below(words.len()), random.below(words.len()));
            let made = [words[left].clone(), words[right].clone()].concat();
            let at = words.iter().position(|word| *word == made).unwrap_or(words.len());
            if at == words.len() {
                words.push(made);
            }
            merges.push((left as u32, right as u32, at as u32));
        }
        if shuffled {
            for at in (1..merges.len()).rev() {
                merges.swap(at, random.below(at + 1));
            }
        }
        let entries = (0..).zip(words).map(|(id, bytes)| Entry { id, bytes }).collect();
        Model::new(Unit::Byte, entries, &merges, false).unwrap()
    }

    #[test]
    fn the_search_finds_what_merging_finds_with_any_merges() {
        let mut odd = 0;
        for seed in 0..4_000 {
            let mut random = Random::new(seed);
            let model = random_model(&mut random, seed % 2 == 1);
            odd += model.not_ascending();
            let mut memo = Memo::default();
            for _ in 0..20 {
                let letters = 1 + random.below(4);
                let text: Vec<u8> = (0..random.below(24)).map(|_| b'a' + random.below(letters) as u8).collect();
                let mut found = Vec::new();
                model.encode_anew(&text, &mut memo, &mut found);
                assert_eq!(found, model.encode_by_merging(&text).unwrap(), "seed {seed}, {text:?}");
            }
        }
        assert!(odd > 1_000, "{odd} tokens of merges that do not ascend");
    }
}
