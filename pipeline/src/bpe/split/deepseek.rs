//! DeepSeek's words: three expressions, each applied to the pieces of the one before: `\p{N}{1,3}`,
//! `[一-龥぀-ゟ゠-ヿ]+`, and
//! ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``.

use super::super::classes::{Classes, LETTER, MARK, NUMBER, SIGN, decode};
use super::space::Run;
use super::{Scanner, is_space, newlines, run_of_at_most};

/// Scanner of the three. It is made anew for each text.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeepSeek {
    /// Where the piece ends that the first two expressions left whole.
    piece_end: usize,
}

impl Scanner for DeepSeek {
    #[inline]
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let (class, length) = classes.at(text, start);
        if class & NUMBER != 0 {
            return run_of_at_most(classes, text, start + length, NUMBER, 2);
        }
        if start >= self.piece_end {
            self.piece_end = piece_end(classes, text, start);
        }
        let piece = text.get(..self.piece_end).unwrap_or(text);
        word(classes, piece, start).unwrap_or_else(|| gap(classes, piece, start))
    }
}

/// The next digit, or the next change between Chinese or Japanese and other text.
fn piece_end(classes: &Classes, text: &[u8], start: usize) -> usize {
    let chinese = is_chinese(text, start);
    let mut end = start;
    loop {
        let (class, length) = classes.at(text, end);
        if length == 0 || class & NUMBER != 0 || is_chinese(text, end) != chinese {
            return end;
        }
        end += length;
    }
}

fn is_chinese(text: &[u8], start: usize) -> bool {
    matches!(decode(text, start).0, 0x4e00..=0x9fa5 | 0x3040..=0x30ff)
}

/// The end of what the last expression matches at `start`.
fn word(classes: &Classes, text: &[u8], start: usize) -> Option<usize> {
    const LETTERS: u8 = LETTER | MARK;
    let (class, length) = classes.at(text, start);
    let next = start + length;
    if text.get(start).is_some_and(u8::is_ascii_punctuation) && text.get(next).is_some_and(u8::is_ascii_alphabetic) {
        let letters = text.get(next..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_alphabetic());
        return Some(next + letters.count());
    }
    let optional = class & (LETTER | SIGN) == 0 && !matches!(text.get(start), Some(b'\r' | b'\n'));
    let (next_class, next_length) = classes.at(text, next);
    if optional && next_class & LETTERS != 0 {
        return Some(classes.letters(text, next + next_length, LETTERS));
    }
    if class & LETTERS != 0 {
        return Some(classes.letters(text, next, LETTERS));
    }
    let from = start + usize::from(text.get(start) == Some(&b' '));
    let (sign, sign_length) = classes.at(text, from);
    if sign & SIGN != 0 {
        return Some(newlines(text, classes.run(text, from + sign_length, SIGN), false));
    }
    is_space(class).then(|| {
        let run = Run::at(classes, text, start);
        run.newline_end.unwrap_or_else(|| run.before_word(text, start))
    })
}

/// The end of the characters that nothing matches.
fn gap(classes: &Classes, text: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        end += classes.at(text, end).1.max(1);
        if end >= text.len() || word(classes, text, end).is_some() {
            return end.min(text.len());
        }
    }
}
