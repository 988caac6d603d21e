//! `num_words`, `word_rep_ratio`, `flagged_words_ratio`: Data-Juicer's measures of refined words.
//!
//! A refined word is in lower case, with special characters stripped from both ends; what is empty then is none.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::classes::{CASED, Classes, SPECIAL};
use super::grams::{Frequencies, Grams, Rolling};
use super::splitter::Splitter;
use super::words::strip_class;

/// Words of a gram.
const N: usize = 10;

/// Measures of the words of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct WordStatistics {
    /// Words stripped of special characters, not lower-cased.
    pub words: u64,
    /// Occurrences of 10-grams that occur more than once over all occurrences.
    pub repetition: f64,
    /// Refined words of the list over refined words.
    pub flagged: f64,
}

/// The list of `flagged_words_ratio`.
#[derive(Debug, Clone, Default)]
pub(super) struct FlaggedWords {
    /// In lower case.
    pub words: HashSet<Box<str>>,
    /// Whether two neighbouring words are looked up joined, too.
    pub pairs: bool,
}

/// What a thread keeps from text to text.
#[derive(Debug, Default)]
pub(super) struct WordScratch {
    hashes: Vec<u64>,
    lower: String,
    pair: String,
}

/// Which of the measures are asked for, and how.
#[derive(Clone, Copy)]
pub(super) struct WordOptions<'a> {
    pub how: &'a Splitter,
    pub classes: &'a Classes,
    pub repetition: bool,
    pub flagged: Option<&'a FlaggedWords>,
}

/// Measures the words of a text.
pub(super) fn measure(
    text: &str,
    options: WordOptions<'_>,
    scratch: &mut WordScratch,
    grams: &mut Grams,
    frequencies: &mut Frequencies,
) -> WordStatistics {
    let classes = options.classes;
    let WordScratch { hashes, lower, pair } = scratch;
    hashes.clear();
    pair.clear();
    let (mut words, mut refined_words, mut found, mut looked_up) = (0_u64, 0_u64, 0_u64, 0_u64);
    options.how.each_word(text, &mut |word| {
        let stripped = strip_class(word, SPECIAL, classes);
        words += u64::from(!stripped.is_empty());
        let refined = refine(word, stripped, classes, lower);
        if refined.is_empty() {
            return;
        }
        refined_words += 1;
        if options.repetition {
            hashes.push(xxh3_64(refined.as_bytes()));
        }
        if let Some(flagged) = options.flagged {
            looked_up += 1;
            found += u64::from(flagged.words.contains(refined));
            if flagged.pairs {
                pair.push_str(refined);
                if refined_words > 1 {
                    looked_up += 1;
                    found += u64::from(flagged.words.contains(pair.as_str()));
                }
                pair.clear();
                pair.push_str(refined);
            }
        }
    });
    let share = if looked_up == 0 { 0.0 } else { found as f64 / looked_up as f64 };
    WordStatistics { words, repetition: repetition(hashes, grams, frequencies), flagged: share }
}

/// Lower case first, then stripping: some special characters are special in one case alone.
fn refine<'a>(word: &str, stripped: &'a str, classes: &Classes, lower: &'a mut String) -> &'a str {
    if !word.chars().any(|c| classes.of(c) & CASED != 0) {
        return stripped;
    }
    lower.clear();
    if stripped.is_ascii() && word.is_ascii() {
        lower.push_str(stripped);
        lower.make_ascii_lowercase();
        return lower;
    }
    lower.push_str(&word.to_lowercase());
    strip_class(lower, SPECIAL, classes)
}

fn repetition(hashes: &[u64], grams: &mut Grams, frequencies: &mut Frequencies) -> f64 {
    let Some(total) = hashes.len().checked_sub(N - 1).filter(|total| *total > 0) else { return 0.0 };
    let each = |add: &mut dyn FnMut(u64)| {
        let mut rolling = Rolling::<N>::new();
        hashes.iter().filter_map(|hash| rolling.push(*hash)).for_each(add);
    };
    grams.count(total, each, frequencies);
    frequencies.top(usize::MAX) as f64 / total as f64
}

#[cfg(test)]
mod tests {
    use schemas::config::SpecialCharacters;

    use super::*;

    fn of(text: &str, list: &[&str], pairs: bool) -> WordStatistics {
        let flagged = FlaggedWords { words: list.iter().map(|word| Box::from(*word)).collect(), pairs };
        let classes = Classes::get(SpecialCharacters::Compatible);
        let options = WordOptions { how: &Splitter::default(), classes, repetition: true, flagged: Some(&flagged) };
        measure(text, options, &mut WordScratch::default(), &mut Grams::default(), &mut Frequencies::default())
    }

    #[test]
    fn words_of_nothing_but_marks_and_digits_do_not_count() {
        assert_eq!(of("42 -- (a) b1 «»", &[], false).words, 2);
    }

    #[test]
    fn repetition_ignores_case_and_marks_around_words() {
        let once = "one two three four five six seven eight nine ten";
        assert_eq!(of(once, &[], false).repetition, 0.0);
        let twice = format!("{once} {}", once.to_uppercase().replace(' ', ", "));
        // 11 grams: the first and the last are equal, the 9 between them are different.
        assert_eq!(of(&twice, &[], false).repetition, 2.0 / 11.0);
    }

    #[test]
    fn flagged_words_are_found_in_lower_case_and_as_pairs() {
        assert_eq!(of("Bad, good fine fine", &["bad"], false).flagged, 0.25);
        assert_eq!(of("坏 人 好", &["坏人"], true).flagged, 1.0 / 5.0);
        assert_eq!(of("", &["bad"], false).flagged, 0.0);
    }
}
