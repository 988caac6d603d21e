//! The statistics of Gopher's filters (Rae et al. 2021, table A1 and section A.1), as datatrove computes them.
//!
//! Traps of that implementation that are kept: an n-gram that "occurred before" is compared by its words joined without
//! spaces, and the search goes on behind it; the most frequent n-gram is the first of its frequency, and counts even
//! if it occurs once; an empty line at both ends of a text is a duplicate line.

use xxhash_rust::xxh3::xxh3_64;

use super::classes::{Classes, LETTER, PUNCTUATION};
use super::grams::{Grams, mix};
use super::lines::{between_line_feeds, python_lines};
use super::splitter::Splitter;
use super::words::strip;

const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// Lengths, in words, of the n-grams of which the most frequent counts.
pub(super) const TOP_NGRAMS: [usize; 3] = [2, 3, 4];
/// Lengths, in words, of the n-grams that count when they occurred before.
pub(super) const DUP_NGRAMS: [usize; 6] = [5, 6, 7, 8, 9, 10];

/// How much of a list occurred before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Duplicates {
    /// Share of elements.
    pub elements: f64,
    /// Characters of these elements.
    pub chars: u64,
}

/// Gopher's quality statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Quality {
    pub words: u64,
    pub all_words: u64,
    pub mean_word_length: f64,
    pub hash_ratio: f64,
    pub ellipsis_ratio: f64,
    pub bullet_lines: f64,
    pub ellipsis_lines: f64,
    pub alpha_words: f64,
    pub stop_words: u64,
}

/// Gopher's repetition statistics: shares of the characters of the text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Repetition {
    pub paragraphs: Duplicates,
    pub lines: Duplicates,
    pub top: [u64; TOP_NGRAMS.len()],
    pub dup: [u64; DUP_NGRAMS.len()],
}

/// A word, as far as n-grams need it.
#[derive(Debug, Clone, Copy)]
struct Word {
    hash: u64,
    chars: u32,
}

/// The words of a text, kept from text to text.
#[derive(Debug, Default)]
pub(super) struct GopherScratch {
    words: Vec<Word>,
    /// Before each word, and at the end: the sum over all bytes of byte x BASE^position.
    sums: Vec<u64>,
    /// Before each word: BASE^-position.
    inverses: Vec<u64>,
}

const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// BASE x INVERSE = 1 modulo 2^64.
const INVERSE: u64 = inverse(BASE);

/// Newton's iteration: each step doubles the number of right bits.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// Code points of a text.
pub(super) fn chars(text: &str) -> u64 {
    text.bytes().filter(|byte| (*byte as i8) >= -0x40).count() as u64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Which elements of a list occurred before.
pub(super) fn duplicates<'a>(elements: impl Iterator<Item = &'a str>, count: usize, grams: &mut Grams) -> Duplicates {
    grams.start(count);
    let (mut total, mut repeated, mut repeated_chars) = (0, 0, 0);
    for element in elements {
        total += 1;
        if grams.add(mix(xxh3_64(element.as_bytes()))) > 1 {
            repeated += 1;
            repeated_chars += chars(element);
        }
    }
    Duplicates { elements: share(repeated, total), chars: repeated_chars }
}

