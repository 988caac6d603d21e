//! The words of GPT-4, Llama 3 and Qwen:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.

use super::super::classes::{Classes, LETTER, MARK, NUMBER, OTHER, SIGN};
use super::ascii::{Masks, WINDOW, before, begins, behind, contractions};
use super::space::Run;
use super::{Scanner, contraction_any_case, is_space, newlines, run_of_at_most};

/// Scanner of that expression and of its kin.
#[derive(Debug, Clone, Copy)]
pub struct Cl100k {
    /// Most digits in one piece: GPT-4 and Llama 3 take 3, Qwen 1.
    pub digits_max: usize,
    /// Whether marks count as letters, as in Qwen's newer expression.
    pub marks: bool,
}

impl Scanner for Cl100k {
    #[inline(always)]
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let letter = if self.marks { LETTER | MARK } else { LETTER };
        let first = text.get(start).copied();
        if let Some(end) = Classes::ascii_word(text, start + usize::from(first == Some(b' '))) {
            return end;
        }
        if first == Some(b'\'')
            && let Some(end) = contraction_any_case(text, start)
        {
            return end;
        }
        let (class, length) = classes.at(text, start);
        if class & letter != 0 {
            return classes.letters(text, start + length, letter);
        }
        if class & NUMBER != 0 {
            return run_of_at_most(classes, text, start + length, NUMBER, self.digits_max - 1);
        }
        if !matches!(first, Some(b'\r' | b'\n')) {
            let (next, next_length) = classes.at(text, start + length);
            if next & letter != 0 {
                return classes.letters(text, start + length + next_length, letter);
            }
        }
        self.signs(classes, text, start)
    }

    #[inline(always)]
    fn starts(&self, window: &[u8; WINDOW]) -> u64 {
        let masks = Masks::of(window);
        let (letter, sign, space, newline) = (masks.letter, masks.sign(), masks.space, masks.newline);
        // A single sign that no space is before joins the letters behind it, as does white space but for newlines.
        let single = begins(sign) & !behind(masks.blank) & before(!sign);
        let letters = begins(letter) & !behind(single | space & !newline);
        let starts = letters | self.numbers(masks.number) | begins(sign) & !behind(masks.blank) | spaces(&masks);
        contractions(starts, &masks, |at| contraction_any_case(window, at)) & masks.decided() & !masks.open_space() & !1
    }
}

/// Where white space begins a piece: newlines directly behind signs belong to them; then all up to the last newline is
/// one piece, and what is behind it one but for its last character.
#[inline(always)]
fn spaces(masks: &Masks) -> u64 {
    let Masks { space, newline, .. } = *masks;
    let other = space & !newline;
    // Adding to a run of newlines carries through it.
    let first = newline & behind(masks.sign());
    let taken = newline & !newline.wrapping_add(first) & (newline ^ newline.wrapping_add(first));
    let left = space & !taken;
    let mut starts = begins(left) | other & !before(space);
    let mut broken = other & behind(newline & left);
    while broken != 0 {
        let at = broken & broken.wrapping_neg();
        broken ^= at;
        // The bits of this run from here on: up to where adding stops carrying.
        let rest = space & !space.wrapping_add(at) & !(at - 1);
        if rest & newline == 0 {
            starts |= at;
        }
    }
    starts
}

impl Cl100k {
    /// Where numbers begin pieces: each run, and every few digits within it.
    #[inline(always)]
    fn numbers(self, number: u64) -> u64 {
        if self.digits_max == 1 {
            return number;
        }
        let long = number & (number << 1) & (number << 2) & (number << 3);
        let (mut starts, mut more) = (begins(number), begins(number));
        while more != 0 {
            more = (more << 3) & long;
            starts |= more;
        }
        starts
    }

    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    #[inline(always)]
    fn signs(self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let sign = if self.marks { SIGN | OTHER } else { SIGN | OTHER | MARK };
        let from = start + usize::from(text.get(start) == Some(&b' '));
        let (class, length) = classes.at(text, from);
        if class & sign != 0 {
            return newlines(text, classes.run(text, from + length, sign), false);
        }
        let (class, length) = classes.at(text, start);
        if !is_space(class) {
            // A mark that no other alternative takes: with `marks` there is none, as letters took it.
            return start + length.max(1);
        }
        let run = Run::at(classes, text, start);
        run.newline_end.unwrap_or_else(|| run.before_word(text, start))
    }
}
