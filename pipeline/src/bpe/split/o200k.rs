//! The words of GPT-4o, which begin anew where a capital follows a small letter:
//! `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?` and the
//! same with `+` and `*` the other way round, then
//! `\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`.

use super::super::classes::{CASELESS, Classes, LETTER, LOWER, MARK, NUMBER, OTHER, SIGN, UPPER};
use super::space::Run;
use super::{Scanner, contraction_any_case, is_space, newlines, run_of_at_most};

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const HEAD: u8 = UPPER | CASELESS | MARK;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const TAIL: u8 = LOWER | CASELESS | MARK;

/// Scanner of that expression and of its kin.
#[derive(Debug, Clone, Copy)]
pub struct O200k {
    /// Most digits in one piece: GPT-4o takes 3, Mistral's Tekken 1.
    pub digits_max: usize,
    /// Whether a word takes a contraction behind it; Tekken's do not.
    pub contractions: bool,
}

impl Scanner for O200k {
    #[inline(always)]
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let (class, length) = classes.at(text, start);
        if class & NUMBER != 0 {
            return run_of_at_most(classes, text, start + length, NUMBER, self.digits_max - 1);
        }
        let prefix = class & LETTER == 0 && !matches!(text.get(start), Some(b'\r' | b'\n'));
        let behind = start + length;
        let word = prefix.then(|| with_tail(classes, text, behind)).flatten();
        let word = word.or_else(|| with_tail(classes, text, start));
        let word = word.or_else(|| prefix.then(|| head_only(classes, text, behind)).flatten());
        match word.or_else(|| head_only(classes, text, start)) {
            Some(end) if self.contractions => contraction_behind(text, end),
            Some(end) => end,
            None => signs(classes, text, start),
        }
    }
}

/// The end of `HEAD*TAIL+` at `start`.
#[inline(always)]
fn with_tail(classes: &Classes, text: &[u8], start: usize) -> Option<usize> {
    let (mut end, mut last_both) = (start, None);
    loop {
        let (class, length) = classes.at(text, end);
        if class & HEAD == 0 {
            break;
        }
        end += length;
        if class & TAIL != 0 {
            last_both = Some(end);
        }
    }
    let (class, length) = classes.at(text, end);
    if class & TAIL == 0 {
        return last_both;
    }
    Some(classes.run(text, end + length, TAIL))
}

/// The end of `HEAD+TAIL*` at `start`, where no `HEAD*TAIL+` is.
#[inline(always)]
fn head_only(classes: &Classes, text: &[u8], start: usize) -> Option<usize> {
    let end = classes.run(text, start, HEAD);
    (end > start).then_some(end)
}

#[inline(always)]
fn contraction_behind(text: &[u8], end: usize) -> usize {
    if text.get(end) != Some(&b'\'') {
        return end;
    }
    contraction_any_case(text, end).unwrap_or(end)
}

#[inline(always)]
fn signs(classes: &Classes, text: &[u8], start: usize) -> usize {
    const SIGNS: u8 = SIGN | OTHER | MARK;
    let from = start + usize::from(text.get(start) == Some(&b' '));
    let (class, length) = classes.at(text, from);
    if class & SIGNS != 0 {
        return newlines(text, classes.run(text, from + length, SIGNS), true);
    }
    let (class, length) = classes.at(text, start);
    if !is_space(class) {
        return start + length.max(1);
    }
    let run = Run::at(classes, text, start);
    run.newline_end.unwrap_or_else(|| run.before_word(text, start))
}
