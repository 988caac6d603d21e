//! Passages: pieces of documents that the corpus holds once, or a few times: lines, paragraphs, or runs of n units.
//!
//! A passage is told by the 64-bit hash of its text. Lines and paragraphs are compared without the white space around
//! them, and those of fewer than `chars_min` code points are not looked at. Runs of units (`substring`) overlap: every
//! place where one begins is a passage, and what the runs to be cut cover is cut, from the first byte of a unit to the
//! last of another, so cuts fall between characters and between words. That is exact substring deduplication (Lee et al.
//! 2022) with hashes sorted outside memory in place of a suffix array.

use std::ops::Range;

use schemas::config::{PassageUnit, Passages};
use xxhash_rust::xxh3::xxh3_64;

use super::shingles::Shingler;
use super::units::scan;
use crate::error::Error;

const NGRAM_MIN: u32 = 8;
const NGRAM_MAX: u32 = 1_000;

/// The `[passages]` section, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What a passage is.
    pub unit: PassageUnit,
    /// Copies that stay: the first ones.
    pub copies: u32,
    /// A passage of more copies than that goes everywhere.
    pub everywhere: Option<u32>,
    chars_min: usize,
    ngram: usize,
}

impl Settings {
    /// Checks the section; None where no passages are looked for.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub fn from_config(config: &Passages) -> Result<Option<Settings>, Error> {
        let Passages { unit, copies, everywhere, chars_min, ngram } = *config;
        if unit == PassageUnit::None {
            return Ok(None);
        }
        if copies == 0 {
            let hint = "--passage-everywhere N cuts every copy of what stands more than N times";
            return Err(Error::usage("--passage-copies", "expected at least 1, found 0", hint));
        }
        if everywhere.is_some_and(|everywhere| everywhere < copies) {
            return Err(Error::usage(
                "--passage-everywhere",
                format!("expected at least the {copies} copies that stay"),
                "",
            ));
        }
        if !(NGRAM_MIN..=NGRAM_MAX).contains(&ngram) {
            let detail = format!("expected {NGRAM_MIN} to {NGRAM_MAX} units, found {ngram}");
            return Err(Error::usage("--passage-units", detail, ""));
        }
        Ok(Some(Settings { unit, copies, everywhere, chars_min: chars_min as usize, ngram: ngram as usize }))
    }

    /// Under which name the report counts what was cut.
    pub fn step(&self) -> &'static str {
        match self.unit {
            PassageUnit::None => "",
            PassageUnit::Line => "repeated_lines",
            PassageUnit::Paragraph => "repeated_paragraphs",
            PassageUnit::Substring => "repeated_substrings",
        }
    }

    /// Whether the copy with this number, from 0, of a passage goes.
    pub fn goes(&self, copy: u32, copies: u32) -> bool {
        copy >= self.copies || self.everywhere.is_some_and(|everywhere| copies > everywhere)
    }
}

/// Finds passages; keeps its buffers between texts.
#[derive(Debug)]
pub struct Finder {
    settings: Settings,
    shingler: Shingler,
}

impl Finder {
    /// With these settings.
    pub fn new(settings: Settings) -> Finder {
        Finder { settings, shingler: Shingler::new(settings.ngram) }
    }

    /// Calls `each` with the hash and the number of every passage that is looked at. Returns how many numbers there are.
    pub fn passages(&mut self, text: &str, mut each: impl FnMut(u64, u32)) -> u32 {
        if self.settings.unit == PassageUnit::Substring {
            let mut units = 0;
            scan(text, |_, _| units += 1);
            if units < self.settings.ngram {
                return 0;
            }
            let runs = self.shingler.runs(text);
            (0..).zip(runs).for_each(|(number, run)| each(*run, number));
            return runs.len() as u32;
        }
        let pieces = self.pieces(text);
        for (number, piece) in (0..).zip(&pieces) {
            let trimmed = text.get(piece.clone()).unwrap_or_default().trim();
            if trimmed.chars().nth(self.settings.chars_min.saturating_sub(1)).is_some() {
                each(xxh3_64(trimmed.as_bytes()), number);
            }
        }
        pieces.len() as u32
    }

