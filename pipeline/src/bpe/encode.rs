//! From a piece of text to the ids that merging gives it.
//!
//! The search takes the longest token, then the longest behind it that may follow, and so on; where none may follow, it
//! goes back. Only one sequence of tokens leads to each place, so a place that led nowhere is never entered again, and
//! the work is linear in the text whatever it is.

use super::memo::{Key, Memo};
use super::model::Model;
use super::trie::{Match, NONE};

impl Model {
    /// Appends the ids of `text[start..end]`, one piece, remembered if it is short.
    #[inline(always)]
    pub fn encode_piece(&self, text: &[u8], start: usize, end: usize, memo: &mut Memo, out: &mut Vec<u32>) {
        let key = Key::of(text, start, end);
        if let Some(key) = key
            && memo.recall(key, out)
        {
            return;
        }
        let before = out.len();
        let piece = text.get(start..end).unwrap_or_default();
        match self.whole(piece) {
            Some(id) => out.push(id),
            None => self.encode_anew(piece, memo, out),
        }
        if let Some(key) = key {
            memo.remember(key, out.get(before..).unwrap_or_default());
        }
    }

    /// Remembers pieces that are one token, those of low ids longest: they are the most frequent.
    pub fn remember_tokens(&self, memo: &mut Memo) {
        for id in (0..self.size()).rev() {
            let bytes = self.bytes(id);
            let made = self.match_of(id).length() > 0 || self.whole(bytes) == Some(id);
            if let Some(key) = Key::of(bytes, 0, bytes.len()).filter(|_| made) {
                memo.remember(key, &[id]);
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