impl GopherScratch {
    /// Splits a text into words and computes the quality statistics.
    pub fn quality(&mut self, text: &str, how: &Splitter, classes: &Classes) -> Quality {
        self.words.clear();
        self.sums.clear();
        self.inverses.clear();
        let mut seen = [false; STOP_WORDS.len()];
        let (mut solid, mut solid_chars, mut alpha) = (0, 0, 0);
        let (mut sum, mut power, mut inverse_power) = (0_u64, 1_u64, 1_u64);
        how.each_word(text, &mut |word| {
            self.sums.push(sum);
            self.inverses.push(inverse_power);
            for byte in word.bytes() {
                sum = sum.wrapping_add(power.wrapping_mul(u64::from(byte) + 1));
                power = power.wrapping_mul(BASE);
                inverse_power = inverse_power.wrapping_mul(INVERSE);
            }
            let kinds = kinds_of(word, classes);
            solid += u64::from(kinds.solid);
            solid_chars += if kinds.solid { u64::from(kinds.chars) } else { 0 };
            alpha += u64::from(kinds.letter);
            self.words.push(Word { hash: xxh3_64(word.as_bytes()), chars: kinds.chars });
            STOP_WORDS.iter().zip(&mut seen).for_each(|(stop, seen)| *seen |= *stop == word);
        });
        self.sums.push(sum);
        let all_words = self.words.len() as u64;
        let (bullet_lines, ellipsis_lines) = line_shares(text, classes);
        Quality {
            words: solid,
            all_words,
            mean_word_length: share(solid_chars, solid),
            hash_ratio: share(text.matches('#').count() as u64, all_words),
            ellipsis_ratio: share((text.matches("...").count() + text.matches('…').count()) as u64, all_words),
            bullet_lines,
            ellipsis_lines,
            alpha_words: share(alpha, all_words),
            stop_words: seen.iter().filter(|seen| **seen).count() as u64,
        }
    }

    /// The repetition statistics of the text that was split last.
    pub fn repetition(&self, text: &str, classes: &Classes, grams: &mut Grams) -> Repetition {
        let line_feeds = memchr::memchr_iter(b'\n', text.as_bytes()).count();
        let paragraphs = duplicates(between_line_feeds(strip(text, classes), 2), line_feeds + 1, grams);
        let lines = duplicates(between_line_feeds(text, 1), line_feeds + 1, grams);
        let top = TOP_NGRAMS.map(|n| self.top(n, grams));
        let dup = DUP_NGRAMS.map(|n| self.dup(n, grams));
        Repetition { paragraphs, lines, top, dup }
    }

    fn gram_hash(&self, at: usize, n: usize) -> u64 {
        let words = self.words.get(at..at + n).unwrap_or_default();
        mix(words.iter().fold(0_u64, |hash, word| hash.wrapping_mul(BASE).wrapping_add(word.hash)))
    }

    /// Characters of the most frequent n-gram, spaces between its words included, times its frequency.
    fn top(&self, n: usize, grams: &mut Grams) -> u64 {
        let Some(last) = self.words.len().checked_sub(n) else { return 0 };
        grams.start(last + 1);
        let most = (0..=last).map(|at| grams.add(self.gram_hash(at, n))).max().unwrap_or_default();
        let first = (0..=last).find(|at| grams.occurrences(self.gram_hash(*at, n)) == most).unwrap_or_default();
        (self.chars_of(first, n) + n as u64 - 1) * u64::from(most)
    }

    /// Characters of n-grams that occurred before; those found do not overlap.
    fn dup(&self, n: usize, grams: &mut Grams) -> u64 {
        let Some(last) = self.words.len().checked_sub(n) else { return 0 };
        grams.start(last + 1);
        let (mut at, mut repeated) = (0, 0);
        while at <= last {
            if grams.add(self.joined_hash(at, n)) > 1 {
                repeated += self.chars_of(at, n);
                at += n;
            } else {
                at += 1;
            }
        }
        repeated
    }

    fn chars_of(&self, at: usize, n: usize) -> u64 {
        self.words.get(at..at + n).unwrap_or_default().iter().map(|word| u64::from(word.chars)).sum()
    }

    /// Hash of the bytes of n words without what stands between them.
    fn joined_hash(&self, at: usize, n: usize) -> u64 {
        let sum = |at: usize| self.sums.get(at).copied().unwrap_or_default();
        let inverse = self.inverses.get(at).copied().unwrap_or_default();
        mix(sum(at + n).wrapping_sub(sum(at)).wrapping_mul(inverse))
    }

    /// Gives memory back that only an unusually long document needed.
    pub fn shrink(&mut self) {
        const WORDS_MAX: usize = 1 << 18;
        if self.words.capacity() > WORDS_MAX {
            *self = GopherScratch::default();
        }
    }
}

