//! Tokens that were added to a vocabulary: found in text before anything else happens to it.

use super::classes::{Classes, SPACE, classes};

/// A token that is matched as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// What it is called.
    pub content: String,
    /// Whether white space on its left is part of a match.
    pub lstrip: bool,
    /// Whether white space on its right is part of a match.
    pub rstrip: bool,
    /// Whether it is matched in text as the vocabulary spells it.
    pub normalized: bool,
    /// Whether it is passed over where special tokens are ordinary text.
    pub special: bool,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Text between added tokens, never empty.
    Text(usize, usize),
    /// An added token.
    Token(u32),
}

/// Finds added tokens: the leftmost first, of those at one place the longest.
pub struct Matcher {
    /// By first byte: indices of patterns, the longest first.
    by_first: Vec<Vec<usize>>,
    /// The only first byte, if there is one.
    only_first: Option<u8>,
    patterns: Vec<Pattern>,
}

struct Pattern {
    spelled: Vec<u8>,
    id: u32,
    lstrip: bool,
    rstrip: bool,
    /// A match is passed over: it makes no token, and nothing else is found inside.
    passed_over: bool,
}

impl Matcher {
    /// A matcher of `(spelled, id, token)`; with `special_as_text`, special tokens make no match. None: two are spelled
    /// alike.
    pub fn new(tokens: Vec<(Vec<u8>, u32, AddedToken)>, special_as_text: bool) -> Option<Matcher> {
        let pattern = |(spelled, id, token): (Vec<u8>, u32, AddedToken)| Pattern {
            spelled,
            id,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            passed_over: special_as_text && token.special,
        };
        let mut patterns: Vec<Pattern> = tokens.into_iter().map(pattern).collect();
        patterns.sort_by(|a, b| b.spelled.len().cmp(&a.spelled.len()).then_with(|| a.spelled.cmp(&b.spelled)));
        if patterns.windows(2).any(|pair| pair.first().map(|p| &p.spelled) == pair.last().map(|p| &p.spelled)) {
            return None;
        }
        if patterns.iter().all(|pattern| pattern.passed_over) {
            patterns.clear();
        }
        let mut by_first = vec![Vec::new(); 256];
        for (at, pattern) in patterns.iter().enumerate() {
            let first = pattern.spelled.first().and_then(|byte| by_first.get_mut(usize::from(*byte)));
            first?.push(at);
        }
        let mut firsts =
            (0..=255).filter(|byte: &u8| by_first.get(usize::from(*byte)).is_some_and(|at| !at.is_empty()));
        let only_first = firsts.next().filter(|_| firsts.next().is_none());
        Some(Matcher { by_first, only_first, patterns })
    }

    /// Whether nothing is ever found.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Calls `each` with the parts of a text, in order.
    pub fn split(&self, text: &[u8], mut each: impl FnMut(Part)) {
        let (mut done, mut from) = (0, 0);
        while let Some((start, pattern)) = self.find(text, from) {
            from = start + pattern.spelled.len();
            if pattern.passed_over {
                continue;
            }
            let start = if pattern.lstrip { spaces_before(classes(), text, start).max(done) } else { start };
            if done < start {
                each(Part::Text(done, start));
            }
            each(Part::Token(pattern.id));
            done = if pattern.rstrip { classes().run(text, from, SPACE) } else { from };
        }
        if done < text.len() {
            each(Part::Text(done, text.len()));
        }
    }

    fn find(&self, text: &[u8], from: usize) -> Option<(usize, &Pattern)> {
        let mut at = from;
        loop {
            at += self.candidate(text.get(at..)?)?;
            let rest = text.get(at..)?;
            let mut here =
                self.by_first.get(usize::from(*rest.first()?))?.iter().filter_map(|at| self.patterns.get(*at));
            if let Some(pattern) = here.find(|pattern| rest.starts_with(&pattern.spelled)) {
                return Some((at, pattern));
            }
            at += 1;
        }
    }

    /// The next byte with which a pattern begins.
    fn candidate(&self, text: &[u8]) -> Option<usize> {
        match self.only_first {
            Some(byte) => memchr::memchr(byte, text),
            None => text.iter().position(|byte| self.by_first.get(usize::from(*byte)).is_some_and(|at| !at.is_empty())),
        }
    }
}

/// Where the white space that ends at `end` begins.
fn spaces_before(classes: &Classes, text: &[u8], end: usize) -> usize {
    let mut start = end;
    loop {
        let before = text.get(..start).unwrap_or_default();
        let Some(begin) = before.iter().rposition(|byte| byte & 0xc0 != 0x80) else { return start };
        if classes.at(before, begin).0 & SPACE == 0 {
            return start;
        }
        start = begin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(content: &str, special: bool) -> AddedToken {
        AddedToken { content: content.to_owned(), lstrip: false, rstrip: false, normalized: false, special }
    }

    fn parts(tokens: Vec<AddedToken>, special_as_text: bool, text: &str) -> Vec<Part> {
        let tokens = (0..).zip(tokens).map(|(id, token)| (token.content.clone().into_bytes(), id, token)).collect();
        let mut parts = Vec::new();
        Matcher::new(tokens, special_as_text).unwrap().split(text.as_bytes(), |part| parts.push(part));
        parts
    }

    #[test]
    fn the_longest_of_the_leftmost_is_found() {
        let tokens = || vec![token("<a", false), token("<a>", false), token("a>b", false)];
        assert_eq!(
            parts(tokens(), true, "x<a>b<a"),
            [Part::Text(0, 1), Part::Token(1), Part::Text(4, 5), Part::Token(0)]
        );
        assert_eq!(parts(tokens(), true, ""), []);
    }

    #[test]
    fn a_special_token_that_is_text_hides_what_it_overlaps() {
        let tokens = vec![token("<s>", true), token("s>x", false), token("y", false)];
        assert_eq!(parts(tokens.clone(), true, "<s>xy"), [Part::Text(0, 4), Part::Token(2)]);
        assert_eq!(parts(tokens, false, "<s>xy"), [Part::Token(0), Part::Text(3, 4), Part::Token(2)]);
    }

    #[test]
    fn a_token_takes_the_white_space_it_strips() {
        let strips = AddedToken { lstrip: true, rstrip: true, ..token("@", false) };
        assert_eq!(
            parts(vec![strips], true, "a \u{3000}@\n @ b"),
            [Part::Text(0, 1), Part::Token(0), Part::Token(0), Part::Text(10, 11)]
        );
    }

    #[test]
    fn two_tokens_spelled_alike_are_refused() {
        let alike = || (b"x".to_vec(), 0, token("x", false));
        assert!(Matcher::new(vec![alike(), alike()], true).is_none());
    }
}