    /// What is left of a text without some of its passages, and how many places were cut.
    pub fn cut(&self, text: &str, gone: impl Fn(u32) -> bool) -> (String, u64) {
        let pieces = match self.settings.unit {
            PassageUnit::Substring => self.covered(text, gone),
            _ => (0..).zip(self.pieces(text)).filter(|(number, _)| gone(*number)).map(|(_, piece)| piece).collect(),
        };
        let (mut left, mut next, mut places) = (String::with_capacity(text.len()), 0, 0);
        for piece in pieces {
            places += u64::from(piece.start != next || places == 0);
            left.push_str(text.get(next..piece.start).unwrap_or_default());
            next = piece.end;
        }
        left.push_str(text.get(next..).unwrap_or_default());
        if left.trim().is_empty() {
            left.clear();
        }
        (left, places)
    }

    /// Lines or paragraphs, each with the line ends behind it.
    fn pieces(&self, text: &str) -> Vec<Range<usize>> {
        let mut pieces: Vec<Range<usize>> = Vec::new();
        let (mut start, mut is_blank_before) = (0, false);
        for line in text.split_inclusive('\n') {
            let end = start + line.len();
            let is_blank = line.trim().is_empty();
            let goes_on = match self.settings.unit {
                PassageUnit::Paragraph => is_blank || !is_blank_before,
                _ => false,
            };
            match pieces.last_mut().filter(|_| goes_on) {
                Some(piece) => piece.end = end,
                None => pieces.push(start..end),
            }
            (start, is_blank_before) = (end, is_blank);
        }
        pieces
    }

    /// The bytes that the runs to be cut cover.
    fn covered(&self, text: &str, gone: impl Fn(u32) -> bool) -> Vec<Range<usize>> {
        let mut units = Vec::new();
        scan(text, |_, bytes| units.push(bytes));
        let runs = (units.len() + 1).saturating_sub(self.settings.ngram);
        let mut covered: Vec<Range<usize>> = Vec::new();
        for run in (0..runs).filter(|run| gone(*run as u32)) {
            let (Some(first), Some(last)) = (units.get(run), units.get(run + self.settings.ngram - 1)) else {
                continue;
            };
            match covered.last_mut().filter(|open| open.end >= first.start) {
                Some(open) => open.end = last.end,
                None => covered.push(first.start..last.end),
            }
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(unit: PassageUnit) -> Finder {
        let config = Passages { unit, chars_min: 3, ngram: 8, ..Passages::default() };
        Finder::new(Settings::from_config(&config).unwrap().unwrap())
    }

    fn numbers(unit: PassageUnit, text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        finder(unit).passages(text, |_, number| found.push(number));
        found
    }

    #[test]
    fn short_lines_are_numbered_but_not_looked_at() {
        assert_eq!(numbers(PassageUnit::Line, "one\n\n}\r\ntwo  \n三个字"), [0, 3, 4]);
        assert_eq!(finder(PassageUnit::Line).passages("a\nb\n", |_, _| ()), 2);
    }

    #[test]
    fn paragraphs_end_at_blank_lines_and_take_those_with_them() {
        let text = "one\ntwo\n\n \nthree\n\nfour";
        assert_eq!(numbers(PassageUnit::Paragraph, text), [0, 1, 2]);
        assert_eq!(
            finder(PassageUnit::Paragraph).cut(text, |number| number == 1),
            ("one\ntwo\n\n \nfour".to_owned(), 1)
        );
    }

    #[test]
    fn lines_that_follow_each_other_are_cut_in_one_place_and_nothing_visible_is_nothing() {
        let finder = finder(PassageUnit::Line);
        assert_eq!(finder.cut("a\nb\nc\nd", |number| number == 1 || number == 2), ("a\nd".to_owned(), 1));
        assert_eq!(finder.cut("a\nb\nc\nd", |number| number % 2 == 0), ("b\nd".to_owned(), 2));
        assert_eq!(finder.cut("a\n\n", |number| number == 0), (String::new(), 1));
    }

    #[test]
    fn runs_are_cut_from_unit_to_unit() {
        let finder = finder(PassageUnit::Substring);
        let text = "a (b c d e 河 水 g) h, i; j";
        assert_eq!(finder.cut(text, |run| run == 1), ("a (, i; j".to_owned(), 1));
        assert_eq!(finder.cut(text, |run| run <= 1), (", i; j".to_owned(), 1));
        assert_eq!(numbers(PassageUnit::Substring, "a b c"), [0_u32; 0]);
    }
}
