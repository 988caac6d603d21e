//! The words of GPT-4, Llama 3 and Qwen:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.

use super::super::classes::{Classes, LETTER, MARK, NUMBER, OTHER, SIGN};
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
}

impl Cl100k {
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
