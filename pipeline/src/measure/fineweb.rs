//! The statistics of FineWeb's filter (Penedo et al. 2024), as datatrove computes them.

use super::classes::{Classes, SPACE, TERMINAL};
use super::gopher::{chars, duplicates};
use super::grams::Grams;

/// Longest line that is short, in code points.
const SHORT_LINE_CHARS_MAX: u64 = 30;

/// FineWeb's statistics of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Fineweb {
    pub lines: u64,
    pub punctuated: f64,
    pub short: f64,
    pub duplicate_chars: f64,
    pub line_feeds: u64,
}

/// Measures a text.
pub(super) fn measure(text: &str, classes: &Classes, grams: &mut Grams) -> Fineweb {
    let (mut lines, mut punctuated, mut short) = (0_u64, 0_u64, 0_u64);
    for line in filled_lines(text, classes) {
        lines += 1;
        punctuated += u64::from(line.chars().next_back().is_some_and(|c| classes.of(c) & TERMINAL != 0));
        short += u64::from(chars(line) <= SHORT_LINE_CHARS_MAX);
    }
    if lines == 0 {
        return Fineweb { line_feeds: line_feeds(text), ..Fineweb::default() };
    }
    let line_feeds = line_feeds(text);
    let repeated = duplicates(filled_lines(text, classes), lines as usize, grams).chars;
    Fineweb {
        lines,
        punctuated: punctuated as f64 / lines as f64,
        short: short as f64 / lines as f64,
        duplicate_chars: repeated as f64 / (chars(text) - line_feeds) as f64,
        line_feeds,
    }
}

fn line_feeds(text: &str) -> u64 {
    memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64
}

fn filled_lines<'a>(text: &'a str, classes: &Classes) -> impl Iterator<Item = &'a str> {
    text.split('\n').filter(|line| line.chars().any(|c| classes.of(c) & SPACE == 0))
}

#[cfg(test)]
mod tests {
    use schemas::config::SpecialCharacters;

    use super::*;

    fn of(text: &str) -> Fineweb {
        measure(text, Classes::get(SpecialCharacters::Compatible), &mut Grams::default())
    }

    #[test]
    fn blank_lines_do_not_count_and_an_ellipsis_ends_no_line() {
        let found = of("One.\n \n长句子。\nopen\nOne.\nwait…");
        assert_eq!((found.lines, found.line_feeds), (5, 5));
        assert_eq!((found.punctuated, found.short), (3.0 / 5.0, 1.0));
        assert_eq!(found.duplicate_chars, 4.0 / 22.0);
    }

    #[test]
    fn a_blank_text_has_no_lines() {
        assert_eq!(of("\n\n"), Fineweb { line_feeds: 2, ..Fineweb::default() });
    }
}