struct Kinds {
    chars: u32,
    solid: bool,
    letter: bool,
}

fn kinds_of(word: &str, classes: &Classes) -> Kinds {
    let mut kinds = Kinds { chars: 0, solid: false, letter: false };
    let mut rest = word.as_bytes();
    loop {
        let (_, class, len) = classes.next(rest);
        if len == 0 {
            return kinds;
        }
        rest = rest.get(len..).unwrap_or_default();
        kinds.chars += 1;
        kinds.solid |= class & PUNCTUATION == 0;
        kinds.letter |= class & LETTER != 0;
    }
}

/// Shares of lines that start with a bullet, and that end with an ellipsis.
fn line_shares(text: &str, classes: &Classes) -> (f64, f64) {
    let (mut lines, mut bullets, mut ellipses) = (0, 0, 0);
    for line in python_lines(text) {
        let line = strip(line, classes);
        lines += 1;
        bullets += u64::from(line.starts_with(['•', '-']));
        ellipses += u64::from(line.ends_with("...") || line.ends_with('…'));
    }
    (share(bullets, lines), share(ellipses, lines))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::collections::HashSet;

    use proptest::prelude::*;
    use schemas::config::SpecialCharacters;

    use super::*;

    fn classes() -> &'static Classes {
        Classes::get(SpecialCharacters::Compatible)
    }

    /// The definitions, word for word.
    fn brute_top(words: &[&str], n: usize) -> u64 {
        let grams: Vec<String> = words.windows(n).map(|gram| gram.join(" ")).collect();
        let mut counts: HashMap<&String, u64> = HashMap::new();
        grams.iter().for_each(|gram| *counts.entry(gram).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or_default();
        grams.iter().find(|gram| counts.get(gram) == Some(&most)).map_or(0, |gram| chars(gram) * most)
    }

    fn brute_dup(words: &[&str], n: usize) -> u64 {
        let (mut seen, mut repeated, mut at) = (HashSet::new(), 0, 0);
        while at + n <= words.len() {
            let gram = words[at..at + n].concat();
            if seen.contains(&gram) {
                repeated += chars(&gram);
                at += n;
            } else {
                seen.insert(gram);
                at += 1;
            }
        }
        repeated
    }

    proptest! {
        #[test]
        fn ngram_shares_are_those_of_the_definition(text in "[ab中]{0,3}( [ab中]{1,2}){0,60}") {
            let mut scratch = GopherScratch::default();
            let mut grams = Grams::default();
            scratch.quality(&text, &Splitter::default(), classes());
            let found = scratch.repetition(&text, classes(), &mut grams);
            let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(found.top, TOP_NGRAMS.map(|n| brute_top(&words, n)));
            prop_assert_eq!(found.dup, DUP_NGRAMS.map(|n| brute_dup(&words, n)));
        }
    }

    #[test]
    fn an_empty_line_at_both_ends_is_a_duplicate() {
        let found = duplicates(between_line_feeds("\na\n", 1), 3, &mut Grams::default());
        assert_eq!(found, Duplicates { elements: 1.0 / 3.0, chars: 0 });
    }

    #[test]
    fn quality_counts_what_the_paper_names() {
        let text = "- the end ...\n• of # and …\nplain words";
        let quality = GopherScratch::default().quality(text, &Splitter::default(), classes());
        assert_eq!((quality.words, quality.all_words, quality.stop_words), (7, 11, 3));
        assert_eq!((quality.bullet_lines, quality.ellipsis_lines), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((quality.hash_ratio, quality.ellipsis_ratio), (1.0 / 11.0, 2.0 / 11.0));
    }

    #[test]
    fn a_gram_that_joins_to_the_same_text_occurred_before() {
        // "a bc" and "ab c" are different words and the same text.
        let mut scratch = GopherScratch::default();
        scratch.quality("a bc d e f x ab c d e f", &Splitter::default(), classes());
        assert_eq!(scratch.dup(5, &mut Grams::default()), 6);
    }
}
