//! GPT-2's words: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.

use super::super::classes::{Classes, LETTER, MARK, NUMBER, OTHER, SIGN};
use super::ascii::{Masks, WINDOW, before, begins, behind, contractions};
use super::space::Run;
use super::{Scanner, contraction, is_space};

/// Scanner of GPT-2's words, `ByteLevel`'s own expression.
#[derive(Debug, Clone, Copy)]
pub struct Gpt2;

impl Scanner for Gpt2 {
    #[inline(always)]
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let first = text.get(start).copied();
        let from = start + usize::from(first == Some(b' '));
        if let Some(end) = Classes::ascii_word(text, from) {
            return end;
        }
        let (class, length) = classes.at(text, from);
        if class & LETTER != 0 {
            return classes.letters(text, from + length, LETTER);
        }
        if first == Some(b'\'')
            && let Some(end) = contraction(text, start)
        {
            return end;
        }
        if class & NUMBER != 0 {
            return classes.run(text, from + length, NUMBER);
        }
        if is_space(class) || length == 0 {
            return Run::at(classes, text, start).before_word(text, start);
        }
        classes.run(text, from + length, SIGN | MARK | OTHER)
    }

    #[inline(always)]
    fn starts(&self, window: &[u8; WINDOW]) -> u64 {
        let masks = Masks::of(window);
        let (letter, number, sign, space) = (masks.letter, masks.number, masks.sign(), masks.space);
        let runs = (begins(letter) | begins(number) | begins(sign)) & !behind(masks.blank);
        let starts = runs | begins(space) | space & !before(space);
        contractions(starts, &masks, |at| contraction(window, at)) & masks.decided() & !1
    }
}
